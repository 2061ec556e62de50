"""A rig that is Renode: the very same ELF as on the board, executed instructions instead of cycles."""

from __future__ import annotations

import hashlib
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from hil.chips import Board, chip
from hil.emulator import elf_segments
from hil.emulator.symbols import read_symbols
from hil.errors import FlashError, RigNotFound, ToolError, UsageError
from hil.firmware import Firmware
from hil.link.device import Device
from hil.link.port import open_port
from hil.probe.autopsy import RUNNING, SLEEPING, CoreState
from hil.resources import resource
from hil.rig.base import FlashReport, check_firmware
from hil.rig.file import RESET_BAUD, RigFile, Stages
from hil.rig.renode.monitor import Monitor
from hil.rig.renode.pricing import Functions
from hil.rig.renode.process import RenodeProcess
from hil.rig.renode.traced import TracedDevice
from hil.trace import Tier

_REGISTERS = {**{f"r{i}": i for i in range(13)}, "sp": 13, "lr": 14, "pc": 15, "xpsr": 25, "primask": 28}
_LOOKS, _PAUSE_S = 6, 0.02
_WFI = (0xBF30, 0xBF20)
_PORT_POLL_S = 0.05


class RenodeRig:
    """
    A `hil.rig.Rig`; Renode is started by `flash` and ended by `close`, whatever happens.

    Its core is no Cortex-M0+ in every respect (docs/bench.md): a pass there does not prove that a program runs on
    silicon.  Counts are executed instructions; with ``trace`` those of each window are written down by Renode and
    priced, which takes about 20 bytes of disk for each instruction of a sequence.
    """

    def __init__(self, file: RigFile, executable: str, reason: str, *, trace: bool = False) -> None:
        """
        Args:
            file: What to be.
            executable: Renode's.
            reason: Why this rig.
            trace: Price the executed instructions.
        """
        self.name, self.chip, self.bauds, self.reason = file.name, file.chip, file.bauds, reason
        self.tier = Tier.TRACE_PRICED if trace else Tier.INSTRUCTION_COUNT
        self.features: tuple[str, ...] = file.features
        self.stages: Stages = file.stages
        self.wiring: Board = file.board
        self.clock = file.board.clock
        self.sha256 = hashlib.sha256(f"{file.sha256()} {self.tier.value}".encode()).hexdigest()
        self._file, self._executable, self._trace = file, executable, trace
        self._process: RenodeProcess | None = None
        self._firmware: Firmware | None = None
        self._device: Device | None = None
        self._folder = Path()
        self._stack = ExitStack()

    def flash(self, firmware: Firmware) -> FlashReport:
        """
        Start Renode anew with a program.

        Raises:
            UsageError: It was built for another chip or another wiring.
            FlashError: It is no program for this chip.
            ToolError: Renode cannot be started, or refuses the platform.
        """
        check_firmware(firmware, self.name, self.chip, self.wiring)
        try:
            elf_segments(firmware.elf)
        except UsageError as error:
            raise FlashError(self.name, f"{firmware.elf} cannot be loaded ({error})") from error
        self.close()
        began = time.monotonic()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hil-renode-")))
        self._process = RenodeProcess(self._executable, self._folder, self.stages.boot_s)
        self._stack.callback(self._process.end)
        try:
            for command in self._start_commands(firmware):
                self._process.monitor.ask(command)
        except BaseException:
            self.close()
            raise
        self._firmware = firmware
        return FlashReport(
            firmware.flash_bytes, time.monotonic() - began, "loaded by Renode, not through a debug probe"
        )

    def _start_commands(self, firmware: Firmware) -> list[str]:
        platform = self._folder / "samd21.repl"
        platform.write_text(platform_text(self._file), encoding="utf-8")
        return start_commands(
            resource("rigs") / "renode" / "Samd21Sercom.cs",
            platform,
            firmware.elf.resolve(),
            self._port,
            self.wiring.sercom,
        )

    @property
    def _port(self) -> Path:
        return self._folder / "uart"

    @property
    def _monitor(self) -> Monitor:
        if self._process is None:
            raise RigNotFound(self.name, "nothing runs in Renode yet: flash a firmware first")
        return self._process.monitor

    def open(self) -> Device:
        """Open Renode's pty.  Raises `RigNotFound` before `flash`, else as `open_port`."""
        monitor, firmware = self._monitor, self._firmware
        assert firmware is not None
        if self._device:
            self._device.close()
        deadline = time.monotonic() + self.stages.find_s
        while not self._port.exists() and time.monotonic() < deadline:
            time.sleep(_PORT_POLL_S)
        port = open_port(str(self._port), RESET_BAUD, self.name)
        if self._trace:
            self._device = TracedDevice(
                port,
                self.name,
                timeout_s=self._file.timeout_s,
                tier=self.tier,
                locate=firmware.locate,
                monitor=monitor,
                folder=self._folder,
                functions=window_functions(firmware),
            )
        else:
            self._device = Device(
                port, self.name, timeout_s=self._file.timeout_s, tier=self.tier, locate=firmware.locate
            )
        return self._device

    def restart(self) -> None:
        """Renode is started anew: its reset of a machine keeps what a chip's does not."""
        firmware = self._firmware
        if firmware is None:
            raise RigNotFound(self.name, "nothing runs in Renode yet: flash a firmware first")
        self.flash(firmware)

    def examine(self) -> CoreState | None:
        """Through the monitor; the emulation is paused afterwards.  Raises `ToolError`."""
        monitor = self._monitor
        seen = []
        for _ in range(_LOOKS):
            seen.append(monitor.number("cpu PC"))
            time.sleep(_PAUSE_S)
        monitor.ask("pause")
        registers = {name: monitor.number(f"cpu GetRegister {number}") for name, number in _REGISTERS.items()}
        dump = self._folder / f"ram-{time.monotonic_ns()}.bin"
        monitor.ask(f"sysbus.sram DumpBinary @{dump}")
        if not dump.is_file():
            raise ToolError(f"Renode has not written the memory to {dump}")
        opcode = monitor.number(f"sysbus ReadWord {max(0, registers['pc'] - 2):#x}")
        doing = SLEEPING if len({*seen, registers["pc"]}) == 1 and opcode in _WFI else RUNNING
        return CoreState(doing, registers, tuple(seen), dump.read_bytes())

    def stream(self) -> None:
        """Renode's pty always delivers."""

    def real_time(self) -> None:
        """Renode's virtual time never overtakes the clock on the wall."""

    def close(self) -> None:
        """Close the port and end Renode."""
        if self._device:
            self._device.close()
        self._stack.close()
        self._process = self._device = self._firmware = None

    def __enter__(self) -> RenodeRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def platform_text(file: RigFile) -> str:
    """The platform description for a rig's chip and serial number."""
    known = chip(file.chip)
    text = (resource("rigs") / "renode" / "samd21.repl").read_text(encoding="utf-8")
    values = {"FLASH_BYTES": known.flash_bytes, "RAM_BYTES": known.ram_bytes, "DEVICE_ID": known.device_id}
    values |= {f"SERIAL_{i}": int(file.serial[8 * i : 8 * i + 8], 16) for i in range(4)}
    for name, value in values.items():
        text = text.replace(f"@{name}@", f"{value:#x}")
    return text


def start_commands(sercom_model: Path, platform: Path, elf: Path, port: Path, sercom: int) -> list[str]:
    """From an empty monitor to a running chip; every answer is to be looked at."""
    return [
        f"include @{sercom_model}",
        'mach create "samd21"',
        f"machine LoadPlatformDescription @{platform}",
        "sysbus UnhandledAccessBehaviour DoNotReport",
        f"sysbus LoadELF @{elf}",
        "cpu VectorTableOffset 0x0",
        "cpu MaximumBlockSize 1",  # SysTick read inside a block would stand still
        f'emulation CreateUartPtyTerminal "term" "{port}" true',
        f"connector Connect sysbus.sercom{sercom} term",
        "start",
    ]


def window_functions(firmware: Firmware) -> Functions:
    """Raises `ToolError` if the program has no measured windows."""
    found = {f.name: (f.address, f.end) for f in read_symbols(firmware.elf).functions}
    try:
        return Functions(found["port_window_open"], found["port_window_close"])
    except KeyError as error:
        raise ToolError(f"{firmware.elf}: has no function {error}: its windows cannot be priced") from None
