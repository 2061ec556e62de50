"""The emulated board: its port, its thread, and that what the firmware does never depends on the host's timing."""

import random
import time

import pytest
import serial
from emulator_support.build import build, symbol

from hil.chips import chip
from hil.emulator import EmulatedBoard, Emulator, Stop
from hil.errors import ToolError, UsageError

CHIP = chip("atsamd21j18a")


@pytest.fixture(scope="module")
def echo():
    return build("echo.c")


def arrivals(emulator, elf, n):
    """SysTick's value at each of the first ``n`` bytes."""
    data = emulator.read(symbol(elf, "ticks"), 4 * n)
    return [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(n)]


def test_echo_over_the_wire_is_exact(echo):
    """A byte comes back plus one, ten bit times at 115,200 baud after it was sent at the earliest."""
    emulator = Emulator(CHIP)
    emulator.load_elf(echo)
    assert emulator.run(10_000_000) is Stop.IDLE
    begun = emulator.seconds
    emulator.uart_send(3, b"hello")
    assert emulator.run(10_000_000) is Stop.IDLE
    assert emulator.uart_receive(3) == b"ifmmp"
    assert emulator.seconds - begun == pytest.approx(5 * 10 / 115_200, rel=0.1)
    assert emulator.cpu_hz == 48e6
    assert emulator.unmodelled == []


def test_time_stands_still_while_the_firmware_wants_input(echo):
    """Running again without input moves neither cycles nor virtual time."""
    emulator = Emulator(CHIP)
    emulator.load_elf(echo)
    emulator.run(10_000_000)
    before = emulator.cycles, emulator.seconds
    assert emulator.run(10_000_000) is Stop.IDLE
    assert (emulator.cycles, emulator.seconds) == before


def test_time_goes_on_when_asked_to(echo):
    """With stop_when_idle=False the budget is used up asleep."""
    emulator = Emulator(CHIP)
    emulator.load_elf(echo)
    assert emulator.run(3_000_000, stop_when_idle=False) is Stop.BUDGET
    assert 3_000_000 <= emulator.cycles < 3_000_100


@pytest.mark.parametrize("seed", range(5))
def test_arrivals_depend_on_bytes_only(echo, seed):
    """The same bytes in other chunks and other slices of the run give the same cycles at every arrival."""
    script = bytes(random.Random(0).randbytes(200))
    reference = Emulator(CHIP)
    reference.load_elf(echo)
    reference.uart_send(3, script)
    reference.run(1 << 40)
    rng = random.Random(seed)
    emulator = Emulator(CHIP)
    emulator.load_elf(echo)
    sent = 0
    while sent < len(script) or emulator.uart_queued(3):
        if rng.random() < 0.5:
            n = rng.randint(1, 40)
            emulator.uart_send(3, script[sent : sent + n])
            sent = min(sent + n, len(script))
        emulator.run(rng.choice([1, 100, 5000, 100_000]))
    emulator.run(1 << 40)
    assert arrivals(emulator, echo, 200) == arrivals(reference, echo, 200)
    assert emulator.cycles == reference.cycles


def test_pty_in_random_chunks_with_delays(echo):
    """Through a real port with a hesitating host the cycles are those of one write."""
    script = bytes(random.Random(1).randbytes(60))
    seen = []
    for seed in range(2):
        rng = random.Random(seed)
        with EmulatedBoard(CHIP) as board:
            board.load_elf(echo)
            board.start()
            with serial.Serial(board.port, 115200, timeout=5) as port:
                left = script
                while left:
                    n = rng.randint(1, 9) if seed else len(left)
                    port.write(left[:n])
                    left = left[n:]
                    time.sleep(rng.random() * 0.01 * seed)
                assert port.read(len(script)) == bytes((x + 1) & 0xFF for x in script)
            seen.append(board.ask(lambda emulator: arrivals(emulator, echo, 60)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("speed", "garbled"), [(115_200, False), (112_500, False), (119_500, True), (9600, True)])
def test_speed_of_the_pty_is_compared(echo, speed, garbled):
    """What the host sets on its end counts: within 3 % of BAUD bytes come through, beyond they are garbled."""
    with EmulatedBoard(CHIP) as board:
        board.load_elf(echo)
        board.start()
        with serial.Serial(board.port, speed, timeout=20) as port:
            port.write(b"hello")
            assert (port.read(5) != b"ifmmp") == garbled


def test_idle_board_uses_no_processor_time(echo):
    """While the firmware waits, the thread blocks."""
    with EmulatedBoard(CHIP) as board:
        board.load_elf(echo)
        board.start()
        time.sleep(0.1)
        used = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - used < 0.05


def test_pulled_cable_ends_the_hosts_read(echo):
    """vanish() gives the host an error, not silence."""
    with EmulatedBoard(CHIP) as board:
        board.load_elf(echo)
        board.start()
        with serial.Serial(board.port, 115200, timeout=5) as port:
            board.vanish()
            with pytest.raises((serial.SerialException, OSError)):
                talk(port)


def talk(port):
    port.write(b"x")
    port.read(1)


def test_link_is_stable_and_removed(echo, tmp_path):
    """The symbolic link points to the port while the board lives."""
    link = tmp_path / "board"
    with EmulatedBoard(CHIP, link=link) as board:
        assert board.port == str(link)
        board.load_elf(echo)
        board.start()
        with serial.Serial(board.port, 115200, timeout=5) as port:
            port.write(b"a")
            assert port.read(1) == b"b"
    assert not link.exists()


def test_error_in_the_thread_reaches_the_user(echo):
    """An exception of the thread is raised by the next call, and ends the host's read."""
    board = EmulatedBoard(CHIP)
    board.load_elf(echo)

    def explode(*_, **__):
        raise RuntimeError("boom")

    board.emulator.run = explode
    board.start()
    board._thread.join(5)
    with pytest.raises(ToolError, match="boom"):
        board.stop()
    board.close()


def test_program_outside_memory_is_refused():
    """Bytes that are no ELF are a UsageError."""
    with pytest.raises(UsageError, match="not an ELF"):
        Emulator(CHIP).load_elf(b"\x7fELF" + bytes(60))
