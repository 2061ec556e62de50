"""Inputs for whatever reads the line: requests that make sense, that nearly do, and that do not."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from hil.link.codec import Frame, encode_frame
from hil.link.schema import BODIES, MAX_BODY, Flag, Kind

ASKED = [kind for kind in Kind if kind < 0x80 and kind not in (Kind.RESET, Kind.CRASH)]
"""Requests after which the host build of the firmware still runs."""
_AFTER = {
    Kind.HELLO: (Kind.BEGIN, Kind.LISTEN, Kind.BEGIN, Kind.LISTEN, Kind.HELLO),
    Kind.BEGIN: (Kind.STEPS, Kind.STEPS, Kind.INSPECT, Kind.FINISH),
    Kind.LISTEN: (Kind.PCM,),
}
"""What makes sense next."""
_STRUCT = {"u8": "B", "u16": "H", "u32": "I", "i16": "h", "i32": "i"}
_EDGES = (0, 1, 2, 3, 4, 8, 9, 10, 255, 256, 32767, 32768, 65535, 0x7FFFFFFF, 0xFFFFFFFF)
_TEXTS = (
    *("name", "profile", "timestamp", "results", "help", "", "unknown"),
    *("infer 1 0", "infer 2 1", "infer", "infer x", "infer 0 0"),
    *("db load 576", "db load 64", "db load 7", "db load", "db 00ff7f80", "db 0", "db zz"),
    *("db print", "db print 9 600", "db print 4294967295 4294967295"),
)


class Inputs:
    """
    An endless stream of inputs, the same for the same seed.

    Attributes:
        width: D of the model.
        seq: Number that the device expects next, if it took every whole request.
    """

    def __init__(self, seed: int, width: int = 8) -> None:
        self.rng, self.width = random.Random(seed), width
        self.seq, self._last = 0, Kind.HELLO
        self._sample = self._step = 0  # the next ones

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield self.next()

    def next(self) -> bytes:
        """One input."""
        kind = self.rng.random()
        if kind < 0.5:
            return self.request()
        if kind < 0.9:
            state = vars(self).copy()
            good = bad = self.request()
            vars(self).update(state)
            while bad.strip(b"\0") == good.strip(b"\0"):  # damage to a delimiter, or that undid itself
                bad = spoil(self.rng, good)
            return bad
        if kind < 0.95:
            return self.rng.randbytes(self.rng.randint(1, 80))
        return (self.rng.choice(_TEXTS) + "%").encode()

    def request(self) -> bytes:
        """A whole frame."""
        rng = self.rng
        likely = _AFTER[self._last if rng.random() < 0.85 else Kind.HELLO]
        kind = rng.choice(likely if rng.random() < 0.8 else ASKED)
        body = (
            self._body(kind) if rng.random() < 0.9 else rng.randbytes(rng.choice((0, 1, 2, 3, 4, 5, 8, 33, MAX_BODY)))
        )
        flags = Flag.LAST | (Flag.STREAM if kind in (Kind.ECHO, Kind.PCM) and rng.random() < 0.7 else Flag(0))
        flags |= Flag(rng.choice((0, 0, 0, 2, 4, 0xF0)))
        seq = self.seq if rng.random() < 0.95 else rng.randrange(256)
        if kind == Kind.HELLO or seq == self.seq:
            self.seq = (seq + 1) % 256
            self._last = kind if kind in _AFTER else self._last
        number: Kind | int = kind if rng.random() < 0.98 else rng.randrange(0x0E, 256)
        return encode_frame(Frame(number, seq, rng.randrange(256), flags, body))

    def _body(self, kind: Kind) -> bytes:
        """Fields of the right length, with small values or those at edges; long arrays are rare."""
        rng, out = self.rng, b""
        if kind == Kind.STEPS and rng.random() < 0.7:
            count, first = rng.randint(1, 3), self._step
            self._step += count
            return struct.pack("<HH", first, count) + rng.randbytes(2 * self.width * count)
        for field in BODIES[kind]:
            size = struct.calcsize(_STRUCT[field.type])
            count = field.count or rng.choice((0, 1, 8, 16, 64, 120, 256 if rng.random() < 0.1 else 8))
            if field.count:
                values = [self._value(kind, field.name) % (1 << 8 * size) for _ in range(count)]
                out += b"".join(value.to_bytes(size, "little") for value in values)
            else:
                out += rng.randbytes(count * size)
                self._sample += count if kind == Kind.PCM else 0
        return out[:MAX_BODY]

    def _value(self, kind: Kind, name: str) -> int:
        """A small number in most cases, so that requests are carried out."""
        rng = self.rng
        if kind == Kind.LISTEN:
            self._sample = 0
        if kind == Kind.PCM:
            return self._sample
        if kind == Kind.BEGIN and name == "steps":
            self._step = 0
            return rng.choice((0, 2, 9, 65535))
        if kind == Kind.INSPECT:
            return rng.choice((0, 0, 1, 255))
        if name in ("detail", "smooth_log2", "flags"):
            return rng.choice((0, 1, 1, 2))
        if kind == Kind.BENCH:
            return rng.choice((0, 1, 2, 9))
        return rng.randrange(10) if rng.random() < 0.8 else rng.choice(_EDGES)


def spoil(rng: random.Random, data: bytes) -> bytes:
    """One to four damages: a bit, a lost byte, a byte too many, two bytes exchanged, an end torn off."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        how = rng.randrange(5)
        if how == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and len(out) > 2:
            del out[at]
        elif how == 2:
            out.insert(at, rng.randrange(256))
        elif how == 3:
            other = rng.randrange(len(out))
            out[at], out[other] = out[other], out[at]
        elif at > 1:
            del out[at:]
    return bytes(out)
