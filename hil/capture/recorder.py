"""Writes a capture: one journal at a time, segments closed behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hil.capture.info import CaptureInfo, append_lines, info_of, journal_path, journals, read_index
from hil.capture.journal import Event, Gap, JournalWriter, Meta, Pcm, Record, Samples, Vectors
from hil.capture.segment import close_segment, soundfile
from hil.errors import DeviceError, HilError, RigError, UsageError

LONGEST_INSIDE_S = 10.0
"""A longer gap ends the segment; a shorter one is zeros in it."""


@dataclass(frozen=True)
class Hole:
    """
    Why samples are missing.

    Attributes:
        why: In words.
        estimated: How many is known by the clock only.
    """

    why: str = "lost on the way"
    estimated: bool = False


LOST = Hole()
NOT_TRIGGERED = Hole("nothing was detected")


class CaptureEnded(UsageError):
    """
    The folder cannot be written to any more.

    Attributes:
        position: Index after the last sample that is kept.
    """

    def __init__(self, folder: Path, position: int, rate_hz: int, why: OSError):
        self.position = position
        super().__init__(
            f"{folder}: cannot be written to ({why.strerror or why}). The capture ended at {position / rate_hz:.3f} s; "
            f"everything before is there and opens (`hil capture show {folder}`). Make room, then go on with --resume."
        )


class Recorder:
    """
    A capture that is being made.

    Attributes:
        folder: Of the capture.
        info: What it is.
        position: Index of the next sample.
        kept, lost: Samples that were recorded, and samples in gaps.
        segments: Closed so far, those of this run.
    """

    def __init__(
        self,
        folder: Path,
        info: CaptureInfo,
        *,
        resume: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin a capture, or go on with one.  The folder is there and locked.

        Raises:
            UsageError: There is a capture and ``resume`` is False, or none and it is True, or it is of another kind.
            CaptureEnded: The disk is full.
        """
        soundfile()
        self.folder, self.info, self._clock = folder, info, clock
        self.position = self.kept = self.lost = self.segments = 0
        self._journal: JournalWriter | None = None
        self._number = self._first = 0
        self._failed: list[str] = []
        self._closing: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(1, "closing segments")
        try:
            if resume:
                self.info = _known(folder, info)
                self.position, self._number = recover(folder)
                self.event("resumed", wall=time.time())
            else:
                append_lines(folder, [info.line()])
        except OSError as error:
            raise CaptureEnded(folder, self.position, info.rate_hz, error) from error

    def sound(self, first: int, samples: Samples, hole: Hole = LOST) -> None:
        """
        Keep sound.

        Args:
            first: Index of the first sample; a hole before it becomes a gap.
            samples: [n] int16.
            hole: What it is.

        Raises:
            ValueError: ``first`` is before what was kept.
            CaptureEnded: The disk is full or gone.
        """
        if first < self.position:
            raise ValueError(f"sample {first} after {self.position}")
        if first > self.position:
            self.gap(first - self.position, hole)
        longest = round(self.info.segment_s * self.info.rate_hz)
        while samples.size:
            if self._journal is not None and self.position - self._first >= longest:
                self._end_segment()
            self._open()
            part = samples[: self._first + longest - self.position]
            self._append(Pcm(self.position, part))
            self.position += part.size
            self.kept += part.size
            samples = samples[part.size :]

    def gap(self, count: int, hole: Hole = LOST) -> None:
        """Note that ``count`` samples are missing here.  Raises `CaptureEnded`."""
        if count <= 0:
            return
        self._append(Gap(self.position, count, hole.why, hole.estimated))
        sounded = self.position > self._first
        self.position += count
        self.lost += count if hole is not NOT_TRIGGERED else 0
        if not sounded:
            self._first = self.position
        elif count > LONGEST_INSIDE_S * self.info.rate_hz:
            self._end_segment()

    def vectors(self, first: int, x: Samples) -> None:
        """Keep feature vectors [n, D] int16.  Raises `CaptureEnded`."""
        if len(x):
            self._append(Vectors(first, x))

    def event(self, kind: str, **values: Any) -> None:
        """Keep whatever else happened.  Raises `CaptureEnded`."""
        self._append(Event({"kind": kind, **values}))

    def tick(self) -> None:
        """To be called a few times a second.  Raises `CaptureEnded`."""
        if self._journal is not None:
            with self._ended():
                self._journal.tick()

    def end_segment(self) -> None:
        """What comes next is in a segment of its own."""
        self._end_segment()

    def close(self) -> list[str]:
        """
        End the capture and close its segments.

        Returns:
            Of each segment that could not be closed, why; its journal is kept and opens as well.
        """
        try:
            self._end_segment()
        finally:
            self._pool.shutdown()
        self._gather()
        return self._failed

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, (RigError, DeviceError)):  # what was heard before is whole
            self.close()
        else:
            self._pool.shutdown()

    def _open(self) -> JournalWriter:
        if self._journal is None:
            with self._ended():
                self._journal = JournalWriter(journal_path(self.folder, self._number), self._clock)
                self._journal.append(Meta(self.info.line()))
            self._first = self.position
        return self._journal

    def _append(self, record: Record) -> None:
        journal = self._open()
        with self._ended():
            journal.append(record)

    def _end_segment(self) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            return
        number, self._number = self._number, self._number + 1
        with self._ended():
            journal.close()
        self._closing.append(self._pool.submit(close_segment, self.folder, number))
        self.segments += 1
        if len(self._closing) > 1:
            self._gather(wait=False)

    def _gather(self, wait: bool = True) -> None:
        left = []
        for future in self._closing:
            if not wait and not future.done():
                left.append(future)
                continue
            try:
                future.result()
            except (HilError, OSError) as error:
                self._failed.append(str(error))
        self._closing = left

    @contextmanager
    def _ended(self) -> Iterator[None]:
        """An OSError inside means that the capture has ended."""
        try:
            yield
        except OSError as error:
            raise CaptureEnded(self.folder, self.position, self.info.rate_hz, error) from error


def recover(folder: Path) -> tuple[int, int]:
    """
    Close what an interrupted capture has left open.

    Returns:
        Index of the next sample, and the next segment's number.

    Raises:
        UsageError: It is no capture.
        OSError: The disk is full.
    """
    for segment in sorted(journals(folder)):
        close_segment(folder, segment)
    position, number = 0, 0
    for line in read_index(folder):
        if line["kind"] in ("segment", "gap"):
            position = max(position, line["first"] + line["samples"] if line["samples"] else 0)
        number = max(number, line.get("segment", -1) + 1)
    return position, number


def _known(folder: Path, wanted: CaptureInfo) -> CaptureInfo:
    """The capture's own info.  Raises `UsageError` if what is wanted is something else."""
    lines = read_index(folder)
    if not lines:
        raise UsageError(f"{folder}: is no capture: its index is empty")
    known = info_of(lines[0], folder)
    for name in ("rate_hz", "rig", "artefact_sha256", "trigger"):
        before, now = getattr(known, name), getattr(wanted, name)
        if before != now:
            raise UsageError(f"{folder}: has {name} {before!r}, not {now!r}: begin another capture with another --out")
    return known
