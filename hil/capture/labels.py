"""Labels of segments: a table, and Audacity's label tracks."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from hil.capture.info import LABELS, stem
from hil.capture.reader import Capture
from hil.errors import UsageError
from hil.experiment.workspace import write_text

COLUMNS = ("segment", "start_s", "end_s", "label")


@dataclass(frozen=True)
class Label:
    """
    What can be heard.

    Attributes:
        segment: Number.
        start_s, end_s: From the segment's first sample.
        label: Text.
    """

    segment: int
    start_s: float
    end_s: float
    label: str


def read_labels(folder: Path) -> list[Label]:
    """
    The table of a capture, ``labels.csv``: ``segment,start_s,end_s,label``; none without it.

    Raises:
        UsageError: A line is wrong.
    """
    path = folder / LABELS
    if not path.is_file():
        return []
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise UsageError(f"{path}: its first line must be {','.join(COLUMNS)}")
    made = []
    for number, row in enumerate(rows[1:], 2):
        try:
            segment, start, end, label = row
            made.append(Label(int(segment), float(start), float(end), label.strip()))
        except ValueError:
            raise UsageError(f"{path}: line {number} is not {','.join(COLUMNS)}: {','.join(row)}") from None
    return made


def write_labels(folder: Path, labels: list[Label]) -> None:
    """Write the table, in order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for label in sorted(labels, key=lambda one: (one.segment, one.start_s, one.end_s, one.label)):
        writer.writerow((label.segment, f"{label.start_s:.6f}", f"{label.end_s:.6f}", label.label))
    write_text(folder / LABELS, text.getvalue())


def check_labels(labels: list[Label], capture: Capture) -> None:
    """Raises `UsageError` for a label that is outside its segment, backwards, or empty."""
    segments, rate = {segment.number: segment for segment in capture.segments}, capture.info.rate_hz
    for label in labels:
        known = segments.get(label.segment)
        if known is None:
            raise UsageError(f"{capture.folder / LABELS}: there is no segment {label.segment}")
        inside = 0 <= label.start_s < label.end_s and round(label.end_s * rate) <= known.samples
        if not inside or not label.label or "/" in label.label or label.label.startswith((".", "_")):
            raise UsageError(
                f"{capture.folder / LABELS}: {label}: must lie within 0 and {known.samples / rate:.3f} s, "
                f"and its label must be a folder's name"
            )


def parse_audacity(text: str, segment: int, where: str) -> list[Label]:
    """
    A label track as Audacity exports it: start, end and text, with tabs between; point labels have no length.

    Raises:
        UsageError: A line is wrong.
    """
    made = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("\\"):  # a second line holds a label's range of frequencies
            continue
        try:
            start, end, label = line.split("\t", 2)
            made.append(Label(segment, float(start.replace(",", ".")), float(end.replace(",", ".")), label.strip()))
        except ValueError:
            raise UsageError(f"{where}: line {number} is not start, end and label with tabs between") from None
    return made


def format_audacity(labels: list[Label]) -> str:
    """A label track."""
    return "".join(f"{label.start_s:.6f}\t{label.end_s:.6f}\t{label.label}\n" for label in labels)


def track_path(folder: Path, segment: int) -> Path:
    """Where a segment's label track lies: beside its FLAC."""
    return folder / f"{stem(segment)}.txt"


def write_tracks(capture: Capture, labels: list[Label]) -> list[Path]:
    """A label track for each segment with sound, to be opened in Audacity beside it."""
    made = []
    for segment in capture.segments:
        if segment.samples:
            own = [label for label in labels if label.segment == segment.number]
            write_text(track_path(capture.folder, segment.number), format_audacity(own))
            made.append(track_path(capture.folder, segment.number))
    return made


def read_tracks(capture: Capture) -> list[Label]:
    """
    What the label tracks beside the segments say.

    Raises:
        UsageError: There is none, or a line in one is wrong.
    """
    paths = {segment.number: track_path(capture.folder, segment.number) for segment in capture.segments}
    there = {number: path for number, path in paths.items() if path.is_file()}
    if not there:
        raise UsageError(f"{capture.folder}: has no label track segment-NNNNNN.txt beside a segment")
    return [
        label
        for number, path in there.items()
        for label in parse_audacity(path.read_text(encoding="utf-8-sig"), number, str(path))
        if label.end_s > label.start_s
    ]


def detected(capture: Capture) -> list[Label]:
    """A label for each detection: its window, as far as it lies in the segment."""
    info = capture.info
    span = (info.listening.frames - 1) * info.hop + info.window
    made = []
    for decision in capture.decisions:
        for segment in capture.segments:
            if decision["triggered"] and segment.first < decision["sample"] <= segment.end:
                start = max(0, decision["sample"] - span - segment.first)
                end = decision["sample"] - segment.first
                made.append(Label(segment.number, start / info.rate_hz, end / info.rate_hz, decision["label"]))
    return made
