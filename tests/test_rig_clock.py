"""The device's clock against the host's, and the model's prediction beside a board's cycles."""

from __future__ import annotations

import pytest
from bench_support import ARTEFACT, board_process, compile_bench_firmware, write_rig
from test_experiment_run import FEATURES

from hil.experiment.bench import bench_sources, measure
from hil.experiment.predict import error_percent
from hil.experiment.progress import Quiet
from hil.experiment.result import result_from_json
from hil.experiment.run import Background, run_on_rig
from hil.firmware import compile_firmware, find_compiler
from hil.report.facts import facts, summary
from hil.rig import connect, load_rig
from hil.rig.clock import Reading, drift, has_clock, read_clocks


def test_drift_is_the_ratio_of_both_spans():
    """A clock that counts 10.034 s in 10 s; exchanges of 2 and 4 ms and steps of 1 ms make 0.04 % unsure."""
    found = drift(Reading(100.0, 0.002, 5.0), Reading(110.0, 0.004, 15.034))
    assert (round(found.percent, 6), round(found.uncertainty, 6), found.over_s) == (0.34, 0.04, 10.0)
    assert str(found) == "the device's clock against the host's: +0.340 % +- 0.040 % over 10.0 s"


def test_a_slow_clock_is_negative_and_a_short_run_says_nothing():
    """Never a number that its own uncertainty swallows."""
    assert drift(Reading(0.0, 0.0, 0.0), Reading(20.0, 0.0, 19.8)).percent == pytest.approx(-1)
    assert "too short to compare" in str(drift(Reading(0.0, 0.01, 0.0), Reading(0.1, 0.01, 0.1)))


def test_only_a_real_clock_is_compared(tmp_path, monkeypatch):
    """An emulated board's is not, although its file trusts it; readings work all the same."""
    monkeypatch.setenv("HIL_LOCK_DIR", str(tmp_path / "locks"))
    firmware = compile_bench_firmware(tmp_path / "fw")
    with load_rig("emulator", fast_load=True) as rig:
        assert not has_clock(rig)
        rig.flash(firmware)
        device = connect(rig, firmware).device
        rig.real_time()
        first = read_clocks(device)
        assert drift(first, read_clocks(device)).over_s > 0


def test_a_boards_run_carries_the_models_prediction(tmp_path, monkeypatch):
    """Same ELF, same inputs; on an emulated board every step is predicted to the cycle, and so is every kernel."""
    monkeypatch.setenv("HIL_LOCK_DIR", str(tmp_path / "locks"))
    firmware = compile_bench_firmware(tmp_path / "fw")
    with board_process("bench-predicted"), load_rig(write_rig(tmp_path, "bench-predicted")) as rig:
        result = run_on_rig(ARTEFACT, FEATURES, firmware, rig, Background(), Quiet())
        sources = bench_sources(3, 2, ["softsign_q15"])
        kernels = compile_firmware(
            sources, chip=firmware.chip, board=rig.wiring, compiler=find_compiler(), optimize="2", out=tmp_path / "b"
        )
        bench = measure(kernels, rig, Quiet(), inputs=3, units=2, kernels=["softsign_q15"], repeats=4)
    assert result.bit_exact
    assert result.predicted_cycles == result.predicted_for == result.cycles
    assert bench.predicted == bench.cycles
    shown = {fact.name: fact.value for fact in facts(result_from_json(result.to_json()))}
    assert shown["error of the prediction"] == "+0.00 % in the median, +0.00 % at most in a step"


def test_a_model_that_says_more_is_positive():
    """In percent of what was measured."""
    assert error_percent(200, 201) == pytest.approx(0.5)
    assert error_percent(200, 190) == pytest.approx(-5)


def test_a_summary_names_the_rig_that_stood_in(tmp_path, monkeypatch):
    """And why the others did not run."""
    monkeypatch.setattr("hil.rig.find.survey", lambda wanted, deadline_s: [])
    monkeypatch.setenv("RENODE", "/nowhere")
    rig_file = tmp_path / "mine.toml"
    rig_file.write_text('name = "mine"\nkind = "board"\nfallback = ["renode", "emulator"]\n')
    firmware = compile_bench_firmware(tmp_path / "fw")
    with load_rig(rig_file, fast_load=True) as rig:
        result = run_on_rig(ARTEFACT, FEATURES, firmware, rig, Background(), Quiet())
    assert result.predicted_cycles == ()
    words = summary(result)
    assert words.endswith(f"ran on emulator, --rig {rig_file}; mine: no probe; renode: renode not found")
