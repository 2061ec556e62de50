"""Where sound comes from: a file, at the pace of the clock or as fast as it can be read, or the host's microphone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from hil.capture.journal import Samples
from hil.errors import UsageError

BLOCKS_A_SECOND = 50
"""Sound comes in pieces of 20 ms."""


@dataclass(frozen=True)
class Block:
    """
    A piece of sound.

    Attributes:
        first: Index of its first sample since the source began.
        samples: [n] int16.
        heard_s: When its last sample sounded, monotonic clock.
        estimated: A hole before it was measured by the clock, as nobody counted.
    """

    first: int
    samples: Samples
    heard_s: float
    estimated: bool = False


class Source(Protocol):
    """
    A stream of sound.

    Attributes:
        name: For the index.
        ended: There will be no more.
    """

    name: str
    ended: bool

    def read(self, timeout_s: float) -> Block | None:
        """The next piece, None if there is none within ``timeout_s``."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FileSource:
    """
    A recording as if it were heard now.

    Attributes:
        name, ended: As of `Source`.
    """

    def __init__(
        self,
        path: Path,
        rate_hz: int,
        *,
        fast: bool = False,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            path: WAV, FLAC and whatever else libsndfile reads; mixed down and resampled.
            rate_hz: Wanted.
            fast: As fast as it is taken, not at the pace of the clock.
            start: Index of the first sample that is given.
            clock, sleep: Of the pace.

        Raises:
            UsageError: The file cannot be used.
        """
        from hil.datasets.audio import read_sounds

        self.notes: list[str] = []
        (sound,) = read_sounds([path], Path(), rate_hz, skip_bad=False, notes=self.notes)
        assert sound is not None
        self.name, self._sound, self._fast = str(path), sound, fast
        self._rate, self._next, self._clock, self._sleep = rate_hz, start, clock, sleep
        self._began_s: float | None = None
        self._start = start
        self.ended = start >= sound.size

    @property
    def sound(self) -> Samples:
        """The whole file, [n] int16."""
        return self._sound

    @property
    def samples(self) -> int:
        """Of the whole file."""
        return int(self._sound.size)

    def read(self, timeout_s: float) -> Block | None:
        """As `Source.read`."""
        if self.ended:
            return None
        if self._began_s is None:
            self._began_s = self._clock()
        end = min(self._next + max(1, self._rate // BLOCKS_A_SECOND), self.samples)
        due_s = self._began_s + (end - self._start) / self._rate
        now_s = self._clock()
        if not self._fast and due_s > now_s:
            self._sleep(min(timeout_s, due_s - now_s))
            if due_s - now_s > timeout_s:
                return None
        block = Block(self._next, self._sound[self._next : end], now_s if self._fast else due_s)
        self._next, self.ended = end, end >= self.samples
        return block

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_source(given: str, rate_hz: int, *, fast: bool = False, start: int = 0) -> Source:
    """
    A file if ``given`` names one, else the microphone of that name or number ("": the system's own choice).

    Raises:
        UsageError: There is neither; the devices are listed.
    """
    path = Path(given)
    if given and path.is_file():
        return FileSource(path, rate_hz, fast=fast, start=start)
    if path.suffix.lower() in (".wav", ".flac", ".ogg"):
        raise UsageError(f"--input {given}: no such file")
    if fast:
        raise UsageError("--fast goes with --input FILE: a microphone has its own pace")
    from hil.capture.microphone import Microphone

    return Microphone(given, rate_hz)
