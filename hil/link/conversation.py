"""Requests and answers over a serial port: wait with a deadline, repeat, give up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import serial

from hil.errors import (
    DeviceRefusal,
    FirmwareFault,
    GarbledLine,
    LinkTimeout,
    PortLost,
    ProtocolError,
    UnexpectedReset,
    UsageError,
)
from hil.link.codec import Frame, decode_body, encode_body, encode_frame
from hil.link.receiver import Receiver
from hil.link.schema import STREAMED, ErrorCode, Flag, Kind

REPEATS = 3
"""How often a request is sent again before the host gives up."""
TAIL_BYTES = 16
LAST_FRAMES = 32
_POLL_S = 0.05
"""Longest single wait in the port; deadlines are looked at in between."""
_SERIAL_ERRORS: tuple[type[Exception], ...] = (serial.SerialException, OSError)
with suppress(ImportError):  # POSIX only
    import termios

    _SERIAL_ERRORS += (termios.error,)


class Conversation:
    """
    One request under way at a time, numbered; each answer complete or an error.

    Attributes:
        rig: Name for errors.
        timeout_s: How long to wait for each frame.
        repetitions: Requests sent again so far.
        frames: The last frames in both directions, oldest first, as ``(">" or "<", frame)``.
        lines: The last lines of text that arrived.
        receiver: Counts what was damaged.
        streamed: Frames of a capture (META, SOUND, VECTOR, VERDICT) that came while something else was waited for.
        running: A program has said HELLO, so that a BOOT frame is news.
    """

    def __init__(
        self,
        port: serial.SerialBase,
        rig: str,
        timeout_s: float,
        locate: Callable[[int], str] = lambda address: "",
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self.rig, self.timeout_s, self.repetitions, self.running = rig, timeout_s, 0, False
        self.frames: deque[tuple[str, Frame]] = deque(maxlen=LAST_FRAMES)
        self.lines: deque[str] = deque(maxlen=LAST_FRAMES)
        self.receiver = Receiver()
        self._port, self._locate, self._on_silence = port, locate, on_silence
        self._arrived: deque[Frame] = deque()
        self.streamed: deque[Frame] = deque()
        self._tail = b""
        self._bytes = self._frames = 0  # received at this speed; good ones among them
        self._seq = 0
        with self._errors("being opened"):
            port.timeout = _POLL_S

    # One request and its answer

    @property
    def seq(self) -> int:
        """Number of the next request."""
        return self._seq

    @seq.setter
    def seq(self, value: int) -> None:
        self._seq = value % 256

    def restart(self) -> None:
        """Number the next request 0: it will be HELLO."""
        self.running, self._seq = False, 0

    def ask(self, kind: Kind, want: Kind, *, extra_s: float = 0.0, **values: Any) -> dict[str, Any]:
        """Send a request of ``kind`` and return the fields of its one answer; wait ``extra_s`` longer for it."""
        (frame,) = self.exchange(self.request(kind, **values), want, extra_s=extra_s)
        return self.fields(frame)

    def request(self, kind: Kind, **values: Any) -> Frame:
        """The next request.  Raises `UsageError` if the values do not fit its body."""
        try:
            body = encode_body(kind, **values)
        except ValueError as error:
            raise UsageError(f"{self.rig}: {error}") from None
        return Frame(kind, self._seq, credit=1, flags=Flag.LAST, body=body)

    def exchange(
        self,
        request: Frame,
        want: Kind,
        count: int = 1,
        first: int = 0,
        *,
        extra_s: float = 0.0,
        repeats: int = REPEATS,
    ) -> list[Frame]:
        """
        Send until ``count`` answers are complete, at most 1 + ``repeats`` times.

        STEP frames are collected by their step (``first`` and up), so that what an earlier answer has left over is
        not taken twice.
        """
        got: dict[int, Frame] = {}
        for attempt in range(1 + repeats):
            self.repetitions += attempt > 0
            self.send(request)
            try:
                self._collect(request, want, count, first, got, self.timeout_s + extra_s)
            except LinkTimeout as error:
                if attempt == repeats:
                    raise error.counted(1 + repeats, self.receiver.bad_frames) from None
                continue
            if len(got) == count:
                self._seq = (request.seq + 1) % 256
                return [got[first + i] for i in range(count)]
        raise ProtocolError(
            f"{self.rig}: the answer to {request.name} had {len(got)} of {count} {want.name} frames, "
            f"{1 + repeats} times in a row ({self.receiver.bad_frames} damaged frames). "
            f"Check the cable, or use a lower baud rate."
        )

    def _collect(
        self, request: Frame, want: Kind, count: int, first: int, got: dict[int, Frame], timeout_s: float
    ) -> None:
        """Read up to the answer's last frame; fewer than ``count`` in ``got`` means that some were damaged."""
        while True:
            frame = self.next(time.monotonic() + timeout_s, want.name, request.seq)
            if request.kind == Kind.HELLO and not self._answers_hello(frame):
                continue  # still of the conversation before
            if frame.kind == Kind.ERROR:
                self._seq = (request.seq + 1) % 256  # a refusal is an answer
            self.raise_refusal(frame, request.name)
            if frame.kind != want:
                raise ProtocolError(f"{self.rig}: {frame.name} answers {request.name}, expected {want.name}")
            index = self.fields(frame)["step"] if want is Kind.STEP else first
            if not first <= index < first + count:
                raise ProtocolError(f"{self.rig}: STEP {index} answers steps {first} to {first + count - 1}")
            got[index] = frame
            if frame.flags & Flag.LAST:
                return

    def _answers_hello(self, frame: Frame) -> bool:
        refusal = frame.kind == Kind.ERROR and self.fields(frame)["request"] == Kind.HELLO
        return frame.kind == Kind.IS_HELLO or refusal

    def raise_refusal(self, frame: Frame, request: str) -> None:
        """Raise `DeviceRefusal` for an ERROR frame."""
        if frame.kind == Kind.ERROR:
            values = self.fields(frame)
            code = values["code"]
            name = ErrorCode(code).name if code in ErrorCode._value2member_map_ else str(code)
            raise DeviceRefusal(self.rig, request, name, values["detail"])

    def fields(self, frame: Frame) -> dict[str, Any]:
        """The fields of a frame's body.  Raises `ProtocolError` if it does not have the length of its kind."""
        try:
            return decode_body(Kind(frame.kind), frame.body)
        except ValueError as error:
            raise ProtocolError(f"{self.rig}: {error}. Is the firmware of another version? Flash it again.") from None

    # Frames and bytes

    def send(self, frame: Frame) -> None:
        self.frames.append((">", frame))
        with self._errors(f"sending {frame.name}"):
            self._port.write(encode_frame(frame))

    def next(self, deadline: float, waiting_for: str, seq: int | None = None) -> Frame:
        """
        The next answer to ``seq`` (None: any frame); answers to earlier requests are passed over.

        Args:
            deadline: On the monotonic clock, seconds.
            waiting_for: Kind of frame, for errors.
            seq: Of the request.

        Raises:
            LinkTimeout: The deadline passed.
            PortLost: The port went away.
            FirmwareFault, UnexpectedReset: The firmware said so.
        """
        began = time.monotonic()
        seen, good = (self._bytes, self._frames) if self._frames else (0, 0)  # or not one since the port was opened
        while True:
            while self._arrived:
                frame = self._arrived.popleft()
                self._raise_news(frame)
                if seq is None or (frame.seq == seq and not frame.flags & Flag.UNSOLICITED):
                    return frame
                if frame.kind in STREAMED:
                    self.streamed.append(frame)
            if time.monotonic() >= deadline:
                self._on_silence()
                waited_s = round(deadline - began, 3)
                if self._bytes > seen and self._frames == good:
                    count = self._bytes - seen
                    raise GarbledLine(self.rig, waiting_for, waited_s, self._tail, count, self._port.baudrate)
                raise LinkTimeout(self.rig, waiting_for, waited_s, self._tail)
            self._read(waiting_for)

    def poll(self, deadline: float) -> Frame | None:
        """The next frame of any kind; None if there is none by ``deadline``.  Raises as `next`, but for silence."""
        while not self._arrived:
            if time.monotonic() >= deadline:
                return None
            self._read("a frame")
        frame = self._arrived.popleft()
        self._raise_news(frame)
        return frame

    def _raise_news(self, frame: Frame) -> None:
        """Faults, and a reset that nobody asked for, end whatever is under way."""
        if frame.kind == Kind.FAULT:
            values = self.fields(frame)
            stack = values.pop("stack_bytes")
            where = self._locate(values["pc"]) or "the program"
            self.running = False
            raise FirmwareFault(self.rig, values, f"{where} (stack high-water mark {stack} bytes)")
        if frame.kind == Kind.BOOT and self.running:
            self.running = False
            raise UnexpectedReset(self.rig, self.fields(frame)["reset_cause"])

    def _read(self, waiting_for: str) -> None:
        with self._errors(f"waiting for {waiting_for}"):
            data = bytes(self._port.read(1))
            if data and (more := self._port.in_waiting):
                data += bytes(self._port.read(more))
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._bytes += len(data)
        for item in self.receiver.feed(data):
            if isinstance(item, str):
                self.lines.append(item)
            else:
                self.frames.append(("<", item))
                self._frames += 1
                self._arrived.append(item)

    @property
    def baud(self) -> int:
        """The host's side's speed."""
        return int(self._port.baudrate)

    def set_speed(self, baud: int) -> None:
        """Change the host's side of the line."""
        with self._errors(f"changing its speed to {baud} baud"):
            self._port.baudrate = baud
        self._bytes = self._frames = 0

    @property
    def port(self) -> str:
        """Name or URL of the port."""
        return str(self._port.port)

    def close(self) -> None:
        """Close the port; harmless if it is gone."""
        with suppress(*_SERIAL_ERRORS):
            self._port.close()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except _SERIAL_ERRORS as error:
            raise PortLost(self.rig, doing) from error
