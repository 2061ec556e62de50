"""What every rig is, and the file that describes one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Literal, Protocol

from hil.chips import Board, chip
from hil.errors import UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.trace import Tier

_SERIAL_DIGITS = 32


@dataclass(frozen=True)
class RigFile:
    """
    ``rigs/<name>.toml``.

    Attributes:
        name: As on the command line.
        kind: ``"emulator"``: the built-in emulated chip.
        description: One line for `hil rigs`.
        chip: A name of `hil.chips`; firmware of another chip is refused.
        serial: 128-bit serial number of the emulated chip, 32 hexadecimal digits.
        timeout_s: How long the host waits for each frame.
        baud: Line speed for the run, set after HELLO at 115,200.
        pack: A vendor's CMSIS pack that replaces hil's own description of the chip for pyOCD; a path relative to
            where hil is called.  ``""``: none.
        pack_sha256: Its SHA-256.
        board: How the UART is wired.
    """

    name: str
    kind: Literal["emulator"]
    description: str = ""
    chip: str = "atsamd21j18a"
    serial: str = "0" * _SERIAL_DIGITS
    timeout_s: float = 2.0
    baud: int = 115_200
    pack: str = ""
    pack_sha256: str = ""
    board: Board = field(default_factory=Board)

    def __post_init__(self) -> None:
        chip(self.chip)
        if len(self.serial) != _SERIAL_DIGITS or set(self.serial) - set("0123456789abcdef"):
            raise UsageError(f"serial = {self.serial!r} is not {_SERIAL_DIGITS} lower-case hexadecimal digits")
        if not 0 < self.timeout_s <= 600:
            raise UsageError(f"timeout_s = {self.timeout_s}: must be above 0 and at most 600")
        if not 300 <= self.baud <= 3_000_000:
            raise UsageError(f"baud = {self.baud}: must be within 300 and 3,000,000")
        if bool(self.pack) != bool(self.pack_sha256):
            raise UsageError("pack and pack_sha256 go together: a pack is named by its path and its hash")

    def sha256(self) -> str:
        """Hash of the values, whatever the file's layout."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FlashReport:
    """
    What `Rig.flash` did.

    Attributes:
        bytes: Written.
        seconds: Wall time.
        how: In words, for user and report: by which way, and the same every time.
    """

    bytes: int
    seconds: float
    how: str


class Rig(Protocol):
    """
    Whatever runs firmware.  Use it as a context manager: flash, then open.

    Attributes:
        name: As on the command line.
        tier: What its cycle counts are worth.
        reason: Why this rig runs and not another, for headers and reports.
        clock: ``"xosc32k"`` or ``"open-loop"``: what the chip's clock follows.
        chip: Name of its chip.
        baud: Line speed for a run, to be set after HELLO.
        sha256: Of its description.
    """

    @property
    def name(self) -> str: ...
    @property
    def tier(self) -> Tier: ...
    @property
    def reason(self) -> str: ...
    @property
    def clock(self) -> str: ...
    @property
    def chip(self) -> str: ...
    @property
    def baud(self) -> int: ...
    @property
    def sha256(self) -> str: ...

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Put a program on the chip and start it.

        Raises:
            UsageError: It was built for another chip.
            FlashError: It cannot be written.
        """

    def open(self) -> Device:
        """
        Connect to what runs; say `Device.hello` first.

        Raises:
            RigNotFound: Nothing is attached.
            PortLost: The port cannot be opened.
        """

    def stream(self) -> None:
        """
        After `open`: bytes will follow each other whatever the firmware does, as on any real line.

        Only the emulated line has to be told; its cycle counts then depend on when the host sends.
        """

    def real_time(self) -> None:
        """
        After `open`: the device's time keeps pace with the clock on the wall, as it does on any board.

        Only the emulated chip has to be told; its cycle counts then depend on when the host sends.
        """

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""

    def __enter__(self) -> Rig: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
