"""Sound to the device, decisions back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.errors import ProtocolError
from hil.link.codec import Frame
from hil.link.device import Device
from hil.link.schema import WINDOW, Kind, Listen
from hil.link.window import ask_window
from hil.trace import Decision, Listening


@dataclass(frozen=True)
class Heard:
    """
    What one PCM frame gave.

    Attributes:
        samples, frames, clipped: Taken, made and clipped since the stream began.
        busy_us: Spent in front end and network since the stream began, by the device's clock, modulo 2**32.
        features: [n, D] int16, Q15, the vectors that it completed, if they were asked for.
        decisions: Those that it completed.
    """

    samples: int
    frames: int
    clipped: int
    busy_us: int
    features: npt.NDArray[np.int16]
    decisions: tuple[Decision, ...]


def listen(
    device: Device,
    samples: npt.NDArray[np.int16] | Iterable[npt.NDArray[np.int16]],
    listening: Listening,
    *,
    detail: bool = False,
    window: int = WINDOW,
) -> Iterator[Heard]:
    """
    Begin a stream and send sound, several frames at a time; yields what each gave.

    Args:
        device: HELLO has been said.
        samples: [N] int16, or pieces of it as they come; an empty piece: there is none yet, ask again.
        listening: How it is decided.
        detail: Ask for the feature vectors.
        window: Frames under way at once, at most.

    Raises:
        DeviceRefusal: The firmware has no front end, or not the room for such a window.
        RigError, DeviceError: As every request.
    """
    flags = (Listen.CARRY if listening.carry else Listen(0)) | (Listen.DETAIL if detail else Listen(0))
    begun = device.conversation.ask(
        Kind.LISTEN,
        Kind.LISTENING,
        sequence=0,
        frames=listening.frames,
        hop=listening.hop,
        flags=int(flags),
        smooth_log2=listening.smooth.bit_length() - 1,
        hold=listening.hold,
        margin=listening.margin_q15,
        quiet=sum(1 << output for output in listening.quiet),
    )
    pieces = [samples] if isinstance(samples, np.ndarray) else samples
    bodies = _bodies(pieces, int(begun["max_samples"]))
    for parts in ask_window(device.conversation, Kind.PCM, bodies, Kind.HEARD, window):
        yield _heard(device, parts)


def echo_stream(device: Device, data: Iterable[bytes]) -> int:
    """
    Send bytes there and back, several requests at a time; returns how many.

    Raises:
        ProtocolError: Other bytes came back than were sent.
    """
    sent: list[bytes] = []

    def bodies() -> Iterator[dict[str, bytes]]:
        for piece in data:
            sent.append(piece)
            yield {"data": piece}

    total = 0
    for i, (frame,) in enumerate(ask_window(device.conversation, Kind.ECHO, bodies(), Kind.ECHOED)):
        if frame.body != sent[i]:
            raise ProtocolError(f"{device.rig}: ECHO {i} returned other bytes than were sent")
        total += len(frame.body)
    return total


def _bodies(pieces: Iterable[npt.NDArray[np.int16]], most: int) -> Iterator[dict[str, object] | None]:
    first = 0
    for piece in pieces:
        if not len(piece):
            yield None
        for start in range(0, len(piece), most):
            x = piece[start : start + most]
            yield {"first": first % (1 << 32), "x": x}
            first += len(x)


def _heard(device: Device, parts: list[Frame]) -> Heard:
    *before, last = parts
    values = device.conversation.fields(last)
    by_kind = {
        kind: [device.conversation.fields(frame) for frame in before if frame.kind == kind]
        for kind in (Kind.FEATURE, Kind.DECISION)
    }
    vectors = [v["x"] for v in by_kind[Kind.FEATURE]]
    return Heard(
        values["samples"],
        values["frames"],
        values["clipped"],
        values["busy_us"],
        np.array(vectors, np.int16) if vectors else np.zeros((0, 0), np.int16),
        tuple(
            Decision(v["index"], v["frame"], v["label"], bool(v["triggered"]), v["margin"], tuple(v["logits"].tolist()))
            for v in by_kind[Kind.DECISION]
        ),
    )
