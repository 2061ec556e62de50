"""The file that describes a rig: ``rigs/<name>.toml``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from hil.chips import Board, Microphone, chip
from hil.errors import UsageError

Kind = Literal["board", "renode", "emulator"]
Feature = Literal["exact", "cycles", "sound", "clock", "debug"]

AUTO = "auto"
"""A probe that is found by what is attached."""
WITH_PROBE = "probe"
"""A port of the same USB device as the probe."""
USB_PREFIX = "usb:"
RESET_BAUD = 115_200
"""Line speed after reset (docs/link.md)."""

_SERIAL_DIGITS = 32
_USB_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")


@dataclass(frozen=True)
class Stages:
    """
    How long each stage may take, in seconds; what is over then is ended and told.

    Attributes:
        lock_s: For another run on the same board to end.
        find_s: To list and identify debug probes.
        flash_s: To connect, erase, write and read back, on top of half a second for each kilobyte.
        boot_s: From the start of the program to its HELLO: a crystal takes up to four seconds.
        recover_s: For each rung of the recovery ladder, besides flashing.
        hook_s: For a hook.
    """

    lock_s: float = 0.0
    find_s: float = 20.0
    flash_s: float = 60.0
    boot_s: float = 10.0
    recover_s: float = 20.0
    hook_s: float = 30.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 600 or (value == 0 and name != "lock_s"):
                raise UsageError(f"{name} = {value}: must be above 0 and at most 600")


@dataclass(frozen=True)
class Hooks:
    """
    Commands of the bench's own, run by the shell with ``HIL_RIG`` and ``HIL_PROBE`` set.

    Attributes:
        power_cycle: Interrupts the board's supply and restores it; "": there is no such thing.
    """

    power_cycle: str = ""


@dataclass(frozen=True)
class Variant:
    """
    One board among those that a file of kind ``board`` describes.

    Attributes:
        name: For reports.
        chip: A name of `hil.chips`.
        probe: pyOCD's unique id, ``remote:HOST:PORT``, or ``auto``: any real one that fits.
        probe_usb: USB vendor and product ids of the probes that fit ``auto``, such as ``"03eb:2111"``; none: any.
        port: ``probe`` (the port of the same USB device as the probe), ``usb:VENDOR:PRODUCT[:SERIAL]``, or whatever
            pyserial opens: a device, ``rfc2217://``, ``socket://``, ``hwgrep://``.
        board: How the UART is wired, and what the clock follows.
    """

    name: str
    chip: str = "atsamd21j18a"
    probe: str = AUTO
    probe_usb: tuple[str, ...] = ()
    port: str = WITH_PROBE
    board: Board = field(default_factory=Board)

    def __post_init__(self) -> None:
        chip(self.chip)
        for usb in self.probe_usb:
            if not _USB_ID.fullmatch(usb):
                raise UsageError(f"probe_usb = {usb!r}: expected vendor and product id such as '03eb:2111'")
        if not self.probe or not self.port:
            raise UsageError("probe and port must not be empty: 'auto' and 'probe' find what is attached")
        if self.port.startswith(USB_PREFIX) and not _USB_ID.match(self.port[len(USB_PREFIX) :]):
            raise UsageError(f"port = {self.port!r}: expected 'usb:VENDOR:PRODUCT' or 'usb:VENDOR:PRODUCT:SERIAL'")


@dataclass(frozen=True)
class RigFile:
    """
    What a rig's file says; ``rigs/template.toml`` explains every key.

    Attributes:
        name: As on the command line.
        kind: ``board``, ``renode`` or ``emulator``.
        description: One line for `hil rigs`.
        chip: A name of `hil.chips`; firmware of another chip is refused.
        serial: 128-bit serial number of an emulated chip, 32 hexadecimal digits.
        timeout_s: How long the host waits for each frame.
        bauds: Line speeds to rise to, one after the other, after HELLO at 115,200.
        features: What its answers can be trusted for: values (``exact``), ``cycles``, a real-time stream (``sound``),
            a real ``clock``, and evidence after a crash (``debug``).
        fallback: Rigs that stand in for it, in order, where it is not there.
        pack: A vendor's CMSIS pack that replaces hil's own description of the chip for pyOCD; a path relative to
            where hil is called.  "": none.
        pack_sha256: Its SHA-256.
        probe, probe_usb, port: Of a board, as for `Variant`.
        board: How the UART is wired.
        variants: Boards that the file describes, instead of ``chip``, ``probe``, ``port`` and ``board``; which one
            it is depends on what is attached.
        stages: Deadlines.
        hooks: Commands of the bench.
        microphone: How a microphone is wired and sampled; None: there is none.  It is compiled in only where a
            command asks for it.
        hears: Sound file that the microphone of an emulated chip hears.  "": silence.
        hears_then: At its end: ``stop`` (no more samples, the program comes to rest) or ``silence``.
    """

    name: str
    kind: Kind
    description: str = ""
    chip: str = "atsamd21j18a"
    serial: str = "0" * _SERIAL_DIGITS
    timeout_s: float = 2.0
    bauds: tuple[int, ...] = ()
    features: tuple[Feature, ...] = ("exact",)
    fallback: tuple[str, ...] = ()
    pack: str = ""
    pack_sha256: str = ""
    probe: str = AUTO
    probe_usb: tuple[str, ...] = ()
    port: str = WITH_PROBE
    board: Board = field(default_factory=Board)
    variants: tuple[Variant, ...] = ()
    stages: Stages = field(default_factory=Stages)
    hooks: Hooks = field(default_factory=Hooks)
    microphone: Microphone | None = None
    hears: str = ""
    hears_then: Literal["stop", "silence"] = "stop"

    def __post_init__(self) -> None:
        chip(self.chip)
        if self.hears and (self.microphone is None or self.kind != "emulator"):
            raise UsageError("hears goes with kind = 'emulator' and [microphone]")
        if len(self.serial) != _SERIAL_DIGITS or set(self.serial) - set("0123456789abcdef"):
            raise UsageError(f"serial = {self.serial!r} is not {_SERIAL_DIGITS} lower-case hexadecimal digits")
        if not 0 < self.timeout_s <= 600:
            raise UsageError(f"timeout_s = {self.timeout_s}: must be above 0 and at most 600")
        if list(self.bauds) != sorted(set(self.bauds)) or not all(RESET_BAUD < b <= 3_000_000 for b in self.bauds):
            raise UsageError(f"bauds = {list(self.bauds)}: must rise, from above 115,200 to at most 3,000,000")
        if bool(self.pack) != bool(self.pack_sha256):
            raise UsageError("pack and pack_sha256 go together: a pack is named by its path and its hash")
        if self.name in self.fallback:
            raise UsageError(f"fallback = {list(self.fallback)}: a rig cannot stand in for itself")
        if self.variants and self.kind != "board":
            raise UsageError("variants are for kind = 'board'")
        self.candidates()

    def candidates(self) -> tuple[Variant, ...]:
        """The boards that this file describes, the first fit is taken."""
        if self.variants:
            return self.variants
        return (Variant(self.name, self.chip, self.probe, self.probe_usb, self.port, self.board),)

    def as_variant(self, variant: Variant) -> RigFile:
        """The same file for one of its boards."""
        return replace(
            self,
            chip=variant.chip,
            probe=variant.probe,
            probe_usb=variant.probe_usb,
            port=variant.port,
            board=variant.board,
            variants=(),
        )

    @property
    def wiring(self) -> Board:
        """How the UART is wired."""
        return self.board

    def standing_in_for(self, other: RigFile) -> RigFile:
        """The same rig with the chip and the wiring of another, so that it runs the very same program."""
        microphone = other.microphone or self.microphone
        return replace(self, chip=other.chip, board=other.board, microphone=microphone)

    def sha256(self) -> str:
        """Hash of the values, whatever the file's layout; what is heard does not count without a microphone."""
        values = asdict(self)
        if self.microphone is None:  # files without it keep the hash that they had before there was one
            for name in ("microphone", "hears", "hears_then"):
                del values[name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
