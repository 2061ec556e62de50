"""Capture: the device sends what its own microphone hears (docs/link.md, "Capture")."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.errors import DeviceRefusal, ProtocolError
from hil.link.codec import Frame
from hil.link.device import Device
from hil.link.schema import STREAMED, Content, ErrorCode, Flag, Kind, Listen, Trigger
from hil.trace import Listening

RESENT = 0xFFFFFFFF
"""``number`` of a SOUND frame that answers RESEND."""


@dataclass(frozen=True)
class Capturing:
    """What the device said when a capture began: the fields of CAPTURING (docs/link.md)."""

    rate: int
    rate_millihertz: int
    microphone: int
    oversampling: int
    block: int
    ring: int
    max_samples: int
    window: int
    hop: int
    frames: int
    supply_mv: int


@dataclass(frozen=True)
class Streamed:
    """
    One frame that the device has sent by itself.

    Attributes:
        kind: META, SOUND, VECTOR or VERDICT.
        values: The fields of its body; ``x`` of SOUND and VECTOR is int16.
    """

    kind: Kind
    values: dict[str, Any]


class Capture:
    """A capture under way; `begin_capture` makes it."""

    def __init__(self, device: Device, begun: Capturing) -> None:
        self.begun, self._talk = begun, device.conversation

    def next(self, timeout_s: float) -> Streamed | None:
        """
        The next frame that the device has sent by itself, in the order of arrival; None after ``timeout_s`` without.

        Raises:
            PortLost, FirmwareFault, UnexpectedReset, ProtocolError: As every request.
        """
        deadline = time.monotonic() + timeout_s
        while not self._talk.streamed:
            frame = self._talk.poll(deadline)
            if frame is None:
                return None
            if frame.kind in STREAMED and frame.flags & Flag.UNSOLICITED:
                self._talk.streamed.append(frame)
        return self._streamed(self._talk.streamed.popleft())

    def resend(self, first: int, count: int) -> npt.NDArray[np.int16]:
        """
        Samples once more.

        Raises:
            DeviceRefusal: They are no longer there (``BAD_STEP``), or sound must not leave the device.
        """
        values = self._talk.ask(Kind.RESEND, Kind.SOUND, first=first, count=count)
        return np.asarray(values["x"], np.int16)

    def stop(self) -> dict[str, Any]:
        """End it; returns the fields of STOPPED.  What came before is still to be taken with `next`."""
        return self._talk.ask(Kind.STOP, Kind.STOPPED)

    def _streamed(self, frame: Frame) -> Streamed:
        return Streamed(Kind(frame.kind), self._talk.fields(frame))


def begin_capture(
    device: Device,
    listening: Listening | None,
    content: Content,
    *,
    trigger: Trigger = Trigger.ALL,
    before: int = 0,
    after: int = 0,
    sequence: int = 0,
) -> Capture:
    """
    Let the device listen to its own microphone.

    Args:
        device: HELLO has been said.
        listening: How it decides; None: neither features nor decisions.
        content: What it sends.
        trigger, before, after: Which samples; ``before`` and ``after`` in samples.
        sequence: Repeated in META.

    Raises:
        DeviceRefusal: The firmware has no microphone (``UNKNOWN_KIND``), no front end, or not the room for it.
    """
    if listening is None:
        values = {"frames": 0, "hop": 0, "flags": 0, "smooth_log2": 0, "hold": 0, "margin": 0, "quiet": 0}
    else:
        values = {
            "frames": listening.frames,
            "hop": listening.hop,
            "flags": int(Listen.CARRY if listening.carry else 0),
            "smooth_log2": listening.smooth.bit_length() - 1,
            "hold": listening.hold,
            "margin": listening.margin_q15,
            "quiet": sum(1 << output for output in listening.quiet),
        }
    device.conversation.streamed.clear()
    begun = device.conversation.ask(
        Kind.CAPTURE,
        Kind.CAPTURING,
        sequence=sequence,
        content=int(content),
        trigger=int(trigger),
        before=before,
        after=after,
        **values,
    )
    return Capture(device, Capturing(**begun))


def join_capture(device: Device, begun: Capturing, sequence: int, timeout_s: float) -> Capture | None:
    """
    Go on with a capture that another program has begun, without a word that would end it.

    Args:
        device: Its port has just been opened, at the speed that the device has; HELLO has not been said.
        begun: What the device said when the capture began.
        sequence: Of the capture.
        timeout_s: To wait for META, which comes once a second.

    Returns:
        None: the device does not capture, or it is another capture.

    Raises:
        RigError, DeviceError: As every request.
    """
    talk, deadline, came = device.conversation, time.monotonic() + timeout_s, list[Frame]()
    while (frame := talk.poll(deadline)) is not None:
        if frame.kind in STREAMED and frame.flags & Flag.UNSOLICITED:
            came.append(frame)
        if frame.kind == Kind.META:
            if talk.fields(frame)["sequence"] != sequence:
                return None
            _find_number(device)
            talk.streamed.extendleft(reversed(came))
            talk.running = True
            return Capture(device, begun)
    return None


def _find_number(device: Device) -> None:
    """The device refuses a request whose turn it is not, and says whose it is."""
    talk = device.conversation
    for guess in range(0, 256, 37):
        talk.seq = guess
        try:
            talk.exchange(replace(talk.request(Kind.ECHO, data=b""), flags=Flag.LAST | Flag.STREAM), Kind.ECHOED)
        except DeviceRefusal as refusal:
            if refusal.code != ErrorCode.OUT_OF_ORDER.name:
                raise
            talk.seq = refusal.detail
        except ProtocolError:  # one of the last four: its answer came again
            continue
        return
    raise ProtocolError(f"{device.rig}: does not say which request it expects")
