"""A float model to an artefact: 3-bit weights, row scales, biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.arithmetic import BIAS_LIMIT, BIAS_STEP, Real, ZeroRule, bias_levels_q17, weight_levels_q2
from hil.artefact import (
    MAX_SHIFT,
    AnyInput,
    Artefact,
    DenseLayer,
    EmbeddedGruLayer,
    EventEmbeddedGruLayer,
    RecurrentLayer,
    Rows,
)
from hil.errors import UsageError
from hil.float_model import FloatModel, Kind
from hil.quant.quantize_bytes import quantize_event_gru, threshold_q15
from hil.recipe import QuantizeRecipe

UNSCALED_SHIFT = 2
"""Q17 to Q15; a row scale of ``2**e`` makes it ``2 - e``."""
EXPONENTS = range(UNSCALED_SHIFT - MAX_SHIFT, UNSCALED_SHIFT + 1)
"""Exponents whose shift is within 0 and 15."""


def fit_exponents(weight: Real, bias: Real, recipe: QuantizeRecipe) -> npt.NDArray[np.int8]:
    """
    The power of two for each row that makes the squared error of its weights smallest.

    Of equal errors the exponent nearest 0 wins, then the smaller one.  With 16-bit
    biases only exponents whose scale can hold the row's bias are considered.

    Args:
        weight: [R, U] floats.
        bias: [R] floats.
        recipe: ``row_scales`` false gives zeros.

    Returns:
        [R] int8.

    Raises:
        UsageError: A bias is too large for every exponent.
    """
    candidates = sorted(EXPONENTS, key=lambda e: (abs(e), e)) if recipe.row_scales else [0]
    errors = np.array([_errors(weight, bias, e, recipe) for e in candidates])
    if np.isinf(errors).all(axis=0).any():
        raise UsageError(
            f"a bias of {np.abs(bias).max():.3g} is too large for {recipe.bias_bits} bits at any row scale. "
            f"Train with a lower learning rate{'' if recipe.row_scales else ' or with row_scales = true'}."
        )
    return np.asarray(np.array(candidates, np.int8)[errors.argmin(axis=0)])


def _errors(weight: Real, bias: Real, exponent: int, recipe: QuantizeRecipe) -> npt.NDArray[np.float64]:
    """[R] squared errors; infinite where the bias does not fit."""
    scaled = np.ldexp(weight.astype(np.float64), -exponent)
    error = np.ldexp(((weight_levels_q2(scaled, recipe.zero_threshold) / 4 - scaled) ** 2).sum(axis=1), 2 * exponent)
    steps = np.rint(np.ldexp(bias.astype(np.float64), -exponent) / BIAS_STEP)
    fits = (recipe.bias_bits == 3) | ((steps >= -BIAS_LIMIT / BIAS_STEP) & (steps < BIAS_LIMIT / BIAS_STEP))
    return np.where(fits, error, np.inf)


def quantize_rows(weight: Real, bias: Real, exponent: npt.NDArray[np.int8], recipe: QuantizeRecipe) -> Rows:
    """
    Integer rows of real weights and biases.

    Args:
        weight: [R, U] floats.
        bias: [R] floats.
        exponent: [R] row scales ``2**e``.
        recipe: Zero threshold and bias width.

    Raises:
        UsageError: A bias does not fit 16 bits at its row's scale.
    """
    rule: ZeroRule = recipe.zero_threshold
    e = exponent.astype(np.int64)
    return Rows(
        weight_q2=weight_levels_q2(np.ldexp(weight.astype(np.float64), -e[:, None]), rule),
        bias_q17=bias_levels_q17(np.ldexp(bias.astype(np.float64), -e), recipe.bias_bits, rule),
        shift=(UNSCALED_SHIFT - e).astype(np.int8),
    )


def quantize(
    model: FloatModel,
    frontend: AnyInput,
    labels: Sequence[str],
    recipe: QuantizeRecipe,
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> Artefact:
    """
    Round a trained eGRU, event eGRU or EGRU to the artefact's arithmetic.

    Row scales are those that quantization-aware training used; a model without them has
    them fitted here by squared error.

    Args:
        model: Of any kind but ``"gru"``.
        frontend: Of the features it was trained on.
        labels: [O] names of its outputs.
        recipe: Zero threshold, row scales, bias width.
        name: Of the artefact.
        provenance: Text or numbers by name, kept in the manifest.

    Raises:
        UsageError: The model is a GRU, was trained for another quantization, or a bias does not fit.
        ArtefactError: Model, front end and labels do not fit together.
    """
    if model.kind == "gru":
        raise UsageError(f"{name}: only an eGRU can be quantized to an artefact, this is a {model.kind!r}")
    settings = quantization_settings(recipe, model.kind)
    if model.quantization and dict(model.quantization) != settings:
        raise UsageError(
            f"{name}: trained for {dict(model.quantization)}, the recipe says {settings}: train again with this recipe"
        )
    if model.kind == "event_gru":
        return quantize_event_gru(model, frontend, labels, name=name, provenance=provenance)
    rows = {layer: _layer_rows(model, layer, recipe) for layer in model.layers}
    return Artefact(
        name=name,
        labels=tuple(labels),
        frontend=frontend,
        recurrent=tuple(_recurrent_layer(model, f"recurrent.{i}", rows) for i in range(len(model.hidden))),
        readout_shift=model.readout_shift,
        dense=(DenseLayer(rows["dense.0"], "relu"), DenseLayer(rows["dense.1"], "linear")),
        bias_bits=recipe.bias_bits,
        hold_q15=model.hold_q15,
        provenance=dict(provenance or {}),
    )


def _recurrent_layer(model: FloatModel, layer: str, rows: Mapping[str, Rows]) -> RecurrentLayer:
    if model.kind == "event_embedded_gru":
        return EventEmbeddedGruLayer(rows[layer], threshold_q15(model.arrays[f"{layer}.threshold"]))
    return EmbeddedGruLayer(rows[layer])


def quantization_settings(recipe: QuantizeRecipe, kind: Kind = "embedded_gru") -> dict[str, Any]:
    """What of a recipe decides the integers that a trained network of this kind becomes."""
    if kind == "event_gru":
        return {"weight_bits": 8}
    return {
        "zero_threshold": recipe.zero_threshold,
        "row_scales": recipe.row_scales,
        "bias_bits": recipe.bias_bits,
    }


def _layer_rows(model: FloatModel, layer: str, recipe: QuantizeRecipe) -> Rows:
    weight, bias = model.arrays[f"{layer}.weight"], model.arrays[f"{layer}.bias"]
    exponent = model.exponents[layer] if layer in model.exponents else fit_exponents(weight, bias, recipe)
    return quantize_rows(weight, bias, exponent, recipe)
