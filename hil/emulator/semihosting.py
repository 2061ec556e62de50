"""What a program asks of its debugger with BKPT 0xAB: to end with a status, to print, and what a C library needs."""

from __future__ import annotations

from dataclasses import dataclass

from hil.chips import RAM_BASE
from hil.emulator.core import Emulator
from hil.errors import UsageError

_BKPT_SEMIHOSTING = 0xBEAB
_OPEN, _CLOSE, _WRITEC, _WRITE0, _WRITE, _READ = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_ISTTY, _CLOCK, _ERRNO, _HEAPINFO, _EXIT, _EXIT_EXTENDED = 0x09, 0x10, 0x13, 0x16, 0x18, 0x20
_APPLICATION_EXIT = 0x20026
"""Reason "the application has ended"; every other is a failure (Arm semihosting, SYS_EXIT)."""
_MAX_TEXT = 4096
_CONSOLE, _FAILED = 1, 0xFFFFFFFF
"""The only handle: the special file ``:tt``."""


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

    Files other than the console do not exist, and there is nothing to read: such requests fail as on a full disk.

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
    result, text = _serve(emulator, what, argument)
    emulator.set_register("r0", result)
    emulator.set_register("pc", pc + 2)
    return text


def _serve(emulator: Emulator, what: int, argument: int) -> tuple[int, str]:
    """R0 of the answer, and what is printed."""
    first, second, third = (_word(emulator, argument + 4 * i) for i in range(3))
    if what in (_WRITEC, _WRITE0):
        return 0, _text(emulator, argument, 1 if what == _WRITEC else _MAX_TEXT)
    if what == _WRITE and first == _CONSOLE:
        return 0, _bytes(emulator, second, third).decode(errors="replace")
    if what == _OPEN:
        return (_CONSOLE if _text(emulator, first, third) == ":tt" else _FAILED), ""
    if what == _READ:
        return third, ""  # as many bytes as were not read: the end of the file
    if what == _HEAPINFO:
        _put(emulator, first, [0, 0, RAM_BASE + emulator.chip.ram_bytes, 0])
        return 0, ""
    known = {_CLOSE: 0, _ISTTY: 1, _ERRNO: 0, _CLOCK: int(emulator.seconds * 100)}
    return known.get(what, _FAILED), ""


def _word(emulator: Emulator, address: int) -> int:
    return int.from_bytes(_bytes(emulator, address, 4), "little")


def _put(emulator: Emulator, address: int, words: list[int]) -> None:
    try:
        emulator.write(address, b"".join(word.to_bytes(4, "little") for word in words))
    except UsageError:
        return


def _bytes(emulator: Emulator, address: int, n: int) -> bytes:
    """Bytes that are there, at most `_MAX_TEXT`."""
    data = bytearray()
    while len(data) < min(n, _MAX_TEXT):
        try:
            data += emulator.read(address + len(data), 1)
        except UsageError:
            break
    return bytes(data)


def _text(emulator: Emulator, address: int, limit: int) -> str:
    """Bytes up to a zero."""
    return _bytes(emulator, address, limit).split(b"\0")[0].decode(errors="replace")
