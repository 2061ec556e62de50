"""`hil bench kernels`: what is measured, the lines through it, the cache."""

import json
import shutil

import numpy as np
import pytest

from hil.codegen.bench_rows import ACTIVITY, active_values, emit_rows_bench, pruned_rows
from hil.errors import UsageError
from hil.experiment.bench import FLOAT_GRU, GRU8
from hil.experiment.kernel_bench import (
    IN_RAM,
    RESULT,
    WHOLE_STEPS,
    Case,
    KernelCost,
    active_weights,
    bench_kernels,
    cases,
    crossover,
    derived,
    line,
)
from hil.experiment.progress import Quiet
from hil.experiment.workspace import Workspace
from hil.layer_build import LayerBuild
from hil.report.kernel_plots import kernels_svg
from hil.rig import load_rig


def test_cases_are_every_combination_and_the_baselines():
    """Baselines once for each shape, compiler and wait states; code in RAM only where there are wait states."""
    made = list(cases([(8, 6), (4, 4)], [0.1, 0.9], ["straight", "events"], ["gcc"], [0, 1]))
    assert len(made) == len(set(made)) == 2 * (2 * (4 + 1) + 2 * len(WHOLE_STEPS))
    for name in WHOLE_STEPS:
        assert sum(case.kernel == name for case in made) == 4
    assert {case.wait_states for case in made if case.ram_bytes == IN_RAM} == {1}
    with pytest.raises(UsageError, match="did you mean 'straight'"):
        list(cases([(8, 6)], [0.1], ["straigt"], ["gcc"], [0]))


def test_weights_and_values_have_the_shares_asked_for():
    """Of a large matrix; of values exactly."""
    assert np.mean(pruned_rows(32, 64, 0.8).weight_q2 == 0) == pytest.approx(0.8, abs=0.01)
    assert [np.count_nonzero(row) for row in active_values(100)] == [round(100 * share) for share in ACTIVITY]
    rows = pruned_rows(5, 4, 0.5)
    assert emit_rows_bench(rows, 5, LayerBuild("compact")) == emit_rows_bench(rows, 5, LayerBuild("compact"))


def test_the_line_and_the_crossover_are_those_of_the_points():
    """Two cycles a weight and 100 for nothing, against a dense kernel that takes as long as half of it."""
    case = Case("events", 32, 32, 0.5, "gcc", 0)
    active = active_weights(case)
    cost = KernelCost(case, "", tuple(2 * n + 100 for n in active), 0, 0, 0, 0)
    fitted = line(cost)
    assert (fitted.slope, fitted.intercept) == (pytest.approx(2), pytest.approx(100))
    assert fitted.residual == pytest.approx(0, abs=1e-6)
    dense = KernelCost(Case("straight", 32, 32, 0.5, "gcc", 0), "", (active[-1] + 100,) * 8, 0, 0, 0, 0)
    assert crossover(cost, dense) == pytest.approx(0.5)
    assert derived(cost, [cost, dense])["crossover_with_straight"] == pytest.approx(0.5)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not on PATH")
def test_a_rig_measures_both_wait_states_and_keeps_what_it_has_measured(tmp_path):
    """On the emulated chip, at 24 and 48 MHz; the second time nothing is compiled and the numbers are the same."""
    wanted = list(cases([(9, 6)], [0.5], ["straight", "compact", "events"], ["gcc"], [0, 1]))
    ws = Workspace(tmp_path, Quiet())
    with load_rig("emulator", fast_load=True) as rig:
        done = bench_kernels(ws, rig, wanted)
        (tmp_path / "kernels" / "firmware" / "firmware.elf").unlink()
        again = bench_kernels(ws, rig, wanted)
    assert again == done
    assert not (tmp_path / "kernels" / "firmware" / "firmware.elf").exists()
    by_case = {(c.case.kernel, c.case.wait_states, c.case.ram_bytes): c for c in done.costs}
    straight, events = by_case["straight", 0, 0], by_case["events", 0, 0]
    assert len(set(straight.cycles)) == 1, "a dense kernel does not care for values"
    assert list(events.cycles) == sorted(set(events.cycles))
    assert by_case["compact", 0, 0].flash_bytes > 0
    assert by_case["straight", 1, 0].cycles[0] > by_case["straight", 1, IN_RAM].cycles[0] >= straight.cycles[0]
    assert by_case["straight", 1, IN_RAM].ram_bytes > straight.ram_bytes
    assert min(by_case[FLOAT_GRU, 0, 0].cycles) > 100 * max(straight.cycles)
    table = json.loads((tmp_path / RESULT).read_text())
    assert {row["case"]["kernel"] for row in table["costs"]} == {"straight", "compact", "events", *WHOLE_STEPS}
    steps = {row["case"]["kernel"]: row["step_cycles"] for row in table["costs"] if row["case"]["wait_states"] == 0}
    assert steps["straight"] < steps[GRU8] < steps[FLOAT_GRU] < steps["float_lstm_step"]
    gains = {c.case.kernel: derived(c, done.costs)["times_fewer_than_float_gru"] for c in done.costs}
    assert gains[FLOAT_GRU] == 1
    assert 1 > gains["float_lstm_step"] > 0.5
    assert gains[GRU8] > 10
    assert "<svg" in kernels_svg(done)
