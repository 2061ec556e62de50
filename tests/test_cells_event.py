"""The event eGRU in torch: its gradients are the written equations, its integers are the twin's, and it trains."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_quant_quantize import make_float_model
from test_train import FRONTEND, LABELS, RECIPE, TEST, TRAIN, VALIDATION, accuracy

from hil.cells import EventEmbeddedGRU, Network, Surrogate, event_readout_shift_for, network_from, readout_shift_for
from hil.cells.event_embedded_gru import THRESHOLD_LEAST, THRESHOLD_MOST
from hil.errors import ArtefactError, UsageError
from hil.quant import fit_exponents, quantize, run_twin, run_twin_batch
from hil.quant.quantize import threshold_q15
from hil.recipe import CellRecipe, EventRecipe, QuantizeRecipe
from hil.train import fit, fit_quantized, predict
from hil.train.events import EventTarget

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_layer(inputs=4, units=5, seed=0, **options):
    layer = EventEmbeddedGRU(inputs, units, generator=generator(seed), **options).double()
    with torch.no_grad():
        layer.bias += 0.5 * torch.randn(2 * units, generator=generator(seed + 1), dtype=DOUBLE)
        layer.threshold += 0.3 * torch.rand(units, generator=generator(seed + 2), dtype=DOUBLE)
    return layer


class Step(torch.autograd.Function):
    """H with the surrogate's derivative, for torch to differentiate the formula with."""

    @staticmethod
    def forward(ctx, v, surrogate):
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (v,) = ctx.saved_tensors
        s = ctx.surrogate
        return gradient * s.damping * torch.clamp(1 - s.support * v.abs(), min=0), None


def run_by_formula(layer, x, h, y, step):
    """Outputs, events and last state in torch's own operations; x is [T, N, D]."""
    outputs, events = [], []
    for x_t in x:
        a = torch.cat([x_t, y], dim=1) @ layer.weight.T + layer.bias
        s_z, g = (a / (1 + a.abs())).chunk(2, dim=1)
        z = (s_z + 1) / 2
        c = (1 - z) * h + z * g
        o = step(c - layer.threshold)
        y, h = o * c, c - o * layer.threshold
        outputs.append(y)
        events.append(o)
    return torch.stack(outputs), torch.stack(events), h


@pytest.mark.parametrize("surrogate", [Surrogate(), Surrogate(1.5, 0.7)])
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_the_layer_and_its_gradients_are_the_written_equations(steps, surrogate):
    """Outputs, events, state and all seven gradients, in float64, with some units speaking and some silent."""
    layer = make_layer(surrogate=surrogate)
    x, h_0 = (torch.randn(*shape, generator=generator(3), dtype=DOUBLE) for shape in ((steps, 3, 4), (3, 5)))
    y_0 = torch.rand(3, 5, generator=generator(4), dtype=DOUBLE)
    leaves = [t.requires_grad_() for t in (x, h_0, y_0)] + [layer.weight, layer.bias, layer.threshold]

    run = layer.run(x, (h_0, y_0))
    expected = run_by_formula(layer, x, h_0, y_0, lambda v: Step.apply(v, surrogate))

    got = (run.y, run.events, run.state[0])
    assert steps < 17 or 0.02 < run.events.mean().item() < 0.9
    probes = [torch.randn(part.shape, generator=generator(5 + i), dtype=DOUBLE) for i, part in enumerate(expected)]
    for have, want in zip(got, expected, strict=True):
        torch.testing.assert_close(have, want, rtol=0, atol=1e-14)
    torch.testing.assert_close(run.state[1], expected[0][-1], rtol=0, atol=1e-14)
    ours, theirs = (
        torch.autograd.grad(sum((part * probe).sum() for part, probe in zip(parts, probes, strict=True)), leaves)
        for parts in (got, expected)
    )
    for have, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-11, atol=1e-12)


def test_without_surrogate_the_gradients_are_those_of_finite_differences():
    """With damping 0 the step has no slope, and what remains is the true gradient wherever no unit crosses."""
    layer = make_layer(3, 4, surrogate=Surrogate(damping=0.0))
    x = torch.randn(6, 2, 3, generator=generator(5), dtype=DOUBLE, requires_grad=True)
    state = tuple(0.5 * torch.rand(2, 4, generator=generator(i), dtype=DOUBLE) for i in (6, 7))
    h_0, y_0 = (part.requires_grad_() for part in state)
    parameters = dict(layer.named_parameters())

    def outputs(x, h_0, y_0, *values):
        y, (h, _) = torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x, (h_0, y_0)))
        return y, h

    assert 0.1 < layer.run(x, (h_0, y_0)).events.mean().item() < 0.9
    assert torch.autograd.gradcheck(outputs, (x, h_0, y_0, *parameters.values()))


def test_a_unit_exactly_at_its_threshold_is_silent():
    """H(0) = 0; one step of the last place above, it speaks, and the threshold leaves its state."""
    layer = EventEmbeddedGRU(1, 3).double()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))  # z = 1/2, g = 1/2, so c = 1/4
        layer.threshold.copy_(torch.tensor([0.25, np.nextafter(0.25, 0), np.nextafter(0.25, 1)], dtype=DOUBLE))
    y, (h, last) = layer(torch.zeros(1, 1, 1, dtype=DOUBLE))
    assert y.flatten().tolist() == last.flatten().tolist() == [0.0, 0.25, 0.0]
    assert h.flatten().tolist() == [0.25, 0.25 - np.nextafter(0.25, 0), 0.25]


def test_a_sequence_can_be_run_in_two_parts():
    """State and outputs of the first part start the second; batch-first is the same with axes exchanged."""
    layer = make_layer()
    x = torch.randn(9, 3, 4, generator=generator(7), dtype=DOUBLE)
    whole, end = layer(x)
    first, state = layer(x[:4])
    second, last = layer(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(last, end, strict=True))
    layer.batch_first = True
    assert torch.equal(layer(x.transpose(0, 1))[0].transpose(0, 1), whole)


def test_thresholds_stay_within_what_int16_holds():
    """Clamped to 2**-15 and 1 - 2**-15; rounded to nearest, ties to even, never 0."""
    layer = EventEmbeddedGRU(1, 4)
    with torch.no_grad():
        layer.threshold.copy_(torch.tensor([-1.0, 0.0, 0.5, 2.0]))
    layer.clamp_()
    assert layer.threshold.tolist() == [THRESHOLD_LEAST, THRESHOLD_LEAST, 0.5, THRESHOLD_MOST]
    real = np.array([1e-9, 1.5, 2.5, 32766.5, 32767.9]) / [1, 32768, 32768, 32768, 32768]
    assert threshold_q15(real).tolist() == [1, 2, 2, 32766, 32767]


def make_model(seed, hidden=(4, 3), **options):
    return make_float_model(seed=seed, hidden=hidden, kind="event_embedded_gru", **options)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_the_quantized_network_is_the_twin(seed, hidden):
    """Logits and every event of random networks and inputs: no bit differs between torch and the twin."""
    model = make_model(seed, tuple(hidden))
    recipe = QuantizeRecipe()
    exponents = {
        layer: fit_exponents(model.arrays[f"{layer}.weight"], model.arrays[f"{layer}.bias"], recipe)
        for layer in model.layers
    }
    settings = {"zero_threshold": "code", "row_scales": True, "bias_bits": 16}
    quantized = dataclasses.replace(model, exponents=exponents, quantization=settings)
    frontend = dataclasses.replace(FRONTEND, offset=np.zeros(model.inputs, np.int16))
    artefact = quantize(quantized, frontend, [f"c{i}" for i in range(model.outputs)], recipe, name="m")
    x = np.random.default_rng(seed).integers(-32768, 32768, (5, 12, model.inputs)).astype(np.int16)

    network = network_from(quantized)
    logits, rates = network.run(torch.tensor(x, dtype=torch.float32) / 32768)

    np.testing.assert_array_equal(logits.detach().double().numpy() * 32768, run_twin_batch(artefact, x))
    traces = [run_twin(artefact, clip, detail=True) for clip in x]
    np.testing.assert_array_equal([t.logits for t in traces], run_twin_batch(artefact, x))
    for i, rate in enumerate(rates):
        spoken = np.mean([trace.layers[i].y_q15 != 0 for trace in traces], axis=(0, 1))
        np.testing.assert_allclose(rate.detach().numpy(), spoken, atol=1e-6)
        assert np.mean([trace.activity[i] for trace in traces]) == pytest.approx(spoken.mean())


def test_a_threshold_outside_its_range_is_no_model():
    """0 and 1 are refused by the float model, 0 by the artefact."""
    model = make_model(1)
    for wrong in (0.0, 1.0):
        arrays = {**model.arrays, "recurrent.0.threshold": np.full(4, wrong, np.float32)}
        with pytest.raises(ArtefactError, match=r"outside \(0, 1\)"):
            dataclasses.replace(model, arrays=arrays)


EVENTS = dataclasses.replace(
    RECIPE,
    cell=CellRecipe("event_embedded_gru", (10, 8), 8),
    events=EventRecipe(activity=0.15),
    train=dataclasses.replace(RECIPE.train, epochs=25, z_bias=-1.0),
)


@pytest.fixture(scope="module")
def trained():
    model = fit(EVENTS, TRAIN, VALIDATION, kind="event_embedded_gru")
    return model, fit_quantized(EVENTS, model, TRAIN, VALIDATION)


def rates_of(model, features):
    with torch.no_grad():
        return [float(r.mean()) for r in network_from(model).run(torch.tensor(features.x) / 32768)[1]]


def test_it_learns_and_is_quiet(trained):
    """Better than 85 % where chance is 40 %, both stages, at no more than 1.4 times the activity asked for."""
    for model in trained:
        assert accuracy(model, TEST) > 0.85
        assert all(0.01 < rate < 1.4 * EVENTS.events.activity for rate in rates_of(model, TEST))


def test_what_was_trained_is_what_the_twin_runs(trained):
    """The artefact's twin gives the logits of training, and tells the activity."""
    artefact = quantize(trained[1], FRONTEND, LABELS, EVENTS.quantize, name="toy")
    np.testing.assert_array_equal(predict(trained[1], TEST) * 32768, run_twin_batch(artefact, TEST.x))
    activity = run_twin(artefact, TEST.x[0]).activity
    assert len(activity) == 2
    assert max(activity) < 0.5


def test_the_regularizer_pushes_both_ways_and_grows():
    """Nothing between the bounds; the slopes outside; a tenth of the ramp gives a tenth."""
    target = EventTarget(EventRecipe(activity=0.2, strength=3.0, least_rate=0.02, least_strength=5.0, ramp=0.5), True)
    quiet = torch.tensor([0.1, 0.3, 0.2])
    assert float(target.penalty([quiet], 1.0)) == 0
    loud, dumb = torch.full((4,), 0.3), torch.tensor([0.0, 0.1])
    assert float(target.penalty([loud, dumb], 0.5)) == pytest.approx(3 * 0.1 + 5 * 0.02 / 2)
    assert float(target.penalty([loud], 0.05)) == pytest.approx(0.1 * 3 * 0.1)
    assert float(EventTarget(target.recipe, ramped=False).penalty([loud], 0.0)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, "events.threshold"),
        ({"activity": 1.0}, "events.activity"),
        ({"support": 0.0}, "support"),
        ({"least_rate": 0.1}, "least_rate"),
        ({"ramp": 1.5}, "ramp"),
    ],
)
def test_options_out_of_range_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        EventRecipe(**change)


def test_the_readout_shift_follows_the_activity():
    """A unit as busy as the target fits with events of one half; at full activity it is one less than without loss."""
    assert [event_readout_shift_for(62, a) for a in (0.01, 0.1, 0.25, 1.0)] == [0, 2, 3, 5]
    assert event_readout_shift_for(62, 1.0) == readout_shift_for(62) - 1


def test_a_network_of_events_keeps_its_thresholds_by_name():
    """Copies of the parameters go out and come back."""
    model = make_model(3)
    network = network_from(model)
    assert isinstance(network, Network)
    np.testing.assert_array_equal(network.recurrent[1].threshold.detach(), model.arrays["recurrent.1.threshold"])
