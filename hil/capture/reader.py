"""Opens captures: whole ones, interrupted ones, and ones that are still being made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.capture.info import CaptureInfo, info_of, journal_path, journals, read_index
from hil.capture.journal import Gap, Samples, read_journal
from hil.capture.recorder import NOT_TRIGGERED
from hil.capture.segment import Content, content_of, lines_of, soundfile
from hil.errors import UsageError


@dataclass(frozen=True)
class Segment:
    """
    A stretch of a capture.

    Attributes:
        number: Counted from 0.
        first, samples: Index of its first sample, and how many, those of gaps inside it among them.
        lost: Samples of gaps inside it.
        wall: When it began, seconds since 1970; None if nothing says so.
        file: FLAC, or the journal that was not closed; None: it has no sound.
        features: Feature vectors' file, or None.
    """

    number: int
    first: int
    samples: int
    lost: int
    wall: float | None
    file: Path | None
    features: Path | None

    @property
    def end(self) -> int:
        """Index after its last sample."""
        return self.first + self.samples

    @property
    def open(self) -> bool:
        """Its journal was not made into FLAC."""
        return self.file is not None and self.file.suffix == ".journal"


@dataclass(frozen=True)
class Capture:
    """
    A recording.

    Attributes:
        folder: Where it lies.
        info: What it is.
        segments: In order.
        gaps: In order.
        events: All other lines of the index, in order: decisions, streams, clocks, resumptions.
    """

    folder: Path
    info: CaptureInfo
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...]
    events: tuple[dict[str, Any], ...]

    @property
    def samples(self) -> int:
        """That are there."""
        return sum(segment.samples - segment.lost for segment in self.segments)

    @property
    def lost(self) -> int:
        """In gaps, not counting what was left out on purpose."""
        return sum(gap.count for gap in self.gaps if gap.why != NOT_TRIGGERED.why)

    @property
    def decisions(self) -> tuple[dict[str, Any], ...]:
        """In order."""
        return tuple(event for event in self.events if event["kind"] == "decision")

    def sound(self, segment: Segment) -> Samples:
        """
        A segment's samples [n] int16, zeros where a gap is.

        Raises:
            UsageError: Its file is gone or damaged.
        """
        if segment.file is None:
            return np.zeros(0, np.int16)
        file = segment.file
        if segment.open:
            if (content := _content(file)) is not None:
                return content.sound[: segment.samples]
            file = file.with_suffix(".flac")  # it has been closed meanwhile
        library = soundfile()
        try:
            sound, _ = library.read(file, dtype="int16")
        except (library.SoundFileError, OSError) as error:
            raise UsageError(f"{file}: cannot be read ({error})") from None
        if segment.open:
            sound = sound[: segment.samples]
        if sound.shape != (segment.samples,):
            raise UsageError(f"{segment.file}: has {len(sound)} samples, the index says {segment.samples}")
        return np.asarray(sound, np.int16)

    def vectors(self, segment: Segment) -> tuple[npt.NDArray[np.int64], Samples]:
        """A segment's feature vectors: their indices [m] and they [m, D] int16, Q15."""
        if segment.features is None:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.int16)
        path = segment.features
        if path.suffix == ".journal":
            if (content := _content(path)) is not None:
                return content.frames, content.x
            path = path.with_suffix(".features.npz")
        with np.load(path) as file:
            return file["frame"], file["x"]

    def between(self, first: int, end: int) -> Samples:
        """Samples ``first`` to ``end``, zeros where nothing is."""
        made = np.zeros(end - first, np.int16)
        for segment in self.segments:
            low, high = max(first, segment.first), min(end, segment.end)
            if low < high:
                made[low - first : high - first] = self.sound(segment)[low - segment.first : high - segment.first]
        return made


def load_capture(folder: Path) -> Capture:
    """
    Open a capture; nothing in its folder is changed.

    Raises:
        UsageError: It is none, or its index is damaged.
    """
    found = {number: _content(path) for number, path in journals(folder).items()}
    open_ = {number: content for number, content in found.items() if content is not None}
    lines = read_index(folder)  # after the journals: what is closed meanwhile is in it
    info = info_of(lines[0], folder) if lines else _info_of(open_, folder)
    rest = [line for line in lines[1:] if line.get("segment", -1) not in open_]
    for number, content in open_.items():
        rest += lines_of(content, number, _files(content, journal_path(folder, number)))
    gaps = [
        Gap(line["first"], line["samples"], line["why"], line["estimated"]) for line in rest if line["kind"] == "gap"
    ]
    walls = {line["segment"]: line["wall"] for line in reversed(rest) if line["kind"] in ("clock", "resumed", "stream")}
    segments = [_segment(folder, line, walls.get(line["segment"])) for line in rest if line["kind"] == "segment"]
    events = [line for line in rest if line["kind"] not in ("gap", "segment")]
    return Capture(folder, info, tuple(segments), tuple(sorted(gaps, key=lambda gap: gap.first)), tuple(events))


def _content(path: Path) -> Content | None:
    """Of a journal; None if it has been closed meanwhile."""
    try:
        return content_of(read_journal(path), path)
    except FileNotFoundError:
        return None


def _info_of(contents: dict[int, Content], folder: Path) -> CaptureInfo:
    info = next((content.info for content in contents.values() if content.info), None)
    if info is None:
        raise UsageError(f"{folder}: is no capture: its index is empty")
    return info


def _files(content: Content, path: Path) -> dict[str, str]:
    files = {"file": path.name} if content.sound.size else {}
    return files | ({"features": path.name} if len(content.x) else {})


def _segment(folder: Path, line: dict[str, Any], wall: float | None) -> Segment:
    file, features = line.get("file"), line.get("features")
    return Segment(
        line["segment"],
        line["first"],
        line["samples"],
        line["lost"],
        wall,
        folder / file if file else None,
        folder / features if features else None,
    )
