"""Several workers on one storage: killed, interrupted, joined later; the sum of their trials is exact."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from test_cli import call
from test_cli_interrupt import group_members, heed_ctrl_c

from hil.artefact import load_artefact
from hil.cli import sweep as sweeping
from hil.errors import ToolError
from hil.experiment.progress import Quiet
from hil.experiment.shipped import load_vectors
from hil.experiment.workspace import Workspace
from hil.firmware import find_compiler
from hil.recipe import load_recipe

RECIPE = """
name = "tiny"
[data]
keywords = ["yes"]
unknown_words = ["house"]
clips = 100
[features]
hop = 512
bands = 8
[cell]
hidden = [4]
dense = 4
[train]
epochs = {epochs}
[quantize]
epochs = 1
"""

SCRIPTED = """
import json, os, signal, sys, time
from pathlib import Path
import hil.experiment.sweep.worker as worker
import hil.experiment.sweep.begin, hil.report.sweep, hil.cli
from hil.experiment.sweep.trial import Measured, Refused

def measure(recipe, ws, place):
    size = recipe.cell.hidden[0]
    ws.progress.say(f"measuring {size}")
    time.sleep(0.3)
    if size > 40:
        raise Refused("too large", size / 40 - 1)
    return Measured(1 - 1 / size, 100 * size, 9, 50 * size, 9000, 500, "cycle-model", "emulator", "0" * 64, 4)

class Nothing:
    name, ws, data_sha256 = "none", None, "0" * 64

worker.measure_trial, worker.link_inputs = measure, lambda inputs, ws: None
worker._inputs = lambda sweep, recipe: Nothing

def start(number, *arguments):
    pid = os.fork()
    if pid:
        return pid
    log = os.open(f"worker-{number}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1), os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os._exit(hil.cli.run(["sweep", "tiny", *arguments]))

def until(number, times):
    log = Path(f"worker-{number}.log")
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("measuring") < times:
        assert time.monotonic() < deadline
        time.sleep(0.02)

pids = [start(0, "--param", "dense=4..400", "--param", "hidden=8..60", "--trials", "12")]
until(0, 1)
pids += [start(1), start(2)]
until(1, 2)
os.kill(pids[1], signal.SIGKILL)
until(2, 2)
os.kill(pids[2], signal.SIGINT)
pids.append(start(3))
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
"""
"""Four workers whose trials take a third of a second and no processor."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``tiny`` in the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE.format(epochs=1))
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker in a process group of its own; what is left of them is killed."""
    started: list[subprocess.Popen[str]] = []

    def one(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / f"worker-{len(started)}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "hil.cli", "sweep", "tiny", "--fast-load", *arguments],
                    stdout=log,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            )
        return started[-1]

    yield one
    for process in started:
        for pid in group_members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def outcome(capsys: pytest.CaptureFixture[str]) -> dict:
    code, _, err = call(capsys, "sweep", "tiny", "--show")
    assert code == 0, err
    return json.loads(Path("build/tiny/sweep/tiny/sweep.json").read_text())


def test_a_killed_workers_trial_goes_on_where_it_stopped(model, start, tmp_path, capsys):
    """
    Two workers train; one is killed (SIGKILL) in the middle of a training and begun again.

    Its trial is taken over with the same values; exactly as many trials are complete as were asked for, each
    combination once; a shape that cannot fit is refused before training; a trial of the front becomes a model.
    """
    (model / "recipe.toml").write_text(RECIPE.format(epochs=12))
    first = start("--param", "hidden=900,4,5", "--sampler", "grid", "--trials", "2")
    trials = tmp_path / "build/tiny/sweep/tiny/trials"
    logs = [tmp_path / f"worker-{i}.log" for i in range(2)]
    wait_for(lambda: list(trials.glob("*/.part-float-egru-*")), first, logs[0])
    second = start()
    wait_for(lambda: len(list(trials.glob("*/.part-float-egru-*"))) == 2, second, logs[1])
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    code, text, err = call(capsys, "sweep", "tiny", "--fast-load")
    assert (code, second.wait(300)) == (0, 0), (err, logs[1].read_text())
    assert "2 of 2 trials complete, 1 refused" in text

    found = outcome(capsys)
    rows = found["rows"]
    assert [row["verdict"] for row in rows] == ["refused", "complete", "complete"]
    assert "trial 0: refused before training" in logs[0].read_text()
    assert rows[0]["values"] == {"cell.hidden": "900"}
    assert "bytes of flash" in rows[0]["reason"]
    assert not list(Path(rows[0]["folder"]).glob("*float*"))
    assert sorted(row["values"]["cell.hidden"] for row in rows[1:]) == ["4", "5"]
    again = [row for row in rows if row["retry_of"] is not None]
    assert [(row["retry_of"], row["values"]["cell.hidden"]) for row in again] == [(1, "4")]
    assert (found["tier"], found["trials"], found["taken_over"]) == ("cycle-model", 2, 1)

    best = found["front"][0]
    row = next(row for row in rows if row["number"] == best)
    code, text, _ = call(capsys, "sweep", "tiny", "--export", best, "--to", "best")
    assert (code, f"trial {best}" in text) == (0, True)
    artefact = load_artefact(Path("best/model.artefact"))
    assert artefact.sha256() == row["artefact_sha256"]
    assert load_recipe("best").cell.hidden == (int(row["values"]["cell.hidden"]),)
    assert len(load_vectors(Path("best/vectors.safetensors"), artefact).x) == 6
    code, _, err = call(capsys, "sweep", "tiny", "--export", best, "--to", "best")
    assert (code, "holds a recipe.toml already" in err) == (2, True)
    code, text, _ = call(capsys, "sweep", "tiny", "--show", "--test")
    assert "test %" in text


def test_the_sum_of_many_workers_is_exact(model, tmp_path, capsys):
    """
    Three workers, of which one is killed and one is interrupted, and one that comes later.

    Refused trials do not count; no values come twice; nothing is left running or queued.  Then whoever has another
    recipe or other parameters is not let in, and is told what differs.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTED], capture_output=True, text=True, timeout=300, preexec_fn=heed_ctrl_c
    )
    logs = [path.read_text() for path in sorted(tmp_path.glob("worker-*.log"))]
    assert done.stdout.strip() == str([0, -signal.SIGKILL, 130, 0]), (done.stderr, logs)
    found = outcome(capsys)
    verdicts = [row["verdict"] for row in found["rows"]]
    assert verdicts.count("complete") == 12
    assert set(verdicts) <= {"complete", "refused"}
    values = [tuple(sorted(row["values"].items())) for row in found["rows"]]
    assert len(set(values)) == len(values)
    assert 1 <= found["taken_over"] <= 2

    other = "zig" if find_compiler(None).name == "gcc" else "gcc"
    refused = ((("--compiler", other), "the compiler"),) if other == "zig" or shutil.which("arm-none-eabi-gcc") else ()
    for line, message in (
        *refused,
        (("--param", "dense=4..40"), "there, cell.dense=4..40 here"),
        (("--objective", "accuracy"), "--objective accuracy,cycles,flash there, accuracy here"),
        (("--seed", "4"), "--seed 1 there, 4 here"),
    ):
        code, _, err = call(capsys, "sweep", "tiny", *line)
        assert (code, message in err) == (2, True), err
    (model / "recipe.toml").write_text(RECIPE.format(epochs=7))
    code, _, err = call(capsys, "sweep", "tiny")
    assert (code, "train.epochs = 1 there, 7 here" in err) == (2, True), err


def test_nothing_to_sweep_and_nothing_to_show_are_said(model, capsys):
    """Before anything is made."""
    code, _, err = call(capsys, "sweep", "tiny")
    assert (code, "what is to be swept?" in err) == (2, True)
    code, _, err = call(capsys, "sweep", "tiny", "--show", "--out", "elsewhere")
    assert (code, "no sweep here" in err) == (2, True)
    assert not Path("elsewhere").exists()
    code, _, err = call(capsys, "sweep", "tiny", "--param", "noise=0..0.1", "--sampler", "grid")
    assert (code, "has no end of combinations" in err) == (2, True)
    code, _, err = call(capsys, "sweep", "tiny", "--export", 1)
    assert (code, "go together" in err) == (2, True)


def test_more_workers_are_passed_on_and_waited_for(monkeypatch, tmp_path):
    """`--jobs`: what they say is shown with their number; one that fails is told when the others have done its work."""
    code = "import sys; print('measuring', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    for status in (0, 3):
        command = [sys.executable, "-c", code, str(status)]
        monkeypatch.setattr(sweeping, "_command", lambda asked, command=command: command)
        ws = Workspace(tmp_path, Quiet())
        failing = pytest.raises(ToolError, match="worker 2 with 3") if status else nullcontext()
        with failing, sweeping._more_workers(None, ws, 1):
            pass
        assert ws.progress.said == ["worker 2: measuring"]
