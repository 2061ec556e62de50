"""What of a stream is kept."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from hil.capture.journal import Samples
from hil.capture.recorder import LOST, NOT_TRIGGERED, Hole, Recorder

LATE_S = 5.0
"""A decision may come so long after the sound that it is about."""

TriggerKind = Literal["all", "detections", "features"]


@dataclass(frozen=True)
class Trigger:
    """
    What is kept.

    Attributes:
        kind: ``"all"`` sound; sound around ``"detections"``; ``"features"``, and no sound at all.
        before_s, after_s: Kept around the end of a detection's window.
    """

    kind: TriggerKind = "all"
    before_s: float = 2.0
    after_s: float = 2.0


@dataclass(frozen=True)
class _Waiting:
    """Sound in the ring; ``before``: index after what was heard before it."""

    before: int
    first: int
    samples: Samples
    hole: Hole

    @property
    def end(self) -> int:
        return self.first + self.samples.size


class Keeper:
    """
    Passes on to a recorder what a trigger lets through.

    Attributes:
        heard: Index after the last sample that was heard.
    """

    def __init__(self, recorder: Recorder, trigger: Trigger) -> None:
        self.heard = recorder.position
        self._recorder, self._trigger = recorder, trigger
        rate = recorder.info.rate_hz
        self._before, self._after = round(trigger.before_s * rate), round(trigger.after_s * rate)
        self._late = round(LATE_S * rate)
        self._ring: deque[_Waiting] = deque()
        self._open_until = 0

    def sound(self, first: int, samples: Samples, hole: Hole = LOST) -> None:
        """Sound that was heard.  Raises as `Recorder.sound`."""
        before, self.heard = self.heard, first + samples.size
        if self._trigger.kind == "features" or not samples.size:
            return
        if self._trigger.kind == "all":
            self._recorder.sound(first, samples, hole)
            return
        self._ring.append(_Waiting(before, first, samples, hole))
        self._pass_on()
        while self._ring and self._ring[0].end <= self.heard - self._before - self._late:
            self._ring.popleft()

    def detected(self, sample: int) -> None:
        """A detection's window ended before ``sample``.  Raises as `Recorder.sound`."""
        if self._trigger.kind != "detections":
            return
        begin = max(self._recorder.position, sample - self._before)
        while self._ring and self._ring[0].end <= begin:
            self._ring.popleft()
        if self._ring and self._ring[0].first < begin:
            oldest = self._ring.popleft()
            self._ring.appendleft(_Waiting(begin, begin, oldest.samples[begin - oldest.first :], LOST))
        self._open_until = max(self._open_until, sample + self._after)
        self._pass_on()

    def vectors(self, first: int, x: Samples) -> None:
        """Feature vectors that were made.  Raises as `Recorder.vectors`."""
        if self._trigger.kind == "features":
            self._recorder.vectors(first, x)

    def close(self) -> None:
        """Note what was heard last and not kept.  Raises as `Recorder.gap`."""
        if self._trigger.kind == "detections":
            self._recorder.gap(self.heard - self._recorder.position, NOT_TRIGGERED)

    def _pass_on(self) -> None:
        while self._ring and self._ring[0].first < self._open_until:
            oldest = self._ring.popleft()
            self._skip_to(oldest.before)
            now = oldest.samples[: self._open_until - oldest.first]
            self._recorder.sound(oldest.first, now, oldest.hole)
            if now.size < oldest.samples.size:
                at = oldest.first + now.size
                self._ring.appendleft(_Waiting(at, at, oldest.samples[now.size :], LOST))

    def _skip_to(self, sample: int) -> None:
        if sample > self._recorder.position:
            self._recorder.end_segment()
            self._recorder.gap(sample - self._recorder.position, NOT_TRIGGERED)
