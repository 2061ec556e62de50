"""What the debugger's bus reaches: the chip's own bus, and beside it what only a debugger sees."""

from __future__ import annotations

from hil.errors import UsageError
from hil.probe.chip import DebuggedChip
from hil.probe.components import CORE_ROM, DSU_ROM, IDENTIFICATION, SCS
from hil.probe.dap import BusFault
from hil.probe.dsu import DSU, EXTERNAL, SIZE, ServiceUnit
from hil.probe.registers import DebugRegisters

_PRIVATE, _PRIVATE_END = 0xE0000000, 0xE0100000
_SYSTEM = {
    *range(0x008, 0x020, 4),  # ACTLR, SysTick
    *(0x100, 0x180, 0x200, 0x280),  # NVIC
    *range(0x400, 0x420, 4),
    *range(0xD00, 0xD28, 4),  # CPUID to SHCSR
}
"""Offsets of the system control space that the core itself has."""

_DSU_END = 0x41004000
_IDS = 0xFBC
"""Offset within a component's 4 KiB from which on everything is identification."""


class DebugBus:
    """A `hil.probe.dap.Bus`."""

    def __init__(self, chip: DebuggedChip) -> None:
        self._chip = chip
        self.registers = DebugRegisters(chip)
        self._dsu = ServiceUnit(chip)

    def read(self, address: int, size: int) -> int:
        """Raises `BusFault`."""
        self._admit(address)
        if _identifies(address):
            return _part(IDENTIFICATION.get(address & ~3, 0), address, size)
        if DSU <= address < DSU + 2 * SIZE:
            return self._dsu.read(address % EXTERNAL, size)
        if _PRIVATE <= address < _PRIVATE_END:
            return _part(self._read_private(address & ~3), address, size)
        try:
            return self._chip.bus_read(address, size)
        except UsageError as error:
            raise BusFault(str(error)) from error

    def write(self, address: int, size: int, value: int) -> None:
        """Raises `BusFault`."""
        self._admit(address)
        if DSU <= address < DSU + 2 * SIZE:
            self._dsu.write(address % EXTERNAL, size, value)
        elif _PRIVATE <= address < _PRIVATE_END:
            self._write_private(address & ~3, value)
        elif not _identifies(address):
            try:
                self._chip.bus_write(address, size, value)
            except UsageError as error:
                raise BusFault(str(error)) from error

    def _admit(self, address: int) -> None:
        """The chip's filter: without power or in reset nothing answers, protected only the DSU's outside does."""
        if not self._chip.powered or self._chip.pin_low:
            raise BusFault("the chip is in reset or without power")
        if self._chip.protected and not DSU + EXTERNAL <= address < _DSU_END:
            raise BusFault(f"{address:#010x}: the chip is protected")

    def _read_private(self, address: int) -> int:
        """Registers that are not there read as zero."""
        found = self.registers.read(address)
        if found is None and self._is_system(address):
            return self._chip.bus_read(address, 4)
        return found or 0

    def _write_private(self, address: int, value: int) -> None:
        if not self.registers.write(address, value) and self._is_system(address):
            self._chip.bus_write(address, 4, value)

    def _is_system(self, address: int) -> bool:
        return address - SCS in _SYSTEM and not self._chip.extended


_COMPONENTS = {address & ~0xFFF for address in IDENTIFICATION}
_TABLES = {DSU_ROM, CORE_ROM}


def _identifies(address: int) -> bool:
    page = address & ~0xFFF
    return page in _TABLES or (page in _COMPONENTS and address & 0xFFF >= _IDS)


def _part(word: int, address: int, size: int) -> int:
    return word >> 8 * (address & 3) & ((1 << 8 * size) - 1)
