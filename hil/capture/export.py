"""A capture as a pytest case, and as training data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.artefact import load_artefact
from hil.capture.field import Agreement, Stretch, agreement, sound_of, stretches
from hil.capture.info import ARTEFACT
from hil.capture.journal import Samples
from hil.capture.labels import Label, check_labels
from hil.capture.reader import Capture, Segment
from hil.capture.segment import soundfile
from hil.config import from_table
from hil.errors import UsageError
from hil.experiment.workspace import write_text
from hil.trace import Decision, Listening

LONGEST_S = 60.0
TEST = '''"""
Made by `hil capture export`: sound of capture {id}, and what {model} decided about it on {rig} ({tier}).

Run it with `pytest --rig NAME`.
"""

from pathlib import Path

import pytest

from hil.capture.export import load_cases

FOLDER = Path(__file__).parent / "{folder}"


@pytest.mark.model(str(FOLDER / "model.artefact"))
@pytest.mark.parametrize("case", load_cases(FOLDER), ids=str)
def test_as_in_the_field(case, stream):
    """Every vector and decision equals the twin's, and the decisions are those of the field."""
    heard = stream.audio(case.samples(), case.name, case.listening)
    assert heard.first is None
    assert case.agreement(heard.decisions).first is None
'''


@dataclass(frozen=True)
class Case:
    """
    A stretch of a capture, as a test.

    Attributes:
        name: Of the case.
        path: Its FLAC.
        listening: How it was decided.
        stretch: What was decided.
    """

    name: str
    path: Path
    listening: Listening
    stretch: Stretch

    def samples(self) -> Samples:
        """[n] int16."""
        return np.asarray(soundfile().read(self.path, dtype="int16")[0], np.int16)

    def agreement(self, decisions: Sequence[Decision]) -> Agreement:
        """Decisions beside those of the field."""
        return agreement(self.stretch, decisions, self.name)

    def __str__(self) -> str:
        return self.name


def load_cases(folder: Path) -> list[Case]:
    """
    The cases that `export_tests` has written.

    Raises:
        UsageError: There is none, or one is damaged.
    """
    made = []
    for path in sorted(folder.glob("case-*.json")):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            listening = from_table(table["listening"], Listening, str(path))
            stretch = from_table(table["stretch"], Stretch, str(path))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: is damaged ({error})") from None
        made.append(Case(path.stem, path.with_suffix(".flac"), listening, stretch))
    if not made:
        raise UsageError(f"{folder}: has no case-*.json")
    return made


def export_tests(capture: Capture, segments: Sequence[Segment], to: Path, longest_s: float = LONGEST_S) -> Path:
    """
    Write a pytest module and its cases.

    Args:
        capture: With a model.
        segments: Of it.
        to: Folder of the module.
        longest_s: Longest case.

    Returns:
        The module.

    Raises:
        UsageError: Nobody decided about this capture, or nothing in these segments can be compared.
    """
    if not (capture.folder / ARTEFACT).is_file():
        raise UsageError(f"{capture.folder}: has no {ARTEFACT}: nobody decided about it, so there is nothing to test")
    artefact = load_artefact(capture.folder / ARTEFACT)
    name = f"capture_{capture.info.id}"
    folder = to / name
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for stretch in stretches(capture, artefact, segments, longest_s):
        if stretch.field:
            _write_case(capture, stretch, folder / f"case-{stretch.first:010d}")
            count += 1
    if not count:
        raise UsageError(f"{capture.folder}: no decision in these segments can be compared: they begin after a gap")
    artefact.save(folder / ARTEFACT)
    info = capture.info
    module = to / f"test_{name}.py"
    write_text(module, TEST.format(id=info.id, model=info.model, rig=info.rig, tier=info.tier, folder=name))
    return module


def _write_case(capture: Capture, stretch: Stretch, path: Path) -> None:
    write_flac(path.with_suffix(".flac"), sound_of(capture, stretch), capture.info.rate_hz)
    table = {"listening": dataclasses.asdict(capture.info.listening), "stretch": dataclasses.asdict(stretch)}
    write_text(path.with_suffix(".json"), json.dumps(table) + "\n")


def export_data(capture: Capture, labels: Sequence[Label], to: Path) -> tuple[int, list[str]]:
    """
    Write labelled sound as ``LABEL/ID-SEGMENT-START.flac``, for `hil train --data`.

    Returns:
        How many files, and of each label that was left out, why.

    Raises:
        UsageError: There is no label, or one lies outside its segment.
    """
    if not labels:
        raise UsageError(
            f"{capture.folder}: has no labels. Make some: `hil capture labels {capture.folder} --from-detections`, or "
            f"--write-tracks, Audacity, --read-tracks"
        )
    check_labels(list(labels), capture)
    segments, rate = {segment.number: segment for segment in capture.segments}, capture.info.rate_hz
    written, left_out = 0, []
    for label in labels:
        segment = segments[label.segment]
        low, high = segment.first + round(label.start_s * rate), segment.first + round(label.end_s * rate)
        if any(gap.first < high and gap.first + gap.count > low for gap in capture.gaps):
            left_out.append(f"segment {label.segment}, {label.start_s:.3f} s, {label.label}: there is a gap in it")
            continue
        place = to / label.label / f"{capture.info.id}-{label.segment:06d}-{round(label.start_s * 1e3):07d}.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_flac(place, capture.between(low, high), rate)
        written += 1
    return written, left_out


def write_flac(path: Path, sound: Samples, rate_hz: int) -> None:
    """Write under a temporary name, then rename."""
    part = path.with_name(f".{path.name}.part")
    try:
        soundfile().write(part, sound, rate_hz, format="FLAC", subtype="PCM_16")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
