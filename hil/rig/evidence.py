"""After a crash: what the firmware did, told so that somebody can find it, and the memory as a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from hil.chips import RAM_BASE, chip
from hil.emulator.symbols import Symbols, read_symbols
from hil.errors import FirmwareFault, FirmwareHung, HilError, LinkTimeout, UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.probe.autopsy import LOCKED_UP, RUNNING, SLEEPING, CoreState
from hil.rig.base import Rig

PAINT = (0xA5C35A3C).to_bytes(4, "little")
"""What unused stack holds (firmware/port/samd21/stack.h)."""
SHOWN_FRAMES = 8
_FRAME = ("r0", "r1", "r2", "r3", "r12", "lr", "pc", "xpsr")
_HARD_FAULT = 3
_EXCEPTION = 0x3F
_THUMB, _ALIGNED = 1 << 24, 1 << 9
_RETURN = 0xFFFFFFF0
_NAMES = ("trace_buffer", "link_stack_bottom", "link_stack_top")


@dataclass(frozen=True)
class Jump:
    """
    One entry of the trace buffer.

    Attributes:
        source, target: Addresses.
        exception: By entering or leaving an exception.
        first: The first after the trace was switched on: what was before is not known.
    """

    source: int
    target: int
    exception: bool
    first: bool


@dataclass(frozen=True)
class Evidence:
    """
    What is known about a firmware that failed.

    Attributes:
        verdict: In one sentence.
        where: Function and source line, "" if unknown.
        registers: At the fault, else now; by name.
        stack_bytes, stack_size: High-water mark and size; 0: unknown.
        jumps: Of the micro trace buffer, oldest first.
        frames: The last on the line, oldest first.
        state: Of the core; None if nobody could look.
        ram_file: The memory, None if it was not read.
        problem: Why nobody could look, "".
    """

    verdict: str
    where: str = ""
    registers: dict[str, int] = field(default_factory=dict)
    stack_bytes: int = 0
    stack_size: int = 0
    jumps: tuple[Jump, ...] = ()
    frames: tuple[str, ...] = ()
    state: CoreState | None = field(default=None, repr=False)
    ram_file: Path | None = None
    problem: str = ""


def collect_evidence(
    rig: Rig, device: Device, firmware: Firmware, error: HilError, folder: Path | None
) -> tuple[Evidence, str]:
    """
    Look at a chip whose firmware has failed; it needs a reset afterwards.

    Args:
        rig: Where it runs.
        device: The line to it.
        firmware: The program.
        error: What was noticed.
        folder: Where to leave ``crash.txt`` and ``crash-ram.bin``; None: nothing is written.

    Returns:
        The evidence, and the same as text.
    """
    frames = tuple(f"{direction} {frame}" for direction, frame in list(device.frames)[-SHOWN_FRAMES:])
    state, problem = None, ""
    try:
        state = rig.examine()
    except HilError as trouble:
        problem = str(trouble)
    symbols = _symbols(firmware)
    places = _places(firmware)
    found = _judge(error, state, symbols, places, firmware)
    ram_file = _save_ram(state, folder)
    evidence = replace(
        found,
        stack_size=firmware.stack_size,
        frames=frames,
        state=state,
        ram_file=ram_file,
        problem=problem,
    )
    text = "\n".join(_lines(rig, evidence, symbols)) + "\n"
    if folder is not None:
        (folder / "crash.txt").write_text(text, encoding="utf-8")
    return evidence, text


def explain(error: HilError, evidence: Evidence, rig: str) -> HilError:
    """The error that says what really happened: silence is a fault, a lockup, a hang, or a line that is broken."""
    state = evidence.state
    if not isinstance(error, LinkTimeout) or state is None:
        return error
    if state.doing == LOCKED_UP or _exception(state) == _HARD_FAULT:
        how = "locked up" if state.doing == LOCKED_UP else "its FAULT frame was lost"
        return FirmwareFault(rig, evidence.registers, f"{evidence.where or 'the program'} ({how})")
    if state.doing == RUNNING:
        return FirmwareHung(rig, evidence.where or f"{state.registers['pc']:#010x}", _interrupts_off(state))
    if state.doing == SLEEPING:
        error.args = (
            f"{error} The firmware sleeps and waits for input ({evidence.where}): it is alive, the line is not. "
            f"Check RX, TX, ground and the rig's port.",
        )
    return error


def _judge(
    error: HilError, state: CoreState | None, symbols: Symbols, places: dict[str, int], firmware: Firmware
) -> Evidence:
    """Verdict, place, registers, stack and jumps."""
    reported = dict(error.registers) if isinstance(error, FirmwareFault) else {}
    if state is None:
        where = symbols.place(reported["pc"]) if reported else ""
        return Evidence(_first_sentence(error), where, reported)
    jumps = read_jumps(state, places.get("trace_buffer", 0))
    stack = _stack_bytes(state, places)
    faulted = state.doing == LOCKED_UP or _exception(state) == _HARD_FAULT or bool(reported)
    registers = reported or (stacked_registers(state, jumps) if faulted else {}) or dict(state.registers)
    where = symbols.place(registers["pc"])
    if state.doing == LOCKED_UP:
        verdict = "the core has locked up: a fault inside the fault handler"
    elif faulted:
        verdict = "HardFault"
    elif state.doing == SLEEPING:
        verdict = "the firmware sleeps and waits for input: it is alive, the line is not"
    else:
        verdict = f"the firmware hangs: it runs in {_functions(state, firmware)} and answers nothing"
        verdict += ", interrupts off" if _interrupts_off(state) else ""
    return Evidence(verdict, where, registers, stack_bytes=stack, jumps=jumps)


def _first_sentence(error: HilError) -> str:
    return str(error).partition(": ")[2].split(". ")[0]


def _functions(state: CoreState, firmware: Firmware) -> str:
    names = dict.fromkeys(firmware.locate(pc) or f"{pc:#010x}" for pc in (*state.seen, state.registers["pc"]))
    return ", ".join(names)


def _exception(state: CoreState) -> int:
    return state.registers.get("xpsr", 0) & _EXCEPTION


def _interrupts_off(state: CoreState) -> bool:
    return bool(state.registers.get("primask", 0) & 1)


def read_jumps(state: CoreState, buffer: int) -> tuple[Jump, ...]:
    """The micro trace buffer, oldest first; ``buffer`` is its address."""
    size = 16 << (state.trace_master & 31) if state.trace_master & 31 < 12 else 0
    start = buffer - RAM_BASE
    if not buffer or not size or len(state.ram) < start + size:
        return ()
    words = [int.from_bytes(state.ram[i : i + 4], "little") for i in range(start, start + size, 4)]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    at = (state.trace_position & ~7 & (size - 1)) // 8
    ordered = pairs[at:] + pairs[:at]
    return tuple(Jump(s & ~1, t & ~1, bool(s & 1), bool(t & 1)) for s, t in ordered if s or t)


def stacked_registers(state: CoreState, jumps: Sequence[Jump]) -> dict[str, int]:
    """
    What the core stacked at a fault that the firmware could not report, {} if it is not found.

    The last entry into an exception that the trace holds says where from; the frame with that PC lies on the stack.
    """
    faults = [jump.source for jump in jumps if jump.exception and jump.source < _RETURN]
    sp = state.registers["sp"] - RAM_BASE
    for source in reversed(faults):
        for at in range(max(0, sp), len(state.ram) - 4 * len(_FRAME), 4):
            words = [int.from_bytes(state.ram[at + 4 * i : at + 4 * i + 4], "little") for i in range(len(_FRAME))]
            if words[6] == source and words[7] & _THUMB:
                extra = 4 if words[7] & _ALIGNED else 0
                return {**dict(zip(_FRAME, words, strict=True)), "sp": RAM_BASE + at + 4 * len(_FRAME) + extra}
    return {}


def _stack_bytes(state: CoreState, places: dict[str, int]) -> int:
    """High-water mark, by the paint that is left."""
    bottom, top = (places.get(name, 0) - RAM_BASE for name in ("link_stack_bottom", "link_stack_top"))
    if not 0 <= bottom < top <= len(state.ram):
        return 0
    at = bottom
    while at < top and state.ram[at : at + 4] == PAINT:
        at += 4
    return top - at


def _symbols(firmware: Firmware) -> Symbols:
    try:
        return read_symbols(firmware.elf)
    except (UsageError, OSError):
        return Symbols()


def _places(firmware: Firmware) -> dict[str, int]:
    """Addresses of the names that the evidence needs."""
    try:
        with firmware.elf.open("rb") as file:
            table: Any = ELFFile(file).get_section_by_name(".symtab")
            found = {name: table.get_symbol_by_name(name) for name in _NAMES} if table else {}
            return {name: int(symbols[0]["st_value"]) for name, symbols in found.items() if symbols}
    except Exception:  # pyelftools raises whatever its parser trips over; the evidence is then poorer
        return {}


def _save_ram(state: CoreState | None, folder: Path | None) -> Path | None:
    if state is None or not state.ram or folder is None:
        return None
    path = folder / "crash-ram.bin"
    path.write_bytes(state.ram)
    return path


def _lines(rig: Rig, evidence: Evidence, symbols: Symbols) -> Iterator[str]:
    yield f"{rig.name} ({rig.tier.value}), {time.strftime('%Y-%m-%d %H:%M:%S')}: {evidence.verdict}"
    if evidence.problem:
        yield f"  nobody could look at the core: {evidence.problem}"
    if evidence.where:
        yield f"  at {evidence.where}"
    shown = [f"{name} {value:08x}" for name, value in evidence.registers.items()]
    for i in range(0, len(shown), 4):
        yield "  " + "  ".join(f"{text:<16}" for text in shown[i : i + 4]).rstrip()
    if evidence.registers.get("lr", _RETURN) < _RETURN:
        yield f"  called from about {symbols.place(evidence.registers['lr'] & ~1)}"
    if evidence.stack_bytes:
        yield f"  stack: {evidence.stack_bytes} of {evidence.stack_size} bytes were used"
    if evidence.jumps:
        yield "  last jumps (micro trace buffer), oldest first:"
        yield from _jump_lines(evidence.jumps, symbols)
    if evidence.frames:
        yield "  last frames:"
        yield from (f"    {frame}" for frame in evidence.frames)
    if evidence.ram_file:
        yield f"  memory from {RAM_BASE:#010x}, {chip(rig.chip).ram_bytes >> 10} KB: {evidence.ram_file}"


def _jump_lines(jumps: Sequence[Jump], symbols: Symbols) -> Iterator[str]:
    """Equal ones in a row are one line."""
    i = 0
    while i < len(jumps):
        same = next((j for j in range(i, len(jumps)) if jumps[j] != jumps[i]), len(jumps)) - i
        jump = jumps[i]
        how = " (exception)" if jump.exception else ""
        times = f", {same} times" if same > 1 else ""
        yield f"    {_end(jump.source, symbols)} -> {_end(jump.target, symbols)}{how}{times}"
        i += same


def _end(address: int, symbols: Symbols) -> str:
    return "return from exception" if address >= _RETURN & ~1 else symbols.place(address)


def is_about_firmware(error: BaseException) -> bool:
    """Whether looking at the core can tell more about an error: a fault or silence, not a cable."""
    return isinstance(error, (FirmwareFault, LinkTimeout))
