"""The chips and boards that firmware is built for."""

from __future__ import annotations

from dataclasses import dataclass

from hil.errors import UsageError, suggest


@dataclass(frozen=True)
class Chip:
    """
    One SAMD21 variant.

    Attributes:
        name: Lower case, as pyOCD and the compiler call it.
        flash_bytes, ram_bytes: Sizes; flash at 0x00000000, RAM at 0x20000000.
        device_id: DSU.DID of revision D silicon (data sheet, "Device identification"; die
            revision in bits 8 to 11).
        sercoms: Number of serial interfaces.
    """

    name: str
    flash_bytes: int
    ram_bytes: int
    device_id: int
    sercoms: int


@dataclass(frozen=True)
class Board:
    """
    How the UART of a board is wired.

    Attributes:
        sercom: Which SERCOM.
        tx, rx: Pins, such as ``"PA22"``.
        mux: Peripheral function of both pins, ``"C"`` or ``"D"``.
        tx_pad: 0 or 2.
        rx_pad: 0 to 3.
        clock: ``"xosc32k"`` (closed loop on a 32 kHz crystal) or ``"open-loop"``.
    """

    sercom: int = 3
    tx: str = "PA22"
    rx: str = "PA23"
    mux: str = "C"
    tx_pad: int = 0
    rx_pad: int = 1
    clock: str = "open-loop"


FLASH_BASE, RAM_BASE = 0x00000000, 0x20000000

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("atsamd21e18a", 256 << 10, 32 << 10, 0x1001030A, 4),
        Chip("atsamd21g18a", 256 << 10, 32 << 10, 0x10010305, 6),
        Chip("atsamd21j18a", 256 << 10, 32 << 10, 0x10010300, 6),
        Chip("atsamd21e17a", 128 << 10, 16 << 10, 0x1001030B, 4),
        Chip("atsamd21g17a", 128 << 10, 16 << 10, 0x10010306, 6),
        Chip("atsamd21j17a", 128 << 10, 16 << 10, 0x10010301, 6),
    )
}


def chip(name: str) -> Chip:
    """The chip called ``name``.  Raises `UsageError` with the nearest known name."""
    try:
        return CHIPS[name.lower()]
    except KeyError:
        raise UsageError(f"unknown chip {name!r}{suggest(name.lower(), CHIPS)}. Known: {', '.join(CHIPS)}") from None
