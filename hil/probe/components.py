"""Identification registers of what a debugger finds on the bus (Arm IHI 0031, D; technical reference manuals)."""

from __future__ import annotations

from collections.abc import Mapping

DSU_ROM, CORE_ROM = 0x41003000, 0xE00FF000
SCS, DWT, BPU, MTB = 0xE000E000, 0xE0001000, 0xE0002000, 0x41006000

_ROM_CLASS, _CORESIGHT_CLASS, _GENERIC_CLASS = 0x1, 0x9, 0xE
_PIDR4, _PIDR0, _CIDR0 = 0xFD0, 0xFE0, 0xFF0
_PRESENT = 3

_ARM, _ATMEL = 0x43B, 0x01F
"""JEP106: continuation code in bits 11 to 8 (4: the fifth bank), identity below."""


def _identity(designer: int, part: int, component_class: int) -> dict[int, int]:
    """PIDR0 to 7 and CIDR0 to 3 by offset."""
    continuation, identity = designer >> 8, designer & 0x7F
    pidr = (part & 0xFF, (identity & 0xF) << 4 | part >> 8, 0x8 | identity >> 4, 0)
    cidr = (0x0D, component_class << 4, 0x05, 0xB1)
    registers = {_PIDR4 + 4 * i: value for i, value in enumerate((continuation, 0, 0, 0))}
    registers |= {_PIDR0 + 4 * i: value for i, value in enumerate(pidr)}
    return registers | {_CIDR0 + 4 * i: value for i, value in enumerate(cidr)}


def _entries(base: int, *components: int) -> dict[int, int]:
    """A ROM table: where its components lie, relative to itself."""
    return {4 * i: (at - base) & 0xFFFFF000 | _PRESENT for i, at in enumerate(components)}


def _at(base: int, registers: Mapping[int, int]) -> dict[int, int]:
    return {base + offset: value for offset, value in registers.items()}


def _mtb() -> dict[int, int]:
    """DEVARCH and DEVTYPE besides: a trace buffer."""
    return _identity(_ARM, 0x932, _CORESIGHT_CLASS) | {0xFBC: 0x47700A31, 0xFCC: 0x31}


IDENTIFICATION: dict[int, int] = {
    **_at(DSU_ROM, _identity(_ATMEL, 0xCD0, _ROM_CLASS) | _entries(DSU_ROM, CORE_ROM, MTB) | {0xFCC: 1}),
    **_at(CORE_ROM, _identity(_ARM, 0x4C0, _ROM_CLASS) | _entries(CORE_ROM, SCS, DWT, BPU) | {0xFCC: 1}),
    **_at(SCS, _identity(_ARM, 0x008, _GENERIC_CLASS)),
    **_at(DWT, _identity(_ARM, 0x00A, _GENERIC_CLASS)),
    **_at(BPU, _identity(_ARM, 0x00B, _GENERIC_CLASS)),
    **_at(MTB, _mtb()),
}
"""Word by address; the rest of each component's last 64 bytes reads as zero."""
