"""A board with the emulated chip on it: a thread that runs it and a pseudo-terminal for its serial port."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
import select
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from hil.chips import Chip
from hil.emulator.core import PIN_RESET, POWER_ON, Emulator, Fault, Stop
from hil.errors import ToolError, UsageError

T = TypeVar("T")

SLICE_CYCLES = 480_000
"""Run between two looks at the host: 10 ms at 48 MHz, about 1 ms of host time."""
_MAX_PENDING = 1 << 16
"""Bytes for a host that does not read; beyond that the chip waits."""
_CATCH_UP_S = 0.5
"""A chip that is further behind the clock on the wall, on a slow host, does not try to catch up."""
_DEFAULT_SPEED = termios.B115200
_TCGETS2 = 0x802C542A
"""Linux: read termios with exact speeds."""


@dataclass(frozen=True)
class Crash:
    """
    The firmware has faulted.

    Attributes:
        locked_up: The core stands still; otherwise the firmware's HardFault handler took over.
        fault: What happened, with the registers.
        cycles: Since reset.
        inside: The fault inside the handler that locked the core up, if that is how it did.
    """

    locked_up: bool
    fault: Fault
    cycles: int
    inside: Fault | None = None

    @property
    def registers(self) -> dict[str, int]:
        """At the fault."""
        return self.fault.registers

    def __str__(self) -> str:
        how = "lockup" if self.locked_up else "HardFault"
        shown = " ".join(f"{name}={value:08x}" for name, value in self.registers.items())
        return f"{how} after {self.cycles} cycles: {self.fault.kind.name} at {self.fault.address:#010x}\n{shown}"


def _line_speed(fd: int) -> int:
    """Bits a second that the host has set on the pty."""
    with contextlib.suppress(OSError):
        return int(struct.unpack("4I20x2I", fcntl.ioctl(fd, _TCGETS2, bytes(44)))[5])
    speed = int(termios.tcgetattr(fd)[5])
    names = (name for name in dir(termios) if name[0] == "B" and name[1:].isdigit())
    return next((int(name[1:]) for name in names if getattr(termios, name) == speed), speed)


@dataclass
class _Port:
    """The pty: the chip holds the master, the host opens the slave by name."""

    master: int
    slave: int
    name: str
    link: Path | None
    pending: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls, link: Path | None) -> _Port:
        master, slave = pty.openpty()
        tty.setraw(slave)
        attributes = termios.tcgetattr(slave)
        attributes[4] = attributes[5] = _DEFAULT_SPEED
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        os.set_blocking(master, False)
        name = os.ttyname(slave)
        if link is not None:
            if link.exists() and not link.is_symlink():
                raise UsageError(f"{link}: is there and no symbolic link. Name another place for the port's link.")
            temporary = link.with_name(f".{link.name}.{os.getpid()}.part")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(name)
            temporary.replace(link)
        return cls(master, slave, name, link)

    def read(self) -> bytes:
        try:
            return os.read(self.master, 4096)
        except BlockingIOError:
            return b""

    def write(self) -> None:
        """Hand over as much of `pending` as the host's buffer takes."""
        with contextlib.suppress(BlockingIOError):
            while self.pending:
                del self.pending[: os.write(self.master, self.pending)]

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)
        if self.link is not None and self.link.is_symlink() and os.readlink(self.link) == self.name:
            self.link.unlink()


class EmulatedBoard:
    """
    A chip that runs in its own thread behind a serial port.

    While the firmware sleeps and wants input, virtual time stands still and the thread blocks,
    so what the firmware does depends on the bytes it gets, never on when the host sends them.

    Args:
        chip, serial: As for `Emulator`.
        sercom: Whose USART the port is.
        link: Where to put a symbolic link to the port; removed on close.
        emulator: Another chip than a plain `Emulator`; ``chip`` and ``serial`` then say nothing.
        realtime: Virtual time keeps pace with the clock on the wall, also while the firmware sleeps.  What it
            does then depends on when the host sends.
        slice_cycles: Run between two looks at the host.
        after_slice: Called in the board's thread after each slice, with what ended it.
        on_breakpoint: Called in the board's thread when the core stands on a BKPT, as with a debugger attached;
            False: the chip stays there.  Without it BKPT is a HardFault.

    Attributes:
        emulator: The chip; use it from this thread only while the board is stopped.

    Raises:
        ToolError: The core has to be compiled and cannot be.  From any method: an error in the
            board's thread.
    """

    def __init__(
        self,
        chip: Chip,
        serial: tuple[int, int, int, int] = (0, 0, 0, 0),
        sercom: int = 3,
        link: Path | str | None = None,
        emulator: Emulator | None = None,
        *,
        realtime: bool = False,
        slice_cycles: int = SLICE_CYCLES,
        after_slice: Callable[[Emulator, Stop], None] | None = None,
        on_breakpoint: Callable[[Emulator], bool] | None = None,
    ):
        self.emulator = emulator or Emulator(chip, serial)
        self.emulator.set_debugger(on_breakpoint is not None)
        self._realtime, self._slice_cycles = realtime, slice_cycles
        self._after_slice, self._on_breakpoint = after_slice, on_breakpoint
        self._ahead_of: tuple[float, float] | None = None
        self._sercom = sercom
        self._good_up_to: int | None = None
        self.emulator.uart_send(sercom, b"")
        self._port: _Port | None = _Port.open(Path(link) if link is not None else None)
        self._name = self._port.name
        self._served: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._waiting = self._halted = False
        self._locked_up = False
        self._crash: Crash | None = None
        self._faults = 0
        self._error: BaseException | None = None

    def __enter__(self) -> EmulatedBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            self._check()

    def keep_pace(self) -> None:
        """From now on as with ``realtime``."""
        self._realtime = True

    @property
    def port(self) -> str:
        """Path of the serial port for the host; open it with pyserial."""
        link = self._port.link if self._port else None
        return str(link) if link is not None else self._name

    @property
    def crash(self) -> Crash | None:
        """The last fault since reset, or None."""
        self._check()
        return self._crash

    @property
    def running(self) -> bool:
        """The thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def load_elf(self, source: Path | str | bytes) -> None:
        """Erase the flash, load a program and reset, as `Emulator.load_elf`."""
        self._call(lambda: self.emulator.load_elf(source))
        self._call(self._forget_crash)

    def start(self) -> None:
        """Let the chip run.  Nothing happens if it does."""
        self._check()
        if self.running:
            return
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="emulated board", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Halt the chip where it is; `start` goes on."""
        if self._thread is not None:
            self._stopping = True
            self._wake()
            self._thread.join()
            self._thread = None
        self._check()

    def reset(self, power_on: bool = False) -> None:
        """Press the reset button, or interrupt the power."""

        def action() -> None:
            self.emulator.reset(POWER_ON if power_on else PIN_RESET)
            self._forget_crash()

        self._call(action)

    def vanish(self) -> None:
        """Close the port as a pulled cable does; the chip runs on."""
        self._call(self._close_port)

    def disturb(self, data: bytes) -> None:
        """Let the host receive bytes that the chip has not sent."""

        def action() -> None:
            if self._port is not None:
                self._port.pending += data
                self._port.write()

        self._call(action)

    def spoil_above(self, baud: int | None) -> None:
        """Damage what goes over the line at higher speeds, as a bad cable does; None: no longer."""
        self._good_up_to = baud

    def close(self) -> None:
        """Stop, and close the port."""
        if self._thread is not None:
            self._stopping = True
            self._wake()
            self._thread.join()
            self._thread = None
        self._close_port()
        for fd in (self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._wake_read = self._wake_write = -1

    def serve(self, fd: int, action: Callable[[], None] | None) -> None:
        """
        Call ``action`` in the board's thread whenever ``fd`` can be read, between two slices of the chip's run.

        Args:
            fd: A socket or pipe.
            action: None: no longer.  Call this method from the board's thread, or while the board is stopped.
        """
        if action is None:
            self._served.pop(fd, None)
        else:
            self._served[fd] = action

    def ask(self, question: Callable[[Emulator], T]) -> T:
        """Call ``question`` with the emulator, between two slices of its run."""
        answers: list[T] = []
        self._call(lambda: answers.append(question(self.emulator)))
        return answers[0]

    def _check(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise ToolError(f"the emulated board has failed: {error!r}") from error

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    def _call(self, action: Callable[[], None]) -> None:
        """Carry out ``action`` where no other thread uses the emulator; its error is raised here."""
        self._check()
        if not self.running or threading.current_thread() is self._thread:
            action()
            return
        done = threading.Event()
        errors: list[BaseException] = []

        def wrapped() -> None:
            try:
                action()
            except BaseException as error:
                errors.append(error)
            self._waiting = False
            done.set()

        self._requests.put(wrapped)
        self._wake()
        while not done.wait(0.2):
            if not self.running:
                self._check()
                raise ToolError("the emulated board has stopped. Start it again.")
        if errors:
            raise errors[0]

    def _forget_crash(self) -> None:
        self._crash = self._ahead_of = None
        self._locked_up = self._halted = False
        self._waiting = False

    def _close_port(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _main(self) -> None:
        try:
            while not self._stopping:
                while not self._requests.empty():
                    self._requests.get()()
                self._exchange()
                if self._may_run():
                    self._run_slice()
        except BaseException as error:  # whatever it is, the board's user has to see it
            self._error = error
            self._close_port()

    def _may_run(self) -> bool:
        full = self._port is not None and len(self._port.pending) > _MAX_PENDING
        return not (self._waiting or self._halted or self._locked_up or full or self._stopping)

    def _ahead_s(self) -> float:
        """How far virtual time is ahead of the clock on the wall; 0 unless both are to keep pace."""
        if not self._realtime:
            return 0.0
        now = time.monotonic(), self.emulator.seconds
        if self._ahead_of is None:
            self._ahead_of = now
        ahead = (now[1] - self._ahead_of[1]) - (now[0] - self._ahead_of[0])
        if ahead < -_CATCH_UP_S:
            self._ahead_of = now
        return max(0.0, ahead)

    def _exchange(self) -> None:
        """Move bytes between pty and chip; blocks while the chip has nothing to do."""
        port = self._port
        readers = [self._wake_read, *self._served] + ([port.master] if port else [])
        writers = [port.master] if port and port.pending else []
        ready, writable, _ = select.select(readers, writers, [], self._ahead_s() if self._may_run() else None)
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        for fd in ready:
            if fd in self._served:
                self._served[fd]()
                self._waiting = self._locked_up = False
        if port is None:
            return
        if writable:
            port.write()
        if port.master in ready:
            received = port.read()
            if received:
                speed = _line_speed(port.slave)
                self.emulator.set_host_baud(self._sercom, speed)
                self.emulator.uart_send(self._sercom, self._spoiled(received, speed))
                self._waiting = False

    def _run_slice(self) -> None:
        port = self._port
        if port is not None:
            self.emulator.set_host_baud(self._sercom, _line_speed(port.slave))
        stop = self.emulator.run(self._slice_cycles, stop_when_idle=not self._realtime)
        sent = self.emulator.uart_receive(self._sercom)
        if port is not None and sent:
            port.pending += self._spoiled(sent, _line_speed(port.slave))
            port.write()
        self._waiting = stop in (Stop.IDLE, Stop.HUNG)
        self._locked_up = stop is Stop.LOCKUP
        if stop is Stop.BKPT and self._on_breakpoint is not None:
            self._halted = not self._on_breakpoint(self.emulator)
        self._note_crash()
        if self._after_slice is not None:
            self._after_slice(self.emulator, stop)

    def _spoiled(self, data: bytes, speed: int) -> bytes:
        """Every 64th byte has a wrong bit at a speed that is too high for the line."""
        if self._good_up_to is None or speed <= self._good_up_to:
            return data
        return bytes(byte ^ (0x10 if i % 64 == 5 else 0) for i, byte in enumerate(data))

    def _note_crash(self) -> None:
        fault = self.emulator.fault
        if fault is None:
            self._crash = None
        elif self._crash is None or self._faults != fault.count or self._crash.locked_up != self._locked_up:
            before = self.emulator.fault_before if self._locked_up else None
            self._crash = Crash(self._locked_up, before or fault, self.emulator.cycles, fault if before else None)
            self._faults = fault.count
