"""A journal becomes a segment: FLAC, vectors, lines of the index; nothing is removed before it was read back."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hil.capture.info import CaptureInfo, append_lines, info_of, journal_path, stem
from hil.capture.journal import Event, Gap, Journal, Meta, Pcm, Samples, Vectors, read_journal, sync_folder
from hil.errors import ToolError, UsageError

DAMAGED = "the journal is damaged here"


@dataclass(frozen=True)
class Content:
    """
    What a journal holds, put together.

    Attributes:
        info: Of the capture; None if the journal's first record is gone.
        first: Index of its first sample.
        sound: [n] int16; zeros where a gap is.
        gaps: In order; those before the first and after the last sample are not in ``sound``.
        events: In order.
        frames: [m] int64, indices of feature vectors.
        x: [m, D] int16, the vectors.
        torn_bytes, damaged_bytes: As `hil.capture.journal.Journal`.
    """

    info: CaptureInfo | None
    first: int
    sound: Samples
    gaps: tuple[Gap, ...]
    events: tuple[dict[str, Any], ...]
    frames: np.typing.NDArray[np.int64]
    x: Samples
    torn_bytes: int
    damaged_bytes: int

    @property
    def end(self) -> int:
        """Index after everything that is known of."""
        ends = [self.first + self.sound.size if self.sound.size else 0, *(gap.first + gap.count for gap in self.gaps)]
        return max(ends)


def content_of(journal: Journal, path: Path) -> Content:
    """Put a journal's records together."""
    info = next((info_of(r.values, path) for r in journal.records if isinstance(r, Meta)), None)
    gaps: list[Gap] = []
    parts: list[Pcm] = []
    at: int | None = None
    for record in journal.records:
        if isinstance(record, Gap):
            gaps.append(record)
            at = max(at or 0, record.first + record.count)
        elif isinstance(record, Pcm):
            if at is not None and record.first > at:
                gaps.append(Gap(at, record.first - at, DAMAGED))
            parts.append(record)
            at = record.first + record.samples.size
    first = parts[0].first if parts else 0
    sound = np.zeros(parts[-1].first + parts[-1].samples.size - first if parts else 0, np.int16)
    for part in parts:
        sound[part.first - first :][: part.samples.size] = part.samples
    vectors = [record for record in journal.records if isinstance(record, Vectors)]
    return Content(
        info,
        first,
        sound,
        tuple(gaps),
        tuple(record.values for record in journal.records if isinstance(record, Event)),
        np.concatenate([np.arange(v.first, v.first + len(v.x)) for v in vectors] or [np.zeros(0, np.int64)]),
        np.concatenate([v.x for v in vectors]) if vectors else np.zeros((0, 0), np.int16),
        journal.torn_bytes,
        journal.damaged_bytes,
    )


def lines_of(content: Content, segment: int, files: dict[str, str]) -> list[dict[str, Any]]:
    """The index's lines about a segment; the last one is its own."""
    inside = [g for g in content.gaps if content.first < g.first < content.first + content.sound.size]
    gaps = [
        {
            "kind": "gap",
            "segment": segment,
            "first": g.first,
            "samples": g.count,
            "why": g.why,
            "estimated": g.estimated,
        }
        for g in content.gaps
    ]
    own = {
        "kind": "segment",
        "segment": segment,
        "first": content.first,
        "samples": int(content.sound.size),
        "lost": sum(g.count for g in inside),
        "vectors": len(content.x),
        "torn_bytes": content.torn_bytes,
        "damaged_bytes": content.damaged_bytes,
        **files,
    }
    return [*({"segment": segment, **event} for event in content.events), *gaps, own]


def close_segment(folder: Path, segment: int) -> None:
    """
    Make FLAC and index lines of a journal, then remove it.  Whatever interrupts this, it can be done again.

    Raises:
        OSError: The disk is full or gone; the journal stays.
        ToolError: What was written does not read back as it was; the journal stays.
        UsageError: soundfile is not installed; the journal stays.
    """
    path = journal_path(folder, segment)
    content = content_of(read_journal(path), path)
    files: dict[str, str] = {}
    if content.sound.size and content.info:
        files |= _write_flac(folder / f"{stem(segment)}.flac", content.sound, content.info.rate_hz)
    if len(content.x):
        files |= _write_vectors(folder / f"{stem(segment)}.features.npz", content)
    append_lines(folder, lines_of(content, segment, files), from_segment=segment)
    path.unlink()
    sync_folder(folder)


def _write_flac(path: Path, sound: Samples, rate_hz: int) -> dict[str, str]:
    library = soundfile()
    made = io.BytesIO()
    library.write(made, sound, rate_hz, format="FLAC", subtype="PCM_16")
    with _part_of(path) as part:
        part.write_bytes(made.getbuffer())  # Python's own write tells of a full disk
        try:
            back, rate = library.read(part, dtype="int16")
        except (library.SoundFileError, ValueError, MemoryError) as error:
            raise ToolError(f"{path}: what was written cannot be read ({error}). The journal is kept.") from error
        if rate != rate_hz or not np.array_equal(back, sound):
            raise ToolError(f"{path}: FLAC reads back other samples than were written. The journal is kept.")
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _write_vectors(path: Path, content: Content) -> dict[str, str]:
    with _part_of(path) as part:
        with part.open("wb") as file:
            np.savez(file, frame=content.frames, x=content.x)
        with np.load(part) as back:
            if not (np.array_equal(back["frame"], content.frames) and np.array_equal(back["x"], content.x)):
                raise ToolError(f"{path}: reads back other vectors than were written. The journal is kept.")
    return {"features": path.name}


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; brought to the disk and renamed at the end."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def soundfile() -> ModuleType:
    """The library that writes FLAC.  Raises `UsageError` if it is not installed."""
    try:
        import soundfile as library
    except (ImportError, OSError) as error:
        raise UsageError(
            f"soundfile, which writes FLAC, cannot be imported ({error}): `python3 -m pip install 'hil[audio]'`"
        ) from None
    return library  # type: ignore[no-any-return]
