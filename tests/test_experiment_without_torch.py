"""A bench needs no torch, pyocd or sounddevice: everything but training is imported and used without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_artefact
from test_cli import RECIPE
from test_experiment_run import features_for

from hil.experiment.feature_file import save_features
from hil.experiment.shipped import KINDS, VECTORS, make_vectors, save_vectors

BLOCK = """
import importlib.machinery, sys

class Lacking(importlib.machinery.PathFinder):
    lacks = {"torch", "pyocd", "sounddevice", "espeakng_loader", "soxr", "optuna", "sqlalchemy"}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in cls.lacks else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Lacking
"""
"""As on a machine where they are not installed."""

IMPORT_ALL = """
import importlib, pkgutil, hil
names = [m.name for m in pkgutil.walk_packages(hil.__path__, "hil.", onerror=lambda name: None)]
# training; what pyOCD itself loads; a program; no Python module; Optuna's importers
skipped = ("hil.cells", "hil.train", "hil.probe.plugin", "hil.cli.__main__", "hil.emulator._core")
skipped += tuple(f"hil.experiment.sweep.{name}" for name in ("begin", "early", "sampler", "study", "worker"))
bench = [n for n in names if not n.startswith(skipped)]
for name in bench:
    importlib.import_module(name)
print(len(bench))
"""


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with the blocker; ``PYTHONPATH`` carries this process's own search path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True, cwd=cwd, env=env
    )


def test_everything_a_bench_needs_is_imported_without_them(tmp_path: Path) -> None:
    """Every module of the package except `cells`, `train` and the parts of a sweep that call Optuna."""
    done = python(IMPORT_ALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_the_blocker_blocks(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    for name in ("torch", "pyocd", "sounddevice"):
        done = python(f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A recipe in ``tiny``; in ``out`` the artefact and the features that training has left elsewhere."""
    artefact = make_artefact(seed=41, name="tiny")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.toml").write_text(RECIPE)
    artefact.save(tmp_path / "out" / "model.artefact")
    save_features(features_for(artefact), tmp_path / "out" / "features.safetensors")
    return tmp_path / "tiny"


HIL = "from hil.cli import main; main(sys.argv[1:])"


def test_an_artefact_is_built_and_run_without_them(model: Path, tmp_path: Path) -> None:
    """From the artefact and the feature file to a result on the emulated chip, outside any checkout."""
    done = python(HIL, "run", str(model), "--out", "out", "--fast-load", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["steps_exact"], result["outputs_exact"]) == (45, 5)
    assert result["tier"] == "cycle-model"


def test_a_shipped_artefact_runs_without_them(tmp_path: Path) -> None:
    """A model's folder as it is shipped, and nothing trained: the test vectors through the emulated chip."""
    artefact = make_artefact(seed=41, name="tiny")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    artefact.save(folder / "model.artefact")
    save_vectors(make_vectors(artefact), folder / VECTORS)
    done = python(HIL, "run", str(folder), "--fast-load", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "taking the artefact that is shipped" in done.stderr
    result = json.loads((tmp_path / "build" / "tiny" / "shipped" / "result.json").read_text())
    assert (result["steps_exact"], result["outputs_exact"]) == (9 * len(KINDS), len(KINDS))


def test_flashing_without_pyocd_says_what_to_do(model: Path, tmp_path: Path) -> None:
    """Through the probe only pyOCD flashes: what to install, and how to do without; exit code 3."""
    done = python(HIL, "run", str(model), "--out", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "pyOCD, which flashes, is not installed" in done.stderr
    assert "--fast-load" in done.stderr
    assert not (tmp_path / "out" / "result.json").exists()


def test_training_without_torch_says_what_to_install(tmp_path: Path) -> None:
    """Nothing else needs it."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    code = (
        "from pathlib import Path\n"
        "from hil.experiment.progress import Quiet\n"
        "from hil.experiment.training import Job, _work\n"
        "from hil.recipe import load_recipe\n"
        "import multiprocessing\n"
        "ours, theirs = multiprocessing.Pipe(duplex=False)\n"
        "_work(Job(load_recipe('.'), 'gru', Path('none'), Path('out')), theirs)\n"
        "print(ours.recv())\n"
    )
    done = python(code, cwd=tmp_path)
    assert "training needs torch: pip install 'hil[train]'" in done.stdout, done.stderr
