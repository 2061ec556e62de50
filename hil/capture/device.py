"""Captures of what a device hears with its own microphone: every sample is kept, asked for again, or counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.artefact import Artefact
from hil.capture.decide import decision_line
from hil.capture.journal import Samples
from hil.capture.reader import Capture as Recording
from hil.capture.record import Clocks, Told
from hil.capture.recorder import LOST, NOT_TRIGGERED, Hole, Recorder
from hil.capture.trigger import Keeper, Trigger
from hil.errors import DeviceRefusal, LinkTimeout, ProtocolError
from hil.link.capture import Capture, Capturing, Streamed, begin_capture, join_capture
from hil.link.device import Device
from hil.link.schema import Content, ErrorCode, Kind
from hil.link.schema import Trigger as DeviceTrigger
from hil.trace import Decision, Listening

POLL_S = 0.1
AGAIN_S = 0.5
"""How long to wait for samples that are sent again: the device does not keep them for longer."""
LATE = Hole("the device was late")
UNSENT = Hole("the line had no room")
AWAY = Hole("nobody listened to the device")
JOIN_S = 2.5
"""META comes once a second."""
_WORD = 1 << 32


@dataclass
class Heard(Told):
    """
    What has come of a device's capture, besides `Told`.

    Attributes:
        frames: Unsolicited frames that came.
        frames_lost: That the line has lost.
        again: Samples that the line has lost and that were sent again.
        late, unsent: Samples that the device was late for; that its line had no room for.
        supply_mv: Supply voltage, millivolts; 0: not measured.
        asleep: Share of the time that the core slept.
        stopped: The device's own counters at the end (STOPPED of docs/link.md).
    """

    frames: int = 0
    frames_lost: int = 0
    again: int = 0
    late: int = 0
    unsent: int = 0
    supply_mv: int = 0
    asleep: float = 0.0
    stopped: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Joined:
    """
    A capture that another program has begun and that the device has gone on with.

    Attributes:
        capture: Of the link.
        base: Index in the recording of the device's first sample.
        stream: Which stream of the recording it is.
        chosen: The device chooses the sound around detections.
    """

    capture: Capture
    base: int
    stream: int
    chosen: bool


def join(device: Device, before: Recording) -> Joined | None:
    """
    Find the capture of an interrupted recording on the device; None if that has been reset, or does something else.

    Args:
        device: Its port has just been opened at the speed of the recording's last stream (`last_stream`).
        before: The recording.

    Raises:
        RigError, DeviceError: As every request.
    """
    stream = last_stream(before)
    if stream is None:
        return None
    begun = Capturing(**stream["begun"])
    capture = join_capture(device, begun, int(before.info.id, 16), JOIN_S)
    return None if capture is None else Joined(capture, stream["sample"], stream["stream"], stream["chosen"])


def last_stream(before: Recording) -> dict[str, Any] | None:
    """How the last capture of a recording began (``baud``, ``begun``); None if there was none by a device."""
    found = [event for event in before.events if event["kind"] == "stream" and "begun" in event]
    return found[-1] if found else None


class DeviceCapture:
    """
    A capture by a device.

    Attributes:
        told: So far.
        begun: What the device said of itself; None before `run`.
    """

    def __init__(
        self,
        device: Device,
        artefact: Artefact,
        listening: Listening,
        recorder: Recorder,
        trigger: Trigger,
        *,
        features: bool = False,
        stream: int = 0,
        joined: Joined | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            device: HELLO has been said; its line carries the sound.
            artefact, listening: What decides there.
            recorder: Where it goes; its position is that of the device's first sample.
            trigger: What is kept.
            features: Keep feature vectors beside the sound.
            stream: Captures that an interrupted recording has had before.
            joined: A capture that is under way; None: begin one.
            clock: Monotonic.
        """
        if joined is not None and joined.chosen:
            trigger = Trigger("all")
        self.told = Heard()
        self.begun: Capturing | None = None
        self._device, self._artefact, self._listening = device, artefact, listening
        self._recorder, self._trigger, self._features = recorder, trigger, features
        self._stream = stream if joined is None else joined.stream
        self._clock = clock
        self._clocks = Clocks(recorder, clock)
        self._joined = joined
        self._base = recorder.position if joined is None else joined.base
        self._keeper = Keeper(recorder, trigger)
        self._number: int | None = None  # of the next unsolicited frame
        self._late = self._unsent = 0  # as the device counted them last
        self._stop = self._ended = self._counted = False
        self._chosen = joined is not None and joined.chosen

    def run(self, seconds: float | None, show: Callable[[Heard], None]) -> None:
        """
        Until so much sound was heard, or `stop` or Ctrl-C; the device is told to stop, and what it still has is kept.

        Raises:
            DeviceRefusal: The firmware has no microphone.
            RigError, DeviceError: As every request; what was heard before is kept.
            CaptureEnded: The disk is full.
        """
        capture = self._begin()
        try:
            while not self._stop and (seconds is None or self.told.seconds < seconds):
                item = capture.next(POLL_S)
                self._recorder.tick()
                if item is not None:
                    self._take(capture, item)
                    show(self.told)
        except KeyboardInterrupt:
            self._end(capture)
            raise
        self._end(capture)

    def stop(self) -> None:
        """End `run` soon."""
        self._stop = True

    def _begin(self) -> Capture:
        """Sound around detections is chosen by the device if what goes before fits into its memory."""
        if self._joined is not None:
            self.begun = self._joined.capture.begun
            self._recorder.event("joined", wall=round(time.time(), 4))
            return self._joined.capture
        sequence = int(self._recorder.info.id, 16)
        content = Content.DECISIONS if self._trigger.kind == "features" else Content.DECISIONS | Content.SOUND
        if self._features or self._trigger.kind == "features":
            content |= Content.FEATURES
        capture = begin_capture(self._device, self._listening, content, sequence=sequence)
        before = round(self._trigger.before_s * capture.begun.rate)
        if self._trigger.kind == "detections" and before <= capture.begun.ring // 2:
            after = round(self._trigger.after_s * capture.begun.rate)
            how = DeviceTrigger.DETECTIONS
            capture.stop()  # what comes from now on is of the next one
            capture = begin_capture(
                self._device,
                self._listening,
                content,
                trigger=how,
                before=before,
                after=after,
                sequence=sequence,
            )
            self._trigger = Trigger("all")
            self._keeper = Keeper(self._recorder, self._trigger)
            self._chosen = True
        self.begun = capture.begun
        values = {"baud": self._device.conversation.baud, "begun": vars(capture.begun), "chosen": self._chosen}
        self._recorder.event("stream", stream=self._stream, sample=self._base, wall=round(time.time(), 4), **values)
        return capture

    def _end(self, capture: Capture) -> None:
        stopped = capture.stop()
        self._ended = True
        while (item := capture.next(0.0)) is not None:
            self._take(capture, item)
        missing = (stopped["number"] - self._next_number(stopped["number"])) % _WORD
        if missing:
            self._note_lost_frames(missing)
            if self._trigger.kind == "all" and not self._chosen:
                self._keeper.sound(self._at(stopped["samples"]), np.zeros(0, np.int16))
                self._recorder.gap(self._at(stopped["samples"]) - self._recorder.position, LOST)
        self._keeper.close()
        self.told.stopped = stopped
        self._recorder.event("stopped", **stopped)

    def _next_number(self, default: int) -> int:
        return default if self._number is None else self._number

    def _take(self, capture: Capture, item: Streamed) -> None:
        self.told.last = ()
        self.told.frames += 1
        number = item.values["number"]
        missing = (number - self._next_number(number if self._joined else 0)) % _WORD
        self._number = (number + 1) % _WORD
        if missing:
            self._note_lost_frames(missing)
        take = {Kind.SOUND: self._sound, Kind.META: self._meta, Kind.VECTOR: self._vector, Kind.VERDICT: self._verdict}
        take[item.kind](capture, item.values)

    def _note_lost_frames(self, count: int) -> None:
        self.told.frames_lost += count
        self._recorder.event("line", frames_lost=count, sample=self._keeper.heard)

    def _at(self, sample: int) -> int:
        """Index in the capture of a device's sample, whose count has 32 bits."""
        near = self._keeper.heard - self._base
        ahead = (sample - near) % _WORD
        return self._base + near + (ahead if ahead < _WORD // 2 else ahead - _WORD)

    def _sound(self, capture: Capture, values: dict[str, Any]) -> None:
        first, x = self._at(values["first"]), np.asarray(values["x"], np.int16)
        late, unsent = (values["lost"] - self._late) % _WORD, (values["unsent"] - self._unsent) % _WORD
        hole = UNSENT if unsent else LOST
        if self._joined is not None and not self._counted:
            late, unsent, hole = 0, 0, AWAY
        self._counted = True
        self._late, self._unsent = values["lost"], values["unsent"]
        self.told.late += late
        self.told.unsent += unsent
        if first < self._keeper.heard:
            raise ProtocolError(f"{self._device.rig}: SOUND from {first}, after {self._keeper.heard}")
        self._fill(capture, first, late, hole)
        self._keep(first, x, hole)

    def _keep(self, first: int, x: Samples, hole: Hole = LOST) -> None:
        self._keeper.sound(first, x, hole)
        self.told.seconds = (self._keeper.heard - self._base) / self._artefact.sound.rate_hz

    def _fill(self, capture: Capture, end: int, late: int, hole: Hole) -> None:
        """What lies between the sound before and ``end``: sent again if the device still has it, else counted."""
        begin = self._keeper.heard
        if begin == end:
            return
        if self._chosen and hole is LOST and not late:
            self._skip(end, NOT_TRIGGERED)
            return
        oldest = max(begin, end - capture.begun.ring)
        for at in range(oldest, end - late, capture.begun.max_samples):
            count = min(capture.begun.max_samples, end - late - at)
            x = self._again(capture, at - self._base, count)
            if x is not None:
                self._keep(at, x, hole)
                self.told.again += x.size
        if late:
            self._skip(end - late, hole)
            self._skip(end, LATE)

    def _skip(self, end: int, hole: Hole) -> None:
        """Sound up to ``end`` is not there."""
        if end > self._keeper.heard and self._trigger.kind == "all":  # else the keeper sees it by the next sample
            if hole is NOT_TRIGGERED:
                self._recorder.end_segment()
            self._recorder.gap(end - self._recorder.position, hole)
            self._keeper.heard = end

    def _again(self, capture: Capture, first: int, count: int) -> Samples | None:
        """Samples that the device still has; None if it has not, has ended, or the line loses them again."""
        if self._ended:
            return None
        talk = self._device.conversation
        patience_s, talk.timeout_s = talk.timeout_s, AGAIN_S
        try:
            return capture.resend(first % _WORD, count)
        except DeviceRefusal as refusal:
            if refusal.code != ErrorCode.BAD_STEP.name:
                raise
            return None
        except LinkTimeout:
            return None
        finally:
            talk.timeout_s = patience_s

    def _meta(self, capture: Capture, values: dict[str, Any]) -> None:
        device_s = (values["time_us_low"] + _WORD * values["time_us_high"]) * 1e-6
        at = self._at(values["samples"])
        self.told.supply_mv, self.told.asleep = values["supply_mv"], values["asleep_permille"] / 1000
        self._clocks.note(at, device_s)
        keys = ("samples", "lost", "unsent", "supply_mv", "asleep_permille")
        self._recorder.event("device", sample=at, device_s=round(device_s, 6), **{key: values[key] for key in keys})
        if self._trigger.kind == "features":
            self._keeper.heard = at
            self.told.seconds = (at - self._base) / self._artefact.sound.rate_hz

    def _vector(self, capture: Capture, values: dict[str, Any]) -> None:
        self._recorder.vectors(values["frame"], np.asarray(values["x"], np.int16)[None])

    def _verdict(self, capture: Capture, values: dict[str, Any]) -> None:
        v = values
        logits = tuple(int(value) for value in v["logits"])
        decision = Decision(v["index"], v["frame"], v["label"], bool(v["triggered"]), v["margin"], logits)
        line = decision_line(self._artefact, decision, self._stream, self._base)
        line |= {"sample": self._at(v["sample"]) + 1, "device_us": v["time_us"]}
        self._recorder.event("decision", **line)
        self.told.decisions += 1
        self.told.detections += decision.triggered
        self.told.last = (decision,)
        if decision.triggered:
            self._keeper.detected(line["sample"])
