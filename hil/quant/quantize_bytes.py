"""A float GRU to an artefact in 8-bit weights, without training: the honest baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.arithmetic import Real
from hil.artefact import MAX_SHIFT, AnyInput, Artefact, ByteRows, DenseLayer, EventGruLayer, Gru8Layer
from hil.artefact.byte_layers import SUM_LIMIT, WEIGHT_LIMIT, largest_sums
from hil.errors import UsageError
from hil.fixed import INT16_MAX, Q15_ONE
from hil.float_model import FloatModel

GATE_SHIFT, DENSE_SHIFT = 10, 7
"""Q22 to Q12 and to Q15; a row scale of ``2**e`` makes it less by ``e``."""


def quantize_byte_rows(weight: Real, bias: Real, unscaled_shift: int) -> ByteRows:
    """
    Rows of 8-bit weights, each with the power of two that makes the squared error of its weights smallest.

    Of equal errors the smaller scale wins.  Weights round to nearest, ties to even, and clip to
    +-127; so does the bias, in its own format.  Scales with which a sum could leave int32 are not
    considered.

    Args:
        weight: [R, U] floats.
        bias: [R] floats.
        unscaled_shift: `GATE_SHIFT` or `DENSE_SHIFT`.

    Raises:
        UsageError: No scale holds a row.
    """
    exponents = np.arange(unscaled_shift - MAX_SHIFT, unscaled_shift + 1)
    candidates = [_scaled(weight, bias, int(e)) for e in exponents]
    errors = np.array([c[2] for c in candidates])
    best = errors.argmin(axis=0)
    if np.isinf(errors.min(axis=0)).any():
        raise UsageError(
            f"weights up to {np.abs(weight).max():.3g} and biases up to {np.abs(bias).max():.3g} do not fit 8 bits "
            "at any row scale. Train with a lower learning rate."
        )
    rows = np.arange(len(best))
    return ByteRows(
        weight_q7=np.array([c[0] for c in candidates])[best, rows].astype(np.int8),
        bias_q22=np.array([c[1] for c in candidates])[best, rows].astype(np.int32),
        shift=(unscaled_shift - exponents[best]).astype(np.int8),
    )


def byte_exponents(weight: Real, bias: Real, unscaled_shift: int) -> npt.NDArray[np.int8]:
    """[R] the row scales that `quantize_byte_rows` takes.  Raises as there."""
    return np.asarray(unscaled_shift - quantize_byte_rows(weight, bias, unscaled_shift).shift, np.int8)


def byte_rows(weight: Real, bias: Real, exponent: npt.NDArray[np.int8], unscaled_shift: int) -> ByteRows:
    """
    Rows of 8-bit weights at row scales that are given; rounding as `quantize_byte_rows`.

    Args:
        weight, bias, unscaled_shift: As there.
        exponent: [R] row scales ``2**e``.
    """
    e = exponent.astype(np.int64)
    integers = np.rint(np.ldexp(np.asarray(weight, np.float64), 7 - e[:, None])).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    biases = np.rint(np.ldexp(np.asarray(bias, np.float64), 22 - e))
    return ByteRows(integers.astype(np.int8), biases.astype(np.int32), (unscaled_shift - e).astype(np.int8))


def event_gru_exponents(arrays: Mapping[str, Real]) -> dict[str, npt.NDArray[np.int8]]:
    """
    Row scales of an EGRU by layer, as `hil.float_model.FloatModel.exponents`.

    Args:
        arrays: Of a float model of kind ``"event_gru"``, or of its network.
    """
    found = {}
    for layer in sorted({name.rpartition(".")[0] for name in arrays}):
        if layer.startswith("dense"):
            found[layer] = byte_exponents(arrays[f"{layer}.weight"], arrays[f"{layer}.bias"], DENSE_SHIFT)
        else:
            parts = [byte_exponents(*rows, GATE_SHIFT) for rows in _matrices(*_parts(arrays, layer))]
            found[layer] = np.concatenate(parts)
    return found


def quantize_event_gru(
    model: FloatModel,
    frontend: AnyInput,
    labels: Sequence[str],
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> Artefact:
    """
    Round a trained EGRU to 8-bit weights.

    Row scales are those that quantization-aware training used; a model without them has them fitted here.

    Args:
        model: Kind ``"event_gru"``.
        frontend, labels, name, provenance: As `quantize_gru8`.

    Raises:
        UsageError: The model is no EGRU, or weights do not fit.
        ArtefactError: Model, front end and labels do not fit together.
    """
    if model.kind != "event_gru":
        raise UsageError(f"{name}: this is a {model.kind!r}, not an EGRU")
    exponents = model.exponents or event_gru_exponents(model.arrays)
    recurrent = []
    for layer in (f"recurrent.{i}" for i in range(len(model.hidden))):
        H = model.arrays[f"{layer}.threshold"].size
        scales = np.split(exponents[layer], [2 * H, 3 * H])
        gates, x, h = (
            byte_rows(weight, bias, e, GATE_SHIFT)
            for (weight, bias), e in zip(_matrices(*_parts(model.arrays, layer)), scales, strict=True)
        )
        recurrent.append(EventGruLayer(gates, x, h, threshold_q15(model.arrays[f"{layer}.threshold"])))
    dense = [
        byte_rows(model.arrays[f"{layer}.weight"], model.arrays[f"{layer}.bias"], exponents[layer], DENSE_SHIFT)
        for layer in ("dense.0", "dense.1")
    ]
    return Artefact(
        name=name,
        labels=tuple(labels),
        frontend=frontend,
        recurrent=tuple(recurrent),
        readout_shift=model.readout_shift,
        dense=(DenseLayer(dense[0], "relu"), DenseLayer(dense[1], "linear")),
        hold_q15=model.hold_q15,
        provenance=dict(provenance or {}),
    )


def threshold_q15(threshold: Real) -> npt.NDArray[np.int16]:
    """Thresholds in (0, 1) to int16, rounded to nearest, ties to even, at least 1."""
    return np.clip(np.rint(np.asarray(threshold, np.float64) * Q15_ONE), 1, INT16_MAX).astype(np.int16)


def _scaled(
    weight: Real, bias: Real, exponent: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Integer weights and biases, and [R] squared errors of the weights, infinite where a sum could overflow."""
    real = np.asarray(weight, np.float64)
    integers = np.clip(np.rint(np.ldexp(real, 7 - exponent)), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)
    biases = np.rint(np.ldexp(np.asarray(bias, np.float64), 22 - exponent)).astype(np.int64)
    error = ((np.ldexp(integers.astype(np.float64), exponent - 7) - real) ** 2).sum(axis=1)
    return integers, biases, np.where(largest_sums(integers, biases) <= SUM_LIMIT, error, np.inf)


def quantize_gru8(
    model: FloatModel,
    frontend: AnyInput,
    labels: Sequence[str],
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> Artefact:
    """
    Round a trained float GRU to 8-bit weights; nothing is trained or calibrated.

    The two biases of reset and update gate are added up; the candidate keeps both, because the
    reset gate scales one of them.

    Args:
        model: Kind ``"gru"``.
        frontend: Of the features it was trained on.
        labels: [O] names of its outputs.
        name: Of the artefact.
        provenance: Text or numbers by name, kept in the manifest.

    Raises:
        UsageError: The model is no GRU, or weights do not fit.
        ArtefactError: Model, front end and labels do not fit together.
    """
    if model.kind != "gru":
        raise UsageError(f"{name}: only a GRU can be quantized to 8 bits, this is a {model.kind!r}")
    dense = [
        quantize_byte_rows(model.arrays[f"{layer}.weight"], model.arrays[f"{layer}.bias"], DENSE_SHIFT)
        for layer in ("dense.0", "dense.1")
    ]
    return Artefact(
        name=name,
        labels=tuple(labels),
        frontend=frontend,
        recurrent=tuple(_gru8_layer(model, f"recurrent.{i}") for i in range(len(model.hidden))),
        readout_shift=model.readout_shift,
        dense=(DenseLayer(dense[0], "relu"), DenseLayer(dense[1], "linear")),
        provenance=dict(provenance or {}),
    )


def event_gru_layer(weight_ih: Real, weight_hh: Real, bias_ih: Real, bias_hh: Real, threshold: Real) -> EventGruLayer:
    """
    Round a layer of event-based GRU to 8-bit weights.

    Args:
        weight_ih: [3H, D], rows r, z, g; the others as `hil.cells.EventGRU`, form ``"threshold"``.
        weight_hh: [3H, H].
        bias_ih: [3H].
        bias_hh: [3H].
        threshold: [H]; rounded to Q15, at least one step and at most 1.0 less one.

    Raises:
        UsageError: Weights do not fit.
    """
    gru = _layer(weight_ih, weight_hh, bias_ih, bias_hh)
    return EventGruLayer(gru.gates, gru.candidate_x, gru.candidate_h, threshold_q15(threshold))


def _gru8_layer(model: FloatModel, prefix: str) -> Gru8Layer:
    return _layer(*_parts(model.arrays, prefix))


def _parts(arrays: Mapping[str, Real], prefix: str) -> list[Real]:
    return [arrays[f"{prefix}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _layer(weight_ih: Real, weight_hh: Real, bias_ih: Real, bias_hh: Real) -> Gru8Layer:
    parts = (part.astype(np.float64) for part in (weight_ih, weight_hh, bias_ih, bias_hh))
    return Gru8Layer(*(quantize_byte_rows(*rows, GATE_SHIFT) for rows in _matrices(*parts)))


def _matrices(weight_ih: Real, weight_hh: Real, bias_ih: Real, bias_hh: Real) -> tuple[tuple[Real, Real], ...]:
    """Weights and biases of the rows of both gates, of the candidate's inputs and of the candidate's state."""
    W, R, b, c = weight_ih, weight_hh, bias_ih, bias_hh
    gates = 2 * R.shape[1]
    return (np.hstack([W[:gates], R[:gates]]), b[:gates] + c[:gates]), (W[gates:], b[gates:]), (R[gates:], c[gates:])
