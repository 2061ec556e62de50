"""One emulated board as a process of its own: chip, pty, and the socket of its debug probe."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from hil.chips import chip as find_chip
from hil.emulator import EmulatedBoard, Emulator
from hil.errors import RigError, UsageError
from hil.probe.bus import DebugBus
from hil.probe.chip import DebuggedChip
from hil.probe.dap import DebugPort
from hil.probe.folder import Announcement, Registration
from hil.probe.questions import answer
from hil.probe.wire import NRESET, SWCLK, VERSION, Ack, Op, WireError, pack_words, read_order, send, split, unpack_words

SEND_TIMEOUT_S = 1.0
"""For a client that does not take its answers; then it is hung up on."""

_MAX_WORDS = 1 << 16
_LOOK_S = 0.2


@dataclass(frozen=True)
class BoardPlan:
    """
    What to serve.

    Attributes:
        chip: A name of `hil.chips`.
        serial: The chip's serial number, 32 hexadecimal digits.
        uid: The probe's id; "" takes the serial number.
        sercom: Whose USART the pty is.
        link: Where to put a symbolic link to the pty.
        elf: Program to start with, loaded directly.
        probe: With a debug probe; `serve` can do without.
    """

    chip: str = "atsamd21j18a"
    serial: str = "0" * 32
    uid: str = ""
    sercom: int = 3
    link: str | None = None
    elf: str | None = None
    probe: bool = True


class ProbeServer:
    """
    A board that debuggers find.  Use it as a context manager; it runs in a thread of its own.

    Attributes:
        announcement: What others see.
        board: The board; see `EmulatedBoard.ask`.

    Raises:
        UsageError: The plan is wrong.
        RigError: A probe of that id is running.
    """

    def __init__(self, plan: BoardPlan) -> None:
        self.chip = DebuggedChip(find_chip(plan.chip), serial_words(plan.serial))
        self._registration = Registration(plan.uid or plan.serial)
        with ExitStack() as undo:
            undo.callback(self._registration.close)
            self.board = _board(plan, self.chip)
            undo.callback(self.board.close)
            self._listener = _listen(self._registration.socket)
            undo.pop_all()
        self._clients: set[_Client] = set()
        self._holder: _Client | None = None
        self._port: DebugPort | None = None
        self._power_ups = 0
        self.announcement = Announcement(
            self._registration.uid, plan.chip, os.getpid(), self.board.port, str(self._registration.socket)
        )

    def __enter__(self) -> ProbeServer:
        self.board.serve(self._listener.fileno(), self._accept)
        self.board.start()
        self._registration.announce(self.announcement.chip, self.announcement.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registration.close()
        self.board.close()
        for client in list(self._clients):
            client.socket.close()
        self._listener.close()

    # In the board's thread

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            client = _Client(connection)
            self._clients.add(client)
            self.board.serve(connection.fileno(), lambda: self._serve(client))

    def _serve(self, client: _Client) -> None:
        try:
            for message in client.messages():
                send(client.socket, self._reply(client, message))
        except (WireError, OSError):
            self._hang_up(client)

    def _hang_up(self, client: _Client) -> None:
        """The probe lets go of the pins; what the debug unit was told stays, as on a board."""
        self.board.serve(client.socket.fileno(), None)
        client.socket.close()
        self._clients.discard(client)
        if client is self._holder:
            self._holder = None
            self.chip.drive(clock_low=False, reset_low=False)

    def _reply(self, client: _Client, message: bytes) -> bytes:
        op, body = message[0], message[1:]
        try:
            if op == Op.HELLO:
                return self._hello(client, body)
            if op == Op.TELL:
                return _ok(json.dumps(answer(self.board, self.chip, json.loads(body))).encode())
            if client is not self._holder:
                return _error(Ack.ERROR, "this connection does not have the debug port")
            return self._pins(body) if op == Op.PINS else self._transfer(op, body)
        except (ValueError, LookupError, TypeError, struct.error, UsageError, RigError) as error:
            return _error(Ack.ERROR, f"bad request: {error}")

    def _hello(self, client: _Client, body: bytes) -> bytes:
        version, wants_port = struct.unpack("<IB", body)
        if version != VERSION:
            return _error(Ack.ERROR, f"this probe speaks version {VERSION}, not {version}: restart `hil emulate`")
        if wants_port:
            if self._holder is not None:
                return _error(Ack.BUSY, f"{self.announcement.uid} is in use by another debugger")
            self._holder = client
            self.chip.drive(clock_low=True, reset_low=False)
        return _ok(json.dumps(asdict(self.announcement)).encode())

    def _pins(self, body: bytes) -> bytes:
        mask, value = struct.unpack("<BB", body)
        levels = self.chip.pins
        if mask:
            levels = (levels & ~mask) | (value & mask)
            self.chip.drive(clock_low=not levels & SWCLK, reset_low=not levels & NRESET)
        return _ok(bytes([self.chip.pins]))

    def _transfer(self, op: int, body: bytes) -> bytes:
        if not self.chip.powered:
            return bytes([Ack.NONE])
        if self._port is None or self._power_ups != self.chip.power_ups:
            self._port, self._power_ups = DebugPort(DebugBus(self.chip)), self.chip.power_ups
        register, rest = body[0] & 0xC, body[1:]
        if op in (Op.READ_DP, Op.READ_AP):
            (count,) = struct.unpack("<I", rest)
            return _read(self._port.read_dp if op == Op.READ_DP else self._port.read_ap, register, count)
        if op in (Op.WRITE_DP, Op.WRITE_AP):
            write = self._port.write_dp if op == Op.WRITE_DP else self._port.write_ap
            return _write(write, register, unpack_words(rest))
        raise ValueError(f"no operation {op}")


class _Client:
    """A connection and what has arrived on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(SEND_TIMEOUT_S)
        self._buffer = bytearray()

    def messages(self) -> Iterator[bytes]:
        """Called when there is something to receive.  Raises `WireError` at the connection's end."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise WireError("hung up")
        self._buffer += part
        while (message := split(self._buffer)) is not None:
            yield message


def _read(read: Callable[[int], tuple[Ack, int]], register: int, count: int) -> bytes:
    if not 1 <= count <= _MAX_WORDS:
        raise ValueError(f"{count} words")
    words = []
    for _ in range(count):
        ack, word = read(register)
        if ack is not Ack.OK:
            return bytes([ack])
        words.append(word)
    return _ok(pack_words(words))


def _write(write: Callable[[int, int], Ack], register: int, words: list[int]) -> bytes:
    for word in words:
        ack = write(register, word)
        if ack is not Ack.OK:
            return bytes([ack])
    return _ok(b"")


def _ok(body: bytes) -> bytes:
    return bytes([Ack.OK]) + body


def _error(ack: Ack, text: str) -> bytes:
    return bytes([ack]) + text.encode()


def serial_words(serial: str) -> tuple[int, int, int, int]:
    """The chip's four words.  Raises `UsageError` unless it is 32 lower-case hexadecimal digits."""
    if len(serial) != 32 or set(serial) - set("0123456789abcdef"):
        raise UsageError(f"serial number {serial!r}: expected 32 lower-case hexadecimal digits")
    a, b, c, d = (int(serial[i : i + 8], 16) for i in range(0, 32, 8))
    return a, b, c, d


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def serve(plan: BoardPlan, ready: Callable[[Announcement], None]) -> None:
    """
    Run a board until SIGINT or SIGTERM, or until the board fails.

    Args:
        plan: What to serve; without ``probe`` only chip and pty.
        ready: Called once debuggers and serial programs can connect.

    Raises:
        UsageError, RigError: As `ProbeServer`.
        ToolError: The emulator failed.
    """
    ended = threading.Event()
    with on_signals(ended.set), ExitStack() as stack:
        if plan.probe:
            server = stack.enter_context(ProbeServer(plan))
            board, announcement = server.board, server.announcement
        else:
            chip = find_chip(plan.chip)
            board = stack.enter_context(_board(plan, Emulator(chip, serial_words(plan.serial))))
            board.start()
            announcement = Announcement(plan.uid or plan.serial, chip.name, os.getpid(), board.port, "")
        ready(announcement)
        while not ended.wait(_LOOK_S) and board.running:
            pass
        board.stop()  # raises what the board has failed of


def _board(plan: BoardPlan, emulator: Emulator) -> EmulatedBoard:
    """Not yet started."""
    board = EmulatedBoard(emulator.chip, sercom=plan.sercom, link=plan.link, emulator=emulator)
    try:
        if plan.elf:
            board.load_elf(Path(plan.elf))
    except BaseException:
        board.close()
        raise
    return board


@contextmanager
def on_signals(action: Callable[[], None]) -> Iterator[None]:
    """Within it SIGINT and SIGTERM call ``action`` and end nothing."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: action()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def main() -> None:
    """
    Serve the plan that the parent process ordered until stdin ends; the first line of stdout is the announcement.

    An error is one line of JSON as well: its kind and what it says.
    """
    plan = BoardPlan(**read_order())
    try:
        with ProbeServer(plan) as server:
            print(json.dumps(asdict(server.announcement)), flush=True)
            while sys.stdin.buffer.read(1):
                pass
    except (UsageError, RigError) as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)


if __name__ == "__main__":
    main()
