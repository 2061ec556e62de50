"""The device service unit as a debugger sees it (data sheet, "DSU")."""

from __future__ import annotations

import zlib

from hil.chips import FLASH_BASE
from hil.errors import UsageError
from hil.probe.chip import DebuggedChip

DSU = 0x41002000
SIZE = 0x100
EXTERNAL = 0x100
"""The registers appear twice; a protected chip shows the debugger the second place only."""

CTRL, STATUSA, STATUSB = 0, 1, 2
_ADDR, _LENGTH, _DATA, _DID = 0x04, 0x08, 0x0C, 0x18
CTRL_SWRST, CTRL_CRC, CTRL_CE = 1 << 0, 1 << 2, 1 << 4
DONE, CRSTEXT, BERR, FAIL, PERR = (1 << bit for bit in range(5))
PROT, DBGPRES, HPE = 1 << 0, 1 << 1, 1 << 4
_WORD = 0xFFFFFFFF


class ServiceUnit:
    """Registers by offset.  The processor's own view of them is the emulator's."""

    def __init__(self, chip: DebuggedChip) -> None:
        self._chip = chip
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._words = {_ADDR: 0, _LENGTH: 0, _DATA: 0}

    def read(self, offset: int, size: int) -> int:
        """1, 2 or 4 bytes."""
        word = self._word(offset & ~3) >> 8 * (offset & 3)
        return word & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        """Likewise.  A command is carried out at once: DONE is set when the answer is there."""
        if offset & ~3 in self._words:
            shift = 8 * (offset & 3)
            mask = ((1 << 8 * size) - 1) << shift
            self._words[offset & ~3] = (self._words[offset & ~3] & ~mask) | (value << shift & mask)
        for byte in range(size):
            self._write_byte(offset + byte, value >> 8 * byte & 0xFF)

    def _word(self, offset: int) -> int:
        if offset == 0:
            status_b = PROT * self._chip.protected | DBGPRES | HPE
            return (self._status | CRSTEXT * self._chip.extended) << 8 | status_b << 16
        if offset == _DID:
            return self._chip.chip.device_id
        return self._words.get(offset, 0)

    def _write_byte(self, offset: int, value: int) -> None:
        if offset == CTRL:
            self._command(value)
        elif offset == STATUSA:
            self._status &= ~value
            if value & CRSTEXT:
                self._chip.release()

    def _command(self, value: int) -> None:
        if value & CTRL_SWRST:
            self._reset()
        elif value & CTRL_CE:
            self._chip.erase_chip()
            self._status |= DONE
        elif value & CTRL_CRC:
            self._crc()

    def _crc(self) -> None:
        """CRC-32 of IEEE 802.3 over memory, from DATA; a protected chip tells it of its whole flash only."""
        at, length = self._words[_ADDR] & ~3, self._words[_LENGTH] & ~3
        if self._chip.protected and (at, length) != (FLASH_BASE, self._chip.chip.flash_bytes):
            self._status |= PERR
            return
        try:
            data = self._chip.read(at, length)
        except UsageError:
            self._status |= BERR
        else:
            self._words[_DATA] = zlib.crc32(data, self._words[_DATA] ^ _WORD) ^ _WORD
        self._status |= DONE
