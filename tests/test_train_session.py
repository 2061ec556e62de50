"""What surrounds a training: checkpoints that continue to the bit, early stopping, averages, curves."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from test_train import SHORT, TRAIN, VALIDATION

from hil.artefact import FrontEnd
from hil.cells import Network
from hil.cells.gru import GRU
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.quant import fit_exponents, quantize, run_twin_batch
from hil.recipe import AugmentRecipe, QuantizeRecipe, TrainRecipe
from hil.train import Session, fit, fit_quantized, predict
from hil.train.augment import Augmentation
from hil.train.loop import Plan, Training

FRONTEND = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, 20, 0, np.zeros(6, np.int16))
RICH = dataclasses.replace(
    SHORT,
    train=dataclasses.replace(
        SHORT.train,
        epochs=3,
        average=0.9,
        dropout=0.2,
        label_smoothing=0.1,
        logit_scale=4.0,
        augment=AugmentRecipe(2, 0.1, 0.1, 3.0, 2.0, "synthetic", (-40.0, -20.0), 0.02, 2, 1),
    ),
    quantize=QuantizeRecipe(epochs=3, refit_epochs=2),
)
"""Everything that has a state, at once."""


class Stopped(Exception):
    pass


def stop_in(epoch):
    """A progress function that interrupts in the middle of an epoch."""

    def progress(done, total, text):
        if f"epoch {epoch} of" in text and done % 10 == 5:
            raise Stopped

    return progress


def small(kind="embedded_gru"):
    return Network(kind, 6, (5, 4), 4, 3, 5, generator=torch.Generator().manual_seed(1))


def training(network=None, refit=None, **plan):
    plan = {"name": "p", "epochs": 3, "batch": 50, "learning_rate": 0.02, "seed": 1} | plan
    return Training(network or small(), Plan(**plan), TRAIN, Augmentation(AugmentRecipe(noise=0, time_shift=0)), refit)


# Checkpoints.


@pytest.mark.parametrize("kind", ["embedded_gru", "gru"])
def test_a_continued_training_has_the_bits_of_an_uninterrupted_one(tmp_path, kind):
    """Interrupted in the middle of an epoch, twice; the checkpoint is gone in the end."""
    whole = fit(RICH, TRAIN, VALIDATION, kind=kind, session=Session(FRONTEND))
    file = tmp_path / "c"
    for epoch in (2, 3):
        with pytest.raises(Stopped):
            fit(RICH, TRAIN, VALIDATION, kind=kind, session=Session(FRONTEND, (), stop_in(epoch), file))
        assert file.is_file()
    lines = []
    session = Session(FRONTEND, (), lambda done, total, text: lines.append(text), file)
    continued = fit(RICH, TRAIN, VALIDATION, kind=kind, session=session)
    assert "epoch 3 of" in lines[0]
    assert "(continued after 2)" in lines[0]
    assert continued.to_bytes() == whole.to_bytes()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("epoch", [2, 3])
def test_continued_quantized_training_has_the_same_bits(tmp_path, epoch):
    """Also between two fits of the row scales, and after the last one."""
    start = fit(SHORT, TRAIN, VALIDATION)
    whole = fit_quantized(RICH, start, TRAIN, VALIDATION, session=Session(FRONTEND))
    with pytest.raises(Stopped):
        fit_quantized(RICH, start, TRAIN, VALIDATION, session=Session(FRONTEND, (), stop_in(epoch), tmp_path / "c"))
    continued = fit_quantized(RICH, start, TRAIN, VALIDATION, session=Session(FRONTEND, checkpoint=tmp_path / "c"))
    assert continued.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize(
    "changes", [{"seed": 2}, {"learning_rate": 0.01}, {"augment": AugmentRecipe(noise=0.01)}], ids=str
)
def test_a_checkpoint_of_another_training_is_not_used(tmp_path, changes):
    """The result is that of a training without it."""
    with pytest.raises(Stopped):
        fit(SHORT, TRAIN, VALIDATION, session=Session(progress=stop_in(2), checkpoint=tmp_path / "c"))
    other = dataclasses.replace(SHORT, train=dataclasses.replace(SHORT.train, **changes))
    model = fit(other, TRAIN, VALIDATION, session=Session(checkpoint=tmp_path / "c"))
    assert model.to_bytes() == fit(other, TRAIN, VALIDATION).to_bytes()


def test_a_checkpoint_of_other_clips_is_not_used(tmp_path):
    """One value of one clip decides."""
    with pytest.raises(Stopped):
        fit(SHORT, TRAIN, VALIDATION, session=Session(progress=stop_in(2), checkpoint=tmp_path / "c"))
    x = TRAIN.x.copy()
    x[0, 0, 0] += 1
    other = FeatureSet(x, TRAIN.y, TRAIN.names, 0)
    model = fit(SHORT, other, VALIDATION, session=Session(checkpoint=tmp_path / "c"))
    assert model.to_bytes() == fit(SHORT, other, VALIDATION).to_bytes()


def test_a_damaged_checkpoint_is_named(tmp_path):
    """With what to do about it."""
    (tmp_path / "c").write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError, match=r"c: is no checkpoint or is damaged .* Delete it"):
        fit(SHORT, TRAIN, VALIDATION, session=Session(checkpoint=tmp_path / "c"))


# Stopping, averaging, row scales.


@pytest.mark.parametrize(
    ("patience", "accuracies", "epochs"),
    [
        (0, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 6),
        (2, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 3),
        (2, [0.5, 0.1, 0.6, 0.1, 0.1, 0.9], 5),
        (3, [0.5, 0.1, 0.1, 0.6, 0.1, 0.1], 6),
    ],
)
def test_training_stops_when_validation_no_longer_improves(monkeypatch, patience, accuracies, epochs):
    """After ``patience`` epochs without a better one; what is kept is the best one before."""
    left = iter(accuracies)
    monkeypatch.setattr("hil.train.loop.score", lambda *_: (next(left), 1.0))
    curve = training(epochs=6, patience=patience).run(VALIDATION)
    assert [epoch.validation_accuracy for epoch in curve] == accuracies[:epochs]


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_best_epoch_or_the_last_is_kept(monkeypatch, keep, epoch):
    """As the recipe says; validation is best after the first."""
    left = iter([0.9, 0.1, 0.1])
    monkeypatch.setattr("hil.train.loop.score", lambda *_: (next(left), 1.0))
    network, seen = small(), []
    training(network, epochs=3, keep=keep).run(
        VALIDATION, observers=[lambda state, loss: seen.append(network.dense[1].bias.detach().clone())]
    )
    assert torch.equal(network.dense[1].bias, seen[epoch - 1])
    assert len({tuple(bias.tolist()) for bias in seen}) == 3


def test_the_average_follows_the_parameters():
    """The running mean of three updates, by hand, is what is kept."""
    network, seen = small(), []
    start = network.dense[1].bias.detach().clone()
    run = training(network, epochs=1, average=0.5)
    update = run._update

    def watched(number, chosen):
        result = update(number, chosen)
        seen.append(network.dense[1].bias.detach().clone())
        return result

    run._update = watched
    run.run(VALIDATION)
    mean = start
    for value in seen:
        mean = (mean + value) / 2
    assert len(seen) == 3
    assert network.dense[1].bias.detach().tolist() == pytest.approx(mean.tolist(), abs=1e-7)


def test_row_scales_are_frozen_last():
    """They are fitted again before each of the first epochs, and only an epoch with the last ones is kept."""
    weights = []
    network = small()
    training(network, lambda: weights.append(network.dense[0].weight.detach().clone()), epochs=5, refit_epochs=3).run(
        VALIDATION
    )
    assert len(weights) == 2
    assert not torch.equal(*weights)
    start = fit(SHORT, TRAIN, VALIDATION)
    recipe = dataclasses.replace(RICH, train=SHORT.train, quantize=QuantizeRecipe(epochs=3, refit_epochs=3))
    model = fit_quantized(recipe, start, TRAIN, VALIDATION)
    assert model.provenance["validation_accuracy"] == model.curve[2].validation_accuracy
    fitted = fit_exponents(start.arrays["dense.1.weight"], start.arrays["dense.1.bias"], recipe.quantize)
    assert model.exponents["dense.1"].shape == fitted.shape
    artefact = quantize(model, FRONTEND, ("a", "b", "c"), recipe.quantize, name="x")
    assert (predict(model, VALIDATION) * 32768).tolist() == run_twin_batch(artefact, VALIDATION.x).tolist()


def test_dropout_leaves_units_out_and_scales_the_rest():
    """Its mean is one; without it there is no mask at all."""
    mask = training(dropout=0.25)._dropped(4000)
    assert sorted(set(mask.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.02)
    assert training()._dropped(5) is None


@pytest.mark.parametrize("kind", ["embedded_gru", "gru"])
def test_units_left_out_have_no_say(kind):
    """A readout without any unit gives the outputs of a readout of zeros."""
    network = small(kind)
    x, nothing = torch.rand(2, 7, 6), torch.zeros(2, 4)
    bias = torch.clamp(network.dense[0].bias, 0, 1)
    assert torch.allclose(network.run(x, nothing)[0], network.dense[1](bias).expand(2, 3))
    assert torch.equal(network.run(x, torch.ones(2, 4))[0], network(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logit_scale": 0.0}, r"train\.logit_scale = 0\.0"),
        ({"dropout": 1.0}, r"train\.dropout = 1\.0: must be at least 0 and below 1"),
        ({"patience": -1}, r"train\.patience = -1"),
        ({"patience": 3, "keep": "last"}, r"patience and keep = 'last' exclude each other"),
    ],
)
def test_training_options_out_of_range_are_refused(changes, message):
    """With the key's full name."""
    with pytest.raises(UsageError, match=message):
        TrainRecipe(**changes)
    with pytest.raises(UsageError, match=r"quantize\.refit_epochs = 4: must be within 1 and quantize\.epochs"):
        QuantizeRecipe(epochs=3, refit_epochs=4)


def test_the_baseline_is_torchs_gru():
    """States and all gradients agree with `torch.nn.GRU` of the same parameters, in float32."""
    own, torchs = GRU(5, 7, generator=torch.Generator().manual_seed(3)), torch.nn.GRU(5, 7, batch_first=True)
    for (_, mine), theirs in zip(own.named_parameters(), torchs.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(3, 11, 5, generator=generator, requires_grad=True)
    weight = torch.randn(3, 11, 7, generator=generator)
    results = []
    for layer in (own, torchs):
        states, _ = layer(x)
        results.append((states, *torch.autograd.grad((states * weight).sum(), [x, *layer.parameters()])))
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-5)


# TensorBoard.


def test_learning_curves_are_written_for_tensorboard(tmp_path):
    """TensorBoard itself reads them back: four curves, the points those of the model's own curve."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = fit(SHORT, TRAIN, VALIDATION, session=Session(tensorboard=tmp_path / "run"))
    events = reader.EventAccumulator(str(tmp_path / "run")).Reload()
    names = [f"{what}/{of}" for what in ("accuracy", "loss") for of in ("training", "validation")]
    assert sorted(events.Tags()["scalars"]) == names
    points = [(event.step, event.value) for event in events.Scalars("accuracy/validation")]
    assert points == [(e.epoch, pytest.approx(e.validation_accuracy)) for e in model.curve]
    assert [e.value for e in events.Scalars("loss/training")] == pytest.approx([e.loss for e in model.curve])


def test_without_tensorboard_the_message_says_what_to_install(tmp_path, monkeypatch):
    """Before the first update."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"needs tensorboard: pip install 'hil\[tensorboard\]'"):
        fit(SHORT, TRAIN, VALIDATION, session=Session(tensorboard=tmp_path))
