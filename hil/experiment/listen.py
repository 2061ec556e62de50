"""Sound through a rig: test clips as samples instead of features, and recordings as streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, FrontEnd
from hil.clip import Clip
from hil.errors import UsageError, suggest
from hil.experiment.progress import Progress
from hil.experiment.run import connect
from hil.features import extract
from hil.features.spectrum import padded
from hil.firmware import Firmware
from hil.link.audio import Heard, listen
from hil.link.device import Device
from hil.quant import listen_twin
from hil.recipe import StreamRecipe
from hil.rig import Rig
from hil.trace import Decision, Listening

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Stream:
    """
    What one recording gave.

    Attributes:
        name: Of the recording.
        frontend: Of the model, for times.
        decisions, expected: By the device and by the twin.
        vectors, vectors_exact: Feature vectors made by the device, and those equal to the host's.
        first: The first difference in words, or None.
    """

    name: str
    frontend: FrontEnd
    decisions: tuple[Decision, ...]
    expected: tuple[Decision, ...]
    vectors: int
    vectors_exact: int
    first: str | None

    @property
    def exact(self) -> bool:
        """Every feature vector and every decision equals the host's."""
        return self.first is None

    def time_s(self, decision: Decision) -> float:
        """When the last sample of the decision's window has come, seconds since the stream began."""
        return (decision.frame * self.frontend.hop + self.frontend.window) / self.frontend.rate_hz


@dataclass(frozen=True)
class AudioRun:
    """
    The test clips as sound.

    Attributes:
        streams: One for each clip; each has one decision.
        correct: Clips whose decision is their label.
        repetitions, bad_frames, overruns: Of the link.
    """

    streams: tuple[Stream, ...]
    correct: int
    repetitions: int
    bad_frames: int
    overruns: int

    @property
    def exact(self) -> bool:
        """Outputs and features equal those of a run on features, bit for bit."""
        return all(stream.exact for stream in self.streams)


def run_clips(artefact: Artefact, clips: Sequence[Clip], firmware: Firmware, rig: Rig, progress: Progress) -> AudioRun:
    """
    Send clips as samples: features, network and decision on the device, compared with the host's.

    Args:
        artefact: The model.
        clips: At the front end's rate; padded with zeros, or cut, as for training.
        firmware: Built with the model's front end.
        rig: Not yet flashed; left open.
        progress: Where to show it.

    Raises:
        UsageError: A clip has another rate.
        RigError, DeviceError: As every run.
    """
    fe = artefact.sound
    listening = Listening(fe.frames, fe.frames)
    rig.flash(firmware)
    device, _ = connect(rig, firmware)
    rig.stream()
    streams = []
    with progress.task(f"{len(clips)} test clips as sound on {rig.name}") as update:
        for i, clip in enumerate(clips):
            if clip.rate_hz != fe.rate_hz:
                raise UsageError(f"{clip.name}: {clip.rate_hz} Hz, the model takes {fe.rate_hz} Hz")
            samples = padded(clip.samples, fe.window, fe.hop, fe.frames)
            streams.append(run_stream(artefact, clip.name, samples, listening, device))
            update(i + 1, len(clips))
    correct = sum(s.decisions[0].label == c.label for s, c in zip(streams, clips, strict=True) if s.decisions)
    return AudioRun(tuple(streams), correct, device.repetitions, device.bad_frames, device.status().overruns)


def run_stream(
    artefact: Artefact,
    name: str,
    samples: Samples,
    listening: Listening,
    device: Device,
    heard: Callable[[Heard], None] = lambda part: None,
) -> Stream:
    """
    Send one recording, and compare every feature vector and every decision with the twin's.

    Args:
        artefact: The model.
        name: Of the recording.
        samples: [N] int16 at the front end's rate.
        listening: How it is decided.
        device: HELLO has been said.
        heard: Called with what each part gave, as it comes.

    Raises:
        UsageError: The recording is shorter than one frame.
        RigError, DeviceError: As every request.
    """
    fe = artefact.sound
    if samples.size < fe.window:
        raise UsageError(f"{name}: {samples.size} samples, the front end takes at least {fe.window}")
    frames = (samples.size - fe.window) // fe.hop + 1
    features, _ = extract(samples, dataclasses.replace(fe, frames=frames))
    expected = tuple(listen_twin(artefact, features, listening))
    vectors: list[npt.NDArray[np.int16]] = []
    decisions: list[Decision] = []
    for part in listen(device, samples, listening, detail=True):
        vectors += list(part.features)
        decisions += part.decisions
        heard(part)
    got = np.array(vectors, np.int16).reshape(len(vectors), fe.features)
    same = (got[:frames] == features[: len(got)]).all(axis=1) if len(got) else np.zeros(0, bool)
    first = _first_difference(got, features, tuple(decisions), expected)
    return Stream(name, fe, tuple(decisions), expected, len(got), int(same.sum()), first and f"{name}: {first}")


def whole_window(samples: Samples, frontend: FrontEnd, listening: Listening) -> Samples:
    """A recording that is shorter than a window, with silence after it as a clip has; a longer one as it is."""
    needed = (listening.frames - 1) * frontend.hop + frontend.window
    if samples.size >= needed:
        return samples
    return padded(samples, frontend.window, frontend.hop, listening.frames)


def _first_difference(
    got: npt.NDArray[np.int16],
    want: npt.NDArray[np.int16],
    decisions: tuple[Decision, ...],
    expected: tuple[Decision, ...],
) -> str | None:
    if got.shape != want.shape:
        return f"{len(got)} feature vectors, expected {len(want)}"
    different = np.argwhere(got != want)
    if len(different):
        frame, band = (int(i) for i in different[0])
        return (
            f"feature vector {frame}, band {band}: expected {want[frame, band]}, got {got[frame, band]} "
            f"(first of {len(different)} differences in {want.size} values)"
        )
    if len(decisions) != len(expected):
        return f"{len(decisions)} decisions, expected {len(expected)}"
    for wanted, given in zip(expected, decisions, strict=True):
        if wanted != given:
            return f"decision {wanted.index}: expected {wanted}, got {given}"
    return None


def listening_of(stream: StreamRecipe, artefact: Artefact) -> Listening:
    """
    A recipe's stream for a model.

    Raises:
        UsageError: It names a label that the model does not have, or the model takes no sound.
    """
    labels, frames = artefact.labels, artefact.sound.frames
    for name in stream.quiet or ():
        if name not in labels:
            raise UsageError(f"stream.quiet: the model has no {name!r}{suggest(name, labels)}")
    quiet = stream.quiet if stream.quiet is not None else tuple(n for n in ("unknown", "silence") if n in labels)
    return Listening(
        frames=frames,
        hop=stream.hop or max(1, frames // 4),
        carry=stream.state == "carry",
        smooth=stream.smooth,
        hold=stream.hold,
        margin_q15=round(stream.margin * (1 << 15)),
        quiet=tuple(labels.index(name) for name in quiet),
    )
