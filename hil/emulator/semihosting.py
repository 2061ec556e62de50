"""What a program asks of its debugger with BKPT 0xAB: to end with a status, and to print."""

from __future__ import annotations

from dataclasses import dataclass

from hil.emulator.core import Emulator
from hil.errors import UsageError

_BKPT_SEMIHOSTING = 0xBEAB
_WRITEC, _WRITE0, _EXIT, _EXIT_EXTENDED = 0x03, 0x04, 0x18, 0x20
_APPLICATION_EXIT = 0x20026
"""Reason "the application has ended"; every other is a failure (Arm semihosting, SYS_EXIT)."""
_MAX_TEXT = 4096


@dataclass(frozen=True)
class Exit:
    """
    The program has ended.

    Attributes:
        status: 0 is success; 1 for an exit for another reason than its end; ``None`` for a plain BKPT.
        cycles: Since reset.
        pc: Where.
    """

    status: int | None
    cycles: int
    pc: int


def answer(emulator: Emulator) -> Exit | str:
    """
    Deal with the BKPT that the core stands on.

    Returns:
        How the program has ended, or what it prints; then the core stands behind the BKPT.
    """
    registers = emulator.registers()
    pc, what, argument = registers["pc"], registers["r0"], registers["r1"]
    if int.from_bytes(emulator.read(pc, 2), "little") != _BKPT_SEMIHOSTING:
        return Exit(None, emulator.cycles, pc)
    if what == _EXIT:
        return Exit(0 if argument == _APPLICATION_EXIT else 1, emulator.cycles, pc)
    if what == _EXIT_EXTENDED:
        reason, status = (_word(emulator, argument + 4 * i) for i in (0, 1))
        return Exit(status & 0xFF if reason == _APPLICATION_EXIT else 1, emulator.cycles, pc)
    text = _text(emulator, argument, 1 if what == _WRITEC else _MAX_TEXT) if what in (_WRITEC, _WRITE0) else ""
    emulator.set_register("r0", 0 if what in (_WRITEC, _WRITE0) else 0xFFFFFFFF)
    emulator.set_register("pc", pc + 2)
    return text


def _word(emulator: Emulator, address: int) -> int:
    try:
        return int.from_bytes(emulator.read(address, 4), "little")
    except UsageError:
        return 0


def _text(emulator: Emulator, address: int, limit: int) -> str:
    """Bytes up to a zero."""
    data = bytearray()
    while len(data) < limit:
        try:
            byte = emulator.read(address + len(data), 1)
        except UsageError:
            break
        if byte == b"\0":
            break
        data += byte
    return data.decode(errors="replace")
