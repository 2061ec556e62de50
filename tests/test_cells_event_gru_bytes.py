"""The EGRU in 8-bit weights while it trains: the twin's integers forward, the written gradients backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hil.artefact import EventGruLayer, SequenceInput
from hil.cells import Network, arrays_of, network_from, parameters_by_name, row_formats
from hil.cells.byte_rows import fake_quantize_bytes
from hil.cells.event_embedded_gru import quantized_threshold
from hil.cells.event_gru_bytes import ByteEventGRU
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.float_model import FloatModel
from hil.quant import quantize, run_twin_batch, run_twins
from hil.quant.quantize_bytes import byte_exponents, byte_rows, event_gru_exponents, quantize_byte_rows
from hil.recipe import CellRecipe, DataRecipe, EventRecipe, FeatureRecipe, QuantizeRecipe, Recipe, TrainRecipe
from hil.train import Session, fit, fit_quantized, predict

RECIPE = Recipe(
    name="pixels",
    data=DataRecipe(source="mnist"),
    features=FeatureRecipe(kind="sequence"),
    cell=CellRecipe(kind="event_gru", hidden=(7, 6), dense=5),
    events=EventRecipe(threshold=0.2, activity=0.3),
    train=TrainRecipe(epochs=20, batch=16, learning_rate=0.03),
    quantize=QuantizeRecipe(epochs=3, learning_rate=0.005),
)


def features(seed: int = 1, clips: int = 48) -> FeatureSet:
    """Three classes, each with another of three values loud."""
    rng = np.random.default_rng(seed)
    y = np.arange(clips) % 3
    x = rng.integers(-4000, 4000, (clips, 9, 3))
    x[np.arange(clips), :, y] += 20000
    return FeatureSet(x.astype(np.int16), y.astype(np.int64), tuple(map(str, range(clips))), 0)


@pytest.fixture(scope="module")
def trained():
    train, test = features(1), features(2, 30)
    model = fit(RECIPE, train, test, kind="event_gru")
    return model, fit_quantized(RECIPE, model, train, test, session=Session()), test


def test_it_learns_and_the_twin_gives_what_training_saw(trained) -> None:
    """Every output and every activity; nine of ten unseen clips are right."""
    model, quantized, test = trained
    given = SequenceInput(9, np.zeros(3, np.float32), np.ones(3, np.float32))
    artefact = quantize(quantized, given, "abc", RECIPE.quantize, name="pixels")
    assert [layer.cell for layer in artefact.recurrent] == ["event_gru", "event_gru"]
    logits = predict(quantized, test) * 32768
    assert logits.tolist() == run_twin_batch(artefact, test.x).tolist()
    assert (logits.argmax(axis=1) == test.y).mean() > 0.9
    assert (predict(model, test).argmax(axis=1) == test.y).mean() > 0.9
    x = torch.tensor(test.x, dtype=torch.float32) / 32768
    with torch.no_grad():
        _, rates = network_from(quantized).run(x)
    activity = np.mean([trace.activity for trace in run_twins(artefact, test.x)], axis=0)
    assert [float(rate.mean()) for rate in rates] == pytest.approx(activity.tolist())
    assert 0 < activity[0] < 1


def test_states_are_the_twins_at_the_ends_of_every_range() -> None:
    """Large weights, full-scale inputs: compared states and events of each step, clipped pre-activations included."""
    rng = np.random.default_rng(3)
    network = Network("event_gru", 4, (5,), 4, 2, 3, threshold=0.3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in parameters_by_name(network).items():
            if "threshold" not in name:
                parameter.copy_(torch.tensor(rng.normal(0, 6, parameter.shape)))
    arrays = {name: p.detach().numpy() for name, p in parameters_by_name(network).items()}
    exponents = event_gru_exponents(arrays)
    network.quantize_(row_formats(exponents, {"weight_bits": 8}))
    model = FloatModel("event_gru", 4, (5,), 4, 2, 3, arrays_of(network), exponents, {"weight_bits": 8})
    given = SequenceInput(12, np.zeros(4, np.float32), np.ones(4, np.float32))
    artefact = quantize(model, given, "ab", RECIPE.quantize, name="wild")
    x = rng.choice([-32768, 32767, 0, 1, -1, 20000], (20, 12, 4)).astype(np.int16)
    layer = network.recurrent[0]
    assert isinstance(layer, ByteEventGRU)
    assert isinstance(artefact.recurrent[0], EventGruLayer)
    run = layer.run(torch.tensor(x, dtype=torch.float32) / 32768)
    traces = run_twins(artefact, x, detail=True)
    y = np.stack([trace.layers[0].output_q15 for trace in traces])
    h = np.stack([trace.states_q15[-1] for trace in traces])
    assert (run.y.detach().numpy() * 32768).tolist() == y.tolist()
    assert (run.state[0].detach().numpy() * 32768).tolist() == h.tolist()
    assert (y != 0).any()
    with torch.no_grad():
        assert (network(torch.tensor(x, dtype=torch.float32) / 32768) * 32768).tolist() == [
            trace.logits.tolist() for trace in traces
        ]


def test_gradients_are_those_of_the_real_cell_with_the_rounded_weights() -> None:
    """What the float cell's own pass gives, to 1 in 200: Q15 and Q12 in between are all that differs."""
    generator = torch.Generator().manual_seed(4)
    layer = ByteEventGRU(3, 6, batch_first=True, threshold_mean=0.2, generator=generator)
    with torch.no_grad():
        layer.bias_ih.copy_(0.3 * torch.randn(18, generator=generator))
        layer.bias_hh[12:] = 0.3 * torch.randn(6, generator=generator)
    x = (torch.rand(8, 10, 3, generator=generator) * 32767).round() / 32768
    x.requires_grad_()
    weight = torch.randn(8, 10, 6, generator=generator)

    def gradients() -> list[torch.Tensor]:
        run = layer.run(x)
        loss = (run.y * weight).sum() + 0.3 * run.events.mean(dim=(0, 1)).square().sum()
        return list(torch.autograd.grad(loss, [x, *layer.parameters()]))

    arrays = {f"recurrent.0.{name}": p.detach().numpy() for name, p in layer.named_parameters()}
    layer.format = row_formats(event_gru_exponents(arrays), {"weight_bits": 8})["recurrent.0"]  # type: ignore[assignment]
    assert layer.format is not None
    rounded = gradients()
    with torch.no_grad():
        formats = layer.format.split(12, 6, 6)
        rows = [fake_quantize_bytes(*pair, f) for pair, f in zip(layer.matrices(), formats, strict=True)]
        layer.weight_ih.copy_(torch.cat([rows[0].weight[:, :3], rows[1].weight]))
        layer.weight_hh.copy_(torch.cat([rows[0].weight[:, 3:], rows[2].weight]))
        layer.bias_ih.copy_(torch.cat([rows[0].bias, rows[1].bias]))
        layer.bias_hh[12:] = rows[2].bias
        layer.threshold.copy_(quantized_threshold(layer.threshold))
    layer.format = None
    for exact, found in zip(gradients(), rounded, strict=True):
        assert torch.linalg.vector_norm(exact - found) < 0.005 * torch.linalg.vector_norm(exact)


def test_given_scales_round_as_fitted_ones() -> None:
    """The same rows; what is beyond 127 is clipped."""
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(0, 0.5, (6, 8)), rng.normal(0, 0.5, 6)
    fitted, exponent = quantize_byte_rows(weight, bias, 10), byte_exponents(weight, bias, 10)
    given = byte_rows(weight, bias, exponent, 10)
    assert given.weight_q7.tolist() == fitted.weight_q7.tolist()
    assert (given.bias_q22.tolist(), given.shift.tolist()) == (fitted.bias_q22.tolist(), fitted.shift.tolist())
    assert np.abs(byte_rows(100 * weight, bias, exponent, 10).weight_q7).max() == 127


def test_what_it_cannot_do_is_refused() -> None:
    """The paper's form, and a state to begin with in integers."""
    with pytest.raises(UsageError, match="8-bit weights take form 'threshold'"):
        ByteEventGRU(2, 3, form="value")
    layer = ByteEventGRU(2, 3)
    layer.format = object()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="begins at zero"):
        layer.run(torch.zeros(1, 1, 2), (torch.zeros(1, 3),) * 2)
