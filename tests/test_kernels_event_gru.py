"""The event-based GRU: C on host and chip equals the twin; only what is not silent is visited."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_support import (
    FIRMWARE,
    TESTS,
    Kernels,
    build_program,
    host_differences,
    random_event_gru,
    random_event_gru_artefact,
    random_q15,
)
from kernel_unicorn import Armv6mKernels, KernelFault, build_armv6m

from hil.artefact import EventGruLayer
from hil.errors import ToolError
from hil.firmware import find_compiler
from hil.quant import run_twin
from hil.quant.gates import event_gru_step, gru8_step

HOST = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
CHIP = settings(HOST, max_examples=15)
SIZES = {"seed": st.integers(0, 2**32), "extreme": st.booleans(), "share": st.sampled_from([0, 0.1, 0.5, 1])}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    program = build_program(tmp_path_factory.mktemp("events") / "driver", [TESTS / "kernel_driver.c"])
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


def twin_steps(x, y, h, layer):
    """acc, y and h of each step."""
    out = []
    for features in x:
        step = event_gru_step(features, y, h, layer)
        y, h = step.y_q15, step.h_q15
        out.append((step.acc_q22, y, h))
    return [np.stack(part) for part in zip(*out, strict=True)]


def sparse(rng, values, share):
    """Each value kept with this probability, else 0."""
    return np.where(rng.random(values.shape) < share, values, 0).astype(np.int16)


def assert_equals_its_twin(kernels, inputs, units, steps, seed, extreme, share):
    rng = np.random.default_rng(seed)
    layer = random_event_gru(rng, inputs, units, extreme=extreme)
    x = sparse(rng, random_q15(rng, (steps, inputs), extreme=extreme), share)
    y, h = sparse(rng, random_q15(rng, units, extreme=extreme), share), random_q15(rng, units, extreme=extreme)
    for name, want, have in zip(
        ("acc", "y", "h"), twin_steps(x, y, h, layer), kernels.event_gru(x, y, h, layer), strict=True
    ):
        np.testing.assert_array_equal(have, want, err_msg=name)


@HOST
@given(inputs=st.integers(1, 70), units=st.integers(1, 33), **SIZES)
def test_event_gru_equals_its_twin(host, inputs, units, seed, extreme, share):
    """Sums, events and states of eight steps, silent, sparse or dense, for any shape and the ends of Q15."""
    assert_equals_its_twin(host, inputs, units, 8, seed, extreme, share)


@CHIP
@given(inputs=st.integers(1, 40), units=st.integers(1, 21), **SIZES)
def test_event_gru_on_the_chip_equals_its_twin(chip, inputs, units, seed, extreme, share):
    """The same by both compilers' code, executed."""
    assert_equals_its_twin(chip, inputs, units, 3, seed, extreme, share)


def test_without_events_it_is_a_gru():
    """With thresholds that nothing passes no unit speaks, and the gates see only the input."""
    rng = np.random.default_rng(3)
    layer = replace(random_event_gru(rng, 5, 4), threshold_q15=np.full(4, 32767, np.int16))
    x, h, silent = random_q15(rng, 5), random_q15(rng, 4), np.zeros(4, np.int16)
    step = event_gru_step(x, silent, h, layer)
    assert not step.y_q15.any()
    np.testing.assert_array_equal(step.h_q15, step.c_q15)
    np.testing.assert_array_equal(step.z_q15, gru8_step(x, silent, layer).z_q15)


@pytest.mark.parametrize(("above", "fires"), [(-1, False), (0, False), (1, True)])
def test_a_unit_fires_above_its_threshold_and_not_at_it(above, fires):
    """H(0) = 0: an event has the value of the state, which keeps what is above the threshold."""
    rng = np.random.default_rng(4)
    layer = random_event_gru(rng, 5, 1)
    x, y = random_q15(rng, 5), np.zeros(1, np.int16)
    h = np.array([20000], np.int16)
    c = int(event_gru_step(x, y, h, layer).c_q15[0])
    assert c > 1
    layer = replace(layer, threshold_q15=np.array([c - above], np.int16))
    step = event_gru_step(x, y, h, layer)
    assert (step.y_q15.tolist(), step.h_q15.tolist()) == ([c * fires], [above if fires else c])


@pytest.mark.parametrize("hidden", [(1,), (6, 5), (7, 9)])
def test_generated_event_gru_model_equals_the_twin(tmp_path, hidden):
    """Inner values, events, states and outputs of a whole sequence, twice after a reset; units speak and are silent."""
    artefact = random_event_gru_artefact(13, hidden, inputs=6, dense=(5, 4))
    features = random_q15(np.random.default_rng(12), (40, artefact.inputs))
    trace = run_twin(artefact, features, detail=True)
    speaks = trace.layers[0].y_q15 != 0
    assert speaks.any()
    assert not speaks.all()
    assert isinstance(artefact.recurrent[0], EventGruLayer)
    assert host_differences(tmp_path, artefact, features, trace) == []


# Kernel, what stands there, what the mutant has instead.
MUTANTS = {
    "rounding of a pre-activation": ("gates.h", "fixed_shift_round(acc_q22, shift)", "(acc_q22 >> shift)"),
    "rounding of a product with a gate": ("gates.h", "+ (1 << 14)) >> 15", "+ (1 << 13)) >> 15"),
    "rounding of the table": ("gates.h", "(1u << (GATES_TANH_BITS - 1))", "0u"),
    "sign of tanh": ("gates.h", "return v_q13 < 0 ? -(int32_t)y", "return v_q13 < -9 ? -(int32_t)y"),
    "sigmoid without its half": ("gates.h", "+ (1 << 15)) >> 1", "+ (1 << 15)) >> 2"),
    "gates exchanged": ("gru8_unit.h", "u.z_q15, h_q15 - u.g_q15", "u.r_q15, h_q15 - u.g_q15"),
    "reset gate left out": ("gru8_unit.h", "gates_times_q15(u.r_q15, q_q12)", "q_q12"),
    "code of zero": ("byte_rows.h", "#define BYTE_ROWS_ZERO 128u", "#define BYTE_ROWS_ZERO 127u"),
    "the byte above": ("byte_rows.c", "a - (b << 8)", "a"),
    "fires at its threshold": ("event_gru.c", "if (c > layer", "if (c >= layer"),
    "keeps what it sent": ("event_gru.c", "c -= layer->threshold_q15[i];", ""),
    "events of the step before last": ("event_gru.c", "*state->y_end = list;", "*state->y_end = state->y_list;"),
    "a total without the inputs": ("event_gru.c", "x_total + y_total", "y_total"),
}


@pytest.fixture(scope="module")
def victim():
    """A model and an input that every mutant must disturb: some unit stands exactly at its threshold once."""
    artefact = random_event_gru_artefact(13, (6, 5), inputs=6, dense=(5, 4))
    features = random_q15(np.random.default_rng(12), (40, artefact.inputs))
    layer = artefact.recurrent[0]
    c = event_gru_step(features[0], np.zeros(6, np.int16), np.zeros(6, np.int16), layer).c_q15
    threshold = layer.threshold_q15.copy()
    unit = int(np.argmax(c))
    threshold[unit] = c[unit]
    artefact = replace(artefact, recurrent=(replace(layer, threshold_q15=threshold), artefact.recurrent[1]))
    return artefact, features, run_twin(artefact, features, detail=True)


def test_the_unchanged_sources_pass_the_comparison(tmp_path, victim):
    """What catches the mutants finds nothing without them."""
    assert host_differences(tmp_path, *victim) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_mutant_is_caught(tmp_path, victim, name):
    """One wrong constant, rounding, gate or list in the C is a difference from the twin, or a sanitizer's finding."""
    file, old, new = MUTANTS[name]
    tree = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, tree)
    path = tree / "kernels" / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new))

    try:
        differences = host_differences(tmp_path / "build", *victim, tree=tree)
    except AssertionError as finding:  # of a sanitizer: the program ended
        differences = [str(finding)]
    assert differences != []


CHIP_MUTANTS = {
    "shift": ("byte_rows_armv6m.S", "lsrs    r0, r5, #16", "lsrs    r0, r5, #15"),
    "sum of another row": ("byte_rows_armv6m.S", "add     r10, r0", "add     r9, r0"),
    "row of words": ("byte_rows_armv6m.S", "lsls    r2, r2, #2", "lsls    r2, r2, #1"),
    "register of the caller": ("byte_rows_armv6m.S", "mov     r11, r7\n    pop", "mov     r10, r7\n    pop"),
    "an odd list not filled up": ("event_gru.c", "if ((end - list) & 1)", "if ((end - list) & 2)"),
}


@pytest.mark.parametrize("name", [None, *CHIP_MUTANTS])
def test_mutant_on_the_chip_is_caught(tmp_path, name):
    """What only the assembly shows: a difference or a fault; without a mutant there is neither."""
    tree = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, tree)
    if name:
        file, old, new = CHIP_MUTANTS[name]
        path = tree / "kernels" / file
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
    kernels = Armv6mKernels(build_armv6m(tmp_path, find_compiler().name, tree))
    try:
        assert_equals_its_twin(kernels, 7, 6, 4, seed=9, extreme=False, share=0.5)
    except (KernelFault, AssertionError):
        caught = True
    else:
        caught = False
    assert caught == (name is not None)
