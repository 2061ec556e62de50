"""A serial port that damages what goes through it, both ways."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """
    What happens to the bytes of each call.

    Attributes:
        flip, drop: Probability for each byte that one of its bits changes, or that it gets lost.
        garbage: Probability for each call that up to 60 random bytes come in between.
        double: Probability for each frame of the host that it is sent twice.
        stall_s: Once in 50 reads the reader stands still for so long.
    """

    flip: float = 0.0
    drop: float = 0.0
    garbage: float = 0.0
    double: float = 0.0
    stall_s: float = 0.0


class DamagedPort:
    """
    Wraps an open pyserial port.

    Attributes:
        damaged: Bytes changed, lost or added, and frames doubled.
    """

    def __init__(self, port, faults: Faults, seed: int = 0) -> None:
        self._port, self.faults, self._rng = port, faults, random.Random(seed)
        self.damaged = 0

    def __getattr__(self, name):
        return getattr(self._port, name)

    def __setattr__(self, name, value):
        if name in ("timeout", "baudrate"):
            setattr(self._port, name, value)
        else:
            super().__setattr__(name, value)

    def write(self, data: bytes) -> int:
        times = 1 + (self._rng.random() < self.faults.double)
        self.damaged += times - 1
        for _ in range(times):
            self._port.write(self._spoil(data))
        return len(data)

    def read(self, n: int) -> bytes:
        if self.faults.stall_s and self._rng.random() < 0.02:
            self.damaged += 1
            time.sleep(self.faults.stall_s)
        data = self._port.read(n)
        return self._spoil(data) if data else data

    def _spoil(self, data: bytes) -> bytes:
        f, rng, out = self.faults, self._rng, bytearray()
        if f.garbage and rng.random() < f.garbage:
            self.damaged += 1
            out += rng.randbytes(rng.randint(1, 60))
        for byte in data:
            if f.drop and rng.random() < f.drop:
                self.damaged += 1
                continue
            if f.flip and rng.random() < f.flip:
                self.damaged += 1
                byte ^= 1 << rng.randrange(8)
            out.append(byte)
        return bytes(out)
