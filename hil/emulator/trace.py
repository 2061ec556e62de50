"""Every instruction with what it changed, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

import capstone

from hil.emulator.core import Emulator
from hil.emulator.symbols import Symbols

_INSTRUCTION, _ENTRY, _RETURN, _ASLEEP = range(4)
_NAMES = (*(f"r{i}" for i in range(13)), "sp", "lr")
_EXCEPTIONS = {2: "NMI", 3: "HardFault", 11: "SVCall", 14: "PendSV", 15: "SysTick"}
_IRQ0 = 16
TRACE_RECORDS = 50_000
"""Run at most so many cycles between two calls of `Tracer.write`; no instruction takes less than one."""


def exception_name(number: int) -> str:
    """``"SysTick"``, ``"IRQ 12"``."""
    return _EXCEPTIONS.get(number, f"IRQ {number - _IRQ0}")


class Tracer:
    """
    Writes what the core did since the last call.

    Args:
        emulator: After `hil.emulator.profile.begin_profile` with ``TRACE_RECORDS``.
        symbols: For names of places.
        out: One line for each instruction: cycle after it, address, place, instruction, changes.
    """

    def __init__(self, emulator: Emulator, symbols: Symbols, out: TextIO):
        self._emulator, self._symbols, self._out = emulator, symbols, out
        self._disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
        self._texts: dict[tuple[int, bytes], str] = {}
        self._before: dict[str, int] = {}
        self._ffi, self._lib, self._emu = emulator.handle
        self._records = self._ffi.new("struct emu_trace_record[]", TRACE_RECORDS)

    def write(self, *_: object) -> None:
        """Write the lines that have gathered."""
        n = int(self._lib.emu_trace_take(self._emu, self._records, TRACE_RECORDS))
        self._out.writelines(line + "\n" for i in range(n) for line in self._lines(self._records[i]))

    def _lines(self, record: object) -> Iterator[str]:
        kind, pc, cycle = (int(getattr(record, name)) for name in ("kind", "pc", "cycle"))
        if kind == _ENTRY:
            yield f"{cycle:>12}           -- {exception_name(pc)} is entered"
        elif kind == _RETURN:
            yield f"{cycle:>12}           -- return from the exception ({pc:08x})"
        elif kind == _ASLEEP:
            yield f"{cycle:>12}           -- asleep until here"
        else:
            function = self._symbols.function(pc)
            place = f"{function.name}+{pc - function.address:#x}" if function else ""
            yield f"{cycle:>12}  {pc:08x} {place:<24} {self._text(pc):<28} {self._changes(record)}".rstrip()

    def _text(self, pc: int) -> str:
        code = self._emulator.read(pc, 4) if self._long(pc) else self._emulator.read(pc, 2)
        if (pc, code) not in self._texts:
            found = next(self._disassembler.disasm(code, pc), None)
            shown = f"{found.mnemonic} {found.op_str}".strip() if found else f".inst {code.hex()}"
            self._texts[pc, code] = shown
        return self._texts[pc, code]

    def _long(self, pc: int) -> bool:
        return int.from_bytes(self._emulator.read(pc, 2), "little") >= 0xF000

    def _changes(self, record: object) -> str:
        registers = record.registers  # type: ignore[attr-defined]
        after = {name: int(registers[i]) for i, name in enumerate(_NAMES)}
        xpsr = int(record.xpsr)  # type: ignore[attr-defined]
        after["flags"] = xpsr >> 28
        changed = [name for name, value in after.items() if self._before.get(name) != value] if self._before else []
        self._before = after
        return " ".join(_flags(after[name]) if name == "flags" else f"{name}={after[name]:08x}" for name in changed)


def _flags(bits: int) -> str:
    return "".join(
        letter if bits >> shift & 1 else letter.lower() for letter, shift in zip("NZCV", (3, 2, 1, 0), strict=True)
    )
