"""The built-in emulated chip behind a pty that is opened like any board's port."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from hil.chips import Board, Microphone, chip
from hil.emulator import EmulatedBoard, Unmodelled, elf_segments
from hil.emulator.sound import feed_microphone, input_of
from hil.errors import FirmwareFault, FlashError, RigNotFound, UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.link.port import open_port
from hil.probe import BoardPlan, ProbeServer, serial_words
from hil.probe.autopsy import CoreState, examine_through_pyocd
from hil.probe.flash import Pack, flash_through_pyocd
from hil.rig.base import FlashReport, check_firmware
from hil.rig.file import RESET_BAUD, RigFile, Stages
from hil.rig.sound import read_for_microphone
from hil.trace import Tier


class EmulatorRig:
    """
    A `hil.rig.Rig`; the chip runs in this process and ends with it.

    It is flashed as a board is: pyOCD, in a process of its own, through the socket of the chip's debug probe.  The
    chip keeps its flash until the rig is closed, so a program that is there already is not written again.

    Attributes:
        board: The emulated board, None before `flash`: what a test pulls the cable of.
    """

    tier = Tier.CYCLE_MODEL

    def __init__(self, file: RigFile, reason: str, *, fast_load: bool = False, chip_erase: bool = False) -> None:
        """
        Args:
            file: What to be.
            reason: Why this rig.
            fast_load: Write programs into memory directly, on a new chip each time.
            chip_erase: Erase everything before each flashing.
        """
        self.name, self.chip, self.bauds, self.reason = file.name, file.chip, file.bauds, reason
        self.features: tuple[str, ...] = file.features
        self.stages: Stages = file.stages
        self.wiring: Board = file.board
        self.clock = file.board.clock
        self.sha256 = hashlib.sha256(f"{file.sha256()} fast-load".encode()).hexdigest() if fast_load else file.sha256()
        self.microphone: Microphone | None = file.microphone
        self.board: EmulatedBoard | None = None
        self._file, self._fast_load, self._chip_erase = file, fast_load, chip_erase
        self._server: ProbeServer | None = None
        self._firmware: Firmware | None = None
        self._device: Device | None = None
        self._stack = ExitStack()

    def another(self) -> EmulatorRig:
        """A chip like this one, not yet flashed."""
        return EmulatorRig(self._file, self.reason, fast_load=self._fast_load, chip_erase=self._chip_erase)

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Put a program on the chip and start it.

        Raises:
            UsageError: It was built for another chip or another wiring of the UART, or the pack is another one.
            FlashError: It is no program for this chip, or as `hil.probe.flash.flash_through_pyocd`.
            ToolError: pyOCD is not installed, or failed for a reason of its own.
        """
        check_firmware(firmware, self.name, self.chip, self.wiring)
        began, pack = time.monotonic(), self._pack()
        try:
            elf_segments(firmware.elf)
            how = self._load(firmware) if self._fast_load else self._flash(firmware, pack)
        except UsageError as error:
            raise FlashError(self.name, f"{firmware.elf} cannot be loaded ({error})") from error
        self._firmware = firmware
        return FlashReport(firmware.flash_bytes, time.monotonic() - began, how)

    def _load(self, firmware: Firmware) -> str:
        self.close()
        board = EmulatedBoard(chip(self.chip), serial_words(self._file.serial), sercom=self._file.board.sercom)
        self.board = self._stack.enter_context(board)
        board.load_elf(firmware.elf)
        self._give_sound(board)
        board.start()
        return "written into the emulated chip's memory directly (--fast-load), without a debug probe"

    def _give_sound(self, board: EmulatedBoard) -> None:
        """What the file says that the microphone hears."""
        if not self._file.hears or self.microphone is None:
            return
        samples, note = read_for_microphone(Path(self._file.hears), self.microphone.rate_hz)
        self.reason += f"; {note}"
        where, stop = input_of(self.microphone.kind), self._file.hears_then == "stop"
        rate = self.microphone.rate_hz
        board.ask(lambda chip: feed_microphone(chip, where, samples, rate, then_stop=stop))

    def _pack(self) -> Pack | None:
        """As the file names it.  Raises `UsageError` if it is missing or another one."""
        if not self._file.pack or self._fast_load:
            return None
        pack = Pack(Path(self._file.pack), self._file.pack_sha256)
        pack.check()
        return pack

    def _flash(self, firmware: Firmware, pack: Pack | None) -> str:
        if self._device:
            self._device.close()
            self._device = None
        if self._server is None:
            plan = BoardPlan(self.chip, self._file.serial, f"rig-{secrets.token_hex(4)}", self._file.board.sercom)
            self._server = self._stack.enter_context(ProbeServer(plan))
            self.board = self._server.board
            self._give_sound(self.board)
        return flash_through_pyocd(
            firmware.elf,
            self._server.announcement.uid,
            chip(self.chip),
            rig=self.name,
            chip_erase=self._chip_erase,
            pack=pack,
        ).how

    def open(self) -> Device:
        """Open the pty with pyserial.  Raises `RigNotFound` before `flash`, else as `open_port`."""
        if self.board is None or self._firmware is None:
            raise RigNotFound(self.name, "nothing runs on the emulated chip yet: flash a firmware first")
        port = open_port(self.board.port, RESET_BAUD, self.name)
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

    def restart(self) -> None:
        """Press the emulated board's reset button.  Raises `RigNotFound` before `flash`."""
        if self.board is None:
            raise RigNotFound(self.name, "nothing runs on the emulated chip yet: flash a firmware first")
        if self._device:
            self._device.close()
            self._device = None
        self.board.reset()

    def examine(self) -> CoreState | None:
        """Through the debug port, as of a board; None without one (``fast_load``)."""
        if self._server is None:
            return None
        uid = self._server.announcement.uid
        return examine_through_pyocd(uid, chip(self.chip), self.name, self.stages.recover_s)

    def unmodelled(self) -> tuple[Unmodelled, ...]:
        """Registers that the program has used and the emulator does not model; empty before `flash`."""
        return tuple(self.board.ask(lambda emulator: emulator.unmodelled)) if self.board else ()

    def stream(self) -> None:
        """Let the emulated line deliver at its rate.  Raises `RigNotFound` before `flash`."""
        if self.board is None:
            raise RigNotFound(self.name, "nothing runs on the emulated chip yet: flash a firmware first")
        self.board.ask(lambda emulator: emulator.set_line_rate(True))

    def real_time(self) -> None:
        """Hold the chip's time to the clock on the wall.  Raises `RigNotFound` before `flash`."""
        if self.board is None:
            raise RigNotFound(self.name, "nothing runs on the emulated chip yet: flash a firmware first")
        self.board.keep_pace()

    def close(self) -> None:
        """Close the port and end the chip."""
        if self._device:
            self._device.close()
        self._stack.close()
        self.board = self._server = self._firmware = self._device = None

    def __enter__(self) -> EmulatorRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
