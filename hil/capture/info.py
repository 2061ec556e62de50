"""What a capture is, its folder, and its index: JSON Lines that are only ever appended to."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.capture.journal import sync_folder
from hil.config import from_table
from hil.errors import UsageError
from hil.trace import Listening

INDEX = "index.jsonl"
ARTEFACT = "model.artefact"
LABELS = "labels.csv"
VERSION = 1


@dataclass(frozen=True)
class CaptureInfo:
    """
    The first line of the index, and the first record of every journal.

    Attributes:
        id: Eight hexadecimal digits, made when the capture began.
        wall: When it began, seconds since 1970, by the host's clock.
        rate_hz: Of its sound.
        rig: Name, ``"none"``: the host alone.
        tier: Of the decisions; ``""``: there are none.
        input: Where the sound comes from.
        consent: What was noted about the consent of those who can be heard.
        trigger: ``"all"``, ``"detections"`` or ``"features"``.
        segment_s: Longest segment.
        model, artefact_sha256, build_id: Of the firmware; ``""``: none.
        labels: The model's.
        window, hop: Samples of a frame and from one to the next, 0 without a model.
        listening: How it was decided; ``frames`` is 0 without a model.
        version: Of the format.
    """

    id: str
    wall: float
    rate_hz: int
    rig: str = "none"
    tier: str = ""
    input: str = ""
    consent: str = ""
    trigger: str = "all"
    segment_s: float = 300.0
    model: str = ""
    artefact_sha256: str = ""
    build_id: str = ""
    labels: tuple[str, ...] = ()
    window: int = 0
    hop: int = 0
    listening: Listening = field(default_factory=lambda: Listening(0, 0))
    version: int = VERSION

    def line(self) -> dict[str, Any]:
        """As it stands in the index."""
        return {"kind": "capture", **dataclasses.asdict(self)}


def info_of(values: dict[str, Any], where: Path) -> CaptureInfo:
    """
    From the index or a journal.

    Raises:
        UsageError: It is no capture's, or of a newer version.
    """
    if values.get("kind") != "capture":
        raise UsageError(f"{where}: is no capture's index: its first line has no kind 'capture'")
    if values.get("version") != VERSION:
        raise UsageError(f"{where}: has version {values.get('version')}, this hil reads {VERSION}. Use a newer hil.")
    return from_table({k: v for k, v in values.items() if k != "kind"}, CaptureInfo, str(where))


def stem(segment: int) -> str:
    """Name of a segment's files without their ending."""
    return f"segment-{segment:06d}"


def journal_path(folder: Path, segment: int) -> Path:
    return folder / f"{stem(segment)}.journal"


def journals(folder: Path) -> dict[int, Path]:
    """Segments that are not closed, or whose closing was interrupted."""
    return {int(path.stem.split("-")[1]): path for path in sorted(folder.glob("segment-*.journal"))}


def read_index(folder: Path) -> list[dict[str, Any]]:
    """
    The index's whole lines; a last one that was cut off is left out.

    Raises:
        UsageError: There is none, or a line in it is damaged.
    """
    path = folder / INDEX
    try:
        text = path.read_bytes()
    except OSError:
        raise UsageError(f"{folder}: is no capture: it has no {INDEX}") from None
    lines = text.split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise UsageError(f"{path}: line {_bad(lines)} is damaged ({error}). Restore it, or remove the line.") from None


def _bad(lines: list[bytes]) -> int:
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError:
            return number
    return 0


def append_lines(folder: Path, lines: Iterable[dict[str, Any]], *, from_segment: int | None = None) -> None:
    """
    Append to the index and bring it to the disk; all of the lines or none of them.

    Args:
        folder: Of the capture.
        lines: JSON objects.
        from_segment: Lines of this segment and later ones go first: an interrupted closing has left them.

    Raises:
        OSError: The disk is full or gone.
    """
    path = folder / INDEX
    data = b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        end = _end_of(file.read(), from_segment)
        file.truncate(end)
        file.seek(end)
        try:
            done = 0
            while done < len(data):
                done += file.write(data[done:]) or 0
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
    sync_folder(folder)


def _end_of(data: bytes, segment: int | None) -> int:
    """Length of what stays: whole lines, of earlier segments."""
    end = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        if segment is not None and json.loads(line).get("segment", -1) >= segment:
            break
        end += len(line)
    return end
