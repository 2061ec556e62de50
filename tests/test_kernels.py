"""C kernels on the host equal their twins bit for bit, with the sanitizers watching."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_support import TESTS, Kernels, build_program, random_q15, random_rows, sanitizer_flags, twin_steps

from hil.artefact import Rows
from hil.codegen.layout import ROWS_BLOCK
from hil.codegen.tables import softsign_source
from hil.fixed import BIAS_LIMIT_Q17, INT32_MAX, INT32_MIN, MAX_FAN_IN
from hil.quant import MAX_STEPS, dense, readout_sum, softsign_q15
from hil.resources import resource

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    program = build_program(tmp_path_factory.mktemp("kernels") / "driver", [TESTS / "kernel_driver.c"])
    driver = Kernels(program)
    yield driver
    driver.close()


def test_the_committed_softsign_lines_are_what_its_maker_writes():
    """firmware/kernels/softsign_lines.c is the output of hil.codegen.tables."""
    assert (resource("firmware") / "kernels" / "softsign_lines.c").read_text() == softsign_source()


def test_limits_of_c_and_python_are_the_same(kernels):
    """The block of rows, the largest fan-in and the longest sequence are one number each in both languages."""
    expected = {"ROWS_BLOCK": ROWS_BLOCK, "ROWS_MAX_FAN_IN": MAX_FAN_IN, "READOUT_SUM_MAX_STEPS": MAX_STEPS}
    assert kernels.limits() == expected


def test_softsign_equals_its_twin_for_every_value_within_64(kernels):
    """All 4,194,309 pre-activations up to one step beyond the clipping limit, both signs."""
    v = np.arange(-(64 << 15) - 2, (64 << 15) + 3)
    np.testing.assert_array_equal(kernels.softsign_q15(v), softsign_q15(v))


@pytest.mark.parametrize("v", [INT32_MIN, INT32_MIN + 1, -(1 << 30), 1 << 30, INT32_MAX - 1, INT32_MAX])
def test_softsign_takes_any_int32(kernels, v):
    """Magnitudes beyond 64 count as 64, up to the ends of int32."""
    expected = np.sign(v) * softsign_q15(np.array(64 << 15))
    assert kernels.softsign_q15(np.array([v])).tolist() == [expected]


@PROPERTY
@given(
    inputs=st.integers(1, 70),
    units=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    extreme_weights=st.booleans(),
)
def test_embedded_gru_equals_its_twin(kernels, inputs, units, seed, extreme, extreme_weights):
    """Sums, previous state and state of eight steps, for any shape, weights, shifts and the ends of Q15."""
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 2 * units, inputs + units, extreme=extreme_weights)
    x, h = random_q15(rng, (8, inputs), extreme=extreme), random_q15(rng, units, extreme=extreme)

    expected, got = twin_steps(x, h, rows), kernels.embedded_gru(x, h, rows)

    for name, want, have in zip(("acc", "h_before", "h"), expected, got, strict=True):
        np.testing.assert_array_equal(have, want, err_msg=name)


@pytest.mark.parametrize("weight", [-4, 4])
@pytest.mark.parametrize("bias", [-(BIAS_LIMIT_Q17 - 1), BIAS_LIMIT_Q17 - 1])
@pytest.mark.parametrize("shift", [0, 2, 15])
def test_the_largest_fan_in_stays_inside_int32(kernels, weight, bias, shift):
    """Every operand at its limit and MAX_FAN_IN columns: no overflow (the build traps it), equal sums."""
    units = 1
    inputs = MAX_FAN_IN - units
    rows = Rows(np.full((2, MAX_FAN_IN), weight, np.int8), np.full(2, bias, np.int32), np.full(2, shift, np.int8))
    x, h = np.full((2, inputs), -32768, np.int16), np.full(units, -32768, np.int16)

    expected, got = twin_steps(x, h, rows), kernels.embedded_gru(x, h, rows)

    for want, have in zip(expected, got, strict=True):
        np.testing.assert_array_equal(have, want)


@PROPERTY
@given(
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    activation=st.sampled_from(["relu", "linear"]),
)
def test_dense_equals_its_twin(kernels, inputs, outputs, seed, extreme, activation):
    """Both activations, for any shape, weights, shifts and the ends of Q15."""
    rng = np.random.default_rng(seed)
    rows, u = random_rows(rng, outputs, inputs, extreme=extreme), random_q15(rng, inputs, extreme=extreme)
    np.testing.assert_array_equal(kernels.dense(u, rows, activation), dense(u, rows, activation))


@pytest.mark.parametrize(("pre", "expected"), [(-1, 0), (0, 0), (32767, 32767), (32768, 32767)])
def test_relu_clips_at_both_ends(kernels, pre, expected):
    """0 and 32767 are the ends of a hidden unit, one below and one above are clipped."""
    rows = Rows(np.zeros((1, 1), np.int8), np.array([pre], np.int32), np.zeros(1, np.int8))
    assert kernels.dense(np.zeros(1, np.int16), rows, "relu").tolist() == [expected]


@PROPERTY
@given(
    units=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 300),
    shift=st.integers(0, 15),
    extreme=st.booleans(),
)
def test_readout_sum_equals_its_twin(kernels, units, seed, steps, shift, extreme):
    """Values and the number clipped, for any length and shift."""
    h = random_q15(np.random.default_rng(seed), units, extreme=extreme)
    expected, clipped = readout_sum(h.astype(np.int64) * steps, shift)
    readout, got_clipped = kernels.readout_sum(h, steps, shift)
    np.testing.assert_array_equal(readout, expected)
    assert got_clipped == clipped


@pytest.mark.parametrize("h", [-32768, 32767])
@pytest.mark.parametrize("shift", [0, 15])
def test_the_longest_sequence_stays_inside_int32(kernels, h, shift):
    """MAX_STEPS states at the end of Q15 are summed without overflow (the build traps it)."""
    expected, clipped = readout_sum(np.array([h]) * MAX_STEPS, shift)
    readout, got_clipped = kernels.readout_sum(np.array([h], np.int16), MAX_STEPS, shift)
    assert (readout.tolist(), got_clipped) == (expected.tolist(), clipped)


def test_a_sanitizer_finding_fails_the_caller(tmp_path):
    """A read beyond the weights ends the driver and its report reaches the test."""
    if not sanitizer_flags():
        pytest.skip("this compiler has no sanitizer libraries; install libasan and libubsan")
    source = tmp_path / "kernel_driver.c"
    text = (TESTS / "kernel_driver.c").read_text()
    short = text.replace("take(blocks(outputs) * inputs, 4)", "take(blocks(outputs) * inputs - 1, 4)")
    assert short != text
    source.write_text(short)
    driver = Kernels(build_program(tmp_path / "driver", [source]))
    rows = random_rows(np.random.default_rng(0), 4, 9)

    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        driver.dense(np.zeros(9, np.int16), rows, "relu")

    with pytest.raises(AssertionError, match="driver failed"):
        driver.close()
