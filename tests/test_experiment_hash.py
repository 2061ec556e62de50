"""Long sequences: the device's running hash finds the step, a replay up to it the unit and the operation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact
from host_rig import HostRig

from hil.codegen import emit_c
from hil.errors import UsageError
from hil.experiment.compare import compare, locate, running_hashes
from hil.link.schema import Detail, Kind
from hil.quant import run_twin

ARTEFACT = make_artefact(seed=5)
WIDTHS = [layer.units for layer in ARTEFACT.recurrent]
STEPS = 1000
X = np.random.default_rng(8).integers(-30000, 30000, (STEPS, ARTEFACT.inputs)).astype(np.int16)
EXPECTED = run_twin(ARTEFACT, X)


def planted(step: int, unit: int) -> dict[str, str]:
    """The model's C with one step too much in one unit of layer 0, at one step of each sequence."""
    [(name, text)] = emit_c(ARTEFACT).items()
    text = text.replace(
        "void model_reset(void)\n{\n", "static unsigned step;\nvoid model_reset(void)\n{\nstep = 0;\n", 1
    )
    run = "embedded_gru_update(&recurrent0, &recurrent0_state);"
    assert run in text
    wrong = f"if (step++ == {step}) {{ recurrent0_h_q15[{unit}]++; }}"
    return {name: text.replace(run, f"{run}\n    {wrong}", 1)}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("right")


def test_a_hashed_run_has_hashes_in_place_of_states(right: Path) -> None:
    """They are those of the twin's states; everything else is as with states."""
    with HostRig(emit_c(ARTEFACT), right) as rig:
        rig.flash(None)
        device = rig.open()
        hashed, full = device.run_sequence(X, Detail.HASH), device.run_sequence(X)
    assert hashed.hashes is not None
    assert hashed.hashes.tolist() == running_hashes(EXPECTED.states_q15).tolist()
    assert full.hashes is None
    assert hashed.states_q15.shape == (STEPS, 0)
    assert hashed.logits.tolist() == full.logits.tolist()
    comparison = compare(EXPECTED, hashed, WIDTHS)
    assert (comparison.steps, comparison.steps_exact, comparison.output_exact) == (STEPS, STEPS, True)
    assert comparison.first is None


@pytest.mark.parametrize("step", [0, 616, STEPS - 1])
def test_one_lsb_in_a_thousand_steps_is_found_and_named(tmp_path: Path, step: int) -> None:
    """Step, layer, unit, operation, expected and got."""
    with HostRig(planted(step, 2), tmp_path) as rig:
        rig.flash(None)
        device = rig.open()
        comparison = compare(EXPECTED, device.run_sequence(X, Detail.HASH), WIDTHS, sequence=7)
        assert comparison.first is not None
        assert comparison.steps_exact == comparison.first.step == step
        assert comparison.first.operation == "hash of the states"
        found = locate(device, ARTEFACT, X, comparison.first)
    assert found is not None
    assert (found.sequence, found.step, found.layer, found.unit, found.operation) == (7, step, 0, 2, "state")
    assert found.got == found.expected + 1 == int(EXPECTED.states_q15[step, 2]) + 1


def test_finding_it_costs_little_serial_time(right: Path) -> None:
    """Hashes take 4 bytes a step where states take 2 bytes a unit."""
    with HostRig(emit_c(make_artefact(seed=5, hidden=(40, 40))), right) as rig:
        rig.flash(None)
        device = rig.open()
        taken = []
        for detail in (Detail.HASH, Detail.STATES):
            device.run_sequence(X[:10], detail)
            taken.append(sum(len(f.body) for way, f in device.frames if way == "<" and f.kind == Kind.STEP) // 10)
            device.frames.clear()
    assert taken[1] - taken[0] == 2 * 80 - 4


def test_wrong_outputs_are_found_behind_right_hashes(right: Path) -> None:
    """As with states."""
    with HostRig(emit_c(ARTEFACT), right) as rig:
        rig.flash(None)
        hashed = rig.open().run_sequence(X, Detail.HASH)
    hashed.logits[1] += 1
    first = compare(EXPECTED, hashed, WIDTHS).first
    assert first is not None
    assert (first.step, first.unit, first.operation, first.differing) == (-1, 1, "output", 1)


def test_hashes_of_another_length_are_refused(right: Path) -> None:
    """Not compared step by step with what they do not belong to."""
    with HostRig(emit_c(ARTEFACT), right) as rig:
        rig.flash(None)
        hashed = rig.open().run_sequence(X[:10], Detail.HASH)
    with pytest.raises(UsageError, match="10 steps with 1000"):
        compare(EXPECTED, hashed, WIDTHS)
