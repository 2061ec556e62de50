"""Decisions about a stream by the host, and how decisions stand in a capture."""

from __future__ import annotations

from typing import Any

from hil.artefact import Artefact
from hil.capture.journal import Samples
from hil.features import FeatureStream
from hil.quant import ListenTwin
from hil.trace import Decision, Listening


class Decider:
    """
    Front end, network and triggers on the host: the twin of a device that listens.

    Attributes:
        artefact, listening: As given.
    """

    def __init__(self, artefact: Artefact, listening: Listening) -> None:
        self.artefact, self.listening = artefact, listening
        self.restart()

    def restart(self) -> None:
        """As after LISTEN."""
        self._features = FeatureStream(self.artefact.sound)
        self._twin = ListenTwin(self.artefact, self.listening)

    def feed(self, samples: Samples) -> tuple[Samples, list[Decision]]:
        """The vectors [n, D] int16 and the decisions that these samples complete."""
        vectors = self._features.feed(samples)
        return vectors, self._twin.feed(vectors) if len(vectors) else []


def last_sample(artefact: Artefact, decision: Decision) -> int:
    """Samples since LISTEN when the decision's window was complete."""
    return decision.frame * artefact.sound.hop + artefact.sound.window


def decision_line(artefact: Artefact, decision: Decision, stream: int, began: int) -> dict[str, Any]:
    """
    A decision for the index, without its kind.

    Args:
        artefact: The model.
        decision: Counted from LISTEN.
        stream: How many LISTENs came before.
        began: Index in the capture of the first sample since LISTEN.
    """
    return {
        "stream": stream,
        "index": decision.index,
        "frame": decision.frame,
        "sample": began + last_sample(artefact, decision),
        "label": artefact.labels[decision.label],
        "triggered": decision.triggered,
        "margin_q15": decision.margin_q15,
        "logits": list(decision.logits),
    }


def decision_of(line: dict[str, Any], labels: tuple[str, ...]) -> Decision:
    """What `decision_line` was made of."""
    label = labels.index(line["label"])
    logits = tuple(int(value) for value in line["logits"])
    return Decision(line["index"], line["frame"], label, line["triggered"], line["margin_q15"], logits)
