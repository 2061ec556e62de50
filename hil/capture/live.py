"""Sound to a device as it is heard, decisions back, the twin beside it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from hil.capture.decide import Decider, decision_line, last_sample
from hil.capture.journal import Samples
from hil.capture.record import Clocks
from hil.capture.recorder import LOST, Hole, Recorder
from hil.capture.source import Block, Source
from hil.link.audio import Heard, listen
from hil.link.device import Device
from hil.trace import Decision

POLL_S = 0.02
"""Longest wait for sound, so that answers are read in time."""
LOAD_S = 5.0
"""Of sound, that the load shown is of."""
_US = 1 << 32


@dataclass
class Live:
    """
    What a live run has come to.

    Attributes:
        samples: Heard, those that were lost not among them.
        lost: Samples that the source has lost.
        streams: Begun with LISTEN: one, and one more after each loss.
        decisions: By the device.
        detections: Among them.
        vectors: Feature vectors made by the device.
        first: The first difference between device and twin, in words; None: all are equal.
        busy_us: In front end and network, by the device's clock.
        latencies_s: Of each decision, from the last sample of its window to its arrival, by the host's clock.
        level_db: Of the last block, dB of full scale.
        last: The last decision.
        spectrum: The last feature vectors.
        repetitions, bad_frames: Of the link.
        load: Share of the time of the last `LOAD_S` seconds of sound that the device computed.
    """

    samples: int = 0
    lost: int = 0
    streams: int = 0
    decisions: int = 0
    detections: int = 0
    vectors: int = 0
    first: str | None = None
    busy_us: int = 0
    latencies_s: list[float] = field(default_factory=list)
    level_db: float = -120.0
    last: Decision | None = None
    spectrum: deque[Samples] = field(default_factory=lambda: deque(maxlen=256))
    repetitions: int = 0
    bad_frames: int = 0
    load: float = 0.0

    @property
    def exact(self) -> bool:
        """Every vector and every decision equals the twin's."""
        return self.first is None

    def latency_s(self, percent: float) -> float:
        """A percentile of the latencies; 0 without decisions."""
        return float(np.percentile(self.latencies_s, percent)) if self.latencies_s else 0.0


class LiveRun:
    """
    A stream of sound to a device.

    Attributes:
        state: What it has come to.
    """

    def __init__(
        self,
        source: Source,
        decider: Decider,
        device: Device,
        recorder: Recorder | None = None,
        *,
        fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            source: Opened.
            decider: The twin.
            device: HELLO has been said; its line is at its speed.
            recorder: Keeps what is heard; None: nothing is kept.
            fast: The source does not keep pace, so its clock says nothing.
            clock: Monotonic.
        """
        self.state = Live()
        self._source, self._twin, self._device, self._recorder = source, decider, device, recorder
        self._fast, self._clock = fast, clock
        self._clocks = Clocks(recorder) if recorder is not None and not fast else None
        self._rate = decider.artefact.sound.rate_hz
        self._sent: deque[Block] = deque()  # since LISTEN, without the answers of those at the end
        self._next: int | None = None  # index of the source's next sample
        self._after_loss: Block | None = None
        self._began = self._stream_samples = self._taken = 0
        self._last_busy = 0
        self._window: deque[tuple[int, int]] = deque()

    def run(self, seconds: float | None, show: Callable[[Live, tuple[Decision, ...]], None]) -> None:
        """
        Until the source ends, or so many seconds were heard.

        Args:
            seconds: None: no limit.
            show: Called with the state and the decisions that have just come.

        Raises:
            RigError, DeviceError: As every request.
            CaptureEnded: The disk is full.
        """
        while not self._source.ended or self._after_loss is not None:
            self._begin()
            window = 4 if self._fast else 2
            for heard in listen(self._device, self._pieces(seconds), self._twin.listening, detail=True, window=window):
                show(self.state, self._take(heard))
            if self._after_loss is None:
                break

    def _begin(self) -> None:
        """LISTEN: states, averages and numbers begin anew on both sides."""
        self._twin.restart()
        self._sent.clear()
        self._window.clear()
        self._stream_samples = self._taken = self._last_busy = 0
        if self._after_loss is not None:
            self._began = self._after_loss.first
        elif self._next is not None:
            self._began = self._next
        if self._recorder is not None:
            self._recorder.event("stream", stream=self.state.streams, sample=self._began, wall=round(time.time(), 4))
        self.state.streams += 1

    def _pieces(self, seconds: float | None) -> Iterator[Samples]:
        """Sound as it comes; empty pieces while there is none.  Ends at a loss, which the device must not miss."""
        while self._after_loss is not None or not self._source.ended:
            if seconds is not None and self.state.samples >= seconds * self._rate:
                return
            block, self._after_loss = self._after_loss or self._source.read(POLL_S), None
            if self._recorder is not None:
                self._recorder.tick()
            if block is None:
                yield np.zeros(0, np.int16)
                continue
            if self._next is not None and block.first > self._next:
                self.state.lost += block.first - self._next
                self._keep_loss(block)
                self._next, self._after_loss = block.first, block
                return
            yield self._heard(block)

    def _keep_loss(self, block: Block) -> None:
        if self._recorder is not None:
            self._recorder.gap(block.first - self._recorder.position, Hole(LOST.why, block.estimated))

    def _heard(self, block: Block) -> Samples:
        self._next = block.first + block.samples.size
        self._sent.append(block)
        self.state.samples += block.samples.size
        self.state.level_db = level_db(block.samples)
        if self._recorder is not None:
            self._recorder.sound(block.first, block.samples)
            if self._clocks is not None:
                self._clocks.note(self._next, self._next / self._rate, block.heard_s)
        return block.samples

    def _take(self, heard: Heard) -> tuple[Decision, ...]:
        """What a part of the sound gave, beside what the twin says."""
        now_s, state = self._clock(), self.state
        vectors, expected = self._twin.feed(self._until(heard.samples))
        self._compare(heard, vectors, expected)
        state.vectors += len(heard.features)
        state.spectrum.extend(heard.features)
        self._note_load(heard)
        for decision in heard.decisions:
            state.decisions += 1
            state.detections += decision.triggered
            state.last = decision
            state.latencies_s.append(now_s - self._heard_s(last_sample(self._twin.artefact, decision)))
            if self._recorder is not None:
                line = decision_line(self._twin.artefact, decision, state.streams - 1, self._began)
                self._recorder.event("decision", **line)
        state.repetitions, state.bad_frames = self._device.repetitions, self._device.bad_frames
        return heard.decisions

    def _until(self, samples: int) -> Samples:
        """The sound that the device has taken since the last answer."""
        parts = []
        for block in self._sent:
            low = self._began + self._taken - block.first
            high = self._began + samples - block.first
            if high > 0 and low < block.samples.size:
                parts.append(block.samples[max(0, low) : high])
        self._taken = samples
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def _heard_s(self, samples: int) -> float:
        """When the sample before ``samples``, counted since LISTEN, sounded."""
        last = self._began + samples
        while len(self._sent) > 1 and self._sent[0].first + self._sent[0].samples.size < last:
            self._sent.popleft()
        block = self._sent[0]
        return block.heard_s - (block.first + block.samples.size - last) / self._rate

    def _note_load(self, heard: Heard) -> None:
        busy = (heard.busy_us - self._last_busy) % _US
        self._last_busy = heard.busy_us
        self.state.busy_us += busy
        self._window.append((heard.samples, busy))
        while self._window[-1][0] - self._window[0][0] > LOAD_S * self._rate:
            self._window.popleft()
        span = self._window[-1][0] - self._window[0][0]
        if span:
            self.state.load = sum(us for _, us in list(self._window)[1:]) * 1e-6 / (span / self._rate)

    def _compare(self, heard: Heard, vectors: Samples, expected: list[Decision]) -> None:
        if self.state.first is not None:
            return
        at = f"{(self._began + heard.samples) / self._rate:.3f} s"
        if heard.features.shape[0] != len(vectors):
            self.state.first = f"at {at}: {len(heard.features)} feature vectors, expected {len(vectors)}"
        elif len(vectors) and (different := np.argwhere(heard.features != vectors)).size:
            i, band = (int(value) for value in different[0])
            frame = heard.frames - len(vectors) + i
            self.state.first = (
                f"at {at}: feature vector {frame}, band {band}: expected {vectors[i, band]}, "
                f"got {heard.features[i, band]}"
            )
        elif tuple(expected) != heard.decisions:
            pair = next(
                ((e, g) for e, g in zip(expected, heard.decisions, strict=False) if e != g),
                (f"{len(expected)} decisions", f"{len(heard.decisions)}"),
            )
            self.state.first = f"at {at}: expected {pair[0]}, got {pair[1]}"


def level_db(samples: Samples) -> float:
    """Mean square in dB of full scale, at least -120."""
    power = float(np.mean((samples / 32768.0) ** 2)) if samples.size else 0.0
    return max(-120.0, 10 * float(np.log10(power + 1e-12)))


def shares(decision: Decision) -> list[float]:
    """The outputs as shares of 1: softmax."""
    logits = np.array(decision.logits, np.float64) / (1 << 15)
    powers = np.exp(logits - logits.max())
    return [float(value) for value in powers / powers.sum()]
