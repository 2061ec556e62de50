"""Kernels compiled for the Cortex-M0+, by both compilers, equal their twins bit for bit (executed by Unicorn)."""

import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_support import FIRMWARE, FLOAT_FUNCTIONS, TESTS, Kernels, build_program, random_q15, random_rows, twin_steps
from kernel_unicorn import Armv6mKernels, KernelFault, build_armv6m

from hil.artefact import Rows
from hil.errors import ToolError
from hil.firmware import find_compiler
from hil.fixed import BIAS_LIMIT_Q17, INT32_MAX, INT32_MIN, MAX_FAN_IN
from hil.quant import dense, readout_sum, softsign_q15

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["gcc", "zig"])
def chip(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"armv6m-{request.param}")
    try:
        return Armv6mKernels(build_armv6m(folder, request.param))
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    program = build_program(tmp_path_factory.mktemp("host") / "driver", [TESTS / "kernel_driver.c"])
    driver = Kernels(program)
    yield driver
    driver.close()


def test_softsign_equals_its_twin(chip):
    """Every end of a line, the clipping limit and the ends of int32, one below and one above."""
    edges = np.concatenate([np.arange(0, 1 << 18, 1 << 10), np.arange(1 << 18, (64 << 15) + 1, 1 << 14)])
    near = np.concatenate([edges - 1, edges, edges + 1])
    v = np.concatenate([near, -near, [INT32_MIN, INT32_MIN + 1, INT32_MAX]])
    np.testing.assert_array_equal(chip.softsign_q15(v), softsign_q15(v))


@PROPERTY
@given(
    inputs=st.integers(1, 70),
    units=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    extreme_weights=st.booleans(),
)
def test_embedded_gru_equals_its_twin(chip, inputs, units, seed, extreme, extreme_weights):
    """Sums, previous state and state, for even and odd numbers of columns and rows and the ends of Q15."""
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 2 * units, inputs + units, extreme=extreme_weights)
    x, h = random_q15(rng, (3, inputs), extreme=extreme), random_q15(rng, units, extreme=extreme)

    expected, got = twin_steps(x, h, rows), chip.embedded_gru(x, h, rows)

    for name, want, have in zip(("acc", "h_before", "h"), expected, got, strict=True):
        np.testing.assert_array_equal(have, want, err_msg=name)


@pytest.mark.parametrize("weight", [-4, 4])
@pytest.mark.parametrize("bias", [-(BIAS_LIMIT_Q17 - 1), BIAS_LIMIT_Q17 - 1])
def test_the_largest_fan_in_is_exact(chip, weight, bias):
    """MAX_FAN_IN columns with every operand at its limit."""
    rows = Rows(np.full((2, MAX_FAN_IN), weight, np.int8), np.full(2, bias, np.int32), np.full(2, 2, np.int8))
    x, h = np.full((1, MAX_FAN_IN - 1), -32768, np.int16), np.full(1, -32768, np.int16)
    for want, have in zip(twin_steps(x, h, rows), chip.embedded_gru(x, h, rows), strict=True):
        np.testing.assert_array_equal(have, want)


@PROPERTY
@given(
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 33),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
    activation=st.sampled_from(["relu", "linear"]),
)
def test_dense_equals_its_twin(chip, inputs, outputs, seed, extreme, activation):
    """Both activations, for any shape, weights, shifts and the ends of Q15."""
    rng = np.random.default_rng(seed)
    rows, u = random_rows(rng, outputs, inputs, extreme=extreme), random_q15(rng, inputs, extreme=extreme)
    np.testing.assert_array_equal(chip.dense(u, rows, activation), dense(u, rows, activation))


@pytest.mark.parametrize("shift", [0, 3, 15])
def test_readout_sum_equals_its_twin(chip, shift):
    """Values and the number clipped."""
    h = random_q15(np.random.default_rng(shift), 13, extreme=True)
    expected, clipped = readout_sum(h.astype(np.int64) * 20, shift)
    readout, got_clipped = chip.readout_sum(h, 20, shift)
    np.testing.assert_array_equal(readout, expected)
    assert got_clipped == clipped


def float_bits(kernels, name, x):
    return kernels.float_function(name, x.astype(np.float32)).view(np.int32)


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_float_functions_give_the_bits_of_the_host(chip, host, name):
    """The baseline is the same program everywhere: soft float of either compiler rounds like the host."""
    x = np.concatenate([np.linspace(-87, 90, 400), np.linspace(-1, 1, 101)])
    np.testing.assert_array_equal(float_bits(chip, name, x), float_bits(host, name, x))


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_subnormal_results_are_within_one_step_of_the_host(chip, host, name):
    """zig's division is not always correctly rounded where the quotient is subnormal."""
    x = np.linspace(-104, -87, 200)
    assert np.abs(float_bits(chip, name, x) - float_bits(host, name, x)).max() <= 1


def test_float_gru_gives_the_bits_of_the_host(chip, host):
    """A whole step of the baseline, four times."""
    rng = np.random.default_rng(3)
    weight, bias = (rng.normal(0, 0.5, size).astype(np.float32) for size in ((18, 11), 18))
    x = rng.uniform(-1, 1, (4, 5)).astype(np.float32)
    expected, got = host.float_gru(x, weight, bias), chip.float_gru(x, weight, bias)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


def test_float_lstm_gives_the_bits_of_the_host(chip, host):
    """A whole step of the other baseline, four times."""
    rng = np.random.default_rng(4)
    weight, bias = (rng.normal(0, 0.5, size).astype(np.float32) for size in ((24, 11), 24))
    x = rng.uniform(-1, 1, (4, 5)).astype(np.float32)
    expected, got = host.float_lstm(x, weight, bias), chip.float_lstm(x, weight, bias)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


ROWS, UPDATE, SOFTSIGN = "rows_armv6m.S", "embedded_gru_armv6m.S", "softsign_armv6m.h"
ASSEMBLY_MUTANTS = {
    "shift": (ROWS, "lsrs    r0, \\word, #16", "lsrs    r0, \\word, #15"),
    "sum of another row": (ROWS, "add     r10, r0", "add     r9, r0"),
    "sign of every other value": (ROWS, "asrs    r3, r7, #16", "lsrs    r3, r7, #16"),
    "last of an odd number of columns": (ROWS, "beq     4f", "b       4f"),
    "register of the caller": (ROWS, "mov     r11, r7\n    pop", "mov     r10, r7\n    pop"),
    "rounding of a pre-activation": (SOFTSIGN, "adcs    \\v, r1", "adds    \\v, r1"),
    "carry before a shift of 0": (UPDATE, "adds    r4, #2 ", "nop\n    mov r2, r2\n    adds r4, #2\n    cmp r0, r0 "),
    "end of the lines": (SOFTSIGN, "asrs    r3, \\v, #18", "asrs    r3, \\v, #19"),
    "slope": (SOFTSIGN, "uxtb    r3, r2", "uxth    r3, r2"),
    "sign beyond the lines": (SOFTSIGN, "eors    r0, r3\n    subs    r0, r3\n    bx", "bx"),
    "clipping": (SOFTSIGN, "lsrs    r2, r0, #21", "lsrs    r2, r0, #23"),
    "shift of the gate": (UPDATE, "asrs    r0, r0, #9", "asrs    r0, r0, #10"),
    "rounding of the state": (UPDATE, "adcs    r0, r3", "adds    r0, r3"),
    "state before": (UPDATE, "strh    r3, [r4, r2]", "strh    r0, [r4, r2]"),
    "last unit": (UPDATE, "subs    r6, #4 ", "nop "),
}


@pytest.mark.parametrize("name", [None, *ASSEMBLY_MUTANTS])
def test_assembly_mutant_is_caught(tmp_path, name):
    """One wrong instruction in assembly is a difference from the twin or a fault; without one there is neither."""
    tree = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, tree)
    if name:
        file, old, new = ASSEMBLY_MUTANTS[name]
        path = tree / "kernels" / file
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
    rng = np.random.default_rng(9)
    rows = random_rows(rng, 66, 38)
    rows.shift[:] = rng.choice([0, 1, 2, 3, 6], 66)
    rows.weight_q2[0], rows.shift[0] = 4, 0
    x, h = random_q15(rng, (8, 5)), np.full(33, 32767, np.int16)
    kernels = Armv6mKernels(build_armv6m(tmp_path, find_compiler().name, tree))

    try:
        got = kernels.embedded_gru(x, h, rows)
        equal = all(np.array_equal(have, want) for have, want in zip(got, twin_steps(x, h, rows), strict=True))
    except KernelFault:
        equal = False

    assert equal == (name is None)
