"""Whole sequences through the integer reference: the expected values of every comparison."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, RecurrentLayer
from hil.errors import UsageError
from hil.fixed import INT32_MAX, Int, shift_round
from hil.quant.cells import TRACES, start_layer, step_layer
from hil.quant.kernels import Int16, Int32, dense, readout_sum, sent_inputs
from hil.trace import AnyLayerTrace, Tier, Trace

Lengths = npt.NDArray[np.int64]

MAX_STEPS = INT32_MAX // (1 << 15)
"""Longest sequence whose summed states, each at most 2**15 in magnitude, cannot leave int32."""


def run_twin(artefact: Artefact, features: Int16, *, detail: bool = False) -> Trace:
    """
    Run one sequence.

    Args:
        artefact: The model.
        features: [T, D] int16, Q15.
        detail: Also keep sums, gates and candidates of every step (`Trace.layers`).

    Returns:
        A trace of tier ``host``, without cycles.

    Raises:
        UsageError: Shape or dtype do not fit the model, or T is above `MAX_STEPS`.

    Twin:
        ``model_reset``, ``model_step`` and ``model_output`` of the generated model.c.
    """
    _check(artefact, features, dimensions=2)
    return run_twins(artefact, features[None], detail=detail)[0]


def run_twins(
    artefact: Artefact, features: Int16, *, lengths: Lengths | None = None, detail: bool = False
) -> list[Trace]:
    """
    `run_twin` for many sequences at once, several times faster than one by one.

    Args:
        artefact: The model.
        features: [N, T, D] int16, Q15.
        lengths: [N] steps of each; what is behind them does not count.  None: all T.
        detail: As `run_twin`.

    Raises:
        UsageError: As `run_twin`; or a length is not within 1 and T.
    """
    _check(artefact, features, dimensions=3)
    ends = _ends(features, lengths)
    layers: list[AnyLayerTrace] = []
    x = taken_inputs(artefact, features)
    for layer in artefact.recurrent:
        layers.append(_run_layer(x, layer))
        x = layers[-1].output_q15
    counted = np.arange(x.shape[1]) < ends[:, None]
    logits, clipped = _output(artefact, x.sum(axis=1, dtype=np.int64, where=counted[:, :, None]))
    states = np.concatenate([layer.h_q15 for layer in layers], axis=2)
    return [
        Trace(
            tier=Tier.HOST,
            states_q15=states[n, : ends[n]],
            logits=logits[n],
            saturated=int(clipped[n]),
            layers=tuple(_of_sequence(layer, n, ends[n]) for layer in layers if detail),
            activity=tuple(float((layer.output_q15[n, : ends[n]] != 0).mean()) for layer in layers),
        )
        for n in range(len(features))
    ]


def run_twin_batch(artefact: Artefact, features: Int16, lengths: Lengths | None = None) -> Int32:
    """
    Outputs of many sequences; the same numbers as `run_twin`, without keeping the states.

    Args:
        artefact: The model.
        features: [N, T, D] int16, Q15.
        lengths: As `run_twins`.

    Returns:
        [N, O] int32, Q15, logits.

    Raises:
        UsageError: As `run_twins`.
    """
    _check(artefact, features, dimensions=3)
    ends = _ends(features, lengths)
    count, steps, _ = features.shape
    features = taken_inputs(artefact, features)
    states = [start_layer(layer, count) for layer in artefact.recurrent]
    sums = np.zeros((count, artefact.recurrent[-1].units), np.int64)
    for step in range(steps):
        x = features[:, step]
        for i, layer in enumerate(artefact.recurrent):
            states[i] = step_layer(layer, x, states[i])
            x = states[i].output_q15
        sums += np.where((step < ends)[:, None], x, 0)
    return _output(artefact, sums)[0]


def run_layers(artefact: Artefact, features: Int16) -> Int16:
    """States [N, T, H] int16 of the last recurrent layer for features [N, T, D]."""
    _check(artefact, features, dimensions=3)
    x = taken_inputs(artefact, features)
    for layer in artefact.recurrent:
        x = _run_layer(x, layer).output_q15
    return x


def taken_inputs(artefact: Artefact, features: Int16) -> Int16:
    """[N, T, D] what the first layer sees: an input within `Artefact.hold_q15` of what was last taken is unchanged."""
    return sent_inputs(features, artefact.hold_q15) if artefact.hold_q15 else features


def outputs_of_sums(artefact: Artefact, sums: Int) -> Int32:
    """Logits [N, O] int32, Q15, of readout sums [N, H] that fit int32."""
    return _output(artefact, sums)[0]


def _ends(features: Int16, lengths: Lengths | None) -> Lengths:
    """[N] steps of each sequence of [N, T, D]."""
    count, steps, _ = features.shape
    ends = np.full(count, steps, np.int64) if lengths is None else lengths
    if ends.shape != (count,) or (count and not 1 <= ends.min() <= ends.max() <= steps):
        raise UsageError(f"lengths {ends.tolist()} do not fit {count} sequences of at most {steps} steps")
    return ends


def _run_layer(x: Int16, layer: RecurrentLayer) -> AnyLayerTrace:
    """Arrays of [N, T, ...]."""
    state = start_layer(layer, len(x))
    steps = []
    for step in range(x.shape[1]):
        state = step_layer(layer, x[:, step], state)
        steps.append(state.values)
    return TRACES[layer.cell](*(np.stack(part, axis=1) for part in zip(*steps, strict=True)))


def _of_sequence(layer: AnyLayerTrace, n: int, end: int) -> AnyLayerTrace:
    return type(layer)(*(getattr(layer, name)[n, :end] for _, name, _, _ in layer.INNER))


def _output(artefact: Artefact, sums: Int) -> tuple[Int32, npt.NDArray[np.int64]]:
    """Logits [N, O] and clipped readout values [N]."""
    u, _ = readout_sum(sums, artefact.readout_shift)
    clipped = np.count_nonzero(u != shift_round(sums, artefact.readout_shift), axis=1)
    for layer in artefact.dense[:-1]:
        u = dense(u, layer.rows, layer.activation).astype(np.int16)
    return dense(u, artefact.dense[-1].rows, "linear").astype(np.int32), np.asarray(clipped)


def _check(artefact: Artefact, features: Int16, dimensions: int) -> None:
    names = ("N", "T", "D")[-dimensions:]
    if features.dtype != np.int16 or features.ndim != dimensions:
        raise UsageError(f"features are {features.dtype} {features.shape}, expected int16 [{', '.join(names)}]")
    if features.shape[-1] != artefact.inputs:
        raise UsageError(f"features have {features.shape[-1]} values a step, {artefact.name} takes {artefact.inputs}")
    if not 1 <= features.shape[-2] <= MAX_STEPS:
        raise UsageError(f"a sequence of {features.shape[-2]} steps; must be within 1 and {MAX_STEPS}")
