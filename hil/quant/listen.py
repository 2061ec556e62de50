"""Streams through the integer reference: windows, averages and triggers as the device makes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact
from hil.quant.twin import outputs_of_sums, run_layers, run_twin_batch
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
    frames, logits = (
        _carried(artefact, features, listening) if listening.carry else _fresh(artefact, features, listening)
    )
    return _judge(frames, logits, listening)


def _fresh(
    artefact: Artefact, features: npt.NDArray[np.int16], listening: Listening
) -> tuple[list[int], npt.NDArray[np.int32]]:
    """Each window from zeroed states."""
    starts = range(0, len(features) - listening.frames + 1, listening.hop)
    if not starts:
        return [], np.zeros((0, len(artefact.labels)), np.int32)
    windows = np.stack([features[start : start + listening.frames] for start in starts])
    return [start + listening.frames - 1 for start in starts], run_twin_batch(artefact, windows)


def _carried(
    artefact: Artefact, features: npt.NDArray[np.int16], listening: Listening
) -> tuple[list[int], npt.NDArray[np.int32]]:
    """States run on; the readout sums the last ``frames // hop`` hops."""
    hop, hops = listening.hop, max(1, listening.frames // listening.hop)
    done = len(features) // hop
    if done < hops:
        return [], np.zeros((0, len(artefact.labels)), np.int32)
    states = run_layers(artefact, features[None, : done * hop])[0].astype(np.int64)
    sums = states.reshape(done, hop, -1).sum(axis=1)
    windows = np.stack([sums[i : i + hops].sum(axis=0) for i in range(done - hops + 1)])
    return [(i + hops) * hop - 1 for i in range(done - hops + 1)], outputs_of_sums(artefact, windows)


def _judge(frames: list[int], logits: npt.NDArray[np.int32], listening: Listening) -> list[Decision]:
    history = np.zeros((listening.smooth, logits.shape[1]), np.int64)
    held, decisions = 0, []
    for index, (frame, values) in enumerate(zip(frames, logits, strict=True)):
        history[index % listening.smooth] = values
        means = (history.sum(axis=0) + listening.smooth // 2) >> (listening.smooth.bit_length() - 1)
        label = int(np.argmax(means))
        others = np.delete(means, label)
        margin = int(means[label] - others.max()) if others.size else 0
        triggered = held == 0 and label not in listening.quiet and margin >= listening.margin_q15
        held = listening.hold if triggered else max(0, held - 1)
        decisions.append(Decision(index, frame, label, triggered, margin, tuple(values.tolist())))
    return decisions
