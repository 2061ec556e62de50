"""The integer twin: against its definition, against real arithmetic, at its limits."""

import functools
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from conftest import make_artefact, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.arithmetic import softsign_lines
from hil.artefact import Rows
from hil.errors import UsageError
from hil.fixed import ACC_LIMIT_Q15, BIAS_LIMIT_Q17, INT16_MAX, INT16_MIN, INT32_MAX, INT32_MIN, MAX_FAN_IN, Q15_ONE
from hil.quant import (
    MAX_STEPS,
    dense,
    embedded_gru_step,
    pre_activations_q15,
    readout_sum,
    row_sums_q17,
    run_twin,
    run_twin_batch,
    run_twins,
    softsign_division_q15,
    softsign_q15,
    truncated_dot_q15,
)
from hil.trace import Tier

STATE_STEPS = 13
"""Q15 steps by which a state may leave the real formula; the worst of 50 random layers was 12.8, the median 7.2."""


@functools.cache
def lines_by_the_book():
    """docs/artefact.md, "Softsign": (c, d) of the lines 0 to 255 within 8.0, then 16 to 127 beyond."""
    lines, y = {}, Fraction(128)
    regions = ("near", range(256), Fraction(1, 32), 1024), ("far", range(16, 128), Fraction(1, 2), 256)
    for region, numbers, step, width in regions:
        for i in numbers:
            a = (i + 1) * step
            d = round((2**23 * (a / (1 + a) + step**2 / (8 * (1 + a) ** 3)) + 128 - y) / width)
            lines[region, i] = (int(y) - d * width * i, d)
            y += d * width
    return lines


def softsign_by_the_book(v):
    """docs/artefact.md, "Softsign", one number at a time."""
    if -(2**18) <= v < 0:
        return -softsign_by_the_book(-v)
    if 0 <= v < 2**18:
        c, d = lines_by_the_book()["near", v >> 10]
        return (c + d * v) >> 8
    a = min(abs(v), 2**21 - 1) >> 6
    c, d = lines_by_the_book()["far", a >> 8]
    y = (c + d * a) >> 8
    return y if v >= 0 else -y


def real_softsign(a):
    return a / (1 + np.abs(a))


def real_rows(rows):
    """Weight and bias in real numbers, with the row's scale."""
    scale = 2.0 ** (2 - rows.shift.astype(float))
    return rows.weight_q2 / 4 * scale[:, None], rows.bias_q17 / 2**17 * scale


EDGES = [0, 1, 1023, 1024, 1025, 2**18 - 1, 2**18, 2**18 + 1, 2**21 - 16384, 2**21 - 1, 2**21, 2**21 + 1, INT32_MAX]


def test_softsign_is_the_documented_integer_function():
    """At every limit of its tables and at a thousand places between, in both signs."""
    rng = np.random.default_rng(1)
    values = [*EDGES, *rng.integers(0, 2**22, 1000).tolist(), *(2 ** rng.uniform(0, 22, 1000)).astype(int).tolist()]
    expected = [softsign_by_the_book(sign * v) for v in values for sign in (1, -1)]
    got = softsign_q15(np.array([sign * v for v in values for sign in (1, -1)]))
    assert got.dtype == np.int16
    assert got.tolist() == expected


def test_softsign_lines_have_the_number_of_their_name():
    """512 up to +-8.0, 112 from there to 64.0; slopes fit 8 bits, values at 0 fit 24."""
    lines = softsign_lines().astype(int)
    assert lines.shape == (512 + 112,)
    assert ((lines & 255) > 0).all()
    assert (np.abs(lines >> 8) < 2**23).all()


def test_softsign_is_within_seven_steps_everywhere():
    """All 4,194,305 values within +-64.0, where 2**-12 is 8 steps; also odd and never falling."""
    v = np.arange(-ACC_LIMIT_Q15, ACC_LIMIT_Q15 + 1)
    y = softsign_q15(v).astype(np.int64)
    assert np.abs(y - Q15_ONE * real_softsign(v / Q15_ONE)).max() <= 7
    assert (y == -y[::-1]).all()
    assert (np.diff(y) >= 0).all()


@pytest.mark.parametrize("v", [2**21 + 1, INT32_MAX, INT32_MIN])
def test_softsign_clips_at_64(v):
    """Beyond 64.0 the value at 64.0 is returned, 504 steps short of 1.0."""
    assert int(softsign_q15(np.array(v))) == (1 if v > 0 else -1) * 32264


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 70), units=st.integers(1, 40), extreme=st.booleans())
def test_a_step_is_the_canonical_arithmetic(seed, inputs, units, extreme):
    """Sums, gates, candidates and states equal plain Python integers, for random shapes, weights and inputs."""
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, 2 * units, inputs + units)
    draw = (
        (lambda n: rng.choice([INT16_MIN, INT16_MAX, 0], n)) if extreme else (lambda n: rng.integers(-32768, 32768, n))
    )
    x, h = draw(inputs).astype(np.int16), draw(units).astype(np.int16)

    acc, z, g, after = embedded_gru_step(x, h, rows)

    u = [*x.tolist(), *h.tolist()]
    for row in range(2 * units):
        total = sum(w * v for w, v in zip(rows.weight_q2[row].tolist(), u, strict=True)) + int(rows.bias_q17[row])
        assert acc[row] == total
        shift = int(rows.shift[row])
        s = softsign_by_the_book((total + ((1 << shift) >> 1)) >> shift)
        assert (z[row] == (s + 32768) >> 1) if row < units else (g[row - units] == s)
    for unit in range(units):
        z_u, g_u, h_u = int(z[unit]), int(g[unit]), int(h[unit])
        assert abs(z_u * (g_u - h_u)) + (1 << 14) <= INT32_MAX
        assert after[unit] == h_u + ((z_u * (g_u - h_u) + (1 << 14)) >> 15)


def test_a_batch_is_its_single_steps():
    """[N, D] gives the rows that [D] gives."""
    rng = np.random.default_rng(2)
    rows = make_rows(rng, 8, 9)
    x, h = (rng.integers(-32768, 32768, (6, n)).astype(np.int16) for n in (5, 4))
    together = embedded_gru_step(x, h, rows)
    for n in range(6):
        for whole, one in zip(together, embedded_gru_step(x[n], h[n], rows), strict=True):
            assert whole[n].tolist() == one.tolist()


def test_a_step_leaves_its_inputs_alone():
    """Features and old state are not modified."""
    rng = np.random.default_rng(3)
    x, h = (rng.integers(-32768, 32768, n).astype(np.int16) for n in (5, 4))
    before = x.copy(), h.copy()
    embedded_gru_step(x, h, make_rows(rng, 8, 9))
    assert (before[0] == x).all()
    assert (before[1] == h).all()


@pytest.mark.parametrize("seed", range(20))
def test_states_stay_near_the_real_cell(seed):
    """Two hundred steps of the integers are within a few Q15 steps of the formula in real numbers."""
    rng = np.random.default_rng(seed)
    inputs, units = 8, 16
    rows = make_rows(rng, 2 * units, inputs + units)
    rows.weight_q2[:, inputs:] = rng.choice([-2, -1, 0, 1, 2], (2 * units, units))
    weight, bias = real_rows(rows)
    h, real, worst = np.zeros(units, np.int16), np.zeros(units), 0.0
    for _ in range(200):
        x = rng.integers(-16384, 16384, inputs).astype(np.int16)
        *_, h = embedded_gru_step(x, h, rows)
        s = real_softsign(weight @ np.concatenate([x / Q15_ONE, real]) + bias)
        z, g = (s[:units] + 1) / 2, s[units:]
        real = real + z * (g - real)
        worst = max(worst, float(np.abs(h - real * Q15_ONE).max()))
    assert worst <= STATE_STEPS


@pytest.mark.parametrize("fan_in", [MAX_FAN_IN - 1, MAX_FAN_IN])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shift", [0, 1, 15])
def test_the_largest_sums_stay_inside_int32(fan_in, sign, shift):
    """With every operand at its limit the sum and its rounding equal an int64 oracle and fit int32."""
    rows = Rows(
        np.full((1, fan_in), 4 * -sign, np.int8),
        np.array([sign * (BIAS_LIMIT_Q17 - 1)], np.int32),
        np.array([shift], np.int8),
    )
    u = np.full(fan_in, INT16_MIN, np.int16)
    exact = sign * (fan_in * 4 * 32768 + BIAS_LIMIT_Q17 - 1)
    half = (1 << shift) >> 1
    assert INT32_MIN <= exact + half <= INT32_MAX
    assert row_sums_q17(u, rows).tolist() == [exact]
    assert pre_activations_q15(row_sums_q17(u, rows), rows).tolist() == [(exact + half) >> shift]


def test_one_input_more_than_max_fan_in_could_overflow():
    """MAX_FAN_IN is the largest bound, not only a safe one."""
    assert (MAX_FAN_IN + 1) * (1 << 17) + BIAS_LIMIT_Q17 + (1 << 14) > INT32_MAX


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), fan_in=st.integers(1, 3000))
def test_sums_in_floats_are_the_sums_in_integers(seed, fan_in):
    """The float64 product loses no bit against int64, for random weights and inputs."""
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, 7, fan_in)
    u = rng.integers(-32768, 32768, (3, fan_in)).astype(np.int16)
    expected = u.astype(np.int64) @ rows.weight_q2.astype(np.int64).T + rows.bias_q17
    assert row_sums_q17(u, rows).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("total", "shift", "expected", "clipped"),
    [
        (32767 << 3, 3, 32767, 0),
        ((32767 << 3) + 3, 3, 32767, 0),
        ((32767 << 3) + 4, 3, 32767, 1),
        (-32768 << 3, 3, -32768, 0),
        ((-32768 << 3) - 4, 3, -32768, 0),
        ((-32768 << 3) - 5, 3, -32768, 1),
        (5, 1, 3, 0),
        (-5, 1, -2, 0),
        (7, 0, 7, 0),
        (MAX_STEPS * 32767, 15, 32767, 1),
    ],
)
def test_readout_rounds_then_saturates(total, shift, expected, clipped):
    """Ties go up; a value is counted only if saturation changed it."""
    value, count = readout_sum(np.array([total]), shift)
    assert (value.tolist(), count) == ([expected], clipped)


@pytest.mark.parametrize(
    ("acc", "relu", "linear"),
    [(-1, 0, 0), (-3, 0, -1), (1, 0, 0), (2, 1, 1), (4 * 32767, 32767, 32767), (4 * 32768, 32767, 32768)],
)
def test_dense_clips_only_relu(acc, relu, linear):
    """ReLU is clipped to [0, 32767] as int16; a linear layer is not clipped, as int32."""
    rows = Rows(np.zeros((1, 1), np.int8), np.array([acc], np.int32), np.array([2], np.int8))
    clipped, free = (dense(np.zeros(1, np.int16), rows, activation) for activation in ("relu", "linear"))
    assert (clipped.dtype, free.dtype) == (np.int16, np.int32)
    assert (clipped.tolist(), free.tolist()) == ([relu], [linear])


@pytest.mark.parametrize("hidden", [(4,), (4, 3), (3, 5, 2)])
def test_run_twin_is_the_kernels_one_after_another(hidden):
    """States layer by layer and step by step, the sum of the last layer, then the dense layers."""
    artefact = make_artefact(seed=4, hidden=hidden)
    features = np.random.default_rng(5).integers(-32768, 32768, (9, 5)).astype(np.int16)
    trace = run_twin(artefact, features)

    states = [np.zeros(n, np.int16) for n in hidden]
    expected, total = [], np.zeros(hidden[-1], np.int64)
    for x in features:
        for i, layer in enumerate(artefact.recurrent):
            *_, states[i] = embedded_gru_step(x, states[i], layer.rows)
            x = states[i]
        expected.append(np.concatenate(states).tolist())
        total += x
    r, saturated = readout_sum(total, artefact.readout_shift)
    logits = dense(dense(r, artefact.dense[0].rows, "relu"), artefact.dense[1].rows, "linear")

    assert trace.tier is Tier.HOST
    assert trace.states_q15.tolist() == expected
    assert (trace.logits.tolist(), trace.saturated) == (logits.tolist(), saturated)
    assert (trace.cycles, trace.layers) == (None, ())


def test_detail_keeps_what_each_state_was_made_of():
    """The layers of a detailed trace repeat its states, and their shapes are those that LayerTrace states."""
    artefact = make_artefact(seed=6)
    features = np.random.default_rng(7).integers(-32768, 32768, (9, 5)).astype(np.int16)
    trace = run_twin(artefact, features, detail=True)
    assert [layer.acc_q17.shape for layer in trace.layers] == [(9, 8), (9, 6)]
    assert [layer.acc_q17.dtype for layer in trace.layers] == [np.int32, np.int32]
    assert np.concatenate([layer.h_q15 for layer in trace.layers], axis=1).tolist() == trace.states_q15.tolist()
    acc, z, g, h = embedded_gru_step(features[0], np.zeros(4, np.int16), artefact.recurrent[0].rows)
    first = trace.layers[0]
    assert [a[0].tolist() for a in (first.acc_q17, first.z_q15, first.g_q15, first.h_q15)] == [
        a.tolist() for a in (acc, z, g, h)
    ]


def test_batches_give_the_numbers_of_single_runs():
    """run_twins and run_twin_batch equal run_twin, also where the readout saturates."""
    artefact = make_artefact(seed=8, frames=40)
    features = np.random.default_rng(9).integers(-32768, 32768, (7, 400, 5)).astype(np.int16)
    features[0] = INT16_MAX
    single = [run_twin(artefact, x) for x in features]
    several = run_twins(artefact, features)
    assert sum(t.saturated for t in single) > 0
    assert [t.saturated for t in several] == [t.saturated for t in single]
    assert [t.states_q15.tolist() for t in several] == [t.states_q15.tolist() for t in single]
    assert run_twin_batch(artefact, features).tolist() == [t.logits.tolist() for t in single]
    assert [t.logits.tolist() for t in several] == [t.logits.tolist() for t in single]


def test_an_empty_batch_is_empty():
    """No sequences give no outputs."""
    artefact = make_artefact()
    none = np.zeros((0, 9, 5), np.int16)
    assert run_twin_batch(artefact, none).shape == (0, 3)
    assert run_twins(artefact, none) == []


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((9, 5), np.int32, "int32"),
        ((5,), np.int16, r"expected int16 \[T, D\]"),
        ((9, 4), np.int16, "4 values a step, random takes 5"),
        ((0, 5), np.int16, "0 steps"),
        ((MAX_STEPS + 1, 5), np.int16, "65536 steps"),
    ],
)
def test_features_that_do_not_fit_are_refused(shape, dtype, message):
    """The error names what came and what the model takes."""
    with pytest.raises(UsageError, match=message):
        run_twin(make_artefact(), np.zeros(shape, dtype))


def test_the_longest_sequence_cannot_overflow_its_sums():
    """MAX_STEPS states of full scale and the largest rounding constant fit int32; one step more does not."""
    assert MAX_STEPS * 32768 + (1 << 14) <= INT32_MAX < (MAX_STEPS + 1) * 32768


def test_the_papers_division_is_close_to_softsign():
    """With its misprint corrected the listing is within 8 steps of the function and within 10 of the lines."""
    v = np.arange(1 - ACC_LIMIT_Q15, ACC_LIMIT_Q15)
    y = softsign_division_q15(v).astype(np.int64)
    assert int(softsign_division_q15(np.array(Q15_ONE))) == Q15_ONE // 2
    assert 7 < np.abs(y - Q15_ONE * real_softsign(v / Q15_ONE)).max() < 8
    difference = np.abs(y - softsign_q15(v))
    assert difference.max() == 10
    assert 0.4 < np.count_nonzero(difference) / v.size < 0.5


def test_the_papers_truncated_terms_drift_from_the_exact_sum():
    """Each truncated term loses up to 3/4 of a step, so 100 of them differ from the rounded sum by more than 10."""
    rng = np.random.default_rng(10)
    fan_in, count = 100, 2000
    rows = make_rows(rng, 8, fan_in)
    rows = Rows(rows.weight_q2, np.zeros(8, np.int32), np.full(8, 2, np.int8))
    u = rng.integers(-32768, 32768, (count, fan_in)).astype(np.int16)
    exact = pre_activations_q15(row_sums_q17(u, rows), rows)
    difference = np.abs(truncated_dot_q15(u, rows.weight_q2) - exact)
    assert 10 < difference.max() <= fan_in * 0.75 + 1
    assert truncated_dot_q15(np.array([-1, -1, 3], np.int16), np.array([[1, -1, 2]], np.int8)).tolist() == [-1 + 1 + 1]


BLOCKED = """
import ast, sys
sys.path[:] = ast.literal_eval(sys.argv[1])
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "pyocd", "sounddevice"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import hil.quant, hil.float_model, hil.arithmetic
print(sorted(m for m in sys.modules if m.split(".")[0] == "torch"))
"""


def test_twins_need_no_torch():
    """hil.quant and the float model's file import where torch cannot be."""
    command = [sys.executable, "-c", BLOCKED, repr(sys.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
