"""What every rig is."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from hil.chips import Board
from hil.errors import UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.probe.autopsy import CoreState
from hil.rig.file import Stages
from hil.trace import Tier


@dataclass(frozen=True)
class FlashReport:
    """
    What `Rig.flash` did.

    Attributes:
        bytes: Written.
        seconds: Wall time.
        how: In words, for user and report: by which way, and the same every time.
        notes: What else the reader must know, such as what had to be recovered.
        serial: Of the chip, as its probe reads it; "": nobody did.
    """

    bytes: int
    seconds: float
    how: str
    notes: tuple[str, ...] = ()
    serial: str = ""


class Target(Protocol):
    """
    What a program is built for.

    Attributes:
        chip: A name of `hil.chips`.
        wiring: How its UART is wired.
    """

    @property
    def chip(self) -> str: ...
    @property
    def wiring(self) -> Board: ...


class Rig(Target, Protocol):
    """
    Whatever runs firmware.  Use it as a context manager: flash, then open.

    Attributes:
        name: Of the rig that runs, which may be another than the one that was asked for.
        tier: What its cycle counts are worth.
        reason: Why this rig runs and not another, for headers and reports.
        clock: ``"xosc32k"`` or ``"open-loop"``: what the chip's clock follows.
        bauds: Line speeds to rise to after HELLO.
        features: What its answers can be trusted for (`hil.rig.RigFile`).
        stages: Deadlines.
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
    def bauds(self) -> tuple[int, ...]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def stages(self) -> Stages: ...
    @property
    def sha256(self) -> str: ...

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Put a program on the chip and start it.

        Raises:
            UsageError: It was built for another chip or another wiring.
            FlashError: It cannot be written.
            RigBusy: Another run has the board.
        """

    def open(self) -> Device:
        """
        Connect to what runs; say `Device.hello` first.

        Raises:
            RigNotFound: Nothing is attached.
            PortLost: The port cannot be opened.
        """

    def restart(self) -> None:
        """
        Reset the chip from outside, whatever the firmware does; the line is at 115,200 again, HELLO comes next.

        Raises:
            RigError: It cannot be reset.
        """

    def examine(self) -> CoreState | None:
        """
        Look at the core of a firmware that does not answer; None where nobody can.  It needs a reset afterwards.

        Raises:
            RigError: The chip does not answer its debugger.
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


def check_firmware(firmware: Firmware, rig: str, chip: str, wiring: Board) -> None:
    """Raises `UsageError` if a program was built for another chip or another wiring than a rig has."""
    if firmware.chip.name != chip:
        raise UsageError(
            f"{rig}: the firmware is for {firmware.chip.name}, this rig has {chip}: "
            f"set chip in the recipe's [build], or choose another rig"
        )
    if firmware.board != wiring:
        raise UsageError(f"{rig}: the firmware is for another wiring: build it with --rig {rig}")
