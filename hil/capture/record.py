"""Captures with the host alone: a source, a recorder, and the twin's decisions if there is a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hil.capture.decide import Decider, decision_line, last_sample
from hil.capture.reader import Capture
from hil.capture.recorder import LOST, Hole, Recorder
from hil.capture.source import Block, Source
from hil.capture.trigger import Keeper
from hil.trace import Decision

CLOCK_EVERY_S = 10.0
"""From one line about the clocks to the next."""
_POLL_S = 0.1
RESUMED = Hole("the capture was interrupted", estimated=True)


class Clocks:
    """Writes down how the clock of the samples, or a device's, runs against the host's."""

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.monotonic) -> None:
        self._recorder, self._clock = recorder, clock
        self._first: tuple[float, float] | None = None
        self._next_s = 0.0

    def restart(self) -> None:
        """The other clock begins anew."""
        self._first, self._next_s = None, 0.0

    def note(self, sample: int, device_s: float, heard_s: float | None = None) -> None:
        """
        At times, write a line.

        Args:
            sample: Index in the capture.
            device_s: The other clock's time at that sample.
            heard_s: The host's, monotonic; None: now.

        Raises:
            CaptureEnded: The disk is full.
        """
        now_s = self._clock() if heard_s is None else heard_s
        if now_s < self._next_s:
            return
        self._next_s = now_s + CLOCK_EVERY_S
        self._first = self._first or (now_s, device_s)
        elapsed_s = now_s - self._first[0]
        drift = round(1e6 * ((device_s - self._first[1]) / elapsed_s - 1), 1) if elapsed_s >= CLOCK_EVERY_S else None
        wall = round(time.time() - (self._clock() - now_s), 4)
        self._recorder.event("clock", sample=sample, wall=wall, device_s=round(device_s, 6), drift_ppm=drift)


def missed_since(capture: Capture, now_wall: float) -> int:
    """Samples from the end of an interrupted capture to now, by the clock."""
    clocks = [event for event in capture.events if event["kind"] == "clock"]
    if not clocks:
        return 0
    last, rate = clocks[-1], capture.info.rate_hz
    ends = [segment.end for segment in capture.segments] + [gap.first + gap.count for gap in capture.gaps]
    now = int(last["sample"]) + round((now_wall - float(last["wall"])) * rate)
    return max(0, now - max(ends, default=0))


@dataclass
class Told:
    """
    What has been recorded, for the user.

    Attributes:
        seconds: Of sound that was heard.
        decisions, detections: So far.
        last: The decisions that were made just now.
    """

    seconds: float = 0.0
    decisions: int = 0
    detections: int = 0
    last: tuple[Decision, ...] = ()


class HostCapture:
    """
    A capture by the host alone.

    Attributes:
        told: So far.
    """

    def __init__(
        self,
        source: Source,
        recorder: Recorder,
        keeper: Keeper,
        decider: Decider | None,
        first_stream: int = 0,
        *,
        fast: bool = False,
    ) -> None:
        """
        Args:
            source: Opened.
            recorder, keeper: Where it goes.
            decider: Decides about what is heard; None: nobody does.
            first_stream: Streams that an interrupted capture has had before.
            fast: The source does not keep pace, so its clock says nothing.
        """
        self.told = Told()
        self._source, self._recorder, self._keeper, self._decider, self._fast = source, recorder, keeper, decider, fast
        self._clocks = Clocks(recorder)
        self._base: int | None = None  # index in the capture of the source's first sample
        self._stream, self._began, self._vectors = first_stream - 1, 0, 0
        self._first_stream = first_stream

    def run(self, seconds: float | None, show: Callable[[Told], None]) -> None:
        """
        Until the source ends, or so many seconds were heard.

        Raises:
            CaptureEnded: The disk is full.
            UsageError: As the source.
        """
        while not self._source.ended and (seconds is None or self.told.seconds < seconds):
            block = self._source.read(_POLL_S)
            self._recorder.tick()
            if block is not None:
                self._take(block)
                show(self.told)
        self._keeper.close()

    def _take(self, block: Block) -> None:
        if self._base is None:
            self._base = self._keeper.heard - block.first
        first = self._base + block.first
        if self._stream < self._first_stream or first > self._keeper.heard:
            self._begin_stream(first)
        self._keeper.sound(first, block.samples, Hole(LOST.why, block.estimated))
        rate = self._recorder.info.rate_hz
        end = first + block.samples.size
        if not self._fast:
            self._clocks.note(end, (end - self._base) / rate, block.heard_s)
        self.told.seconds += block.samples.size / rate
        self._decide(block)

    def _begin_stream(self, first: int) -> None:
        """After a hole nothing that was heard before it counts."""
        self._stream, self._began, self._vectors = self._stream + 1, first, 0
        if self._decider is not None:
            self._decider.restart()
            self._recorder.event("stream", stream=self._stream, sample=first, wall=round(time.time(), 4))

    def _decide(self, block: Block) -> None:
        self.told.last = ()
        if self._decider is None:
            return
        vectors, decisions = self._decider.feed(block.samples)
        self._keeper.vectors(self._vectors, vectors)
        self._vectors += len(vectors)
        for decision in decisions:
            line = decision_line(self._decider.artefact, decision, self._stream, self._began)
            self._recorder.event("decision", **line)
            if decision.triggered:
                self._keeper.detected(self._began + last_sample(self._decider.artefact, decision))
        self.told.decisions += len(decisions)
        self.told.detections += sum(decision.triggered for decision in decisions)
        self.told.last = tuple(decisions)
