"""Training: it learns, it repeats itself to the bit, and it hands over exactly the network that it trained."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from hil.artefact import FrontEnd
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.float_model import FloatModel
from hil.quant import fit_exponents, quantize, run_twin_batch
from hil.recipe import AugmentRecipe, CellRecipe, DataRecipe, QuantizeRecipe, Recipe, TrainRecipe
from hil.train import Session, evaluate, fit, fit_quantized, loop, predict
from hil.train.loop import class_weights

FRAMES, FEATURES, LABELS = 20, 6, ("rise", "fall", "hold")
RECIPE = Recipe(
    "toy",
    DataRecipe(keywords=("rise",)),
    cell=CellRecipe(hidden=(8, 6), dense=8),
    train=TrainRecipe(epochs=15, batch=16, augment=AugmentRecipe(noise=0.02, time_shift=2)),
    quantize=QuantizeRecipe(epochs=5),
)
SHORT = dataclasses.replace(
    RECIPE, train=dataclasses.replace(RECIPE.train, epochs=2), quantize=QuantizeRecipe(epochs=2)
)


def make_set(seed, per_class=(60, 60, 30)):
    """Ramps up, ramps down and constants in noise: told apart only by their order in time."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), per_class)
    slope = np.array([1.0, -1.0, 0.0])[y] * rng.uniform(0.7, 1.0, y.size)
    ramp = slope[:, None] * np.linspace(-0.5, 0.5, FRAMES)
    x = ramp[:, :, None] * rng.uniform(0.5, 1.0, (y.size, 1, FEATURES)) + rng.normal(
        0, 0.05, (y.size, FRAMES, FEATURES)
    )
    x_q15 = np.clip(np.rint(x * 32768), -32768, 32767).astype(np.int16)
    return FeatureSet(x_q15, y.astype(np.int64), tuple(map(str, range(y.size))), 0)


TRAIN, VALIDATION, TEST = make_set(1), make_set(2), make_set(3)
FRONTEND = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, FRAMES, 0, np.zeros(FEATURES, np.int16))


@pytest.fixture(scope="module")
def egru():
    return fit(RECIPE, TRAIN, VALIDATION)


@pytest.fixture(scope="module")
def quantized(egru):
    return fit_quantized(RECIPE, egru, TRAIN, VALIDATION)


def accuracy(model, features):
    return float((evaluate(model, features) == features.y).mean())


def test_the_egru_learns(egru):
    """Order in time is learned from 150 clips; chance is 40 %."""
    assert accuracy(egru, TEST) > 0.9
    assert egru.curve[-1].loss < 0.5 * egru.curve[0].loss


def test_the_gru_learns_for_the_epochs_of_both_stages():
    """Equal epochs for eGRU and baseline."""
    gru = fit(RECIPE, TRAIN, VALIDATION, kind="gru")
    assert len(gru.curve) == 15 + 5
    assert gru.kind == "gru"
    assert accuracy(gru, TEST) > 0.9


def test_the_quantized_egru_keeps_what_was_learned(quantized):
    """Three bits a weight are enough here."""
    assert accuracy(quantized, TEST) > 0.9
    assert [epoch.epoch for epoch in quantized.curve] == [1, 2, 3, 4, 5]


def test_the_artefact_is_exactly_the_network_that_was_trained(quantized):
    """The twin of the quantized model gives the logits of the quantized forward pass, to the bit."""
    artefact = quantize(quantized, FRONTEND, LABELS, RECIPE.quantize, name="toy")
    logits = run_twin_batch(artefact, TEST.x)
    assert (predict(quantized, TEST) * 32768).tolist() == logits.tolist()
    assert np.array_equal(logits.argmax(axis=1), evaluate(quantized, TEST))


def test_quantized_training_beats_rounding(egru):
    """From a model that rounding damages, the second stage recovers accuracy."""
    poor = dataclasses.replace(RECIPE, train=dataclasses.replace(RECIPE.train, z_bias=-4.0))
    model = fit(poor, TRAIN, VALIDATION)
    coarse = dataclasses.replace(poor, quantize=QuantizeRecipe(epochs=5, row_scales=False, bias_bits=3))
    rounded = fit_quantized(
        dataclasses.replace(coarse, quantize=dataclasses.replace(coarse.quantize, epochs=0)), model, TRAIN, VALIDATION
    )
    trained = fit_quantized(coarse, model, TRAIN, VALIDATION)
    assert accuracy(trained, VALIDATION) > accuracy(rounded, VALIDATION) + 0.1


def test_no_quantized_epochs_round_the_float_model(egru):
    """The weights are those of the float model, the row scales those of the quantizer."""
    recipe = dataclasses.replace(RECIPE, quantize=QuantizeRecipe(epochs=0))
    model = fit_quantized(recipe, egru, TRAIN, VALIDATION)
    direct = quantize(egru, FRONTEND, LABELS, recipe.quantize, name="toy")
    assert model.curve == ()
    assert quantize(model, FRONTEND, LABELS, recipe.quantize, name="toy").to_bytes() == direct.to_bytes()


def test_row_scales_stay_those_of_the_float_weights(egru, quantized):
    """They are fitted once."""
    for layer in egru.layers:
        weight, bias = egru.arrays[f"{layer}.weight"], egru.arrays[f"{layer}.bias"]
        assert quantized.exponents[layer].tolist() == fit_exponents(weight, bias, RECIPE.quantize).tolist()


def test_biases_are_kept_within_sixteen_bits(egru):
    """A learning rate that throws biases far out still ends in an artefact."""
    wild = dataclasses.replace(RECIPE, quantize=QuantizeRecipe(epochs=1, learning_rate=50.0))
    model = fit_quantized(wild, egru, TRAIN, VALIDATION)
    artefact = quantize(model, FRONTEND, LABELS, wild.quantize, name="wild")
    assert max(abs(int(b)) for layer in artefact.recurrent for b in layer.rows.bias_q17) >= (32767 << 5)


# Equal seeds, equal bits.


@pytest.mark.parametrize("kind", ["embedded_gru", "gru"])
def test_training_repeats_itself_to_the_bit(kind):
    """Whatever torch's own generator and number of threads were before; another seed gives another model."""
    first = fit(SHORT, TRAIN, VALIDATION, kind=kind)
    threads = torch.get_num_threads()
    torch.manual_seed(12345)
    torch.set_num_threads(2)
    try:
        second = fit(SHORT, TRAIN, VALIDATION, kind=kind)
    finally:
        torch.set_num_threads(threads)
    other = fit(
        dataclasses.replace(SHORT, train=dataclasses.replace(SHORT.train, seed=2)), TRAIN, VALIDATION, kind=kind
    )
    assert second.to_bytes() == first.to_bytes()
    assert other.to_bytes() != first.to_bytes()


def test_quantized_training_repeats_itself_to_the_bit(egru):
    """Arrays, scales and curve."""
    first, second = (fit_quantized(SHORT, egru, TRAIN, VALIDATION) for _ in range(2))
    assert second.to_bytes() == first.to_bytes()


IN_ANOTHER_PROCESS = """
import ast, sys
sys.path[:] = ast.literal_eval(sys.argv[1])
from test_train import SHORT, TRAIN, VALIDATION, fit, fit_quantized
model = fit(SHORT, TRAIN, VALIDATION)
print(model.sha256(), fit_quantized(SHORT, model, TRAIN, VALIDATION).sha256())
"""


def test_processes_that_compete_for_the_cpu_agree():
    """Two trainings at once give the bits of one alone."""
    model = fit(SHORT, TRAIN, VALIDATION)
    expected = f"{model.sha256()} {fit_quantized(SHORT, model, TRAIN, VALIDATION).sha256()}\n"
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, repr(sys.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in running] == [expected] * 2


def test_torch_is_left_as_it_was():
    """Threads and determinism of the process come back, also after Ctrl-C."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    seen = []

    def interrupt(done, total, text):
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(SHORT, TRAIN, VALIDATION, session=Session(progress=interrupt))
    assert seen == [(1, True)]
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_training_does_not_touch_its_arguments(egru):
    """The float model and the sets are as before."""
    model, x = egru.to_bytes(), TRAIN.x.copy()
    fit_quantized(SHORT, egru, TRAIN, VALIDATION)
    assert egru.to_bytes() == model
    assert (TRAIN.x == x).all()


# The parts of the loop.


def test_progress_counts_every_update():
    """From 1 to the total, with the stage, the epoch and the last validation accuracy as text."""
    calls = []
    model = fit(SHORT, TRAIN, VALIDATION, session=Session(progress=lambda *call: calls.append(call)))
    updates = -(-len(TRAIN.y) // 16)
    assert [done for done, _, _ in calls] == list(range(1, 2 * updates + 1))
    assert {total for _, total, _ in calls} == {2 * updates}
    assert calls[0][2] == "float eGRU, epoch 1 of 2"
    assert calls[-1][2] == f"float eGRU, epoch 2 of 2, validation {model.curve[0].validation_accuracy:.1%}"


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.5, 1.0), (0.7, 1.0), (0.6, 0.1)], 2),
        ([(0.7, 1.0), (0.7, 0.9), (0.7, 0.9)], 2),
        ([(0.7, 0.9), (0.7, 0.9), (0.7, 1.0)], 1),
        ([(0.0, 9.0), (0.0, 8.0), (0.0, 9.5)], 2),
    ],
)
def test_the_best_epoch_is_kept(monkeypatch, scores, best):
    """Highest validation accuracy, then lowest validation loss, then the earliest epoch."""
    seen = []

    def score(network, features, weights, logit_scale):
        seen.append([parameter.detach().clone() for parameter in network.parameters()])
        return scores[len(seen) - 1]

    monkeypatch.setattr(loop, "score", score)
    recipe = dataclasses.replace(SHORT, train=dataclasses.replace(SHORT.train, epochs=3))
    model = fit(recipe, TRAIN, VALIDATION)
    kept = sorted(array.tobytes() for array in model.arrays.values())
    assert kept == sorted(parameter.numpy().tobytes() for parameter in seen[best - 1])
    assert [epoch.validation_accuracy for epoch in model.curve] == [accuracy for accuracy, _ in scores]


def test_the_kept_model_has_the_accuracy_that_its_curve_shows(egru, quantized):
    """What was restored is what was scored."""
    for model in (egru, quantized):
        best = max(epoch.validation_accuracy for epoch in model.curve)
        assert accuracy(model, VALIDATION) == pytest.approx(best)
        assert model.provenance["validation_accuracy"] == best


def test_classes_weigh_the_same_whatever_their_number():
    """Weight times count is one number for all, and the mean over clips is 1."""
    weights = class_weights(np.array([0, 0, 0, 1, 2, 2]), 3)
    assert (weights * torch.tensor([3, 1, 2])).tolist() == pytest.approx([2.0, 2.0, 2.0])


# Bad input.


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (dataclasses.replace(TRAIN, x=TRAIN.x.astype(np.float32)), VALIDATION, "the training set is float32"),
        (dataclasses.replace(TRAIN, y=TRAIN.y[:-1]), VALIDATION, r"with labels \(149,\)"),
        (TRAIN, dataclasses.replace(VALIDATION, x=VALIDATION.x[:0], y=VALIDATION.y[:0]), "the validation set is empty"),
        (TRAIN, dataclasses.replace(VALIDATION, x=VALIDATION.x[:, :-1]), r"\(20, 6\) in training, \(19, 6\) in valid"),
        (dataclasses.replace(TRAIN, y=TRAIN.y - 1), VALIDATION, "negative label"),
        (dataclasses.replace(TRAIN, y=np.minimum(TRAIN.y, 1)), VALIDATION, "no clip of class 2"),
    ],
)
def test_sets_that_do_not_fit_are_refused(train, validation, message):
    """Before the first update, with what is wrong."""
    with pytest.raises(UsageError, match=message):
        fit(SHORT, train, validation)


def test_a_gru_cannot_be_trained_quantized():
    """The baseline stays float."""
    gru = fit(SHORT, TRAIN, VALIDATION, kind="gru")
    with pytest.raises(UsageError, match="only an eGRU"):
        fit_quantized(SHORT, gru, TRAIN, VALIDATION)


def test_a_float_model_of_other_features_is_refused(egru):
    """The shapes are compared."""
    narrow = [dataclasses.replace(s, x=s.x[:, :, :4]) for s in (TRAIN, VALIDATION)]
    with pytest.raises(UsageError, match="6 inputs and 3 outputs, the training set 4 and 3"):
        fit_quantized(SHORT, egru, *narrow)
    with pytest.raises(UsageError, match=r"the model takes \[N, T, 6\]"):
        evaluate(egru, narrow[0])


def test_divergence_is_named():
    """A loss that is not finite ends training with advice."""
    recipe = dataclasses.replace(SHORT, train=dataclasses.replace(SHORT.train, gru_learning_rate=3e37))
    with pytest.raises(UsageError, match=r"float GRU: the loss is \w+ in epoch \d: lower the learning rate"):
        fit(recipe, TRAIN, VALIDATION, kind="gru")


def test_an_empty_set_is_predicted_empty(egru):
    """No clips, no predictions."""
    empty = dataclasses.replace(TEST, x=TEST.x[:0], y=TEST.y[:0])
    assert predict(egru, empty).shape == (0, 3)
    assert isinstance(egru, FloatModel)
