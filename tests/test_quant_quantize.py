"""Real weights to integers: levels, row scales, biases; the float model's file."""

import dataclasses
import itertools
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.arithmetic import BIAS_LIMIT, BIAS_STEP, bias_levels_q17, weight_levels_q2
from hil.artefact import FrontEnd
from hil.errors import ArtefactError, UsageError
from hil.float_model import Epoch, FloatModel, array_shapes, load_float_model
from hil.quant import fit_exponents, quantize, quantize_rows
from hil.recipe import QuantizeRecipe

FRONTEND = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, 9, 2, np.zeros(5, np.int16))
LABELS = ("yes", "no", "other")


def make_float_model(seed=0, kind="embedded_gru", spread=0.5, hidden=(4, 3), **changes):
    """Random weights: 5 inputs, layers of 4 and 3, dense 6, 3 classes; thresholds of event cells anywhere in (0, 1)."""
    rng = np.random.default_rng(seed)
    shapes = array_shapes(kind, 5, hidden, 6, 3)
    arrays = {name: rng.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
    for name in arrays:
        if name.endswith(".threshold"):
            arrays[name] = rng.uniform(0.001, 0.999, shapes[name]).astype(np.float32) ** 3
    return FloatModel(kind, 5, hidden, 6, 3, 4, **{"arrays": arrays, **changes})


@pytest.mark.parametrize(
    ("weight", "code", "paper"),
    [
        (0.0, 0, 0),
        (0.17, 0, 0),
        (0.18, 1, 0),
        (0.25, 1, 0),
        (0.2500001, 1, 1),
        (0.35, 1, 1),
        (0.36, 2, 2),
        (0.70, 2, 2),
        (0.71, 4, 4),
        (1.0, 4, 4),
        (7.5, 4, 4),
    ],
)
def test_weights_go_to_the_nearest_power_of_two(weight, code, paper):
    """In the exponent; the two rules differ only in what is zero."""
    both = np.array([weight, -weight])
    assert weight_levels_q2(both, "code").tolist() == [code, -code]
    assert weight_levels_q2(both, "paper").tolist() == [paper, -paper]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_levels_are_the_formula_of_the_paper(values):
    """sgn(w) 2**round(log2 |w|) after clamping to [-1, 1], below 2**-2 zero (`expquantize`)."""
    weight = np.array(values)
    clamped = np.clip(np.abs(weight), 2.0**-40, 1)
    power = 2 ** np.round(np.log2(clamped))
    expected = np.where(power < 0.25, 0, np.sign(weight) * power * 4)
    assert weight_levels_q2(weight).tolist() == expected.tolist()


def test_float32_and_float64_weights_get_the_same_levels():
    """Around every threshold, one float32 at a time, so that torch and numpy cannot disagree."""
    for power in (-2.5, -2.0, -1.5, -0.5):
        start = np.float32(2.0**power).view(np.int32)
        weight = np.arange(start - 1000, start + 1000, dtype=np.int32).view(np.float32)
        for rule in ("code", "paper"):
            single, double = weight_levels_q2(weight, rule), weight_levels_q2(weight.astype(np.float64), rule)
            assert single.tolist() == double.tolist()


@pytest.mark.parametrize(
    ("bias", "steps"),
    [
        (0.0, 0),
        (0.49, 0),
        (0.5, 0),
        (0.51, 1),
        (1.5, 2),
        (-0.51, -1),
        (32767, 32767),
        (32767.4, 32767),
        (-32768, -32768),
    ],
)
def test_sixteen_bit_biases_round_to_q12(bias, steps):
    """To the nearest step of 2**-12, ties to even; in Q17 that is a multiple of 32."""
    assert bias_levels_q17(np.array([bias * BIAS_STEP]), 16).tolist() == [steps * 32]


@pytest.mark.parametrize("bias", [BIAS_LIMIT, BIAS_LIMIT - BIAS_STEP / 2, -BIAS_LIMIT - BIAS_STEP, np.nan])
def test_a_bias_beyond_sixteen_bits_is_refused(bias):
    """Nothing is clipped without saying so."""
    with pytest.raises(UsageError, match="1 of 1 biases do not fit 16 bits"):
        bias_levels_q17(np.array([bias]), 16)


def test_three_bit_biases_take_a_weights_levels():
    """The same seven levels, in Q17."""
    assert bias_levels_q17(np.array([0.1, -0.3, 0.5, 3.0]), 3).tolist() == [0, -1 << 15, 2 << 15, 4 << 15]


def reconstruct(rows):
    scale = 2.0 ** (2 - rows.shift.astype(float))
    return rows.weight_q2 / 4 * scale[:, None], rows.bias_q17 / 2**17 * scale


@pytest.mark.parametrize("rule", ["code", "paper"])
@pytest.mark.parametrize("scale", [0.001, 0.1, 1.0, 3.0])
def test_fitted_exponents_have_the_smallest_squared_error(rule, scale):
    """No other exponent of the allowed range is better for any row."""
    rng = np.random.default_rng(1)
    recipe = QuantizeRecipe(zero_threshold=rule)
    weight, bias = rng.normal(0, scale, (40, 23)), np.zeros(40)
    fitted = fit_exponents(weight, bias, recipe)

    def error(exponent):
        return ((reconstruct(quantize_rows(weight, bias, exponent, recipe))[0] - weight) ** 2).sum(axis=1)

    every = np.array([error(np.full(40, e, np.int8)) for e in range(-13, 3)])
    assert fitted.dtype == np.int8
    assert error(fitted) == pytest.approx(every.min(axis=0))


def test_exponents_cover_every_shift():
    """Huge rows get a shift of 0, tiny ones a shift of 15, rows of zeros the plain 2."""
    weight = np.array([[100.0, 50.0], [2.0**-13, 2.0**-15], [0.0, 0.0], [1.0, 0.5]])
    exponent = fit_exponents(weight, np.zeros(4), QuantizeRecipe())
    rows = quantize_rows(weight, np.zeros(4), exponent, QuantizeRecipe())
    assert rows.shift.tolist() == [0, 15, 2, 2]


def test_without_row_scales_every_shift_is_two():
    """Q17 to Q15 and nothing else."""
    model = make_float_model(spread=3.0)
    artefact = quantize(model, FRONTEND, LABELS, QuantizeRecipe(row_scales=False), name="plain")
    assert {int(s) for layer in artefact.recurrent for s in layer.rows.shift} == {2}
    assert {int(s) for layer in artefact.dense for s in layer.rows.shift} == {2}


def test_a_large_bias_forces_a_scale_that_holds_it():
    """Small weights alone would take 2**-1; a bias of 20 needs 2**2."""
    weight, bias = np.full((1, 4), 0.125), np.array([20.0])
    recipe = QuantizeRecipe()
    assert fit_exponents(weight, np.zeros(1), recipe).tolist() == [-1]
    exponent = fit_exponents(weight, bias, recipe)
    assert exponent.tolist() == [2]
    assert reconstruct(quantize_rows(weight, bias, exponent, recipe))[1].tolist() == [20.0]


@pytest.mark.parametrize(("scales", "bias"), [(True, 32.0), (False, 8.0)])
def test_a_bias_beyond_every_scale_is_refused(scales, bias):
    """The message says how large it is and what to do."""
    with pytest.raises(UsageError, match=f"a bias of {bias:g} is too large for 16 bits.*lower learning rate"):
        fit_exponents(np.ones((1, 3)), np.array([bias]), QuantizeRecipe(row_scales=scales))


@pytest.mark.parametrize(
    "recipe",
    [
        QuantizeRecipe(zero_threshold=rule, row_scales=scales, bias_bits=bits)
        for rule, scales, bits in itertools.product(("code", "paper"), (True, False), (3, 16))
    ],
    ids=str,
)
def test_quantizing_what_is_already_quantized_changes_nothing(recipe):
    """Integers to reals and back are the same integers, for every option; the paper's rule drops its quarters."""
    model = make_float_model(seed=3)
    once = quantize(model, FRONTEND, LABELS, recipe, name="once")
    arrays, exponents = dict(model.arrays), {}
    parts = [layer.rows for layer in (*once.recurrent, *once.dense)]
    for layer, rows in zip(model.layers, parts, strict=True):
        weight, bias = reconstruct(rows)
        arrays[f"{layer}.weight"], arrays[f"{layer}.bias"] = weight.astype(np.float32), bias.astype(np.float32)
        exponents[layer] = (2 - rows.shift).astype(np.int8)
    twice = quantize(
        dataclasses.replace(model, arrays=arrays, exponents=exponents), FRONTEND, LABELS, recipe, name="once"
    )
    for before, layer in zip(parts, (*twice.recurrent, *twice.dense), strict=True):
        paper = recipe.zero_threshold == "paper"
        weight = np.where(np.abs(before.weight_q2) == 1, 0, before.weight_q2) if paper else before.weight_q2
        quarters = paper and recipe.bias_bits == 3
        bias = np.where(np.abs(before.bias_q17) == 1 << 15, 0, before.bias_q17) if quarters else before.bias_q17
        assert layer.rows.weight_q2.tolist() == weight.tolist()
        assert layer.rows.bias_q17.tolist() == bias.tolist()
        assert layer.rows.shift.tolist() == before.shift.tolist()


def test_only_an_egru_becomes_an_artefact():
    """The float GRU is a baseline."""
    with pytest.raises(UsageError, match="only an eGRU can be quantized"):
        quantize(make_float_model(kind="gru"), FRONTEND, LABELS, QuantizeRecipe(), name="x")


def test_a_model_trained_for_other_settings_is_refused():
    """Its integers would not be the network that was trained."""
    trained = {"zero_threshold": "paper", "row_scales": True, "bias_bits": 16}
    with pytest.raises(UsageError, match="train again with this recipe"):
        quantize(make_float_model(quantization=trained), FRONTEND, LABELS, QuantizeRecipe(), name="x")


def test_labels_and_front_end_must_fit_the_model():
    """The artefact's own rules are checked."""
    with pytest.raises(ArtefactError, match="2 labels for 3 outputs"):
        quantize(make_float_model(), FRONTEND, LABELS[:2], QuantizeRecipe(), name="x")


# The float model's file.


@pytest.mark.parametrize("kind", ["embedded_gru", "gru"])
def test_a_float_model_comes_back_equal(tmp_path, kind):
    """Arrays, row scales, curve and provenance survive the file; nothing else is left beside it."""
    exponents = {} if kind == "gru" else {"recurrent.0": 8, "recurrent.1": 6, "dense.0": 6, "dense.1": 3}
    model = make_float_model(
        kind=kind,
        exponents={layer: np.arange(rows, dtype=np.int8) - 4 for layer, rows in exponents.items()},
        quantization={"bias_bits": 16} if exponents else {},
        curve=(Epoch(1, 2.5, 0.25, 0.5), Epoch(2, 1.5, 0.75, 0.5)),
        provenance={"seed": 7},
    )
    model.save(tmp_path / "deep" / "float.model")
    back = load_float_model(tmp_path / "deep" / "float.model")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["float.model"]
    assert back.to_bytes() == model.to_bytes()
    assert (back.curve, back.provenance, back.hidden) == (model.curve, {"seed": 7}, (4, 3))
    for name, array in model.arrays.items():
        assert back.arrays[name].tolist() == array.tolist()
    for layer, array in model.exponents.items():
        assert back.exponents[layer].tolist() == array.tolist()


def test_parameters_of_the_two_kinds():
    """Three gates with two biases against two with one, four bytes each in float."""
    gru, egru = (
        FloatModel(kind, 32, (30, 20), 16, 10, 6, {n: np.zeros(s, np.float32) for n, s in shapes.items()})
        for kind in ("gru", "embedded_gru")
        for shapes in (array_shapes(kind, 32, (30, 20), 16, 10),)
    )
    assert egru.parameters == 60 * 63 + 40 * 51 + 16 * 21 + 10 * 17
    assert gru.parameters == 90 * 64 + 60 * 52 + 16 * 21 + 10 * 17
    assert gru.parameter_bytes == 4 * gru.parameters


def test_a_missing_float_model_says_how_to_make_it(tmp_path):
    """The message names the file and the command."""
    with pytest.raises(ArtefactError, match=r"none: no such float model.*hil train"):
        load_float_model(tmp_path / "none")


def test_every_truncated_float_model_is_an_artefact_error(tmp_path):
    """No prefix of a good file is accepted or ends in another error."""
    data, path = make_float_model().to_bytes(), tmp_path / "m"
    for n in [*range(64), *range(64, len(data), 41), len(data) - 1]:
        path.write_bytes(data[:n])
        with pytest.raises(ArtefactError, match=str(path)):
            load_float_model(path)


def test_a_flipped_weight_is_found(tmp_path):
    """The hash in the manifest is checked."""
    data = bytearray(make_float_model().to_bytes())
    data[-1] ^= 1
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(ArtefactError, match="is corrupt"):
        load_float_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "format version 2, this program reads up to 1"),
        ({"format": "hil-artefact"}, "is not a float model"),
        ({"readout_shift": 16}, "readout shift is 16"),
        ({"hidden": [4, 2]}, "recurrent.1.weight is float32"),
        ({"kind": "lstm"}, "is not a network"),
        ({"hidden": 3}, "is not a float model or is corrupt"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, changes, message):
    """Version, format and shapes are checked before use."""
    data = make_float_model().to_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["manifest"] = json.dumps(json.loads(header["__metadata__"]["manifest"]) | changes)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(ArtefactError, match=message):
        load_float_model(tmp_path / "m")


def test_weights_that_are_not_finite_are_refused():
    """A diverged training is named, not saved."""
    arrays = dict(make_float_model().arrays)
    arrays["dense.1.bias"] = np.array([0, np.nan, 0], np.float32)
    with pytest.raises(ArtefactError, match=r"dense\.1\.bias has values that are not finite"):
        make_float_model(arrays=arrays)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    """What cannot be written completely is not written at all."""
    old = make_float_model(seed=1)
    old.save(tmp_path / "m")
    unserializable = make_float_model(seed=2, provenance={"x": object()})
    with pytest.raises(TypeError):
        unserializable.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert load_float_model(tmp_path / "m").to_bytes() == old.to_bytes()
