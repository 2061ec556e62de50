"""A capture through a rig: the same sound again, beside the twin and beside what was decided in the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from hil.artefact import Artefact
from hil.capture.decide import Decider
from hil.capture.field import Agreement, Stretch, agreement, stretches
from hil.capture.live import Live, LiveRun
from hil.capture.reader import Capture
from hil.capture.source import Block
from hil.experiment.progress import Progress, Update
from hil.link.device import Device
from hil.trace import Decision, Listening

PIECE_S = 10.0
"""Of sound that is held in memory."""


@dataclass(frozen=True)
class Replay:
    """
    What a capture has come to on another rig.

    Attributes:
        stretches: That were sent.
        seconds: Of sound in them.
        decisions: By the rig.
        field: Beside the field.
        not_comparable: Decisions of the field that are in no stretch.
        first: The first difference from the twin, in words; None: all are equal.
    """

    stretches: int
    seconds: float
    decisions: int
    field: Agreement
    not_comparable: int
    first: str | None

    @property
    def exact(self) -> bool:
        """As the twin, and as in the field."""
        return self.first is None and self.field.first is None


class _Sound:
    """A stretch as a source."""

    def __init__(self, capture: Capture, stretch: Stretch) -> None:
        self.ended = False
        self.name = f"{capture.info.id} from {stretch.first / capture.info.rate_hz:.3f} s"
        self._blocks = self._read(capture, stretch)

    def _read(self, capture: Capture, stretch: Stretch) -> Iterator[Block]:
        size = round(PIECE_S * capture.info.rate_hz)
        for low in range(stretch.first, stretch.end, size):
            high = min(low + size, stretch.end)
            yield Block(low - stretch.first, capture.between(low, high), 0.0)

    def read(self, timeout_s: float) -> Block | None:
        block = next(self._blocks, None)
        self.ended = block is None
        return block

    def __enter__(self) -> _Sound:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def replay(capture: Capture, artefact: Artefact, listening: Listening, device: Device, progress: Progress) -> Replay:
    """
    Send what can be compared.

    Args:
        capture: To be sent.
        artefact: The model on the device, and the field's if that had one.
        listening: How it is decided.
        device: HELLO has been said.
        progress: Where it is shown.

    Raises:
        RigError, DeviceError: As every request.
        UsageError: A file of the capture is damaged.
    """
    parts = list(stretches(capture, artefact))
    total = sum(part.end - part.first for part in parts)
    field, decisions, done, first = Agreement(), 0, 0, None
    with progress.task(f"{total / capture.info.rate_hz:.0f} s of sound on {device.rig}") as update:
        for part in parts:
            source, got = _Sound(capture, part), list[Decision]()
            run = LiveRun(source, Decider(artefact, listening), device, fast=True)
            run.run(None, _shower(got, done, total, update))
            done += run.state.samples
            decisions += len(got)
            field += agreement(part, got, source.name)
            first = first or (run.state.first and f"{source.name}, {run.state.first}")
    compared = field.compared
    seconds = total / capture.info.rate_hz
    return Replay(len(parts), seconds, decisions, field, len(capture.decisions) - compared, first)


def _shower(got: list[Decision], done: int, total: int, update: Update) -> Callable[[Live, tuple[Decision, ...]], None]:
    def show(state: Live, made: tuple[Decision, ...]) -> None:
        got.extend(made)
        update(done + state.samples, total)

    return show
