"""Real weights to 8-bit rows, and a float GRU to an artefact."""

from dataclasses import replace

import numpy as np
import pytest
from host_rig import HostRig
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_support import random_gru8_artefact
from test_experiment_run import features_for
from test_quant_quantize import FRONTEND, LABELS, make_float_model

from hil.artefact import ByteRows, EventGruLayer, artefact_from_bytes
from hil.artefact.byte_layers import SUM_LIMIT, largest_sums
from hil.cli import main
from hil.codegen import emit_c
from hil.errors import ArtefactError, UsageError
from hil.experiment.baseline import GRU8, baseline, gru8_workspace, make_gru8
from hil.experiment.feature_file import save_features
from hil.experiment.progress import Quiet
from hil.experiment.result import result_from_json
from hil.experiment.run import Background, run_on_rig
from hil.experiment.workspace import Workspace
from hil.float_model import Epoch
from hil.quant import run_twin_batch
from hil.quant.quantize_bytes import DENSE_SHIFT, GATE_SHIFT, quantize_byte_rows, quantize_gru8
from hil.recipe import DataRecipe, Recipe


def real(rows, unscaled_shift):
    """The weights and biases that the integers stand for."""
    e = unscaled_shift - rows.shift.astype(int)
    return rows.weight_q7 * 2.0 ** (e - 7)[:, None], rows.bias_q22 * 2.0 ** (e - 22)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(-6, 3), st.sampled_from([GATE_SHIFT, DENSE_SHIFT]))
def test_a_row_is_as_near_as_eight_bits_with_a_power_of_two_allow(seed, inputs, spread, unscaled):
    """Root mean square error within half a step of the scale that clips nothing; biases exact to their format."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 2.0**spread, (5, inputs))
    bias = rng.normal(0, 2.0**spread, 5)
    rows = quantize_byte_rows(weight, bias, unscaled)
    assert list(rows.problems("rows", 16)) == []
    got_weight, got_bias = real(rows, unscaled)
    e = np.maximum(np.ceil(np.log2(np.abs(weight).max(axis=1) / 127)), unscaled - 15 - 7)
    roomy = largest_sums(2 * rows.weight_q7.astype(int), 2 * rows.bias_q22.astype(np.int64)) <= SUM_LIMIT
    error = np.sqrt(((got_weight - weight) ** 2).mean(axis=1))
    assert (error <= 2.0**e / 2)[roomy].all()
    assert (np.abs(got_bias - bias) <= 2.0 ** (unscaled - rows.shift.astype(int) - 23)).all()
    assert roomy.any() or spread > 1


def test_the_scale_is_the_one_of_least_squared_error():
    """Against every scale tried by hand."""
    weight, bias = np.array([[0.5, 0.26, -0.13], [1.02, 0.01, 0.02]]), np.zeros(2)
    rows = quantize_byte_rows(weight, bias, GATE_SHIFT)
    for i, row in enumerate(weight):
        errors = {
            e: ((np.clip(np.rint(row * 2.0 ** (7 - e)), -127, 127) * 2.0 ** (e - 7) - row) ** 2).sum()
            for e in range(-5, 11)
        }
        assert rows.shift[i] == GATE_SHIFT - min(errors, key=errors.get)


def test_a_scale_that_could_overflow_is_passed_over():
    """A wide row of equal weights gets a coarser scale, so that its sum fits whatever the values are."""
    weight = np.full((1, 600), 0.99)
    rows = quantize_byte_rows(weight, np.zeros(1), GATE_SHIFT)
    assert largest_sums(rows.weight_q7, rows.bias_q22) <= SUM_LIMIT
    assert rows.weight_q7.max() == 63
    assert list(rows.problems("rows", 16)) == []


def test_a_row_that_no_scale_holds_is_refused():
    """With what to do about it."""
    with pytest.raises(UsageError, match=r"do not fit 8 bits at any row scale\. Train with a lower"):
        quantize_byte_rows(np.ones((1, 1)), np.array([1e6]), DENSE_SHIFT)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def real_outputs(model, x):
    """The float network of a GRU model in double precision, [N, O]."""
    a = {name: array.astype(np.float64) for name, array in model.arrays.items()}
    for i, units in enumerate(model.hidden):
        h, states = np.zeros((len(x), units)), []
        for t in range(x.shape[1]):
            from_x = x[:, t] @ a[f"recurrent.{i}.weight_ih"].T + a[f"recurrent.{i}.bias_ih"]
            from_h = h @ a[f"recurrent.{i}.weight_hh"].T + a[f"recurrent.{i}.bias_hh"]
            (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
            z = sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h
            states.append(h)
        x = np.stack(states, axis=1)
    r = x.sum(axis=1) / 2**model.readout_shift
    y = np.clip(r @ a["dense.0.weight"].T + a["dense.0.bias"], 0, 1)
    return y @ a["dense.1.weight"].T + a["dense.1.bias"]


def test_the_int8_gru_follows_the_float_gru():
    """A random network: outputs of 200 sequences within 0.03 of those of torch's formula in double precision."""
    model = make_float_model(seed=2, kind="gru", spread=1.0)
    artefact = quantize_gru8(model, FRONTEND, LABELS, name="x")
    x = np.random.default_rng(1).integers(-32768, 32768, (200, 9, 5)).astype(np.int16)
    expected, got = real_outputs(model, x / 2**15), run_twin_batch(artefact, x) / 2**15
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.03)
    assert np.ptp(expected, axis=0).min() > 0.8, "outputs that do not move prove nothing"


def test_only_a_gru_is_rounded_to_8_bits():
    """An eGRU has its own quantizer."""
    with pytest.raises(UsageError, match="only a GRU can be quantized to 8 bits"):
        quantize_gru8(make_float_model(), FRONTEND, LABELS, name="x")


# The file.


def with_threshold(artefact):
    layers = tuple(
        EventGruLayer(layer.gates, layer.candidate_x, layer.candidate_h, np.arange(1, layer.units + 1, dtype=np.int16))
        for layer in artefact.recurrent
    )
    return replace(artefact, recurrent=layers)


@pytest.mark.parametrize("change", [lambda a: a, with_threshold], ids=["gru8", "event_gru"])
def test_a_saved_artefact_comes_back_equal(change):
    """Every array survives the file, and the bytes are the same."""
    original = change(random_gru8_artefact(1, (4, 3)))
    back = artefact_from_bytes(original.to_bytes())
    assert back.to_bytes() == original.to_bytes()
    assert [type(layer) for layer in back.recurrent] == [type(layer) for layer in original.recurrent]
    for got, want in zip(back.recurrent, original.recurrent, strict=True):
        for name, array in want.vectors("p").items():
            assert got.vectors("p")[name].tolist() == array.tolist()


def test_parameter_bytes_count_a_byte_a_weight():
    """Weights at 8 bits, biases at 32, shifts at 4; thresholds at 16."""
    artefact = random_gru8_artefact(1, (4,), inputs=5, dense=(3,))
    weights = 8 * 9 + 4 * 5 + 4 * 4 + 3 * 4
    rows = 8 + 4 + 4 + 3
    assert artefact.weights == weights
    assert artefact.parameter_bytes == (8 * weights + 36 * rows + 7) // 8
    assert with_threshold(artefact).parameter_bytes == (8 * weights + 36 * rows + 16 * 4 + 7) // 8


def changed_gates(artefact, **changes):
    layer = artefact.recurrent[0]
    return replace(artefact, recurrent=(replace(layer, gates=replace(layer.gates, **changes)),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"weight_q7": np.full_like(g.weight_q7, -128)}, r"weight_q7 is outside \+-127"),
        (lambda g: {"bias_q22": np.full_like(g.bias_q22, 2**31 - 1)}, "a row could overflow the 32-bit sum"),
        (lambda g: {"shift": np.full_like(g.shift, 16)}, "shift is outside 0 to 15"),
        (lambda g: {"weight_q7": g.weight_q7[:, :-1].copy()}, "gates and candidates are"),
        (lambda g: {"bias_q22": g.bias_q22.astype(np.int64)}, "bias_q22 is int64, expected int32"),
    ],
)
def test_a_broken_rule_of_byte_rows_is_refused(change, message):
    """Each rule has its own sentence."""
    artefact = random_gru8_artefact(1, (4,))
    with pytest.raises(ArtefactError, match=message):
        changed_gates(artefact, **change(artefact.recurrent[0].gates))


def test_the_bound_of_a_row_is_exact():
    """A bias at the rule's limit is accepted, one more is not."""
    weight = np.array([[127, -127]], np.int8)
    room = SUM_LIMIT - 2 * 127 * 32768
    for bias, problems in ((room, 0), (room + 1, 1), (-room, 0), (-room - 1, 1)):
        rows = ByteRows(weight, np.array([bias], np.int32), np.array([3], np.int8))
        assert len(list(rows.problems("rows", 16))) == problems


@pytest.mark.parametrize("threshold", [np.zeros(4, np.int16), np.ones(3, np.int16), np.ones(4, np.int32)])
def test_thresholds_are_positive_and_one_a_unit(threshold):
    """Zero would let silent units speak."""
    artefact = random_gru8_artefact(1, (4,))
    layer = artefact.recurrent[0]
    changed = EventGruLayer(layer.gates, layer.candidate_x, layer.candidate_h, threshold)
    with pytest.raises(ArtefactError, match="threshold_q15"):
        replace(artefact, recurrent=(changed,))


# The stage.

RECIPE = Recipe("tiny", DataRecipe(keywords=("yes",)))


@pytest.fixture
def trained(tmp_path):
    """A folder with features and a float GRU, as training leaves it."""
    model = make_float_model(kind="gru", curve=(Epoch(1, 2.5, 0.25, 0.5),))
    artefact = quantize_gru8(model, FRONTEND, LABELS, name="tiny")
    model.save(tmp_path / "out" / "float-gru.model")
    save_features(features_for(artefact), tmp_path / "out" / "features.safetensors")
    return Workspace(tmp_path / "out", Quiet())


def test_the_stage_leaves_the_artefact_and_what_its_twin_gets_right(trained):
    """Accuracies are those of the twin, clip by clip; a second time nothing is done."""
    made = baseline(RECIPE, trained)
    features = features_for(made.artefact)
    right = run_twin_batch(made.artefact, features.test.x).argmax(axis=1) == features.test.y
    assert made.correct == tuple(right.astype(int).tolist())
    assert made.test_accuracy == right.mean()
    assert made.artefact.name == "tiny-gru8"
    made_again = make_gru8(RECIPE, trained)
    assert "gru8: unchanged, skipped (--force does it again)" in trained.progress.said
    assert set(made_again.outputs) == {GRU8}


def test_hil_baseline_runs_it_on_the_chip(trained, tmp_path, monkeypatch):
    """Every step and output on the emulated chip equals the twin; the page lies beside the result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.toml").write_text(
        'name = "tiny"\n[data]\nkeywords = ["yes"]\n[cell]\nhidden = [4, 3]\ndense = 6\n[features]\nbands = 5\n'
    )
    with pytest.raises(SystemExit) as ended:
        main(["baseline", "tiny", "--out", "out", "--fast-load"])
    assert ended.value.code in (0, None)
    own = gru8_workspace(trained)
    result = result_from_json(own.path("result.json").read_text())
    assert (result.steps_exact, result.steps, result.outputs_exact) == (45, 45, 5)
    assert list(result.accuracy) == ["int8 GRU", "device"]
    assert result.accuracy["int8 GRU"] == result.accuracy["device"]
    assert own.path("report.html").is_file()


def test_without_a_float_gru_the_message_says_what_makes_it(tmp_path):
    """The file and the command."""
    with pytest.raises(UsageError, match=r"hil train MODEL"):
        make_gru8(RECIPE, Workspace(tmp_path, Quiet()))


# A wrong firmware.


@pytest.mark.parametrize("change", [lambda a: a, with_threshold], ids=["gru8", "event_gru"])
def test_a_wrong_bias_is_named_as_a_wrong_sum(tmp_path, change):
    """Of the candidate's part of the state: layer, unit and accumulator; a right firmware is exact."""
    artefact = change(random_gru8_artefact(2, (4, 3), inputs=5, dense=(6, 3)))
    features, layer = features_for(artefact), artefact.recurrent[1]
    bias = layer.candidate_h.bias_q22.copy()
    bias[2] += 1 << 20
    wrong_layer = replace(layer, candidate_h=replace(layer.candidate_h, bias_q22=bias))
    wrong = replace(artefact, recurrent=(artefact.recurrent[0], wrong_layer))
    for firmware_of in (artefact, wrong):
        with HostRig(emit_c(firmware_of), tmp_path / firmware_of.sha256()[:8]) as rig:
            firmware = rig.firmware(firmware_of.sha256())
            result = run_on_rig(artefact, features, firmware, rig, Background(), Quiet())
        assert result.bit_exact == (firmware_of is artefact)
    first = result.first_difference
    # Sums: r and z of 3 units each, 3 of the inputs' part, 3 of the state's part; unit 2 of the last.
    assert (first.sequence, first.layer, first.unit, first.operation) == (0, 1, 2, "accumulator")
