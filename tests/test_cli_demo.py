"""The front door from end to end on the emulated chip: a small demo, and four planted mutants."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_artefact
from test_cli import RECIPE
from test_experiment_run import features_for

import hil
from hil.experiment.feature_file import save_features
from hil.resources import resource

SMALL = RECIPE.replace("clips = 100", "clips = 120").replace("bands = 5", "bands = 8")
STAGES = ("data", "features", "float-gru", "float-egru", "quantize", "gru8", "gain", "firmware", "run")


def command(*arguments: object, cwd: Path, path: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*(path or []), *(p for p in sys.path if p)])}
    call = [sys.executable, "-m", "hil.cli", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, cwd=cwd, env=env)


def test_a_demo_goes_from_words_to_a_report(tmp_path: Path) -> None:
    """Data, training, artefact, ELF, run, table, page; the second call does nothing again."""
    (tmp_path / "recipe.toml").write_text(SMALL)
    first = command("demo", tmp_path, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "build" / "tiny"
    result = json.loads((out / "result.json").read_text())
    assert result["steps_exact"] == result["steps"] > 0
    assert result["outputs_exact"] == result["outputs"] > 0
    assert list(result["accuracy"]) == ["float GRU", "float eGRU", "int8 GRU", "quantized eGRU", "device"]
    assert result["accuracy"]["quantized eGRU"] == result["accuracy"]["device"]
    assert set(result["seconds"]) == set(STAGES) - {"gru8", "gain", "run"}
    assert len(result["cycles"]) == result["steps"]
    assert result["tier"] == "cycle-model"
    assert "bit-exact" in first.stdout
    assert first.stdout.splitlines()[-1] == f"report: {Path('build') / 'tiny' / 'report.html'}"
    assert "<html" in (out / "report.html").read_text()
    again = command("demo", tmp_path, cwd=tmp_path)
    assert again.returncode == 0
    assert [line.split(":")[0] for line in again.stderr.splitlines() if "unchanged, skipped" in line] == list(STAGES)
    assert json.loads((out / "result.json").read_text()) == result


EVENTS = SMALL.replace("[cell]\n", '[cell]\nkind = "event_embedded_gru"\n').replace(
    'name = "tiny"', 'name = "tiny-events"'
)


def test_an_event_egru_stands_beside_it(tmp_path: Path) -> None:
    """With events.toml in the folder: trained on the same features, run, every step compared, one page for both."""
    (tmp_path / "recipe.toml").write_text(SMALL)
    (tmp_path / "events.toml").write_text(EVENTS)
    first = command("demo", tmp_path, "--fast-load", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    own = tmp_path / "build" / "tiny" / "events"
    result = json.loads((own / "result.json").read_text())
    assert result["model"] == "tiny-events"
    assert result["steps_exact"] == result["steps"] > 0
    assert result["outputs_exact"] == result["outputs"] > 0
    assert len(result["activity"]) == 2
    assert "the event eGRU beside it, on the same clips" in first.stdout
    page = (tmp_path / "build" / "tiny" / "report.html").read_text()
    assert "tiny-events" in page
    assert "the event eGRU beside it" in command("report", tmp_path, cwd=tmp_path).stdout
    again = command("demo", tmp_path, "--fast-load", cwd=tmp_path)
    assert again.returncode == 0
    assert again.stderr.count("run: unchanged, skipped") == 2


def test_an_event_egru_takes_the_same_clips(tmp_path: Path) -> None:
    """Another data or feature table is refused before anything is trained for it."""
    (tmp_path / "recipe.toml").write_text(SMALL)
    (tmp_path / "events.toml").write_text(EVENTS.replace("bands = 8", "bands = 7"))
    done = command("demo", tmp_path, "--fast-load", cwd=tmp_path)
    assert done.returncode == 2
    assert "[data] and [features] must be those of tiny" in done.stderr


MUTANTS = {
    "rounding": ("firmware/kernels/softsign_armv6m.h", "adcs    \\v, r1", "adds    \\v, r1", {"state"}),
    "shift": ("firmware/kernels/embedded_gru_armv6m.S", "asrs    r0, r0, #9", "asrs    r0, r0, #10", {"state"}),
    "weight": ("hil/codegen/model.py", "", "", {"accumulator"}),
    "update": ("firmware/kernels/embedded_gru_armv6m.S", "subs    r0, r0, r3", "adds    r0, r0, r3", {"state"}),
}
"""File, what stands there, what replaces it, and the operation that must be named."""

WRONG_WEIGHT = """

def _spoiled(text: str) -> str:
    import re

    found = re.search(r"recurrent0_codes.*?0x([0-9a-f]{8})", text, re.S)
    assert found is not None
    other = "05" if found[1].endswith("06") else "06"
    return text[: found.start(1) + 6] + other + text[found.end(1) :]


_right = emit_c


def emit_c(artefact: Artefact, **options: bool) -> dict[str, str]:
    texts = _right(artefact, **options)
    return {name: _spoiled(text) if "recurrent0_codes" in text else text for name, text in texts.items()}
"""


def mutated_package(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the package and what travels with it, with one place changed; returns what to put on the path."""
    package = folder / "hil"
    shutil.copytree(Path(hil.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "_resources"))
    for name in ("firmware", "rigs", "models"):
        shutil.copytree(resource(name), package / "_resources" / name)
    path = folder / file if file.startswith("hil/") else package / "_resources" / file
    text = path.read_text()
    if old:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))
    else:
        path.write_text(text + WRONG_WEIGHT)
    return folder


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_planted_mutant_is_caught_and_named(name: str, tmp_path: Path) -> None:
    """
    A wrong rounding constant, shift, weight code or state update in the firmware: exit code 1.

    The table says so, and step, layer, unit, operation, expected and got of the first difference are named.
    """
    file, old, new, operations = MUTANTS[name]
    artefact = make_artefact(seed=51, name="tiny")
    model, out = tmp_path / "tiny", tmp_path / "out"
    model.mkdir()
    (model / "recipe.toml").write_text(RECIPE)
    out.mkdir()
    artefact.save(out / "model.artefact")
    save_features(features_for(artefact, clips=3), out / "features.safetensors")
    (tmp_path / "copy").mkdir()
    path = mutated_package(tmp_path / "copy", file, old, new)
    done = command("run", model, "--out", out, cwd=tmp_path, path=[str(path)])
    assert done.returncode == 1, done.stderr
    result = json.loads((out / "result.json").read_text())
    assert result["steps_exact"] < result["steps"]
    first = result["first_difference"]
    assert (first["sequence"], first["operation"] in operations) == (0, True), first
    assert first["expected"] != first["got"]
    assert f"{first['operation']}: expected {first['expected']}, got {first['got']}" in " ".join(done.stdout.split())
