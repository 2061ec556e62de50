"""The real firmware as a process of this machine, its line on a pty: a rig for tests, without the chip."""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from collections.abc import Callable, Mapping
from pathlib import Path

import serial

from hil.chips import Board, Microphone, chip
from hil.firmware import Firmware
from hil.firmware.host import compile_host_app
from hil.link.device import Device
from hil.rig import FlashReport
from hil.rig.file import Stages
from hil.trace import Tier


class HostRig:
    """
    A `hil.rig.Rig` of tier ``host``.

    Attributes:
        hears: File of int16 samples for a program with a microphone.
        wrap: Gets each device that is opened; returns the one to use.
    """

    name, tier, reason, clock, chip, sha256 = "host", Tier.HOST, "a test", "open-loop", "host", "0" * 64
    wiring, bauds, features, stages = Board(), (), ("exact",), Stages()

    def __init__(
        self,
        sources: Mapping[str, str],
        folder: Path,
        timeout_s: float = 5.0,
        microphone: Microphone | None = None,
    ) -> None:
        self._program = compile_host_app(sources, folder, microphone=microphone)
        self.hears: Path | None = None
        self._folder, self._timeout_s = folder, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._device: Device | None = None
        self._fds: list[int] = []
        self.flashed = 0
        self.wrap: Callable[[Device], Device] = lambda device: device

    def firmware(self, artefact_hash: str) -> Firmware:
        """What describes the program that this rig runs."""
        self.flash(None)
        try:
            hello = self.open().hello()
        finally:
            self.close()
        return Firmware(
            elf=self._program,
            elf_sha256="1" * 64,
            build_id=hello.build_id,
            artefact_hash=artefact_hash,
            chip=chip("atsamd21j18a"),
            board=Board(),
            compiler="cc",
            compiler_version="cc 1",
            optimize="2",
            flash_bytes=1000,
            ram_bytes=100,
            stack_size=2048,
            sections={".text": 1000},
            symbols={},
        )

    def flash(self, firmware: Firmware | None) -> FlashReport:
        self.close()
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        environment = {**os.environ, **({"HIL_MICROPHONE": str(self.hears)} if self.hears else {})}
        self._process = subprocess.Popen([self._program], stdin=master, stdout=master, env=environment)
        self._fds = [slave, master]  # kept, so that a program's end is silence and not a pulled cable
        self.flashed += 1
        return FlashReport(0, 0.0, "started")

    def open(self) -> Device:
        port = serial.Serial(self.port, 115_200)
        self._device = Device(port, self.name, timeout_s=self._timeout_s, tier=self.tier)
        return self.wrap(self._device)

    def real_time(self) -> None:
        """The process runs in real time anyway."""

    def examine(self) -> None:
        return None

    def restart(self) -> None:
        self.flash(None)

    def stream(self) -> None:
        """A pipe always delivers."""

    def pull_cable(self) -> None:
        """Nobody holds the other end of the pty any more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        os.close(self._fds.pop())

    def close(self) -> None:
        if self._device:
            self._device.close()
            self._device = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> HostRig:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
