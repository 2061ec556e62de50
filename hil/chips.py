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


@dataclass(frozen=True)
class Microphone:
    """
    How a microphone is wired, and how it is sampled.

    Attributes:
        kind: ``"adc"`` (analog, centred at half the supply) or ``"i2s"`` (digital, 24 bits, left channel).
        rate_hz: Samples a second, 8,000 or 16,000.
        pin: Of an analog microphone, such as ``"PA02"``.
        oversampling: Conversions of the ADC that make one sample: a power of two, 1 to 16, or 32 at 8 kHz.
        sck, fs, sd: Of an I2S microphone: bit clock, word select, data.
        gain: 1, 2, 4, 8 or 16, after the constant part is known and before 16 bits are cut out.
        ring: Samples that the device keeps, a power of two, 512 to 4,096: 2 bytes of RAM each.
    """

    kind: str
    rate_hz: int = 16000
    pin: str = "PA02"
    oversampling: int = 16
    sck: str = "PA10"
    fs: str = "PA11"
    sd: str = "PA07"
    gain: int = 1
    ring: int = 4096

    def __post_init__(self) -> None:
        allowed: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("kind", self.kind, ("adc", "i2s")),
            ("rate_hz", self.rate_hz, (8000, 16000)),
            ("oversampling", self.oversampling, (1, 2, 4, 8, 16, *((32,) if self.rate_hz == 8000 else ()))),
            ("gain", self.gain, (1, 2, 4, 8, 16)),
            ("ring", self.ring, (512, 1024, 2048, 4096)),
            ("pin", self.pin, tuple(ADC_PINS)),
            ("sck", self.sck, I2S_PINS["sck"]),
            ("fs", self.fs, I2S_PINS["fs"]),
            ("sd", self.sd, I2S_PINS["sd"]),
        )
        for name, value, known in allowed:
            if value not in known:
                raise UsageError(f"microphone: {name} = {value!r}; expected {', '.join(map(repr, known))}")


ADC_PINS = (
    *("PA02", "PA03", "PB08", "PB09", "PA04", "PA05", "PA06", "PA07", "PB00", "PB01"),
    *("PB02", "PB03", "PB04", "PB05", "PB06", "PB07", "PA08", "PA09", "PA10", "PA11"),
)
"""Pin of each input of the ADC, AIN0 to AIN19, peripheral function B (data sheet, "I/O multiplexing")."""
I2S_PINS = {"sck": ("PA10", "PA20"), "fs": ("PA11", "PA21"), "sd": ("PA07", "PA19")}
"""Pins of I2S clock unit 0 and serializer 0, peripheral function G (data sheet, "I/O multiplexing")."""

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
