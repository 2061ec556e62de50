"""Generated models and kernels as firmware on the emulated chip, built by both compilers."""

import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from kernel_support import (
    build_model,
    model_differences,
    random_artefact,
    random_event_gru_artefact,
    random_gru8_artefact,
    random_q15,
    run_model,
)

from hil.chips import chip
from hil.codegen import BENCH_KERNELS, emit_bench_c, emit_c
from hil.errors import ToolError
from hil.firmware import compile_firmware, find_compiler, part_bytes
from hil.layer_build import LayerBuild
from hil.quant import run_twin
from hil.rig import load_rig, load_rig_file

RIG = "emulator"
ROOT = Path(__file__).parents[1]
REQUIRED_GAIN = 40
"""The eGRU step at D = 64, H = 30 takes at least this many times fewer cycles than the float GRU step."""


@pytest.fixture(scope="module", params=["gcc", "zig"])
def build(request, tmp_path_factory):
    """Sources to firmware, by one compiler."""
    try:
        compiler = find_compiler(request.param)
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))
    file = load_rig_file(RIG)

    def compile_sources(sources):
        out = tmp_path_factory.mktemp(f"firmware-{request.param}")
        return compile_firmware(
            sources, chip=chip(file.chip), board=file.board, compiler=compiler, optimize="2", out=out
        )

    return compile_sources


def assert_chip_equals_twin(build, artefact, extreme, choice=None):
    features = random_q15(np.random.default_rng(32), (12, artefact.inputs), extreme=extreme)
    expected = run_twin(artefact, features, detail=True)
    with load_rig(RIG) as rig:
        rig.flash(build(emit_c(artefact, build=choice)))
        device = rig.open()
        device.hello(expected_artefact_hash=artefact.sha256())
        got = device.run_sequence(features)
        inner = [device.inspect(layer) for layer in range(len(artefact.recurrent))]
    np.testing.assert_array_equal(got.states_q15, expected.states_q15)
    np.testing.assert_array_equal(got.logits, expected.logits)
    assert got.saturated == expected.saturated
    assert (got.cycles > 0).all()
    assert not got.interrupts.any()
    for layer, want in zip(inner, expected.layers, strict=True):
        for operation, name, _, _ in want.INNER:
            np.testing.assert_array_equal(getattr(layer, name)[-1], getattr(want, name)[-1], err_msg=operation)


@pytest.mark.parametrize(
    ("shape", "extreme"),
    [
        ({"hidden": (5,), "inputs": 7, "dense": (3,)}, True),
        ({"hidden": (30, 20), "inputs": 32, "dense": (16, 10)}, False),
        ({"hidden": (3, 8, 1), "inputs": 10, "dense": (5, 4, 11)}, False),
        ({"hidden": (30, 20), "inputs": 32, "dense": (16, 10), "events": True}, False),
        ({"hidden": (5, 1, 6), "inputs": 7, "dense": (3,), "events": True}, True),
    ],
)
def test_twin_host_and_chip_are_equal(build, tmp_path, shape, extreme):
    """States, outputs, clipped sums and the last step's inner values of whole sequences, bit for bit."""
    artefact = random_artefact(31, **shape, extreme=extreme)
    features = random_q15(np.random.default_rng(32), (12, artefact.inputs), extreme=extreme)
    expected = run_twin(artefact, features, detail=True)
    sources = emit_c(artefact)

    host = run_model(build_model(tmp_path, sources), artefact, features)
    assert model_differences(artefact, features, expected, host) == []

    assert_chip_equals_twin(build, artefact, extreme)


@pytest.mark.parametrize("kernel", ["events", "deltas"])
def test_an_egru_visited_by_events_is_equal(build, tmp_path, kernel):
    """Weights as instructions, for what is not 0 or has changed: the same bits as every other kernel, sums included."""
    artefact = random_artefact(34, (13, 6), inputs=9, dense=(5, 4))
    dense = kernel if kernel == "events" else "packed4"
    choice = {"recurrent.0": LayerBuild(kernel), "recurrent.1": LayerBuild(kernel), "dense.0": LayerBuild(dense)}
    features = random_q15(np.random.default_rng(35), (12, 9))
    features[5:9] = features[4]
    features[:, 2:5] = 0
    expected = run_twin(artefact, features, detail=True)
    host = run_model(build_model(tmp_path, emit_c(artefact, build=choice)), artefact, features)
    assert model_differences(artefact, features, expected, host) == []
    assert_chip_equals_twin(build, artefact, False, choice)


@pytest.mark.parametrize(
    ("shape", "extreme"),
    [
        ({"hidden": (5,), "inputs": 7, "dense": (3,)}, True),
        ({"hidden": (30, 20), "inputs": 32, "dense": (16, 10)}, False),
    ],
)
def test_gru8_on_twin_and_chip_is_equal(build, shape, extreme):
    """An int8 GRU: states, outputs, clipped sums and the last step's inner values of a whole sequence, bit for bit."""
    assert_chip_equals_twin(build, random_gru8_artefact(33, **shape, extreme=extreme), extreme)


def test_event_gru_on_twin_and_chip_is_equal(build):
    """An EGRU: the same; some units speak, some are silent."""
    assert_chip_equals_twin(build, random_event_gru_artefact(34, (30, 20), inputs=32, dense=(16, 10)), False)


def test_event_kernels_can_be_measured(build):
    """With code of their own; where a tenth is active, a step costs less than 0.6 of one where everything is."""
    names = ("event_embedded_gru_step", "embedded_gru_events")
    with load_rig(RIG) as rig:
        rig.flash(build(emit_bench_c(16, 20, kernels=names)))
        device = rig.open()
        device.hello()
        sparse, full = (statistics.median(device.bench(i, 8).cycles) for i in range(2))
    assert 0 < sparse < 0.6 * full


MIXED = {
    "recurrent.0": LayerBuild("straight", ram_bytes=1024),
    "recurrent.1": LayerBuild("compact"),
    "recurrent.2": LayerBuild("events"),
    "dense.0": LayerBuild("straight", rows=5),
    "dense.1": LayerBuild("compact"),
}


def test_kernels_of_every_kind_in_one_model_equal_the_twin(build):
    """Some code in flash, some in RAM, reached by long calls that the linker makes."""
    artefact = random_artefact(33, (9, 7, 4), inputs=11, dense=(6, 3))
    features = random_q15(np.random.default_rng(34), (12, artefact.inputs))
    expected = run_twin(artefact, features, detail=True)
    firmware = build(emit_c(artefact, build=MIXED))
    with load_rig(RIG, fast_load=True) as rig:
        rig.flash(firmware)
        device = rig.open()
        device.hello(expected_artefact_hash=artefact.sha256())
        got = device.run_sequence(features)
    np.testing.assert_array_equal(got.states_q15, expected.states_q15)
    np.testing.assert_array_equal(got.logits, expected.logits)
    in_ram = {"recurrent0_sums_ram", "compact_add", "embedded_gru_update"}
    assert in_ram <= set(firmware.symbols)
    assert part_bytes(firmware.elf, in_ram.__contains__)[1] > 1200


@pytest.fixture(scope="module")
def measured(build):
    """Benched kernels at D = 64, H = 30: the compiler, and cycles by kernel."""
    firmware = build(emit_bench_c(64, 30))
    with load_rig(RIG) as rig:
        rig.flash(firmware)
        device = rig.open()
        device.hello()
        kernels = {name: device.bench(i, 4) for i, name in enumerate(BENCH_KERNELS)}
    assert not any(kernel.interrupts for kernel in kernels.values())
    return find_compiler(firmware.compiler), {name: kernel.cycles for name, kernel in kernels.items()}


def test_egru_step_is_forty_times_cheaper_than_the_float_step(measured):
    """The cheapest float step against the dearest eGRU step, same float sources under both compilers, same chip."""
    _, cycles = measured
    assert min(cycles["float_gru_step"]) >= REQUIRED_GAIN * max(cycles["embedded_gru_step"])


@pytest.mark.parametrize(
    "kernel", ["embedded_gru_step", "gru8_step", "event_gru_step", "float_gru_step", "float_lstm_step"]
)
def test_the_documented_cycles_are_those_measured(measured, kernel):
    """docs/kernels.md is within 2 %."""
    compiler, cycles = measured
    text = (ROOT / "docs/kernels.md").read_text()
    versions = re.search(r"^\| kernel \| gcc ([\d.]+) \| zig ([\d.]+) \|$", text, re.M)
    row = re.search(rf"^\| `{kernel}` \| ([\d,]+) \| ([\d,]+) \|$", text, re.M)
    column = 1 if compiler.name == "gcc" else 2
    if versions.group(column) not in compiler.version:
        pytest.skip(f"documented for {compiler.name} {versions.group(column)}, this is {compiler.version}")
    documented = int(row.group(column).replace(",", ""))
    assert statistics.median(cycles[kernel]) == pytest.approx(documented, rel=0.02)
