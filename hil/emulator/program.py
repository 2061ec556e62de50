"""Run any program on an emulated board until it ends, with all that can be told about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hil.chips import Chip
from hil.emulator.board import SLICE_CYCLES, EmulatedBoard
from hil.emulator.core import Emulator, Stop, Unmodelled
from hil.emulator.crash import explain
from hil.emulator.profile import Profile, begin_profile, read_profile
from hil.emulator.semihosting import Exit, answer
from hil.emulator.symbols import Symbols, read_symbols
from hil.emulator.trace import TRACE_RECORDS, Tracer
from hil.errors import UsageError

_LOOK_S = 0.05
"""How often the caller is asked whether to go on."""
_HARDFAULT, _EXCEPTION = 3, 0x3F


@dataclass(frozen=True)
class Outcome:
    """
    How a program has ended.

    Attributes:
        exit: Its BKPT or semihosting exit; None if it was interrupted or has crashed.
        crash: Report of its last fault, or None.
        locked_up: That fault was the end.
        stuck: The HardFault handler waits for ever, or ends on a BKPT: that was the end.
        resets: By the program or its watchdog; cycles and instructions are those since the last.
        cycles, instructions: Since reset.
        seconds: Virtual time since power-on.
        unmodelled: Registers that the chip has and the emulator has not.
        profile: If one was asked for.
    """

    exit: Exit | None
    crash: str | None
    locked_up: bool
    stuck: bool
    resets: int
    cycles: int
    instructions: int
    seconds: float
    unmodelled: tuple[Unmodelled, ...]
    profile: Profile | None


class _Observed:
    """What happens in the board's thread: output of the program, its exit, its trace."""

    def __init__(self, printed: Callable[[str], None]) -> None:
        self.exit: Exit | None = None
        self.tracer: Tracer | None = None
        self.stuck = False
        self.resets = self.cycles = 0
        self._printed = printed

    def at_breakpoint(self, emulator: Emulator) -> bool:
        said = answer(emulator)
        if isinstance(said, Exit):
            self.exit = said
            self.stuck = said.status is None and _in_hardfault(emulator)
            return False
        self._printed(said)
        return True

    def after_slice(self, emulator: Emulator, stop: Stop) -> None:
        self.cycles = emulator.cycles
        self.resets += stop is Stop.RESET
        if stop in (Stop.IDLE, Stop.HUNG) and _in_hardfault(emulator):
            self.stuck = True
        if self.tracer is not None:
            self.tracer.write()


def _in_hardfault(emulator: Emulator) -> bool:
    return emulator.registers()["xpsr"] & _EXCEPTION == _HARDFAULT


@contextmanager
def _trace_file(path: Path | None) -> Iterator[TextIO | None]:
    """A file that has its name only when it is complete."""
    if path is None:
        yield None
        return
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: the trace cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def run_program(
    elf: Path | str,
    chip: Chip,
    *,
    serial: tuple[int, int, int, int] = (0, 0, 0, 0),
    sercom: int = 3,
    link: Path | None = None,
    realtime: bool = False,
    prepare: Callable[[Emulator], None] = lambda chip: None,
    profile: bool = False,
    trace: Path | None = None,
    printed: Callable[[str], None] = lambda text: None,
    started: Callable[[str], None] = lambda port: None,
    go_on: Callable[[int], bool] = lambda cycles: True,
) -> Outcome:
    """
    Run a program behind a pty until it ends, locks up, is stuck in its HardFault handler or the caller has enough.

    Args:
        elf: Any program for the chip; its exit is a BKPT or a semihosting SYS_EXIT.
        chip, serial, sercom, link, realtime: As for `EmulatedBoard`.
        prepare: Called with the chip when the program is in it, before it runs.
        profile: Count cycles by function, line and call path (the chip then runs several times slower).
        trace: Where to write every instruction; complete when this function returns.
        printed: Gets what the program prints by semihosting, in another thread.
        started: Gets the path of the serial port once the program runs.
        go_on: Asked now and then, with the cycles so far; False ends the run.

    Raises:
        UsageError: The ELF cannot be loaded, or the trace not written.
        ToolError: The emulator failed.
    """
    data = Path(elf).read_bytes() if Path(elf).is_file() else b""
    observed = _Observed(printed)
    with _trace_file(trace) as file:
        board = EmulatedBoard(
            chip,
            serial,
            sercom,
            link,
            realtime=realtime,
            slice_cycles=TRACE_RECORDS if file else SLICE_CYCLES,
            after_slice=observed.after_slice,
            on_breakpoint=observed.at_breakpoint,
        )
        with board:
            board.load_elf(elf)
            prepare(board.emulator)
            symbols = read_symbols(data)
            if profile or file:
                begin_profile(board.emulator, symbols, TRACE_RECORDS if file else 0)
            if file:
                observed.tracer = Tracer(board.emulator, symbols, file)
            board.start()
            started(board.port)
            _wait(board, observed, go_on)
            board.stop()
            return _outcome(board, observed, symbols, profile)


def _wait(board: EmulatedBoard, observed: _Observed, go_on: Callable[[int], bool]) -> None:
    while observed.exit is None and board.running and not observed.stuck and go_on(observed.cycles):
        crash = board.crash
        if crash is not None and crash.locked_up:
            return
        time.sleep(_LOOK_S)


def _outcome(board: EmulatedBoard, observed: _Observed, symbols: Symbols, profile: bool) -> Outcome:
    emulator, crash = board.emulator, board.crash
    return Outcome(
        exit=observed.exit,
        crash=explain(crash, emulator, symbols) if crash else None,
        locked_up=crash is not None and crash.locked_up,
        stuck=observed.stuck,
        resets=observed.resets,
        cycles=emulator.cycles,
        instructions=emulator.instructions,
        seconds=emulator.seconds,
        unmodelled=tuple(emulator.unmodelled),
        profile=read_profile(emulator, symbols) if profile else None,
    )
