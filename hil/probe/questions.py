"""What can be asked of an emulated board besides its debug port: how it is, and to fail on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hil.emulator import EmulatedBoard
from hil.errors import UsageError, suggest
from hil.probe.chip import DebuggedChip

Answer = dict[str, Any]


def answer(board: EmulatedBoard, chip: DebuggedChip, question: dict[str, Any]) -> Answer:
    """
    Answer ``{"what": NAME, ...}``; see the functions below.

    Raises:
        UsageError: There is no such question.
    """
    name = str(question.get("what"))
    if name not in _QUESTIONS:
        raise UsageError(f"no question {name!r}{suggest(name, _QUESTIONS)}. Known: {', '.join(_QUESTIONS)}")
    rest = {key: value for key, value in question.items() if key != "what"}
    return _QUESTIONS[name](board, chip, **rest) or {}


def _state(board: EmulatedBoard, chip: DebuggedChip) -> Answer:
    """Counters since reset, virtual seconds since power-on, and what went wrong."""
    crash = board.crash
    return {
        "powered": chip.powered,
        "halted": chip.halted,
        "protected": chip.protected,
        "cycles": chip.cycles,
        "instructions": chip.instructions,
        "seconds": chip.seconds,
        "cpu_hz": chip.cpu_hz,
        "spent_cycles": chip.spent_cycles,
        "crash": str(crash) if crash else "",
        "registers": crash.registers if crash else {},
        "unmodelled": [[u.address, u.is_write, u.pc, u.count] for u in chip.unmodelled],
    }


def _power(board: EmulatedBoard, chip: DebuggedChip, on: bool, after_s: float | None = None) -> None:
    """Switch the supply on or off; off now, or after some virtual seconds of running."""
    if on:
        chip.restore_power()
    elif after_s is None:
        chip.cut_power()
    else:
        chip.cut_power_after(after_s)


def _button(board: EmulatedBoard, chip: DebuggedChip) -> None:
    """Press the reset button."""
    chip.reset()


def _weak_bit(board: EmulatedBoard, chip: DebuggedChip, address: int, bit: int, times: int = 1) -> None:
    """Let a bit of the flash flip, when its byte is written next."""
    chip.weaken(address, bit, times)


def _noise(board: EmulatedBoard, chip: DebuggedChip, data: str) -> None:
    """Bytes, hexadecimal, that the host receives although the chip has not sent them."""
    board.disturb(bytes.fromhex(data))


def _pull_cable(board: EmulatedBoard, chip: DebuggedChip) -> None:
    """The serial port goes away."""
    board.vanish()


def _bad_line(board: EmulatedBoard, chip: DebuggedChip, good_up_to: int | None) -> None:
    """Damage what goes over the line at higher speeds; None: no longer."""
    board.spoil_above(good_up_to)


def _line_rate(board: EmulatedBoard, chip: DebuggedChip, on: bool) -> None:
    """Let the host's bytes follow each other at the line's rate, or when the firmware wants them."""
    chip.set_line_rate(on)


def _keep_pace(board: EmulatedBoard, chip: DebuggedChip) -> None:
    """Let virtual time keep pace with the clock on the wall."""
    board.keep_pace()


_QUESTIONS: dict[str, Callable[..., Answer | None]] = {
    "state": _state,
    "power": _power,
    "button": _button,
    "weak_bit": _weak_bit,
    "noise": _noise,
    "pull_cable": _pull_cable,
    "line_rate": _line_rate,
    "bad_line": _bad_line,
    "keep_pace": _keep_pace,
}
