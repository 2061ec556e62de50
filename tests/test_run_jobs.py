"""`hil run --jobs`: test sequences spread over several emulated chips, with the result of one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import make_artefact
from test_cli import RECIPE
from test_experiment_run import features_for

from hil.artefact import Artefact
from hil.chips import chip
from hil.cli import EXIT_USAGE, run
from hil.codegen import emit_c
from hil.errors import DeviceError, PortLost, UsageError
from hil.experiment.device_stages import RESULT
from hil.experiment.feature_file import Features, save_features
from hil.experiment.progress import Quiet
from hil.experiment.run import Background, run_on_rig
from hil.experiment.stages import ARTEFACT as ARTEFACT_FILE
from hil.experiment.stages import FEATURES
from hil.firmware import Firmware, compile_firmware, find_compiler
from hil.rig import Rig, load_rig, load_rig_file, more_rigs

ARTEFACT = make_artefact(seed=11, name="tiny")
CLIPS = 7
USB_SYNCBUSY = "(void)*(volatile const uint8_t *)0x41005002u;"


@pytest.fixture(scope="module")
def features() -> Features:
    return features_for(ARTEFACT, clips=CLIPS)


def build(artefact: Artefact, folder: Path) -> Firmware:
    return build_sources(emit_c(artefact), folder)


def build_sources(sources: dict[str, str], folder: Path) -> Firmware:
    return compile_firmware(
        sources,
        chip=chip("atsamd21j18a"),
        board=load_rig_file("emulator").board,
        compiler=find_compiler(),
        optimize="2",
        out=folder,
    )


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return build(ARTEFACT, tmp_path_factory.mktemp("firmware"))


def result(artefact: Artefact, features: Features, firmware: Firmware, jobs: int) -> str:
    """The result of a run, as JSON."""
    rig = load_rig("emulator", fast_load=True)
    more = more_rigs(rig, jobs - 1)
    try:
        with rig:
            return run_on_rig(artefact, features, firmware, rig, Background(), Quiet(), more).to_json()
    finally:
        for other in more:
            other.close()


@pytest.mark.parametrize("jobs", [2, 3, CLIPS])
def test_the_result_is_that_of_one(jobs: int, features: Features, firmware: Firmware) -> None:
    """Cycles, states, outputs, notes and counts in the same order: the same JSON, byte for byte."""
    assert result(ARTEFACT, features, firmware, jobs) == result(ARTEFACT, features, firmware, 1)


def test_the_first_difference_is_that_of_one(tmp_path: Path, features: Features, firmware: Firmware) -> None:
    """A device that computes something else: the first differing sequence is named, whichever chip ran it."""
    twin = make_artefact(seed=12, name="tiny")
    other = Firmware(**{**vars(firmware), "artefact_hash": firmware.artefact_hash})
    one, three = (json.loads(result(twin, features, other, jobs)) for jobs in (1, 3))
    assert one == three
    assert one["first_difference"]["sequence"] == 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_registers_that_are_not_modelled_are_counted_in_the_report(
    jobs: int, features: Features, tmp_path: Path
) -> None:
    """By name, once, with the accesses of all chips together: one at the beginning of each sequence."""
    sources = emit_c(ARTEFACT)
    (name,) = sources
    model = sources[name].replace("void model_reset(void)\n{", f"void model_reset(void)\n{{\n    {USB_SYNCBUSY}", 1)
    assert model != sources[name]
    firmware = build_sources({name: model}, tmp_path)
    notes = json.loads(result(ARTEFACT, features, firmware, jobs))["notes"]
    (told,) = [note for note in notes if "not modelled" in note]
    assert f"read of USB.SYNCBUSY (0x41005002), {CLIPS} times" in told


def test_one_failing_chip_ends_all(features: Features, firmware: Firmware) -> None:
    """The error of the chip that fails is raised; the others do not go through their sequences first."""
    rig = load_rig("emulator", fast_load=True)
    (other,) = more_rigs(rig, 1)
    many = features_for(ARTEFACT, clips=2000)
    flash = other.flash

    def flash_and_pull(what: Firmware) -> object:
        report = flash(what)
        threading.Timer(0.5, other.board.vanish).start()  # type: ignore[attr-defined]
        return report

    other.flash = flash_and_pull  # type: ignore[method-assign, assignment]
    try:
        with rig, pytest.raises((PortLost, DeviceError)):
            run_on_rig(ARTEFACT, many, firmware, rig, Background(), Quiet(), [other])
    finally:
        other.close()


@pytest.fixture
def folder(tmp_path: Path, features: Features) -> Path:
    """A model's folder, ready to be run."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.toml").write_text(RECIPE)
    out = tmp_path / "out"
    out.mkdir()
    ARTEFACT.save(out / ARTEFACT_FILE)
    save_features(features, out / FEATURES)
    return tmp_path


def test_command(folder: Path) -> None:
    """`hil run --jobs 3` leaves the result that `hil run` leaves."""
    arguments = ["run", str(folder / "tiny"), "--out", str(folder / "out"), "--fast-load"]
    assert run([*arguments, "--jobs", "3"]) == 0
    many = json.loads((folder / "out" / RESULT).read_text())
    assert run([*arguments, "--force"]) == 0
    one = json.loads((folder / "out" / RESULT).read_text())
    for table in (one, many):
        table.pop("seconds")
    assert one == many


def test_a_single_board_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """More than one job needs a rig that there can be several of; so does sound."""
    rig = cast(Rig, SimpleNamespace(name="metro-m0"))
    assert more_rigs(rig, 0) == []
    with pytest.raises(UsageError, match="metro-m0: a single board, which takes one sequence after the other"):
        more_rigs(rig, 1)
    assert run(["run", "keyword-demo", "--jobs", "2", "--mode", "audio"]) == EXIT_USAGE
    assert "one chip's" in capsys.readouterr().err
