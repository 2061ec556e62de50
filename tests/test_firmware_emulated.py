import shutil

import numpy as np
import pytest
import serial
from firmware_support import INPUTS, MODEL_C, SOURCES, fields, logits_of, request, requests, states_of

from hil.chips import Board, chip
from hil.emulator import EmulatedBoard, Emulator, Stop
from hil.errors import FirmwareFault
from hil.firmware import compile_firmware, find_compiler
from hil.link.device import Device
from hil.link.receiver import Receiver
from hil.link.schema import Crash, Flag, Kind

COMPILERS = ["zig", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
SERIAL = (0x01234567, 0x89ABCDEF, 0x02468ACE, 0x13579BDF)
XPLAINED = Board()
ARDUINO_ZERO = Board(sercom=5, tx="PB22", rx="PB23", mux="D", tx_pad=2, rx_pad=3, clock="xosc32k")
SECOND = 48_000_000
POWER_ON, SYSTEM_RESET = 0x01, 0x40
TC3_IRQ = 18
XOSC32K, XOSC32K_ENABLE = 0x40000814, 1 << 1
RX_RING = 2048
"""Bytes, as in firmware/port/samd21/uart.c."""
PEND = '*(volatile uint32_t *)0xE000E200u = 1u << {irq}; __asm__ volatile("dsb\\n isb");'
"""C that requests an interrupt and lets it happen."""
LOAD_FROM_NOWHERE = (
    'if (x[0] == 1) { __asm__ volatile("movs r0, #10\\n movs r1, #11\\n movs r2, #12\\n mov r12, r2\\n"'
    '"movs r3, #13\\n ldr r3, [r3]" ::: "r0", "r1", "r2", "r3", "r12"); }'
)


def build(out, sources=SOURCES, *, compiler=COMPILERS[-1], target="atsamd21j18a", board=XPLAINED):
    return compile_firmware(
        sources, chip=chip(target), board=board, compiler=find_compiler(compiler), optimize="2", out=out
    )


def with_step(statements, declarations=""):
    """MODEL_C whose step begins with other statements."""
    model = MODEL_C.replace("void model_step(", declarations + "\nvoid model_step(", 1)
    return {
        "model.c": model.replace(
            "    for (int i = 0; i < 2; i++) {\n        h_before",
            f"    {statements}\n    for (int i = 0; i < 2; i++) {{\n        h_before",
            1,
        )
    }


class Chip:
    """A chip with a program on it, fed and read in virtual time."""

    def __init__(self, firmware):
        self.emulator = Emulator(firmware.chip, SERIAL)
        self.emulator.set_debugger(False)
        self.sercom = firmware.board.sercom
        self.receiver = Receiver()
        self.emulator.uart_send(self.sercom, b"")
        self.emulator.load_elf(firmware.elf)
        self.boot = self.run(b"", 3 * SECOND)

    def run(self, data, cycles=10 * SECOND):
        """Send and run until the chip waits, fails or the time is over; what it has sent."""
        self.emulator.uart_send(self.sercom, data)
        self.stop = self.emulator.run(cycles)
        return self.receiver.feed(self.emulator.uart_receive(self.sercom))


@pytest.fixture(scope="module", params=COMPILERS)
def firmware(request, tmp_path_factory):
    return build(tmp_path_factory.mktemp(request.param), compiler=request.param)


@pytest.fixture
def device_chip(firmware):
    return Chip(firmware)


def features(steps, seed=0):
    return np.random.default_rng(seed).integers(-32768, 32768, (steps, INPUTS)).astype(np.int16)


def sequence(x, chunk):
    """HELLO, BEGIN, STEPS of at most ``chunk`` steps each, FINISH."""
    parts = [
        (Kind.STEPS, {"first": i, "count": len(x[i : i + chunk]), "x": x[i : i + chunk]})
        for i in range(0, len(x), chunk)
    ]
    begin = (Kind.BEGIN, {"sequence": 1, "steps": len(x), "detail": 1})
    return requests(begin, *parts, (Kind.FINISH, {}))


def cycles_of(frames):
    return [fields(f)["cycles"] for f in frames if f.kind in (Kind.STEP, Kind.RESULT)]


def test_a_chip_says_that_it_has_been_powered_on(device_chip):
    """BOOT is the first frame at 115,200 baud."""
    (boot,) = device_chip.boot
    assert (boot.kind, boot.flags) == (Kind.BOOT, Flag.UNSOLICITED | Flag.LAST)
    assert fields(boot)["reset_cause"] == POWER_ON
    assert device_chip.stop == Stop.IDLE


@pytest.mark.parametrize(
    ("target", "board", "clock_hz"),
    [
        ("atsamd21j18a", XPLAINED, 48_000_000),
        ("atsamd21g18a", ARDUINO_ZERO, 47_972_352),
        ("atsamd21e17a", XPLAINED, 48_000_000),
    ],
)
def test_hello_tells_chip_and_clock(tmp_path, target, board, clock_hz):
    """Serial number, device id, one wait state with manual writes, the clock that really runs."""
    firmware = build(tmp_path, target=target, board=board)
    on = Chip(firmware)
    (frame,) = on.run(requests())
    hello = fields(frame)

    assert hello["serial"].tolist() == list(SERIAL)
    assert hello["device_id"] & ~0xF00 == firmware.chip.device_id & ~0xF00
    assert hello["nvm_ctrlb"] == 1 << 1 | 1 << 7
    assert hello["clock_hz"] == clock_hz == round(on.emulator.cpu_hz)
    assert hello["build_id"].hex() == firmware.build_id
    assert hello["artefact_hash"].hex() == firmware.artefact_hash
    assert 0 < hello["overhead"] < 100


def test_a_crystal_that_does_not_swing_leaves_the_open_loop(tmp_path):
    """The chip starts all the same, within 5 s, and HELLO tells which clock it has."""
    firmware = build(tmp_path, board=Board(clock="xosc32k"))
    emulator = Emulator(firmware.chip, SERIAL)
    emulator.set_debugger(False)
    emulator.uart_send(firmware.board.sercom, b"")
    emulator.load_elf(firmware.elf)
    while not emulator.read(XOSC32K, 1)[0] & XOSC32K_ENABLE:
        emulator.run(50)
    emulator.write(XOSC32K, bytes(2))  # stops it before it is ready
    assert emulator.run(5 * SECOND) == Stop.IDLE
    assert emulator.seconds < 5
    emulator.uart_send(firmware.board.sercom, requests())
    emulator.run(SECOND)
    boot, hello = Receiver().feed(emulator.uart_receive(firmware.board.sercom))
    assert boot.kind == Kind.BOOT
    assert fields(hello)["clock_hz"] == 48_000_000 == round(emulator.cpu_hz)


def test_a_chip_computes_what_the_model_says(device_chip):
    """States of every step and logits; no interrupt in any measured window."""
    x = features(100)
    frames = device_chip.run(sequence(x, 40))
    steps = [fields(f) for f in frames if f.kind == Kind.STEP]

    assert states_of(x).tolist() == [s["h"].tolist() for s in steps]
    assert logits_of(x).tolist() == fields(frames[-1])["logits"].tolist()
    assert {s["interrupts"] for s in steps} | {fields(frames[-1])["interrupts"]} == {0}


def test_cycles_do_not_depend_on_when_and_how_the_host_asks(firmware):
    """The same list from two chips, in one request or in many, for the first sequence and the third."""
    x = features(12)
    lists = []
    for chunk in (12, 1, 5):
        on = Chip(firmware)
        lists += [cycles_of(on.run(sequence(x, chunk), 2 * SECOND)) for _ in range(3)]
        on.emulator.run(SECOND // 7)
        lists.append(cycles_of(on.run(sequence(x, chunk))))
    assert len(lists[0]) == 13
    assert all(one == lists[0] for one in lists)
    assert min(lists[0]) > 0


def test_what_measuring_costs_is_not_counted(device_chip):
    """A call that adds 1 to a variable takes fewer cycles than the empty window that was subtracted."""
    hello, benched = device_chip.run(requests((Kind.BENCH, {"kernel": 0, "repeats": 8})))
    (cycles,) = set(fields(benched)["cycles"].tolist())
    assert 8 <= cycles <= fields(hello)["overhead"] + 4
    assert fields(benched)["interrupts"] == 0


def test_an_interrupt_in_a_window_is_counted(tmp_path):
    """The UART's interrupt, requested by the step itself, is taken inside; the output window has none."""
    pend = PEND.format(irq=9 + XPLAINED.sercom)
    on = Chip(build(tmp_path, with_step(f"if (x[0] == 1) {{ {pend} }}")))
    x = np.array([[0, 1, 1], [1, 2, 2], [0, 3, 3]], np.int16)
    frames = on.run(sequence(x, 3))
    counted = [fields(f)["interrupts"] for f in frames if f.kind in (Kind.STEP, Kind.RESULT)]
    assert counted == [0, 1, 0, 0]
    assert states_of(x).tolist() == [fields(f)["h"].tolist() for f in frames if f.kind == Kind.STEP]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_windows_longer_than_the_counter_are_measured(tmp_path, compiler):
    """A loop's cycles grow in proportion across turns of 2^24; their interrupts are subtracted, to 4 cycles each."""
    loop = "for (volatile uint32_t i = 0; i < (uint32_t)x[0] << 10; i++) {}"
    on = Chip(build(tmp_path, with_step(loop), compiler=compiler))
    factors = (1, 2, 11, 51)
    x = np.array([[100 * factor, 0, 0] for factor in factors], np.int16)
    begin = (Kind.BEGIN, {"sequence": 1, "steps": 4, "detail": 1})
    frames = on.run(requests(begin, (Kind.STEPS, {"first": 0, "count": 4, "x": x})))
    steps = [fields(f) for f in frames if f.kind == Kind.STEP]
    cycles = [s["cycles"] for s in steps]
    slope = cycles[1] - cycles[0]

    assert [s["interrupts"] for s in steps] == [0] * 4
    assert cycles[-1] > 2 << 24
    for factor, got in zip(factors, cycles, strict=True):
        assert abs(cycles[0] + (factor - 1) * slope - got) <= 4 * (got >> 24)


def test_line_speed_follows_the_request(device_chip):
    """The nearest that the clock can make; what it cannot make within 2 % is refused and changes nothing."""
    device_chip.run(requests())
    sercom, seq = device_chip.sercom, 0
    for baud in (9600, 57600, 921600, 3_000_000):
        seq += 1
        (ack,) = device_chip.run(request(seq, Kind.BAUD, baud=baud))
        assert ack.kind == Kind.ACK
        assert abs(device_chip.emulator.uart_baud(sercom) - baud) <= SECOND / 2**20 / 2 + 1, "the nearest step"
        device_chip.emulator.set_host_baud(sercom, baud)
    for baud in (0, 300, 3_100_000, 0xFFFFFFFF):
        seq += 1
        (refused,) = device_chip.run(request(seq, Kind.BAUD, baud=baud))
        assert (refused.kind, fields(refused)["detail"]) == (Kind.ERROR, baud)
    (status,) = device_chip.run(request(seq + 1, Kind.STATUS))
    assert fields(status)["bad_frames"] == 0


def test_stack_use_is_seen(tmp_path):
    """The high-water mark grows by what a step puts on the stack."""
    deep = with_step("if (x[0] == 1) { volatile uint8_t room[1000]; room[0] = 1; room[999] = room[0]; }")
    on = Chip(build(tmp_path, deep))
    marks = []
    for first in (0, 1):
        on.run(sequence(np.array([[first, 0, 0]], np.int16), 1))
        (frame,) = on.run(request(4, Kind.STATUS))
        marks.append(fields(frame))
    assert marks[0]["stack_size"] == 2048
    assert 0 < marks[0]["stack_bytes"] < 700
    assert marks[1]["stack_bytes"] >= 1000
    assert 0 < marks[1]["uptime_ms"] < 10_000


# Faults


def last_fault(on, data):
    fault = on.run(data, SECOND)[-1]
    assert (fault.kind, fault.seq, fault.credit) == (Kind.FAULT, 0, 0)
    assert fault.flags == Flag.UNSOLICITED | Flag.LAST
    assert on.run(request(2, Kind.STATUS), SECOND) == [], "dead until a reset"
    return fields(fault)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_fault_shows_the_registers_at_the_instruction(tmp_path, compiler):
    """r0 to r3, r12 and the address of the very instruction; its function is named by the ELF file."""
    firmware = build(tmp_path, with_step(LOAD_FROM_NOWHERE), compiler=compiler)
    registers = last_fault(Chip(firmware), sequence(np.array([[1, 0, 0]], np.int16), 1))

    assert [registers[n] for n in ("r0", "r1", "r2", "r3", "r12")] == [10, 11, 12, 13, 12]
    assert firmware.locate(registers["pc"]) == "model_step"
    assert registers["exc_return"] == 0xFFFFFFF9
    assert registers["xpsr"] & 0x1FF == 0, "thread mode"
    assert 0x20000000 < registers["sp"] <= 0x20000800
    assert 0 < registers["stack_bytes"] <= 2048


@pytest.mark.parametrize("pushed", [0, 4])
def test_a_fault_shows_the_stack_pointer_before_the_exception(tmp_path, pushed):
    """Also where the core had to leave out a word to align the stack to 8 bytes."""
    faulty = f'__asm__ volatile("sub sp, #{pushed}\\n mov r1, sp\\n udf #0" ::: "r1");'
    registers = last_fault(Chip(build(tmp_path, with_step(faulty))), sequence(features(1), 1))
    assert registers["sp"] == registers["r1"]


def test_an_interrupt_without_a_handler_is_a_fault(tmp_path):
    """TC3's, enabled and requested by the step, which is where the stacked pc points."""
    enable = f"*(volatile uint32_t *)0xE000E100u = 1u << {TC3_IRQ}; "
    firmware = build(tmp_path, with_step(enable + PEND.format(irq=TC3_IRQ)))
    registers = last_fault(Chip(firmware), sequence(features(1), 1))
    assert firmware.locate(registers["pc"]) == "model_step"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_stack_overflow_is_a_fault_and_changes_no_data(tmp_path, compiler):
    """The stack pointer has left RAM at its bottom; all of the stack counts as used."""
    deeper = """
static volatile int depth;
int deeper(int n);
int deeper(int n)
{
    volatile int here[8];
    here[0] = n;
    depth = n;
    return n == 100000 ? 0 : deeper(n + 1) + here[0];
}
"""
    firmware = build(tmp_path, with_step("if (x[0] == 1) { depth = deeper(0); }", deeper), compiler=compiler)
    registers = last_fault(Chip(firmware), sequence(np.array([[1, 0, 0]], np.int16), 1))
    assert registers["sp"] < 0x20000000 + 64
    assert registers["stack_bytes"] == 2048


def test_crash_fails_as_asked(firmware):
    """A fault frame; silence in an endless loop; a core that is locked up."""
    ends = {}
    for how in Crash:
        on = Chip(firmware)
        frames = on.run(requests((Kind.CRASH, {"how": how})), SECOND)
        ends[how] = ([f.kind for f in frames[1:]], on.stop)
    assert ends[Crash.HARD_FAULT][0] == [Kind.ACK, Kind.FAULT]
    assert ends[Crash.HANG] == ([Kind.ACK], Stop.HUNG)
    assert ends[Crash.LOCKUP] == ([Kind.ACK], Stop.LOCKUP)


def test_a_reset_starts_again(device_chip):
    """ACK, then BOOT with the cause; counters begin at zero."""
    frames = device_chip.run(requests((Kind.STATUS, {}), (Kind.RESET, {})))
    assert [f.kind for f in frames[-2:]] == [Kind.IS_STATUS, Kind.ACK]
    assert device_chip.stop == Stop.RESET
    (boot,) = device_chip.run(b"")
    assert fields(boot)["reset_cause"] == SYSTEM_RESET
    _, status = device_chip.run(requests((Kind.STATUS, {})))
    assert fields(status)["frames"] == 2


def test_bytes_that_come_too_fast_are_counted(tmp_path):
    """Three seconds without a look at the ring buffer: what does not fit is an overrun, and the rest still works."""
    on = Chip(build(tmp_path, with_step("if (x[0] == 1) { for (volatile uint32_t i = 0; i < 14000000u; i++) {} }")))
    noise = bytes([0x80]) * 4000
    frames = on.run(sequence(np.array([[1, 0, 0]], np.int16), 1) + noise, 30 * SECOND)
    (status,) = on.run(request(0, Kind.HELLO, protocol=1) + request(1, Kind.STATUS))[1:]
    interrupts = next(fields(f)["interrupts"] for f in frames if f.kind == Kind.STEP)
    assert interrupts > 256
    assert fields(status)["overruns"] == len(request(3, Kind.FINISH) + noise) - RX_RING


# Behind a serial port


def test_a_board_runs_sequences_for_a_host(firmware):
    """pyserial and `Device` on the pty of the emulated board."""
    x = features(150, seed=1)
    with EmulatedBoard(firmware.chip, SERIAL, sercom=firmware.board.sercom) as board:
        board.load_elf(firmware.elf)
        board.start()
        device = Device(
            serial.Serial(board.port, 115200, timeout=0.1), "emulated", timeout_s=10, locate=firmware.locate
        )
        device.hello(firmware.build_id, firmware.artefact_hash)
        traces = [device.run_sequence(x) for _ in range(2)]
        assert states_of(x).tolist() == traces[0].states_q15.tolist()
        assert logits_of(x).tolist() == traces[1].logits.tolist()
        assert traces[0].cycles.tolist() == traces[1].cycles.tolist()
        assert traces[0].interrupts.sum() == traces[1].interrupts.sum() == 0
        assert device.repetitions == device.bad_frames == 0
        with pytest.raises(FirmwareFault, match="HardFault in port_crash"):
            device.crash(Crash.HARD_FAULT)
        device.close()
