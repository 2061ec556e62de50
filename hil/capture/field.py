"""What a device decided in the field, beside what another one, or the twin, decides about the same sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hil.artefact import Artefact
from hil.capture.decide import decision_of
from hil.capture.journal import Samples
from hil.capture.reader import Capture, Segment
from hil.trace import Decision, Listening


@dataclass(frozen=True)
class Stretch:
    """
    Sound without a gap, and what was decided about it.

    Attributes:
        first, end: Indices in the capture.
        field: Decisions of the field whose windows lie in it; frames are counted from the stretch's first vector,
            numbers from its first decision.
        settled: From this decision on averages hold nothing that was before the stretch.
        triggers: Detections depend on nothing that was before it either.
    """

    first: int
    end: int
    field: tuple[Decision, ...]
    settled: int
    triggers: bool


@dataclass(frozen=True)
class Agreement:
    """
    Decisions beside those of the field.

    Attributes:
        compared, equal: Decisions, by their outputs.
        labels, labels_equal: Those whose averages can be compared, by label and lead.
        detections, detections_equal: Those of which that can be said, by whether they are detections.
        first: The first difference in words, or None.
    """

    compared: int = 0
    equal: int = 0
    labels: int = 0
    labels_equal: int = 0
    detections: int = 0
    detections_equal: int = 0
    first: str | None = None

    def __add__(self, other: Agreement) -> Agreement:
        numbers = [f.name for f in dataclasses.fields(self) if f.name != "first"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        return Agreement(**sums, first=self.first or other.first)


def stretches(
    capture: Capture, artefact: Artefact, segments: Sequence[Segment] | None = None, longest_s: float | None = None
) -> Iterator[Stretch]:
    """
    The parts of a capture that another device can hear as the first one did.

    A stretch begins where its stream began or, where states do not run on from window to window, with the window of a
    decision.  What comes behind a gap while states or running means run on is in none.

    Args:
        capture: To go through.
        artefact: The model that decided.
        segments: None: all; a stretch then crosses from one to the next.
        longest_s: A longer stretch is cut; None: at gaps only.
    """
    listening = capture.info.listening
    runs_on = listening.carry or artefact.sound.mean_shift > 0
    longest = None if longest_s is None else round(longest_s * capture.info.rate_hz)
    for began, ends, decided in _streams(capture):
        for low, high in _pieces(capture, began, ends, segments):
            while high - low >= artefact.sound.window and (low == began or not runs_on):
                inside = [d for d in decided if _window_start(d, artefact, listening) >= low and d["sample"] <= high]
                if low != began and not inside:
                    break
                start = low if low == began else _window_start(inside[0], artefact, listening)
                stop = high if longest is None else min(high, start + longest)
                kept = [d for d in inside if d["sample"] <= stop]
                yield _stretch(start, stop, kept, decided, low == began, capture)
                low = stop


def _streams(capture: Capture) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    """Of each stream: where it began, where the next one did, its decisions."""
    begins = [event for event in capture.events if event["kind"] == "stream"]
    end = max((segment.end for segment in capture.segments), default=0)
    if not begins:
        yield 0, end, []
    for number, event in enumerate(begins):
        after = begins[number + 1]["sample"] if number + 1 < len(begins) else end
        yield event["sample"], after, [d for d in capture.decisions if d["stream"] == event["stream"]]


def _pieces(capture: Capture, began: int, end: int, segments: Sequence[Segment] | None) -> Iterator[tuple[int, int]]:
    """Sound between two indices that has no gap in it."""
    holes = [(gap.first, gap.first + gap.count) for gap in capture.gaps]
    chosen = [(s.first, s.end) for s in (capture.segments if segments is None else segments) if s.samples]
    low: int | None = None
    high = 0
    for first, last in sorted(chosen):
        for a, b in _without(max(first, began), min(last, end), holes):
            if low is not None and a == high and segments is None:
                high = b
                continue
            if low is not None:
                yield low, high
            low, high = a, b
    if low is not None:
        yield low, high


def _without(low: int, high: int, holes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, end in sorted(holes):
        if low < high and first < high and end > low:
            if first > low:
                yield low, first
            low = end
    if low < high:
        yield low, high


def _window_start(decision: dict[str, Any], artefact: Artefact, listening: Listening) -> int:
    fe = artefact.sound
    return int(decision["sample"]) - ((listening.frames - 1) * fe.hop + fe.window)


def _stretch(
    first: int, end: int, kept: list[dict[str, Any]], decided: list[dict[str, Any]], whole: bool, capture: Capture
) -> Stretch:
    listening, made = capture.info.listening, []
    for line in kept:
        d = decision_of(line, capture.info.labels)
        frame = d.frame - kept[0]["frame"] + (kept[0]["frame"] if whole else listening.frames - 1)
        made.append(dataclasses.replace(d, index=d.index - kept[0]["index"], frame=frame))
    settled = 0 if whole else listening.smooth - 1
    recent = [d for d in decided if kept and kept[0]["index"] - listening.hold <= d["index"] < kept[0]["index"]]
    free = listening.smooth == 1 and len(recent) == listening.hold and not any(d["triggered"] for d in recent)
    return Stretch(first, end, tuple(made), settled, whole or free)


def agreement(stretch: Stretch, got: Sequence[Decision], name: str) -> Agreement:
    """What another device decided about a stretch, beside the field."""
    by_frame, total = {d.frame: d for d in got}, Agreement()
    for wanted in stretch.field:
        given = by_frame.get(wanted.frame)
        total += _one(stretch, wanted, given, name)
    return total


def _one(stretch: Stretch, wanted: Decision, given: Decision | None, name: str) -> Agreement:
    outputs = given is not None and given.logits == wanted.logits
    settled = wanted.index >= stretch.settled
    label = given is not None and (given.label, given.margin_q15) == (wanted.label, wanted.margin_q15)
    detection = given is not None and given.triggered == wanted.triggered
    right = outputs and (label or not settled) and (detection or not stretch.triggers)
    first = None if right else f"{name}: decision {wanted.index}: in the field {wanted}, now {given}"
    judged = stretch.triggers and settled
    return Agreement(1, outputs, settled, settled and label, judged, judged and detection, first)


def sound_of(capture: Capture, stretch: Stretch) -> Samples:
    """A stretch's samples."""
    return capture.between(stretch.first, stretch.end)
