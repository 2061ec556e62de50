"""The float baseline is right: its functions to a few ulp, its GRU to rounding."""

import numpy as np
import pytest
from kernel_support import TESTS, Kernels, build_program


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    program = build_program(tmp_path_factory.mktemp("float-kernels") / "driver", [TESTS / "kernel_driver.c"])
    driver = Kernels(program)
    yield driver
    driver.close()


def ulps(got, exact):
    """Largest error in steps of float32 at the exact value, a subnormal's step at the least."""
    return np.max(np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)))


def grid(low, high, count=400_001):
    return np.linspace(low, high, count).astype(np.float32)


def near_zero(count=100_001):
    """Both signs, all binades from 2**-40 to 1."""
    magnitude = np.exp2(np.linspace(-40, 0, count))
    return np.concatenate([-magnitude, magnitude]).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "function", "x", "bound"),
    [
        ("float_exp", np.exp, grid(-87.3, 88.72), 1.1),
        ("float_exp", np.exp, near_zero(), 1.1),
        ("float_exp", np.exp, grid(-103.97, -87.3), 1),
        ("float_tanh", np.tanh, grid(-10, 10), 1.5),
        ("float_tanh", np.tanh, near_zero(), 1.5),
        ("float_sigmoid", sigmoid, grid(-87, 30), 3),
    ],
)
def test_float_function_is_within_its_ulps(kernels, name, function, x, bound):
    """The bounds that float_math.h states, against double precision."""
    assert ulps(kernels.float_function(name, x), function(x.astype(np.float64))) <= bound


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("float_exp", 0.0, 1.0),
        ("float_exp", 88.7228, np.exp(np.float64(np.float32(88.7228)))),
        ("float_exp", 88.7229, np.inf),
        ("float_exp", -103.973, 0.0),
        ("float_exp", np.inf, np.inf),
        ("float_exp", -np.inf, 0.0),
        ("float_tanh", 0.0, 0.0),
        ("float_tanh", np.inf, 1.0),
        ("float_tanh", -np.inf, -1.0),
        ("float_sigmoid", np.inf, 1.0),
        ("float_sigmoid", -np.inf, 0.0),
    ],
)
def test_float_function_at_its_ends(kernels, name, x, expected):
    """Overflow, underflow and infinities."""
    got = kernels.float_function(name, np.array([x], np.float32))[0]
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["float_exp", "float_tanh", "float_sigmoid"])
def test_not_a_number_stays_one(kernels, name):
    """NaN in, NaN out."""
    assert np.isnan(kernels.float_function(name, np.array([np.nan], np.float32))[0])


def float64_gru(x, weight, bias):
    """The GRU of the eGRU paper's code (reset before the product) in double precision."""
    units = bias.size // 3
    w_r, w_z, w_g = np.split(weight.astype(np.float64), 3)
    b_r, b_z, b_g = np.split(bias.astype(np.float64), 3)
    h, states = np.zeros(units), []
    for features in x.astype(np.float64):
        u = np.concatenate([features, h])
        r, z = sigmoid(w_r @ u + b_r), sigmoid(w_z @ u + b_z)
        g = np.tanh(w_g @ np.concatenate([features, r * h]) + b_g)
        h = (1 - z) * h + z * g
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (5, 3), (64, 30)])
def test_float_gru_equals_the_formula(kernels, inputs, units):
    """Fifty steps stay within 1e-5 of double precision."""
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.5, (3 * units, inputs + units)).astype(np.float32)
    bias = rng.normal(0, 0.5, 3 * units).astype(np.float32)
    x = rng.uniform(-1, 1, (50, inputs)).astype(np.float32)

    np.testing.assert_allclose(kernels.float_gru(x, weight, bias), float64_gru(x, weight, bias), atol=1e-5)


def float64_lstm(x, weight, bias):
    """The LSTM of the header, i, f, g, o, in double precision."""
    units = bias.size // 4
    c, h, states = np.zeros(units), np.zeros(units), []
    for features in x.astype(np.float64):
        i, f, g, o = np.split(weight.astype(np.float64) @ np.concatenate([features, h]) + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (5, 3), (64, 30)])
def test_float_lstm_equals_the_formula(kernels, inputs, units):
    """Fifty steps stay within 1e-5 of double precision."""
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.5, (4 * units, inputs + units)).astype(np.float32)
    bias = rng.normal(0, 0.5, 4 * units).astype(np.float32)
    x = rng.uniform(-1, 1, (50, inputs)).astype(np.float32)

    np.testing.assert_allclose(kernels.float_lstm(x, weight, bias), float64_lstm(x, weight, bias), atol=1e-5)
