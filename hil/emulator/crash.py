"""A fault, told so that somebody can find it: what, where, with which registers, called by whom."""

from __future__ import annotations

from collections.abc import Iterator

from hil.chips import RAM_BASE
from hil.emulator.board import Crash
from hil.emulator.core import Emulator, FaultKind, register_name
from hil.emulator.symbols import Symbols
from hil.errors import UsageError

WHY = {
    FaultKind.UNALIGNED: "an access to an address that is no multiple of its size",
    FaultKind.UNMAPPED: "an access to an address where nothing answers",
    FaultKind.UNDEFINED: "an instruction that Armv6-M does not have",
    FaultKind.EXECUTE_NEVER: "execution in a place that holds no code",
    FaultKind.THUMB_BIT: "a jump to an even address (Arm code; the core knows Thumb only)",
    FaultKind.UNCLOCKED: "an access to a peripheral without its clock (PM.APBxMASK, GCLK.CLKCTRL)",
    FaultKind.SVC_PRIORITY: "an SVC where its exception may not be entered",
    FaultKind.BKPT: "a BKPT without a debugger",
    FaultKind.WRITE_FLASH: "a byte written to flash, whose page buffer takes halfwords and words",
    FaultKind.WAIT_STATES: "a fetch from flash faster than its wait states allow (NVMCTRL.CTRLB.RWS)",
    FaultKind.EXCEPTION_RETURN: "a return from an exception that does not fit the core's state",
    FaultKind.PROTECTED: "a write to a peripheral that its PAC protects",
}
"""What each kind of fault is, in words."""

_STACK_WORDS = 64
_FRAMES = 12


def explain(crash: Crash, emulator: Emulator, symbols: Symbols | None = None) -> str:
    """The report as lines of text; ``emulator`` still holds the memory of that moment."""
    return "\n".join(_lines(crash, emulator, symbols or Symbols()))


def _lines(crash: Crash, emulator: Emulator, symbols: Symbols) -> Iterator[str]:
    fault, registers = crash.fault, crash.registers
    how = "The core has locked up" if crash.locked_up else "HardFault"
    yield f"{how} after {crash.cycles} cycles: {WHY[fault.kind]}"
    if fault.address != registers["pc"]:
        name = register_name(fault.address)
        yield f"  accessed  {fault.address:#010x}" + ("" if name.startswith("0x") else f"  {name}")
    yield f"  at        {symbols.place(registers['pc'])}"
    if crash.inside is not None:
        where = symbols.place(crash.inside.registers["pc"])
        yield f"  then, inside the handler: {WHY[crash.inside.kind]} at {where}"
    for i in range(0, 17, 4):
        names = list(registers)[i : i + 4]
        yield "  " + "  ".join(f"{name:>4} {registers[name]:08x}" for name in names)
    if fault.count > 1:
        yield f"  {fault.count} faults since reset; this is the last"
    callers = list(_callers(emulator, registers, symbols))
    if callers:
        yield "  called by, as far as the stack tells:"
        yield from (f"    {place}" for place in callers)


def _callers(emulator: Emulator, registers: dict[str, int], symbols: Symbols) -> Iterator[str]:
    """LR and words on the stack that point behind a call in a known function."""
    candidates = [registers["lr"], *_stack(emulator, registers["sp"])]
    found = [
        word for word in candidates if word & 1 and symbols.function(word & ~1) and _behind_call(emulator, word & ~1)
    ]
    for word in list(dict.fromkeys(found))[:_FRAMES]:
        yield symbols.place((word & ~1) - 2)


def _stack(emulator: Emulator, sp: int) -> list[int]:
    end = RAM_BASE + emulator.chip.ram_bytes
    if not RAM_BASE <= sp < end or sp % 4:
        return []
    data = emulator.read(sp, min(4 * _STACK_WORDS, end - sp))
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) - 3, 4)]


def _behind_call(emulator: Emulator, address: int) -> bool:
    """The instruction before ``address`` is BL or BLX."""
    try:
        before = emulator.read(address - 4, 4)
    except UsageError:
        return False
    first, second = int.from_bytes(before[:2], "little"), int.from_bytes(before[2:], "little")
    return (first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000) or second & 0xFF87 == 0x4780
