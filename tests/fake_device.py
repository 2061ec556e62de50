"""
A device in Python behind a pty: the firmware's side of docs/link.md, written from that page alone.

For tests of the host only.  It computes with any object that has ``reset()``, ``step(x) -> states``,
``output() -> (logits, saturated)`` and ``inner(layer) -> (acc, z, g, h)``.
"""

from __future__ import annotations

import os
import pty
import select
import struct
import threading
import tty
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cobs import cobs

LAST, UNSOLICITED, REPLAY = 1, 2, 4
HELLO, BEGIN, STEPS, FINISH, INSPECT, BENCH, STATUS, ECHO, BAUD, RESET, CRASH = range(1, 12)
IS_HELLO, ACK, STEP, RESULT, INNER, BENCHED, IS_STATUS, ECHOED, BOOT = (*range(0x81, 0x89), 0x90)
ERROR, FAULT = 0xE0, 0xF0
BAD_LENGTH, BAD_STATE, BAD_STEP, BAD_INDEX = 2, 3, 4, 5


class Doubler:
    """The default machine: two states, ``x[0]`` and a running sum; one output, the sum."""

    inputs, states, outputs, layers = 3, 2, 1, 1

    def reset(self) -> None:
        self.x, self.total = 0, 0

    def step(self, x: np.ndarray) -> list[int]:
        self.x, self.total = int(x[0]), (self.total + int(x.sum())) % 1000
        return [self.x, self.total]

    def output(self) -> tuple[list[int], int]:
        return [self.total * 70000], 5

    def inner(self, layer: int) -> tuple[list[int], list[int], list[int], list[int]]:
        return [self.x, -self.x, self.total, -self.total], [1, 2], [3, 4], [self.x, self.total]


@dataclass
class FakeDevice:
    """
    A thread that answers at `port`.

    Attributes:
        machine: What it computes.
        spoil: Gets each frame's bytes as they go out and its number since start; returns what is really sent.
        deaf: Gets each request's number since start; True: the request is lost.
        before: Called with kind and body before a request is carried out; may raise `Unplug`, return "silent",
            "fault" or "boot".
    """

    machine: Any = field(default_factory=Doubler)
    build_id: bytes = b"\x11" * 16
    artefact_hash: bytes = b"\x22" * 32
    protocol: int = 1
    max_steps: int = 4
    kernels: int = 1
    spoil: Callable[[bytes, int], bytes] = lambda data, number: data
    deaf: Callable[[int], bool] = lambda number: False
    before: Callable[[int, bytes], str | None] = lambda kind, body: None
    extra: bytes = b""

    def __enter__(self) -> FakeDevice:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self.requests: list[int] = []
        self.done: list[int] = []
        self._sent = self._received = self.replays = 0
        self._kept: list[tuple[int, int, int, bytes]] = []
        self._last_seq: int | None = None
        self._steps_announced = self._steps_done = 0
        self._stop_read, self._stop_write = os.pipe()
        self._unplugged = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.unplug()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def unplug(self) -> None:
        """Close the pty, as a pulled cable does."""
        if not self._unplugged:
            self._unplugged = True
            os.close(self._slave)
            os.close(self._master)

    def _serve(self) -> None:
        buffer = bytearray()
        while not self._unplugged:
            ready, _, _ = select.select([self._master, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            buffer += os.read(self._master, 4096)
            while not self._unplugged and (end := buffer.find(0)) >= 0:
                chunk = bytes(buffer[:end])
                del buffer[: end + 1]
                if chunk:
                    self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        assert chunk[0] == 0xF1
        self._received += 1
        if self.deaf(self._received):
            return
        payload = cobs.decode(chunk[1:])
        assert zlib.crc32(payload[:-4]) == int.from_bytes(payload[-4:], "little")
        kind, seq, _credit, _flags = payload[:4]
        self.requests.append(kind)
        if kind != HELLO and self._last_seq is not None and seq == self._last_seq:
            self.replays += 1
            self._send(flags_or=REPLAY)
            return
        if kind != HELLO and (self._last_seq is None or seq != (self._last_seq + 1) % 256):
            self._kept = [(ERROR, seq, LAST, struct.pack("<BBHI", BAD_STATE, kind, 0, 0))]
            self._send()
            return
        self._carry_out(kind, seq, payload[4:-4])

    def _carry_out(self, kind: int, seq: int, body: bytes) -> None:
        todo = self.before(kind, body)
        if self._unplugged or todo == "silent":
            return
        if todo == "fault":
            self._news(FAULT, struct.pack("<11I", *range(0x100, 0x10B)))
            return
        if todo == "boot":
            self._last_seq = None
            self._news(BOOT, struct.pack("<I", 0x20))
            return
        self._last_seq = seq
        answers = self._answer(kind, body)
        last = len(answers) - 1
        self._kept = [(k, seq, LAST if i == last else 0, b) for i, (k, b) in enumerate(answers)]
        self.done.append(kind)
        self._send()
        if kind == RESET:
            self._last_seq = None
            self._news(BOOT, struct.pack("<I", 0x40))

    def _send(self, flags_or: int = 0) -> None:
        for kind, seq, flags, body in self._kept:
            self._write(kind, seq, flags | flags_or, body)

    def _news(self, kind: int, body: bytes) -> None:
        self._write(kind, 0, UNSOLICITED | LAST, body)

    def _write(self, kind: int, seq: int, flags: int, body: bytes) -> None:
        payload = bytes((kind, seq, 1, flags)) + body
        payload += zlib.crc32(payload).to_bytes(4, "little")
        self._sent += 1
        data = self.spoil(b"\0\xf1" + cobs.encode(payload) + b"\0", self._sent)
        os.write(self._master, self.extra + data)

    def _answer(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        name = {
            HELLO: self._hello,
            BEGIN: self._begin,
            STEPS: self._step,
            FINISH: self._finish,
            INSPECT: self._inspect,
            BENCH: self._bench,
            STATUS: lambda body: [(IS_STATUS, struct.pack("<7I", self._received, 1, 0, self.replays, 300, 2048, 77))],
            ECHO: lambda body: [(ECHOED, body)],
        }
        return name.get(kind, lambda body: [(ACK, b"")])(body)

    def _hello(self, body: bytes) -> list[tuple[int, bytes]]:
        m = self.machine
        numbers = (self.protocol, 1, self.max_steps, m.inputs, m.states, m.outputs, m.layers, self.kernels)
        words = (48_000_000, 115_200, 0x10010300, 1, 2, 3, 4, 0x80, 9, 0x40)
        return [(IS_HELLO, struct.pack("<BBHHHHBB10I", *numbers, *words) + self.build_id + self.artefact_hash)]

    def _begin(self, body: bytes) -> list[tuple[int, bytes]]:
        self._sequence, self._steps_announced, self._detail, _ = struct.unpack("<IHBB", body)
        self._steps_done = 0
        self.machine.reset()
        return [(ACK, b"")]

    def _step(self, body: bytes) -> list[tuple[int, bytes]]:
        first, count = struct.unpack_from("<HH", body)
        if first != self._steps_done:
            return [(ERROR, struct.pack("<BBHI", BAD_STEP, STEPS, 0, self._steps_done))]
        x = np.frombuffer(body[4:], "<i2").reshape(count, self.machine.inputs)
        answers = []
        for i in range(count):
            states = self.machine.step(x[i])
            head = struct.pack("<HHI", first + i, 0, 1000 + (first + i))
            answers.append((STEP, head + (np.asarray(states, "<i2").tobytes() if self._detail else b"")))
        self._steps_done += count
        return answers

    def _finish(self, body: bytes) -> list[tuple[int, bytes]]:
        logits, saturated = self.machine.output()
        head = struct.pack("<IHHII", self._sequence, self._steps_done, 0, 555, saturated)
        return [(RESULT, head + np.asarray(logits, "<i4").tobytes())]

    def _inspect(self, body: bytes) -> list[tuple[int, bytes]]:
        if body[0] >= self.machine.layers:
            return [(ERROR, struct.pack("<BBHI", BAD_INDEX, INSPECT, 0, self.machine.layers))]
        acc, z, g, h = self.machine.inner(body[0])
        data = np.asarray(acc, "<i4").tobytes() + np.asarray([*z, *g, *h], "<i2").tobytes()
        return [(INNER, struct.pack("<BBH", body[0], 0, len(z)) + data)]

    def _bench(self, body: bytes) -> list[tuple[int, bytes]]:
        kernel, _, repeats = struct.unpack("<BBH", body)
        if kernel >= self.kernels:
            return [(ERROR, struct.pack("<BBHI", BAD_INDEX, BENCH, 0, self.kernels))]
        cycles = [100 * (kernel + 1)] * repeats
        return [(BENCHED, struct.pack(f"<BBH{repeats}I", kernel, 0, 0, *cycles))]
