"""Profile, trace, crash report, semihosting: what the emulator tells people."""

import io
import time

import pytest
import serial
from emulator_support.build import build, symbol
from emulator_support.machine import BX_LR, CODE, HARDFAULT, IRQ0, NOP, NVIC_ISER, machine, poke

from hil.chips import chip
from hil.emulator import EmulatedBoard, Emulator, Stop
from hil.emulator.board import Crash
from hil.emulator.core import FaultKind
from hil.emulator.crash import WHY, explain
from hil.emulator.profile import ASLEEP, ENTRY, EXIT, begin_profile, end_profile
from hil.emulator.program import run_program
from hil.emulator.semihosting import Exit, answer
from hil.emulator.symbols import Symbols, read_symbols
from hil.emulator.trace import TRACE_RECORDS, Tracer
from hil.errors import UsageError

CHIP = chip("atsamd21j18a")


@pytest.fixture(scope="module")
def echo():
    return build("echo.c")


@pytest.fixture(scope="module")
def profiled(echo):
    """The echo firmware from reset through ten bytes, profiled; the emulator and the profile."""
    emulator, symbols = Emulator(CHIP), read_symbols(echo)
    emulator.load_elf(echo)
    begin_profile(emulator, symbols)
    emulator.uart_send(3, b"0123456789")
    assert emulator.run(1 << 40) is Stop.IDLE
    return emulator, end_profile(emulator, symbols)


def test_profile_adds_up_to_the_cycle(profiled):
    """Functions, lines and call paths each add up to the cycles since reset, instructions to the instructions."""
    emulator, profile = profiled
    assert profile.cycles == emulator.cycles
    assert sum(cost.cycles for cost in profile.functions) == emulator.cycles
    assert sum(cost.cycles for cost in profile.lines) == emulator.cycles
    assert sum(cycles for _, cycles in profile.paths) == emulator.cycles
    assert sum(cost.instructions for cost in profile.functions) == emulator.instructions
    assert sum(cost.instructions for cost in profile.lines) == emulator.instructions


def test_profile_names_functions_lines_and_paths(profiled):
    """Handlers, sleep, exception entry and return appear by name; the lines are the source's."""
    _, profile = profiled
    names = {cost.name for cost in profile.functions}
    assert {"main", "sercom3_handler", "reset_handler", ASLEEP, ENTRY, EXIT} <= names
    assert any("echo.c:" in cost.name for cost in profile.lines)
    assert ("reset_handler", "main", "sercom3_handler") in dict(profile.paths)
    assert ("reset_handler", "main", ASLEEP) in dict(profile.paths)
    total = sum(int(line.rsplit(" ", 1)[1]) for line in profile.folded().splitlines())
    assert total == profile.cycles
    assert "sercom3_handler" in profile.table()


def test_profiling_changes_nothing(echo, profiled):
    """Cycles and instructions are those of an unobserved run."""
    emulator = Emulator(CHIP)
    emulator.load_elf(echo)
    emulator.uart_send(3, b"0123456789")
    emulator.run(1 << 40)
    assert (emulator.cycles, emulator.instructions) == (profiled[0].cycles, profiled[0].instructions)


def test_exception_cycles_of_a_profile():
    """15 cycles of an entry and 13 of a return, of which the BX has 2, go to their own rows."""
    emulator = machine([NOP, NOP], {IRQ0: [BX_LR], IRQ0 + 1: [BX_LR]})
    poke(emulator, NVIC_ISER, 3)
    symbols = Symbols()
    begin_profile(emulator, symbols)
    poke(emulator, 0xE000E200, 3)
    assert emulator.run(1000) is Stop.BKPT
    profile = end_profile(emulator, symbols)
    costs = {cost.name: cost.cycles for cost in profile.functions}
    assert (costs[ENTRY], costs[EXIT]) == (15, 6 - 2 + 13 - 2)
    assert profile.cycles == emulator.cycles == 15 + 6 + 13 + 2


def test_symbols_of_both_compilers():
    """Functions and lines are found in what gcc and what zig write."""
    for compiler in ("gcc", "zig"):
        try:
            elf = build("echo.c", compiler=compiler)
        except (AssertionError, FileNotFoundError):
            continue
        symbols = read_symbols(elf)
        address = symbol(elf, "main") & ~1
        assert symbols.function(address).name == "main"
        inside = range(address, symbols.function(address).end, 2)
        assert any(symbols.line(at).file.endswith("echo.c") for at in inside)
        assert symbols.place(address).startswith("main+0x0 (")
        assert symbols.function(0xFFFF0000) is None


def test_symbols_of_garbage():
    """What is no ELF is a UsageError."""
    with pytest.raises(UsageError, match="symbols"):
        read_symbols(b"nonsense")


def test_trace_shows_every_instruction(echo):
    """One line for each instruction with place, text and changes; exceptions and sleep are marked."""
    emulator, symbols, out = Emulator(CHIP), read_symbols(echo), io.StringIO()
    emulator.load_elf(echo)
    begin_profile(emulator, symbols, TRACE_RECORDS)
    tracer = Tracer(emulator, symbols, out)
    emulator.uart_send(3, b"a")
    while emulator.run(TRACE_RECORDS // 10) is not Stop.IDLE:
        tracer.write()
    tracer.write()
    lines = out.getvalue().splitlines()
    assert sum(" -- " not in line for line in lines) == emulator.instructions
    assert any("IRQ 12 is entered" in line for line in lines)
    assert any("return from the exception" in line for line in lines)
    assert any("asleep until here" in line for line in lines)
    assert any("main+" in line and "wfi" in line for line in lines)
    cycles = [int(line.split()[0]) for line in lines]
    assert cycles == sorted(cycles)
    assert cycles[-1] == emulator.cycles


def test_crash_report_tells_what_and_where():
    """The kind in words, the register's name, the registers."""
    emulator = machine([0x6801, NOP], {HARDFAULT: [0xDE00]})
    emulator.set_register("r0", 0x42001400)
    assert emulator.run(1000) is Stop.LOCKUP
    first = machine([0x6801, NOP])
    first.set_register("r0", 0x42001400)
    first.run(10)
    text = explain(Crash(False, first.fault, first.cycles), first)
    assert "peripheral without its clock" in text
    assert "SERCOM3.CTRLA" in text
    assert f"pc {CODE:08x}" in text
    assert "locked up" in explain(Crash(True, emulator.fault, emulator.cycles), emulator)


def test_crash_report_names_the_callers():
    """Return addresses on the stack become places in functions."""
    elf = build("crash.c", flags=("-O1", "-fno-inline", "-fno-optimize-sibling-calls"))
    with EmulatedBoard(CHIP) as board:
        board.load_elf(elf)
        board.start()
        while board.crash is None:
            time.sleep(0.005)
        text = board.ask(lambda emulator: explain(board._crash, emulator, read_symbols(elf)))
    assert "The core has locked up" in text
    assert "no multiple of its size" in text
    assert "then, inside the handler: a BKPT without a debugger at unexpected" in text
    assert "at        innermost" in text
    assert "middle+" in text
    assert "outermost+" in text


def test_every_fault_has_words():
    """Each kind of fault is explained."""
    assert set(WHY) == set(FaultKind) - {FaultKind.NONE}


@pytest.mark.parametrize(
    ("r0", "r1", "status"), [(0x18, 0x20026, 0), (0x18, 0x20023, 1), (0x20, "block 7", 7), (0x20, "block -1", 255)]
)
def test_semihosting_exit(r0, r1, status):
    """SYS_EXIT and SYS_EXIT_EXTENDED end with a status and the cycle count."""
    emulator = machine([NOP, 0xBEAB])
    if isinstance(r1, str):
        emulator.load(
            0x20000100, (0x20026).to_bytes(4, "little") + int(r1.split()[1]).to_bytes(4, "little", signed=True)
        )
        r1 = 0x20000100
    emulator.set_register("r0", r0)
    emulator.set_register("r1", r1)
    assert emulator.run(100) is Stop.BKPT
    assert answer(emulator) == Exit(status, 1, CODE + 2)


def test_semihosting_prints_and_goes_on():
    """SYS_WRITE0 and SYS_WRITEC give text; unknown requests fail; then the program goes on."""
    emulator = machine([0xBEAB, 0xBE01])
    emulator.load(0x20000100, b"hello\0")
    emulator.set_register("r0", 4)
    emulator.set_register("r1", 0x20000100)
    emulator.run(10)
    assert answer(emulator) == "hello"
    emulator.run(10)
    assert answer(emulator) == Exit(None, 0, CODE + 2)


def test_board_with_breakpoints_and_slices(echo):
    """A board can ask what to do at a BKPT, and looks at the chip after each slice."""
    seen, slices = [], []

    def at_breakpoint(emulator):
        seen.append(emulator.registers()["pc"])
        return False

    board = EmulatedBoard(
        CHIP, on_breakpoint=at_breakpoint, after_slice=lambda emulator, stop: slices.append(stop), slice_cycles=1000
    )
    with board:
        board.load_elf(build("softfloat.c"))
        board.start()
        while not seen:
            time.sleep(0.005)
    assert len(seen) == 1
    assert len(slices) > 5


def test_realtime_board_keeps_pace(echo):
    """Virtual time follows the clock on the wall, also asleep, and bytes still come through."""
    with EmulatedBoard(CHIP, realtime=True) as board:
        board.load_elf(echo)
        board.start()
        begun = time.monotonic()
        with serial.Serial(board.port, 115200, timeout=5) as port:
            time.sleep(0.3)
            port.write(b"a")
            assert port.read(1) == b"b"
        virtual = board.ask(lambda emulator: emulator.seconds)
        assert virtual == pytest.approx(time.monotonic() - begun, abs=0.2)


def write(tmp_path, *sources, **options):
    path = tmp_path / "program.elf"
    path.write_bytes(build(*sources, **options))
    return path


def test_run_program_to_its_end(tmp_path):
    """Exit, cycles, profile and trace of a whole program; the trace has a line for each instruction."""
    trace = tmp_path / "trace.txt"
    outcome = run_program(write(tmp_path, "exit.c"), CHIP, profile=True, trace=trace)
    assert outcome.exit.status == 3
    assert outcome.exit.cycles == outcome.cycles == outcome.profile.cycles
    assert sum(" -- " not in line for line in trace.read_text().splitlines()) == outcome.instructions
    assert outcome.crash is None
    assert list(tmp_path.glob(".*.part")) == []


def test_run_program_prints(tmp_path):
    """What the program prints by semihosting reaches the caller."""
    texts = []
    run_program(write(tmp_path, "exit.c"), CHIP, printed=texts.append)
    assert "".join(texts) == "hello from the chip\n"


def test_run_program_that_crashes(tmp_path):
    """A lockup ends the run with a report."""
    outcome = run_program(write(tmp_path, "crash.c", flags=("-O1",)), CHIP)
    assert outcome.exit is not None or outcome.locked_up
    assert outcome.crash is not None
    assert "no multiple of its size" in outcome.crash


def test_run_program_until_the_caller_has_enough(echo, tmp_path):
    """A program that waits for input ends when go_on says so; its port works meanwhile."""
    path, answers = tmp_path / "echo.elf", []
    path.write_bytes(echo)

    def talk(port):
        with serial.Serial(port, 115200, timeout=5) as line:
            line.write(b"a")
            answers.append(line.read(1))

    outcome = run_program(path, CHIP, started=talk, go_on=lambda cycles: not answers)
    assert (answers, outcome.exit, outcome.crash) == ([b"b"], None, None)


def test_run_program_that_is_none(tmp_path):
    """A missing file and garbage are refused with their name; no trace is left behind."""
    bad = tmp_path / "bad.elf"
    bad.write_bytes(b"nonsense")
    for path in (bad, tmp_path / "missing.elf"):
        with pytest.raises(UsageError, match=path.name):
            run_program(path, CHIP, trace=tmp_path / "trace.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.elf"]
