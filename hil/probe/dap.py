"""
The debug port and the access port that a probe talks to (Arm IHI 0031, ADIv5.2).

One DP of version 1 with a MINDP, one AHB-AP at APSEL 0.  An error of the bus sets STICKYERR; while it is set, every
access to the AP is answered FAULT.
"""

from __future__ import annotations

from typing import Protocol

from hil.probe.wire import Ack

WORD = 0xFFFFFFFF

# SW-DP of the Cortex-M0+: MINDP, version 1.
DPIDR = 0x0BC11477
# AHB-AP of the Cortex-M0+ and what it is after power-on (technical reference manual, "Debug").
AP_IDR = 0x04770031
CSW_RESET = 0x03000042
CSW_WRITABLE = 0x0F000037
ROM_BASE = 0x41003003
"""The DSU's ROM table, present, in the format of ADIv5."""

_IDR_OR_ABORT, _CTRL_STAT, _SELECT_OR_RESEND, _RDBUFF = 0x0, 0x4, 0x8, 0xC
_CSW, _TAR, _DRW, _BD0, _BD3, _BASE, _IDR = 0x00, 0x04, 0x0C, 0x10, 0x1C, 0xF8, 0xFC

_STICKYORUN, _STICKYCMP, _STICKYERR, _READOK, _WDATAERR = 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 7
_POWER_REQUESTS = 1 << 28 | 1 << 30
_DEBUG_POWER = 1 << 28
_CTRL_WRITABLE = 1 << 0 | 0xF00 | 1 << 26 | _POWER_REQUESTS
# Bits of ABORT and what they clear.
_ABORT = {1 << 1: _STICKYCMP, 1 << 2: _STICKYERR, 1 << 3: _WDATAERR, 1 << 4: _STICKYORUN}

_SIZES = {0: 1, 1: 2, 2: 4}
_INCREMENT_OFF, _INCREMENT_SINGLE = 0, 1
_TAR_WRAP = 0x3FF
"""The address counts within 1 KiB."""


class BusFault(Exception):
    """The bus answered with an error."""


class Bus(Protocol):
    """What the AHB-AP reaches."""

    def read(self, address: int, size: int) -> int:
        """1, 2 or 4 bytes, aligned.  Raises `BusFault`."""

    def write(self, address: int, size: int, value: int) -> None:
        """Likewise."""


class AccessPort:
    """The AHB-AP.  Registers by full offset."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._csw, self._tar = CSW_RESET, 0

    def read(self, register: int) -> int:
        """Raises `BusFault`."""
        if register == _DRW:
            return self._transfer_read()
        if _BD0 <= register <= _BD3:
            return self._bus.read((self._tar & ~0xF) | (register & 0xC), 4)
        return {_CSW: self._csw, _TAR: self._tar, _BASE: ROM_BASE, _IDR: AP_IDR}.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Raises `BusFault`."""
        if register == _DRW:
            self._transfer_write(value)
        elif _BD0 <= register <= _BD3:
            self._bus.write((self._tar & ~0xF) | (register & 0xC), 4, value)
        elif register == _TAR:
            self._tar = value
        elif register == _CSW:
            size = value & 7 if value & 7 in _SIZES else self._csw & 7
            self._csw = (self._csw & ~CSW_WRITABLE) | (value & CSW_WRITABLE & ~7) | size

    def _transfer_read(self) -> int:
        size = self._size()
        value = self._bus.read(self._tar, size) << 8 * (self._tar & 3 & -size)
        self._advance(size)
        return value & WORD

    def _transfer_write(self, value: int) -> None:
        size = self._size()
        self._bus.write(self._tar, size, value >> 8 * (self._tar & 3 & -size) & ((1 << 8 * size) - 1))
        self._advance(size)

    def _size(self) -> int:
        size = _SIZES[self._csw & 7]
        if self._tar & (size - 1):
            raise BusFault(f"{self._tar:#010x} is not on a multiple of {size}")
        return size

    def _advance(self, size: int) -> None:
        if self._csw >> 4 & 3 == _INCREMENT_SINGLE:
            self._tar = (self._tar & ~_TAR_WRAP) | ((self._tar + size) & _TAR_WRAP)


class DebugPort:
    """The SW-DP.  Registers by A[3:2], values are words; each access has an acknowledge."""

    def __init__(self, bus: Bus) -> None:
        self._ap = AccessPort(bus)
        self._control = 0
        self._sticky = 0
        self._select = 0
        self._buffer = 0

    def read_dp(self, register: int) -> tuple[Ack, int]:
        """DPIDR, CTRL/STAT, RESEND, RDBUFF.  Only the last two can be answered FAULT."""
        if register == _IDR_OR_ABORT:
            return Ack.OK, DPIDR
        if register == _CTRL_STAT:
            return Ack.OK, self._status() if self._select & 0xF == 0 else 0
        return (Ack.FAULT if self._sticky else Ack.OK), self._buffer

    def write_dp(self, register: int, value: int) -> Ack:
        """ABORT, CTRL/STAT, SELECT."""
        if register == _IDR_OR_ABORT:
            for bit, clears in _ABORT.items():
                self._sticky &= ~clears if value & bit else WORD
        elif self._sticky:
            return Ack.FAULT
        elif register == _CTRL_STAT and self._select & 0xF == 0:
            self._control = value & _CTRL_WRITABLE
        elif register == _SELECT_OR_RESEND:
            self._select = value
        return Ack.OK

    def read_ap(self, register: int) -> tuple[Ack, int]:
        """A register of the AP and bank in SELECT; an AP that is not there reads as zero."""
        if not self._ready():
            return Ack.FAULT, 0
        if self._select >> 24:
            return Ack.OK, 0
        try:
            self._buffer = self._ap.read((self._select & 0xF0) | register)
        except BusFault:
            return self._fault(), 0
        self._control |= _READOK
        return Ack.OK, self._buffer

    def write_ap(self, register: int, value: int) -> Ack:
        """Likewise."""
        if not self._ready():
            return Ack.FAULT
        if not self._select >> 24:
            try:
                self._ap.write((self._select & 0xF0) | register, value)
            except BusFault:
                return self._fault()
        return Ack.OK

    def _ready(self) -> bool:
        """Without debug power an access is an error as well."""
        if not self._control & _DEBUG_POWER:
            self._sticky |= _STICKYERR
        return not self._sticky

    def _fault(self) -> Ack:
        """The SWD answer to the access that failed: the probe notices at once, as after its own read of RDBUFF."""
        self._sticky |= _STICKYERR
        self._control &= ~_READOK
        return Ack.FAULT

    def _status(self) -> int:
        return self._control | (self._control & _POWER_REQUESTS) << 1 | self._sticky
