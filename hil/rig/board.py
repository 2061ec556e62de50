"""A board: flashed through its debug probe by pyOCD, talked to through its serial port by pyserial."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from hil.chips import chip
from hil.emulator import elf_segments
from hil.errors import FlashError, RigNotFound, UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.link.port import open_port
from hil.probe import find
from hil.probe.autopsy import CoreState, examine_through_pyocd
from hil.probe.flash import Pack
from hil.probe.process import tell
from hil.probe.restart import restart_through_pyocd
from hil.rig.base import FlashReport, check_firmware
from hil.rig.file import RESET_BAUD, RigFile, Stages
from hil.rig.find import FoundBoard
from hil.rig.locks import BenchLock
from hil.rig.ports import attached_ports, find_port
from hil.rig.recovery import Order, check_quarantine, flash_or_recover
from hil.trace import Tier


class BoardRig:
    """
    A `hil.rig.Rig` of a board on this machine or another.

    The board may be an emulated one in a process of its own (``hil emulate --probe``), called by its id: everything
    is then done as on silicon, but its tier is that of the emulator, because an emulated probe says what it is.
    Probe and port are locked for all runs of this machine from `flash` to `close`.

    Attributes:
        found: Probe, port and variant.
        chip_serial: Of the chip behind the probe, known after `flash`.
    """

    def __init__(self, file: RigFile, found: FoundBoard, reason: str, *, chip_erase: bool = False) -> None:
        """
        Args:
            file: What the board is.
            found: Where it is.
            reason: Why this rig.
            chip_erase: Erase everything before each flashing.
        """
        self.name, self.bauds, self.reason = file.name, file.bauds, reason
        self.found = found
        self.chip_serial = ""
        self.chip, self.wiring = found.variant.chip, found.variant.board
        self.clock: str = self.wiring.clock
        self.microphone = file.microphone
        self.tier = Tier.CYCLE_MODEL if found.probe.emulated else Tier.SILICON
        self.features: tuple[str, ...] = file.features
        if found.probe.emulated:
            self.features = tuple(feature for feature in file.features if feature != "clock")
        self.stages: Stages = file.stages
        self._file = file.as_variant(found.variant)
        self.sha256 = self._file.sha256()
        self._chip_erase = chip_erase
        self._firmware: Firmware | None = None
        self._device: Device | None = None
        self._locks = ExitStack()
        self._locked = False

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Put a program on the chip and start it; a board that does not answer is recovered if it can be.

        Raises:
            UsageError: It was built for another chip or another wiring, or the pack is another one.
            RigBusy: Another run has the board.
            Quarantined: It could not be recovered earlier.
            FlashError, RigNotFound: It cannot be written; says what was tried.
            ToolError: pyOCD is not installed, or failed for a reason of its own.
        """
        check_firmware(firmware, self.name, self.chip, self.wiring)
        try:
            elf_segments(firmware.elf)
        except UsageError as error:
            raise FlashError(self.name, f"{firmware.elf} cannot be loaded ({error})") from error
        self.lock()
        check_quarantine(self.name, self.found.probe.uid)
        self._hang_up()
        pack = Pack(Path(self._file.pack), self._file.pack_sha256) if self._file.pack else None
        began = time.monotonic()
        flashed, notes = flash_or_recover(
            Order(
                rig=self.name,
                elf=firmware.elf,
                uid=self.found.probe.uid,
                chip=chip(self.chip),
                chip_erase=self._chip_erase,
                pack=pack,
                stages=self.stages,
                hooks=self._file.hooks,
            )
        )
        self._firmware = firmware
        self.chip_serial = flashed.serial
        return FlashReport(firmware.flash_bytes, time.monotonic() - began, flashed.how, notes, flashed.serial)

    def lock(self) -> None:
        """Keep other runs from probe and port; harmless when repeated.  Raises `RigBusy`."""
        if self._locked:
            return
        uid, port = self.found.probe.uid, self.found.port
        with ExitStack() as undo:
            for what, key in ((f"probe {uid}", f"probe {uid.lower()}"), (f"port {port}", f"port {_real(port)}")):
                undo.enter_context(BenchLock(self.name, what, key, self.stages.lock_s))
            self._locks = undo.pop_all()
        self._locked = True

    def open(self) -> Device:
        """Open the serial port.  Raises `RigNotFound` before `flash`, else as `open_port`."""
        if self._firmware is None:
            raise RigNotFound(self.name, "nothing of this run is on the chip yet: flash a firmware first")
        self._hang_up()
        self._device = Device(
            open_port(self._port(), RESET_BAUD, self.name),
            self.name,
            timeout_s=self._file.timeout_s,
            tier=self.tier,
            locate=self._firmware.locate,
        )
        return self._device

    def peek(self) -> Device:
        """
        The line to whatever is on the chip now, before anything is flashed; it is reset, so that its speed is known.

        Raises:
            RigBusy, RigNotFound, PortBusy: As `flash` and `open`.
        """
        self.restart()
        port = open_port(self._port(), RESET_BAUD, self.name)
        self._device = Device(port, self.name, timeout_s=min(1.0, self._file.timeout_s), tier=self.tier)
        return self._device

    def _port(self) -> str:
        """Where the port is now: a board that was power-cycled may have come back under another name."""
        probe = self.found.probe
        here = find(probe.uid) if probe.emulated else None
        if self._file.port == "probe" and here:
            return here.port
        port = find_port(self.name, self._file.port, probe, attached_ports())
        if port is None:
            raise RigNotFound(self.name, f"the port {self.found.port} is gone: check the cable")
        return port

    def restart(self) -> None:
        """Reset the chip through its probe.  Raises `RigError` as `hil.probe.restart.restart_through_pyocd`."""
        self.lock()
        self._hang_up()
        restart_through_pyocd(self.found.probe.uid, chip(self.chip), self.name, self.stages.recover_s)

    def examine(self) -> CoreState | None:
        """Through the probe.  Raises as `hil.probe.autopsy.examine_through_pyocd`."""
        self.lock()
        return examine_through_pyocd(self.found.probe.uid, chip(self.chip), self.name, self.stages.recover_s)

    def stream(self) -> None:
        """Only an emulated board has to be told.  Raises `ToolError` if it has ended."""
        self._tell(what="line_rate", on=True)

    def real_time(self) -> None:
        """Likewise."""
        self._tell(what="keep_pace")

    def _tell(self, **question: Any) -> None:
        here = find(self.found.probe.uid) if self.found.probe.emulated else None
        if here is not None:
            tell(here, **question)

    def close(self) -> None:
        """Close the port and unlock the board."""
        self._hang_up()
        self._firmware = None
        self._locks.close()
        self._locked = False

    def _hang_up(self) -> None:
        if self._device:
            self._device.close()
            self._device = None

    def __enter__(self) -> BoardRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _real(port: str) -> str:
    """The device itself, whatever links to it; an address as it is."""
    return port if "://" in port else os.path.realpath(port)
