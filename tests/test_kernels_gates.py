"""Gated cells with 8-bit weights: C on host and chip equals the twins, and these are near real arithmetic."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_support import (
    TESTS,
    Kernels,
    build_program,
    host_differences,
    random_byte_rows,
    random_gru8,
    random_gru8_artefact,
    random_q15,
)
from kernel_unicorn import Armv6mKernels, build_armv6m

from hil.arithmetic import PRE_LIMIT_Q12, tanh_q15
from hil.artefact import ByteRows, Gru8Layer
from hil.codegen.byte_rows import pack_byte_codes
from hil.codegen.tables import tanh_source
from hil.errors import ToolError
from hil.fixed import INT32_MAX, INT32_MIN
from hil.quant import dense, run_twin
from hil.quant.gates import gru8_step, sigmoid_q15
from hil.resources import resource

HOST = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
CHIP = settings(HOST, max_examples=15)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    program = build_program(tmp_path_factory.mktemp("gates") / "driver", [TESTS / "kernel_driver.c"])
    driver = Kernels(program)
    yield driver
    driver.close()


@pytest.fixture(scope="module", params=["gcc", "zig"])
def chip(request, tmp_path_factory):
    try:
        return Armv6mKernels(build_armv6m(tmp_path_factory.mktemp(f"armv6m-{request.param}"), request.param))
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))


def twin_steps(x, h, layer):
    """acc, h_before and h of each step."""
    out = []
    for features in x:
        step = gru8_step(features, h, layer)
        out.append((step.acc_q22, h, step.h_q15))
        h = step.h_q15
    return [np.stack(part) for part in zip(*out, strict=True)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def assert_gru8_equals_its_twin(kernels, inputs, units, seed, steps, extreme, extreme_weights):
    rng = np.random.default_rng(seed)
    layer = random_gru8(rng, inputs, units, extreme=extreme_weights)
    x, h = random_q15(rng, (steps, inputs), extreme=extreme), random_q15(rng, units, extreme=extreme)
    for name, want, have in zip(
        ("acc", "h_before", "h"), twin_steps(x, h, layer), kernels.gru8(x, h, layer), strict=True
    ):
        np.testing.assert_array_equal(have, want, err_msg=name)


# Sigmoid and tanh.


def test_the_committed_tanh_table_is_what_its_maker_writes():
    """firmware/kernels/tanh_table.c is the output of hil.codegen.tables."""
    assert (resource("firmware") / "kernels" / "tanh_table.c").read_text() == tanh_source()


def test_tanh_and_sigmoid_equal_their_twins_for_every_value_within_8(host):
    """Every number of Q13 (of Q12 within 16) up to two steps beyond the clipping limit, and the ends of int32."""
    near = np.arange(-PRE_LIMIT_Q12 - 2, PRE_LIMIT_Q12 + 3)
    v = np.concatenate([near, [INT32_MIN, INT32_MIN + 1, INT32_MAX]])
    np.testing.assert_array_equal(host.gates(v), [tanh_q15(v), sigmoid_q15(v)])


def test_tanh_on_the_chip_equals_its_twin(chip):
    """Every step of the table, one below and one above, both signs."""
    edges = np.arange(0, (6 << 13) + 2, 1 << 7)
    v = np.concatenate([edges - 1, edges, edges + 1, -edges, [INT32_MIN, INT32_MAX]])
    np.testing.assert_array_equal(chip.gates(v), tanh_q15(v))


def test_tanh_and_sigmoid_are_within_two_steps_of_the_real_functions():
    """2**-14 over the whole range of pre-activations, both odd about their middle."""
    v = np.arange(-PRE_LIMIT_Q12, PRE_LIMIT_Q12 + 1)
    assert np.abs(tanh_q15(v) / 2**15 - np.tanh(v / 2**13)).max() <= 2**-14
    assert np.abs(sigmoid_q15(v) / 2**15 - sigmoid(v / 2**12)).max() <= 2**-14
    np.testing.assert_array_equal(tanh_q15(-v), -tanh_q15(v))
    assert (sigmoid_q15(v).min(), sigmoid_q15(v).max()) == (0, 32767)


# The int8 GRU.


@HOST
@given(
    inputs=st.integers(1, 70),
    units=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    extreme_weights=st.booleans(),
)
def test_gru8_equals_its_twin(host, inputs, units, seed, extreme, extreme_weights):
    """Sums, previous state and state of eight steps, for any shape, weights, shifts and the ends of Q15."""
    assert_gru8_equals_its_twin(host, inputs, units, seed, 8, extreme, extreme_weights)


@CHIP
@given(
    inputs=st.integers(1, 40),
    units=st.integers(1, 21),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    extreme_weights=st.booleans(),
)
def test_gru8_on_the_chip_equals_its_twin(chip, inputs, units, seed, extreme, extreme_weights):
    """The same by both compilers' code, executed."""
    assert_gru8_equals_its_twin(chip, inputs, units, seed, 3, extreme, extreme_weights)


@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shift", [0, 15])
def test_the_largest_row_stays_inside_int32(host, weight, sign, shift):
    """Weights, values and bias at the limit of the rule: no overflow (the build traps it), equal sums."""

    def rows(outputs, inputs):
        bias = INT32_MAX - (1 << 14) - inputs * 127 * (1 << 15)
        return ByteRows(
            np.full((outputs, inputs), weight, np.int8),
            np.full(outputs, sign * bias, np.int32),
            np.full(outputs, shift, np.int8),
        )

    inputs, units = 510, 4
    layer = Gru8Layer(rows(2 * units, inputs + units), rows(units, inputs), rows(units, units))
    assert list(layer.gates.problems("gates", 16)) == []
    x, h = np.full((2, inputs), -32768, np.int16), np.full(units, -32768, np.int16)
    for want, have in zip(twin_steps(x, h, layer), host.gru8(x, h, layer), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (9, 5), (32, 30)])
def test_a_step_of_gru8_is_near_the_real_one(inputs, units):
    """From each of 200 states, with the same (8-bit) weights, within 2**-11 of double precision."""
    rng = np.random.default_rng(5)
    layer = random_gru8(rng, inputs, units)
    # A row scale of 2**e makes the shift 10 - e; weights are Q7 and biases Q22, both divided by the scale.
    (W, b), (P, bp), (Q, bq) = (
        (rows.weight_q7 * 2.0 ** (3 - shift[:, None]), rows.bias_q22 * 2.0 ** (-12 - shift))
        for rows in (layer.gates, layer.candidate_x, layer.candidate_h)
        for shift in (rows.shift.astype(int),)
    )
    x, h = random_q15(rng, (200, inputs)), random_q15(rng, (200, units))
    got = gru8_step(x, h, layer).h_q15 / 2**15
    x, h = x / 2**15, h / 2**15

    rz = sigmoid(np.clip(np.hstack([x, h]) @ W.T + b, -16, 16))
    r, z = rz[:, :units], rz[:, units:]
    g = np.tanh(np.clip(x @ P.T + bp, -16, 16) + r * np.clip(h @ Q.T + bq, -16, 16))
    np.testing.assert_allclose(got, (1 - z) * g + z * h, rtol=0, atol=2**-11)


# Dense layers.


@HOST
@given(
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    activation=st.sampled_from(["relu", "linear"]),
)
def test_byte_dense_equals_its_twin(host, inputs, outputs, seed, extreme, activation):
    """Both activations, for any shape, weights, shifts and the ends of Q15."""
    rng = np.random.default_rng(seed)
    rows, u = random_byte_rows(rng, outputs, inputs, extreme=extreme), random_q15(rng, inputs, extreme=extreme)
    np.testing.assert_array_equal(host.byte_dense(u, rows, activation), dense(u, rows, activation))


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_byte_dense_on_the_chip_equals_its_twin(chip, activation):
    """Both activations by both compilers' code."""
    rng = np.random.default_rng(8)
    for inputs, outputs in ((1, 1), (20, 16), (33, 7)):
        rows, u = random_byte_rows(rng, outputs, inputs), random_q15(rng, inputs)
        np.testing.assert_array_equal(chip.byte_dense(u, rows, activation), dense(u, rows, activation))


def test_a_word_holds_four_rows_of_a_column():
    """Codes are w + 128, row 0 lowest; zeros fill the last block."""
    weight = np.array([[-127, 1], [0, 127], [5, 0], [-1, 2], [3, -3]], np.int8)
    words = pack_byte_codes(weight, 1)
    assert [f"{word:08x}" for word in words] == ["7f858001", "80808083", "8280ff81", "8080807d"]


# Whole models.

SHAPES = {
    "one layer of one unit": {"hidden": (1,), "inputs": 1, "dense": (1,)},
    "two layers": {"hidden": (6, 5), "inputs": 4, "dense": (3,)},
    "two layers, two dense": {"hidden": (7, 9), "inputs": 10, "dense": (5, 4)},
}


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_generated_gru8_model_equals_the_twin(tmp_path, shape, extreme):
    """Inner values, states, outputs and clipped sums of a whole sequence, twice after a reset."""
    artefact = random_gru8_artefact(11, **SHAPES[shape], extreme=extreme)
    features = random_q15(np.random.default_rng(12), (40, artefact.inputs), extreme=extreme)
    trace = run_twin(artefact, features, detail=True)
    assert host_differences(tmp_path, artefact, features, trace) == []
