"""Ctrl-C in any stage: exit code 130, no half-written file, no process left, and the next call goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import make_artefact
from test_cli import RECIPE
from test_experiment_run import features_for
from test_experiment_stages import RECIPE as TRAINED_RECIPE
from test_experiment_stages import tiny_features

from hil.experiment.feature_file import save_features
from hil.experiment.progress import Quiet
from hil.experiment.stages import FEATURES, make_models
from hil.experiment.workspace import PART_PREFIX, Workspace

LONG = RECIPE.replace("clips = 100", "clips = 20000").replace("epochs = 1", "epochs = 100000")


@pytest.fixture(scope="module")
def float_egru(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float eGRU to quantize."""
    folder = tmp_path_factory.mktemp("float")
    save_features(tiny_features(), folder / FEATURES)
    make_models(TRAINED_RECIPE, Workspace(folder, Quiet()), quantized=False)
    return folder


def prepare(stage: str, out: Path, float_egru: Path) -> None:
    """What the stages before have left."""
    artefact = make_artefact(seed=5, name="tiny")
    if stage in ("quantize", "float-egru"):
        shutil.copytree(float_egru, out, dirs_exist_ok=True)
    if stage in ("firmware", "run"):
        artefact.save(out / "model.artefact")
        save_features(features_for(artefact, clips=20_000), out / FEATURES)


COMMANDS = {
    "data": "train",
    "float-egru": "train",
    "quantize": "quantize",
    "firmware": "build",
    "run": "run",
}


def group_members(group: int) -> Iterator[int]:
    out = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        pid, pgid, state = line.split()
        if int(pgid) == group and not state.startswith("Z"):
            yield int(pid)


def heed_ctrl_c() -> None:
    """As from a terminal: a shell's background jobs, and so perhaps this test, ignore the key."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("stage", "after_s"),
    [
        ("data", 0.3),
        ("float-egru", 0.0),  # its processes are just starting
        ("float-egru", 4.0),  # they train
        ("quantize", 0.3),
        ("firmware", 0.05),  # compilers run
        ("run", 0.3),
    ],
)
def test_ctrl_c_leaves_nothing_half_written(stage: str, after_s: float, tmp_path: Path, float_egru: Path) -> None:
    """The key goes to the whole process group, as from a terminal, some time after the stage has begun."""
    model, out = tmp_path / "tiny", tmp_path / "out"
    model.mkdir()
    out.mkdir()
    (model / "recipe.toml").write_text(LONG)
    prepare(stage, out, float_egru)
    before = {p.name for p in out.iterdir()}
    command = [sys.executable, "-m", "hil.cli", COMMANDS[stage], str(model), "--out", str(out)]
    if stage == "float-egru":
        command = [sys.executable, str(_train_only(tmp_path, model, out))]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    )
    try:
        deadline = time.monotonic() + 60
        while not any(p.name.startswith(f"{PART_PREFIX}{stage}-") for p in out.iterdir()):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        left = ended(process.pid, within_s=10)
    finally:
        for pid in group_members(process.pid):
            os.kill(pid, signal.SIGKILL)
    assert left == []
    assert process.returncode == 130, err
    assert "interrupted: nothing is left half-written" in err
    assert "Traceback" not in err
    made = {p.name for p in out.glob("*")} - before - {".lock"}
    assert not [name for name in made if "part" in name]
    assert not [name for name in made if name.startswith(stage)]


def ended(group: int, within_s: float) -> list[int]:
    """Processes of the group that are still there after so long; a loaded machine takes a moment to end them."""
    deadline = time.monotonic() + within_s
    while (left := list(group_members(group))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _train_only(folder: Path, model: Path, out: Path) -> Path:
    """A program that enters training from the feature file, through the command line's own error handling."""
    script = folder / "train_only.py"
    script.write_text(
        "import sys\n"
        "import click\n"
        "from pathlib import Path\n"
        "import hil.cli\n"
        "from hil.cli.commands import hil as group\n"
        "from hil.cli.common import find_recipe, opened\n"
        "@group.command('train-only')\n"
        "def train_only():\n"
        "    from hil.experiment.stages import make_models\n"
        f"    with opened(Path({str(out)!r}), True) as ws:\n"
        f"        make_models(find_recipe({str(model)!r}), ws, quantized=False)\n"
        "if __name__ == '__main__':\n"
        "    hil.cli.main(['train-only'])\n"
    )
    return script
