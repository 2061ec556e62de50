"""The torch cells: gradients, agreement with the formula in float and with the twin in integers."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_quant_quantize import make_float_model

from hil.artefact import FrontEnd
from hil.cells import (
    EmbeddedGRU,
    Network,
    RowFormat,
    arrays_of,
    bias_range,
    fake_quantize,
    network_from,
    parameters_by_name,
    readout_shift_for,
    row_formats,
)
from hil.cells.rows import FLOAT32_FAN_IN
from hil.errors import UsageError
from hil.float_model import FloatModel, array_shapes
from hil.quant import (
    MAX_STEPS,
    fit_exponents,
    quantization_settings,
    quantize,
    quantize_rows,
    row_sums_q17,
    run_twin,
    run_twin_batch,
)
from hil.recipe import QuantizeRecipe

TWIN_STEPS = 0
"""Q15 steps by which the quantized forward pass may differ from the twin: none."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def step_by_formula(x, h, weight, bias):
    """One step in torch's own operations, differentiated by torch."""
    a = torch.cat([x, h], dim=1) @ weight.T + bias
    s_z, s_g = (a / (1 + a.abs())).chunk(2, dim=1)
    z = (s_z + 1) / 2
    return (1 - z) * h + z * s_g


def make_layer(inputs=4, units=5, seed=0, **options):
    layer = EmbeddedGRU(inputs, units, generator=generator(seed), **options).double()
    with torch.no_grad():
        layer.bias += 0.3 * torch.randn(2 * units, generator=generator(seed + 1), dtype=torch.float64)
    return layer


@pytest.mark.parametrize("steps", [1, 2, 17])
def test_the_layer_is_its_formula(steps):
    """States and all gradients equal the formula differentiated by torch, in float64."""
    layer = make_layer()
    x = torch.randn(3, steps, 4, generator=generator(2), dtype=torch.float64, requires_grad=True)
    h_0 = torch.randn(3, 5, generator=generator(3), dtype=torch.float64, requires_grad=True)
    probe = torch.randn(3, steps, 5, generator=generator(4), dtype=torch.float64)
    leaves = [x, h_0, layer.weight, layer.bias]

    layer.batch_first = True
    states, last = layer(x, h_0)
    h, expected = h_0, []
    for t in range(steps):
        h = step_by_formula(x[:, t], h, layer.weight, layer.bias)
        expected.append(h)

    torch.testing.assert_close(states, torch.stack(expected, dim=1), rtol=0, atol=1e-14)
    torch.testing.assert_close(last, h, rtol=0, atol=1e-14)
    ours = torch.autograd.grad((states * probe).sum() + last.sum(), leaves)
    theirs = torch.autograd.grad((torch.stack(expected, dim=1) * probe).sum() + h.sum(), leaves)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-13)


def test_gradients_match_finite_differences():
    """The analytic backward pass against numerical derivatives in float64."""
    layer = make_layer(3, 4)
    x = torch.randn(6, 2, 3, generator=generator(5), dtype=torch.float64, requires_grad=True)
    h_0 = torch.randn(2, 4, generator=generator(6), dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.named_parameters())

    def states(x, h_0, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x, h_0))

    assert torch.autograd.gradcheck(states, (x, h_0, parameters["weight"], parameters["bias"]))


def test_a_sequence_can_be_run_in_two_parts():
    """The last state of the first part starts the second, as with torch.nn.GRU."""
    layer = make_layer()
    x = torch.randn(9, 3, 4, generator=generator(7), dtype=torch.float64)
    whole, last = layer(x)
    first, h = layer(x[:4])
    second, end = layer(x[4:], h)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(end, last)


def test_batch_first_only_changes_the_order_of_dimensions():
    """[N, T, D] in, [N, T, H] out."""
    layer = make_layer()
    x = torch.randn(9, 3, 4, generator=generator(8), dtype=torch.float64)
    states, last = layer(x)
    layer.batch_first = True
    turned, same = layer(x.transpose(0, 1))
    assert torch.equal(turned, states.transpose(0, 1))
    assert torch.equal(last, same)


def test_gates_start_with_their_bias():
    """z rows at the given bias, g rows at 0, weights from the generator alone."""
    first, second = (EmbeddedGRU(6, 3, z_bias=-1.5, generator=generator(9)) for _ in range(2))
    assert first.bias.tolist() == [-1.5] * 3 + [0.0] * 3
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, EmbeddedGRU(6, 3, generator=generator(10)).weight)


# Quantized: the integers of the twin.


@pytest.mark.parametrize(("rule", "bits"), [("code", 16), ("paper", 16), ("code", 3)])
def test_fake_quantization_is_the_quantizer(rule, bits):
    """Integers and real values equal those of quantize_rows for the same latent rows."""
    rng = np.random.default_rng(1)
    recipe = QuantizeRecipe(zero_threshold=rule, bias_bits=bits)
    weight, bias = rng.normal(0, 0.6, (30, 17)).astype(np.float32), rng.normal(0, 2, 30).astype(np.float32)
    exponent = fit_exponents(weight, bias, recipe)
    expected = quantize_rows(weight, bias, exponent, recipe)

    rows = fake_quantize(torch.tensor(weight), torch.tensor(bias), RowFormat(torch.tensor(exponent), rule, bits))

    shift = expected.shift.astype(int)
    assert rows.weight_q2.tolist() == expected.weight_q2.tolist()
    assert rows.bias_half_q17.tolist() == (expected.bias_q17 + ((1 << shift) >> 1)).tolist()
    assert rows.scale.tolist() == (2.0**-shift).tolist()
    scale = 2.0 ** (2 - shift)
    assert rows.weight.tolist() == (expected.weight_q2 / 4 * scale[:, None]).tolist()
    assert rows.bias.tolist() == (expected.bias_q17 / 2**17 * scale).tolist()


def test_gradients_pass_straight_through_rounding():
    """The latent weight gets the gradient of the quantized one, unchanged and unmasked."""
    weight = torch.tensor([[0.1, 5.0, -0.3]], requires_grad=True)
    bias = torch.tensor([0.2], requires_grad=True)
    rows = fake_quantize(weight, bias, RowFormat(torch.zeros(1, dtype=torch.int8), "code", 16))
    (rows.weight * torch.tensor([[1.0, 2.0, 3.0]])).sum().add(7 * rows.bias.sum()).backward()
    assert rows.weight.tolist() == [[0.0, 1.0, -0.25]]
    assert weight.grad.tolist() == [[1.0, 2.0, 3.0]]
    assert bias.grad.tolist() == [7.0]


def test_latent_biases_inside_their_range_always_fit():
    """Both ends of bias_range round to a 16-bit bias; one step beyond does not."""
    row_format = RowFormat(torch.tensor([-13, 0, 2], dtype=torch.int8), "code", 16)
    low, high = bias_range(row_format)
    weight = torch.zeros(3, 1)
    for bias, steps in ((low, -32768), (high, 32767)):
        q12 = fake_quantize(weight, bias, row_format).bias * 4096 * torch.exp2(-row_format.exponent.float())
        assert q12.tolist() == [steps] * 3
        beyond = bias + torch.sign(bias) * torch.exp2(row_format.exponent.float()) / 4096
        with pytest.raises(UsageError, match="3 of 3 biases do not fit 16 bits"):
            fake_quantize(weight, beyond, row_format)


def quantized_pair(seed, inputs, hidden, dense, outputs, frames, recipe, spread):
    """A network in its integers and the artefact of the same latent weights."""
    rng = np.random.default_rng(seed)
    shapes = array_shapes("embedded_gru", inputs, hidden, dense, outputs)
    arrays = {name: rng.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
    model = FloatModel(
        "embedded_gru", inputs, hidden, dense, outputs, readout_shift_for(frames), arrays,
        quantization=quantization_settings(recipe),
    )  # fmt: skip
    exponents = {n: fit_exponents(arrays[f"{n}.weight"], arrays[f"{n}.bias"], recipe) for n in model.layers}
    model = dataclasses.replace(model, exponents=exponents)
    frontend = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, frames, 0, np.zeros(inputs, np.int16))
    labels = tuple(f"class{i}" for i in range(outputs))
    return network_from(model), quantize(model, frontend, labels, recipe, name="pair")


SIZES = st.integers(1, 24)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 150),
    hidden=st.lists(SIZES, min_size=1, max_size=3),
    dense=SIZES,
    outputs=st.integers(1, 12),
    frames=st.integers(1, 40),
    rule=st.sampled_from(["code", "paper"]),
    bits=st.sampled_from([3, 16]),
    spread=st.sampled_from([0.1, 0.5, 2.0]),
    extreme=st.booleans(),
)
def test_the_quantized_network_is_the_twin(seed, inputs, hidden, dense, outputs, frames, rule, bits, spread, extreme):
    """Logits equal the twin's to the bit, over random shapes, weights, options and inputs with Q15's extremes."""
    recipe = QuantizeRecipe(zero_threshold=rule, bias_bits=bits)
    network, artefact = quantized_pair(seed, inputs, tuple(hidden), dense, outputs, frames, recipe, spread)
    values = np.array([-32768, 0, 32767]) if extreme else np.arange(-32768, 32768)
    features = np.random.default_rng(seed).choice(values, (3, frames, inputs)).astype(np.int16)
    with torch.no_grad():
        logits = network(torch.tensor(features, dtype=torch.float32) / 32768).numpy() * 32768
    assert np.abs(logits - run_twin_batch(artefact, features)).max() <= TWIN_STEPS


def test_every_state_is_the_twins():
    """Not only the outputs: the states of both layers over a long sequence."""
    network, artefact = quantized_pair(1, 32, (30, 20), 16, 10, 300, QuantizeRecipe(), 0.5)
    features = np.random.default_rng(2).integers(-32768, 32768, (300, 32)).astype(np.int16)
    x = torch.tensor(features[None], dtype=torch.float32) / 32768
    states = []
    with torch.no_grad():
        for layer in network.recurrent:
            x, _ = layer(x)
            states.append(x[0].numpy() * 32768)
    difference = np.abs(np.concatenate(states, axis=1) - run_twin(artefact, features).states_q15)
    assert difference.max() <= TWIN_STEPS


@pytest.mark.parametrize("fan_in", [FLOAT32_FAN_IN, FLOAT32_FAN_IN + 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_stay_exact_where_float32_ends(fan_in, sign):
    """At the largest fan-in for float32, and one above it, sums of full scale are not rounded."""
    weight = np.full((1, fan_in), -4.0 * sign, np.float32)
    bias = np.array([4 * sign * (8 - 2**-11)], np.float32)
    exponent = np.array([2], np.int8)
    u = np.full((1, fan_in), -32768)
    u[0, 0] = -32767

    rows = quantize_rows(weight, bias, exponent, QuantizeRecipe())
    fake = fake_quantize(torch.tensor(weight), torch.tensor(bias), RowFormat(torch.tensor(exponent), "code", 16))

    assert fake.weight_q2.dtype == (torch.float32 if fan_in == FLOAT32_FAN_IN else torch.float64)
    got = torch.addmm(fake.bias_half_q17, torch.tensor(u).to(fake.weight_q2.dtype), fake.weight_q2.T)
    assert got.tolist() == [[sign * (4 * (fan_in * 32768 - 1) + (8 * 4096 - 2) * 32)]]
    assert got.tolist() == [row_sums_q17(u, rows)[0].tolist()]


def test_the_quantized_backward_pass_uses_the_quantized_weight():
    """Its gradients are those of the real layer with the quantized weights, up to the rounding of states."""
    layer = EmbeddedGRU(6, 5, generator=generator(11))
    exponent = fit_exponents(layer.weight.detach().numpy(), layer.bias.detach().numpy(), QuantizeRecipe())
    layer.format = RowFormat(torch.tensor(exponent), "code", 16)
    rows = fake_quantize(layer.weight, layer.bias, layer.format)
    real = EmbeddedGRU(6, 5).double()
    with torch.no_grad():
        real.weight.copy_(rows.weight)
        real.bias.copy_(rows.bias)
    x = (torch.randn(20, 3, 6, generator=generator(12)) * 8192).round() / 32768
    for cell, inputs in ((layer, x), (real, x.double())):
        states, _ = cell(inputs)
        states.square().sum().backward()
    for got, expected in ((layer.weight.grad, real.weight.grad), (layer.bias.grad, real.bias.grad)):
        assert (got - expected).abs().max() < 1e-3 * expected.abs().max()


def test_relu_and_saturation_stop_gradients_in_integers():
    """A dense unit below 0 or at the top of Q15 passes no gradient back; one between does."""
    network, _ = quantized_pair(3, 4, (3,), 3, 2, 5, QuantizeRecipe(), 0.5)
    with torch.no_grad():
        network.dense[0].weight.zero_()
        network.dense[0].bias.copy_(torch.tensor([-0.5, 0.5, 1.5]))
    network(torch.zeros(1, 5, 4)).sum().backward()
    gradient = network.dense[0].bias.grad.tolist()
    assert (gradient[0], gradient[2]) == (0, 0)
    assert gradient[1] != 0


# The network.


@pytest.mark.parametrize(("steps", "shift"), [(1, 0), (2, 1), (3, 2), (62, 6), (64, 6), (65, 7), ((1 << 15), 15)])
def test_the_readout_shift_is_the_logarithm_of_the_steps(steps, shift):
    """Rounded up, so that the sum of states of full scale never saturates."""
    assert readout_shift_for(steps) == shift
    assert steps * 32768 <= 32768 << shift
    assert steps <= MAX_STEPS


@pytest.mark.parametrize("steps", [0, (1 << 15) + 1])
def test_sequences_too_long_for_a_readout_are_refused(steps):
    """Shifts end at 15."""
    with pytest.raises(UsageError, match=f"a clip of {steps} frames"):
        readout_shift_for(steps)


@pytest.mark.parametrize("kind", ["embedded_gru", "gru"])
def test_a_network_survives_its_arrays(kind):
    """Parameters to a FloatModel and back give the same outputs."""
    model = make_float_model(kind=kind)
    network = network_from(model)
    assert set(parameters_by_name(network)) == set(model.arrays)
    for name, array in arrays_of(network).items():
        assert array.tolist() == model.arrays[name].tolist()
    x = torch.randn(2, 7, 5, generator=generator(13))
    assert torch.equal(network(x), network_from(dataclasses.replace(model, arrays=arrays_of(network)))(x))


def test_arrays_are_copies():
    """Training on does not change a model that was taken before."""
    network = network_from(make_float_model())
    arrays = arrays_of(network)
    before = arrays["dense.0.bias"].tolist()
    with torch.no_grad():
        network.dense[0].bias.add_(1)
    assert arrays["dense.0.bias"].tolist() == before


def test_the_gru_is_the_float_gru_of_its_formula():
    """Rows r, z, n; reset after the product; the readout is the mean state scaled to the shift."""
    model = make_float_model(kind="gru")
    x = np.random.default_rng(3).normal(0, 0.5, (7, 5)).astype(np.float32)
    values = x.astype(np.float64)
    for i, units in enumerate(model.hidden):
        W, U, b, c = (
            model.arrays[f"recurrent.{i}.{p}"].astype(float) for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, states = np.zeros(units), []
        for row in values:
            (ir, iz, i_n), (hr, hz, hn) = np.split(W @ row + b, 3), np.split(U @ h + c, 3)
            r, z = 1 / (1 + np.exp(-ir - hr)), 1 / (1 + np.exp(-iz - hz))
            h = (1 - z) * np.tanh(i_n + r * hn) + z * h
            states.append(h)
        values = np.array(states)
    u = values.sum(axis=0) / 2**model.readout_shift
    u = np.clip(model.arrays["dense.0.weight"] @ u + model.arrays["dense.0.bias"], 0, 1)
    expected = model.arrays["dense.1.weight"] @ u + model.arrays["dense.1.bias"]
    got = network_from(model)(torch.tensor(x[None]))[0].detach().numpy()
    assert got == pytest.approx(expected, abs=1e-5)


def test_a_gru_cannot_be_quantized():
    """Only the eGRU has integers."""
    network = Network("gru", 5, (4, 3), 6, 3, 4)
    with pytest.raises(UsageError, match="only an eGRU"):
        network.quantize_(row_formats({}, {"zero_threshold": "code", "bias_bits": 16}))
