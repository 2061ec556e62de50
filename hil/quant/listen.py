"""Streams through the integer reference: windows, averages and triggers as the device makes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact
from hil.quant.cells import start_layer, step_layer
from hil.quant.kernels import hold_inputs
from hil.quant.twin import outputs_of_sums, run_twin_batch
from hil.trace import Decision, Listening


def listen_twin(artefact: Artefact, features: npt.NDArray[np.int16], listening: Listening) -> list[Decision]:
    """
    The decisions about a stream.

    Args:
        artefact: The model.
        features: [N, D] int16, Q15, every feature vector since the stream began.
        listening: How it is decided.

    Twin:
        ``firmware/app/audio.c``.
    """
    return ListenTwin(artefact, listening).feed(features)


class ListenTwin:
    """`listen_twin` for vectors that come in pieces: the same decisions, whatever the pieces."""

    def __init__(self, artefact: Artefact, listening: Listening) -> None:
        self._windows = (_Carried if listening.carry else _Fresh)(artefact, listening)
        self._listening = listening
        self._history = np.zeros((listening.smooth, len(artefact.labels)), np.int64)
        self._held = self._count = 0

    def feed(self, features: npt.NDArray[np.int16]) -> list[Decision]:
        """
        The decisions that these vectors complete.

        Args:
            features: [n, D] int16, Q15, those that follow the ones before.
        """
        return [self._judged(frame, values) for frame, values in self._windows.feed(features)]

    def _judged(self, frame: int, values: npt.NDArray[np.int32]) -> Decision:
        listening, index = self._listening, self._count
        self._count += 1
        self._history[index % listening.smooth] = values
        means = (self._history.sum(axis=0) + listening.smooth // 2) >> (listening.smooth.bit_length() - 1)
        label = int(np.argmax(means))
        others = np.delete(means, label)
        margin = int(means[label] - others.max()) if others.size else 0
        triggered = self._held == 0 and label not in listening.quiet and margin >= listening.margin_q15
        self._held = listening.hold if triggered else max(0, self._held - 1)
        return Decision(index, frame, label, triggered, margin, tuple(values.tolist()))


class _Fresh:
    """Each window from zeroed states."""

    def __init__(self, artefact: Artefact, listening: Listening) -> None:
        self._artefact, self._listening = artefact, listening
        self._kept = np.zeros((0, artefact.inputs), np.int16)
        self._first = self._next = 0  # index of the oldest vector kept; of the first one of the next window

    def feed(self, features: npt.NDArray[np.int16]) -> list[tuple[int, npt.NDArray[np.int32]]]:
        """Last frame and logits [O] of each window that is complete now."""
        frames, hop = self._listening.frames, self._listening.hop
        kept = np.concatenate([self._kept, features])
        end = self._first + len(kept)
        starts = range(self._next, end - frames + 1, hop)
        if starts:
            windows = np.stack([kept[start - self._first :][:frames] for start in starts])
            logits = run_twin_batch(self._artefact, windows)
            self._next = starts[-1] + hop
        keep = min(self._next, end)
        self._kept, self._first = kept[keep - self._first :], keep
        return [(start + frames - 1, logits[i]) for i, start in enumerate(starts)]


class _Carried:
    """States run on; the readout sums the last ``frames // hop`` hops."""

    def __init__(self, artefact: Artefact, listening: Listening) -> None:
        self._artefact, self._hop = artefact, listening.hop
        self._hops = max(1, listening.frames // listening.hop)
        self._states = [start_layer(layer, 1) for layer in artefact.recurrent]
        self._taken = np.zeros((1, artefact.inputs), np.int16)
        self._sum = np.zeros(artefact.recurrent[-1].units, np.int64)
        self._sums: list[npt.NDArray[np.int64]] = []  # of the last hops
        self._count = 0

    def feed(self, features: npt.NDArray[np.int16]) -> list[tuple[int, npt.NDArray[np.int32]]]:
        """As `_Fresh.feed`."""
        done = []
        for vector in features:
            x = self._taken = hold_inputs(vector[None], self._taken, self._artefact.hold_q15)
            for i, layer in enumerate(self._artefact.recurrent):
                self._states[i] = step_layer(layer, x, self._states[i])
                x = self._states[i].output_q15
            self._sum = self._sum + x[0]
            self._count += 1
            if self._count % self._hop == 0:
                self._sums = [*self._sums[-(self._hops - 1) :], self._sum] if self._hops > 1 else [self._sum]
                self._sum = np.zeros_like(self._sum)
                if len(self._sums) == self._hops:
                    logits = outputs_of_sums(self._artefact, np.sum(self._sums, axis=0)[None])[0]
                    done.append((self._count - 1, logits))
        return done
