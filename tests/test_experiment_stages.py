"""From recipe to artefact: two trainings at once in processes of their own, that end when the caller does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hil.artefact import FrontEnd, load_artefact
from hil.errors import ToolError, UsageError
from hil.experiment.feature_file import Features, save_features
from hil.experiment.progress import Quiet, Update
from hil.experiment.stages import (
    ARTEFACT,
    FEATURES,
    FLOAT_EGRU,
    FLOAT_GRU,
    QUANTIZED,
    make_artefact,
    make_data,
    make_features,
    make_models,
)
from hil.experiment.training import Job, workers
from hil.experiment.workspace import Workspace
from hil.features import FeatureSet
from hil.float_model import load_float_model
from hil.quant import run_twin_batch
from hil.recipe import CellRecipe, DataRecipe, FeatureRecipe, QuantizeRecipe, Recipe, TrainRecipe

RECIPE = Recipe(
    name="tiny",
    data=DataRecipe(keywords=("yes", "no"), unknown_words=("tree", "house"), clips=100),
    features=FeatureRecipe(bands=6),
    cell=CellRecipe(hidden=(4, 3), dense=4),
    train=TrainRecipe(epochs=2, batch=8),
    quantize=QuantizeRecipe(epochs=1),
)


def tiny_features(seed: int = 1) -> Features:
    """Three classes that a tiny network can tell apart: each has another band that is loud."""
    rng = np.random.default_rng(seed)

    def part(clips: int) -> FeatureSet:
        y = np.arange(clips) % 3
        x = rng.integers(-2000, 2000, (clips, 7, 6))
        x[np.arange(clips), :, y] += 12000
        return FeatureSet(x.astype(np.int16), y.astype(np.int64), tuple(f"clip{i}" for i in range(clips)), 0)

    frontend = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, 7, 1, np.zeros(6, np.int16))
    return Features(("a", "b", "c"), frontend, part(48), part(12), part(12))


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    save_features(tiny_features(), tmp_path / FEATURES)
    return Workspace(tmp_path, Quiet())


def said(ws: Workspace) -> list[str]:
    assert isinstance(ws.progress, Quiet)
    return [line.split(":")[0] for line in ws.progress.said if "done" in line]


def children() -> set[int]:
    """Processes of this one that are alive."""
    out = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {int(pid) for pid, state in rows if not state.startswith("Z")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Everything up to the artefact, both models at once."""
    folder = tmp_path_factory.mktemp("trained")
    save_features(tiny_features(), folder / FEATURES)
    ws = Workspace(folder, Quiet())
    make_models(RECIPE, ws, quantized=True, jobs=2)
    assert sorted(said(ws)) == ["float-egru", "float-gru", "quantize"]
    return ws


def test_features_to_an_artefact(trained: Workspace) -> None:
    """Both float models, the quantized one and the artefact; its twin has the accuracy that its manifest says."""
    assert load_float_model(trained.path(FLOAT_GRU)).kind == "gru"
    assert load_float_model(trained.path(FLOAT_EGRU)).kind == "embedded_gru"
    assert load_float_model(trained.path(QUANTIZED)).quantization
    artefact = load_artefact(trained.path(ARTEFACT))
    assert (artefact.name, artefact.labels) == ("tiny", ("a", "b", "c"))
    assert artefact.provenance["recipe_sha256"] == RECIPE.sha256()
    test = tiny_features().test
    accuracy = float((run_twin_batch(artefact, test.x).argmax(axis=1) == test.y).mean())
    known = trained.manifest("quantize")
    assert known is not None
    assert float(known.facts["test_accuracy"]) == accuracy


def test_training_again_gives_the_same_bytes(trained: Workspace, ws: Workspace) -> None:
    """One after the other instead of both at once: the same artefact and the same float models."""
    make_models(RECIPE, ws, quantized=True, jobs=1)
    for name in (ARTEFACT, FLOAT_GRU, FLOAT_EGRU):
        assert ws.path(name).read_bytes() == trained.path(name).read_bytes()


def test_only_what_depends_on_a_change_is_done_again(trained: Workspace) -> None:
    """Nothing changed: nothing is done.  Other quantization: the float models stay."""
    quiet = replace(trained, progress=Quiet())
    make_models(RECIPE, quiet, quantized=True)
    assert said(quiet) == []
    make_models(replace(RECIPE, quantize=replace(RECIPE.quantize, row_scales=False)), quiet, quantized=True)
    assert said(quiet) == ["quantize"]


def test_quantizing_without_training_says_what_to_do(tmp_path: Path) -> None:
    """The message names the missing file and the command."""
    with pytest.raises(UsageError, match=r"features\.safetensors.*hil train"):
        make_artefact(RECIPE, Workspace(tmp_path, Quiet()))
    save_features(tiny_features(), tmp_path / FEATURES)
    with pytest.raises(UsageError, match=r"float-egru\.model.*hil train"):
        make_artefact(RECIPE, Workspace(tmp_path, Quiet()))
    (tmp_path / FLOAT_EGRU).write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"float-egru\.model.*corrupt"):
        make_artefact(RECIPE, Workspace(tmp_path, Quiet()))


def test_data_and_features_from_the_recipe(tmp_path: Path) -> None:
    """The stages before training, and that a second call skips them."""
    ws = Workspace(tmp_path, Quiet())
    for _ in range(2):
        data = make_data(RECIPE, ws)
        make_features(RECIPE, ws)
    assert said(ws) == ["data", "features"]
    assert len(data.facts["sha256"]) == 64
    make_features(replace(RECIPE, features=replace(RECIPE.features, bands=8)), ws)
    assert said(ws) == ["data", "features", "features"]


def test_an_error_in_a_worker_reaches_the_caller(ws: Workspace, tmp_path: Path) -> None:
    """A training that cannot be is an error of the user's file, without a traceback of a process."""
    missing = Job(RECIPE, "gru", tmp_path / "none", tmp_path / "out")
    with workers(Quiet()) as pool:
        pool.start("one", missing)
        with pytest.raises(UsageError, match="no features here"):
            pool.result("one")


def test_a_worker_that_dies_is_an_error_and_not_a_wait(ws: Workspace, tmp_path: Path) -> None:
    """Killed from outside (by the kernel when memory is short): the message names model and exit code."""
    long = replace(RECIPE, train=replace(RECIPE.train, epochs=10_000))
    with workers(Quiet()) as pool:
        pool.start("float GRU", Job(long, "gru", ws.path(FEATURES), tmp_path / "out"))
        pool._workers["float GRU"].process.kill()
        with pytest.raises(ToolError, match=r"float GRU ended without a result \(exit code -9\)"):
            pool.result("float GRU")


class InterruptedProgress(Quiet):
    """Presses Ctrl-C at the first sign of progress."""

    def task(self, title: str) -> AbstractContextManager[Update]:
        inner = super().task(title)

        class Task(AbstractContextManager[Update]):
            def __enter__(self) -> Update:
                inner.__enter__()
                return interrupt

            def __exit__(self, *_: object) -> None:
                inner.__exit__(None, None, None)

        return Task()


def interrupt(done: int, total: int, text: str = "") -> None:
    raise KeyboardInterrupt


def test_an_interrupt_ends_the_workers_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while both models train: no process and no file is left."""
    save_features(tiny_features(), tmp_path / FEATURES)
    long = replace(RECIPE, train=replace(RECIPE.train, epochs=10_000))
    before = children()
    with pytest.raises(KeyboardInterrupt):
        make_models(long, Workspace(tmp_path, InterruptedProgress()), quantized=True)
    assert {p.name for p in tmp_path.iterdir()} == {FEATURES}
    assert len(children() - before) <= 1  # multiprocessing's resource tracker, which ends with this process


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_do_not_outlive_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    """A parent that is killed cannot clean up: its workers notice that nobody listens."""
    save_features(tiny_features(), tmp_path / FEATURES)
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from test_experiment_stages import RECIPE, Job, Quiet, replace, workers\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    long = replace(RECIPE, train=replace(RECIPE.train, epochs=100_000))\n"
        "    with workers(Quiet()) as pool:\n"
        f"        pool.start('one', Job(long, 'gru', folder / '{FEATURES}', folder / 'out'))\n"
        "        print(pool._workers['one'].process.pid, flush=True)\n"
        "        pool.result('one')\n"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    assert wait_until(lambda: not alive(worker))
