"""The built-in emulated chip behind a pty that is opened like any board's port."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType

import serial

from hil.chips import chip
from hil.emulator import EmulatedBoard
from hil.errors import FirmwareFault, FlashError, PortLost, RigNotFound, UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.rig.base import FlashReport, RigFile
from hil.trace import Tier

LINK_BAUD = 115_200
"""Line speed after reset (docs/link.md)."""


class EmulatorRig:
    """
    A `hil.rig.Rig`; the chip runs in this process and ends with it.

    Attributes:
        board: The emulated board, None before `flash`: what a test pulls the cable of.
    """

    tier = Tier.CYCLE_MODEL

    def __init__(self, file: RigFile, reason: str) -> None:
        self.name, self.chip, self.baud, self.reason = file.name, file.chip, file.baud, reason
        self.clock, self.sha256 = file.board.clock, file.sha256()
        self.board: EmulatedBoard | None = None
        self._file = file
        self._firmware: Firmware | None = None
        self._device: Device | None = None
        self._stack = ExitStack()

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Load the ELF into the chip's memory directly, without a debug probe, and start it.

        Raises:
            UsageError: It was built for another chip or another wiring of the UART.
            FlashError: It is no program for this chip.
        """
        if firmware.chip.name != self.chip:
            raise UsageError(
                f"{self.name}: the firmware is for {firmware.chip.name}, this rig has {self.chip}: "
                f"set chip in the recipe's [build], or choose another rig"
            )
        if firmware.board != self._file.board:
            raise UsageError(f"{self.name}: the firmware is for another wiring: build it with --rig {self.name}")
        began = time.monotonic()
        self.close()
        a, b, c, d = (int(self._file.serial[i : i + 8], 16) for i in range(0, 32, 8))
        board = EmulatedBoard(chip(self.chip), (a, b, c, d), sercom=self._file.board.sercom)
        self.board = self._stack.enter_context(board)
        try:
            data = firmware.elf.read_bytes()
            board.load_elf(data)
        except (OSError, UsageError) as error:
            raise FlashError(self.name, f"{firmware.elf} cannot be loaded ({error})") from error
        board.start()
        self._firmware = firmware
        return FlashReport(firmware.flash_bytes, time.monotonic() - began, "ELF loaded into the emulated chip directly")

    def open(self) -> Device:
        """Open the pty with pyserial.  Raises `RigNotFound` before `flash`, `PortLost` if the pty is gone."""
        if self.board is None or self._firmware is None:
            raise RigNotFound(self.name, "nothing runs on the emulated chip yet: flash a firmware first")
        try:
            port = serial.Serial(self.board.port, LINK_BAUD)
        except (serial.SerialException, OSError) as error:
            raise PortLost(self.name, "being opened") from error
        self._device = Device(
            port,
            self.name,
            timeout_s=self._file.timeout_s,
            tier=self.tier,
            locate=self._firmware.locate,
            on_silence=self._explain_silence,
        )
        return self._device

    def _explain_silence(self) -> None:
        """A core that has locked up cannot say so, but the emulator can."""
        crash = self.board.crash if self.board else None
        if crash is not None and self._firmware is not None:
            where = self._firmware.locate(crash.registers["pc"]) or "the program"
            how = "locked up" if crash.locked_up else "faulted"
            raise FirmwareFault(self.name, crash.registers, f"{where} ({how}: {crash.fault.kind.name.lower()})")

    def close(self) -> None:
        """Close the port and end the chip."""
        if self._device:
            self._device.close()
        self._stack.close()
        self.board = self._firmware = self._device = None

    def __enter__(self) -> EmulatorRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
