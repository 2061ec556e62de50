"""`hil results`: seeds and folds of a small FSDD of tones, resumed, published, and run from what was published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact
from rich.console import Console
from test_cli import call

from hil.artefact import load_artefact
from hil.errors import ArtefactError, UsageError
from hil.experiment.outcome import Difference, Outcome, RunScore, outcome_from_json
from hil.experiment.progress import Quiet
from hil.experiment.results import choose_folds, own_fold
from hil.experiment.shipped import KINDS, load_vectors, make_vectors, save_vectors, with_shipped
from hil.experiment.workspace import Workspace
from hil.recipe import load_recipe
from hil.report.results import BEGIN, END, markdown, plot_svg, print_outcome, with_results
from hil.trace import Tier

RECIPE = """
name = "digits"
[data]
source = "fsdd"
protocol = "leave-one-speaker-out"
fold = 2
validation = "takes"
seconds = 0.3
[features]
bands = 12
window = 512
hop = 512
[cell]
hidden = [6, 5]
dense = 8
[train]
epochs = 4
batch = 32
[quantize]
epochs = 2
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe folder; three speakers who say ten digits seven times, as tones."""
    import soundfile

    rng = np.random.default_rng(1)
    recordings = tmp_path / "data" / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    t = np.arange(2400) / 8000
    for number, speaker in enumerate(("ann", "bob", "cleo")):
        for digit in range(10):
            for take in range(7):
                wave = 0.3 * np.sin(2 * np.pi * (200 + 300 * digit + 20 * number) * t) + rng.normal(0, 0.01, t.size)
                soundfile.write(recordings / f"{digit}_{speaker}_{take}.wav", wave, 8000)
    monkeypatch.setenv("HIL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "digits"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "README.md").write_text("# Digits\n\nA card.\n\n## Limits\n\nTones.\n")
    return folder


def test_seeds_and_folds_are_trained_published_and_run_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Two folds: every model on the same clips, each artefact equal to its twin on the chip.

    A second call trains nothing.  What is published is the artefact of the recipe's own fold; another folder of results
    runs it without training, from the test vectors.
    """
    command = ("results", "models/digits", "--seeds", "1", "--folds", "1,2", "--device-clips", "3", "--fast-load")
    code, text, err = call(capsys, *command)
    assert code == 0, err
    results = tmp_path / "build" / "digits" / "results"
    outcome = outcome_from_json((results / "results.json").read_text())
    assert (outcome.folds, outcome.seeds) == (("ann", "bob"), (1,))
    assert [run.clips for run in outcome.runs] == [70, 70]
    assert outcome.models == ("float GRU", "int8 GRU", "float eGRU", "quantized eGRU")
    assert all(run.device_exact and run.device_clips == 3 and run.device_steps == 3 * 4 for run in outcome.runs)
    assert outcome.ratio == outcome.parameter_bytes["float GRU"] / outcome.parameter_bytes["quantized eGRU"] > 5
    assert [d.model for d in outcome.differences] == ["int8 GRU", "float eGRU", "quantized eGRU"]
    assert all(d.low <= d.mean <= d.high and d.spread == "folds" for d in outcome.differences)
    assert outcome.differences[-1].mean == pytest.approx(
        outcome.accuracy("quantized eGRU") - outcome.accuracy("float GRU")
    )
    assert "bit-exact 24 of 24 steps" in text

    code, _, err = call(capsys, *command, "--publish")
    assert code == 0
    stages = {line.split(":")[0] for line in err.splitlines() if ": done in" in line}
    assert stages == set(), "the second call did something again"
    own = results / "bob" / "seed-1" / "model.artefact"
    assert (model / "model.artefact").read_bytes() == own.read_bytes()
    card = (model / "README.md").read_text()
    assert card.index("## Limits") < card.index(BEGIN) < card.index(END)
    assert markdown(outcome).rstrip() in card

    code, text, err = call(capsys, "run", "models/digits", "--out", tmp_path / "elsewhere", "--fast-load")
    assert code == 0, err
    assert "taking the artefact that is shipped" in err
    result = json.loads((tmp_path / "elsewhere" / "shipped" / "result.json").read_text())
    assert (result["steps"], result["steps_exact"], result["outputs_exact"]) == (4 * len(KINDS), 4 * len(KINDS), 6)
    assert result["accuracy"] == {}
    code, text, _ = call(capsys, "report", "models/digits", "--out", tmp_path / "elsewhere")
    assert code == 0
    assert "no accuracy is measured" in " ".join(text.split())


def test_folds_by_name_and_number(model: Path) -> None:
    """The recipe's own fold keeps the recipe's spelling, so that its artefact is that of `hil quantize`."""
    recipe = load_recipe(model)
    assert own_fold(recipe) == "bob"
    assert choose_folds(recipe, "all") == ("ann", None, "cleo")
    assert choose_folds(recipe, "3, bob") == ("cleo", None)
    assert choose_folds(recipe, "own") == (None,)
    with pytest.raises(UsageError, match="there is no fold '4', only ann, bob, cleo"):
        choose_folds(recipe, "4")


def test_publishing_needs_the_recipes_own_fold(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is trained."""
    code, _, err = call(capsys, "results", model, "--folds", "1", "--publish", "--device-clips", "0")
    assert code == 2
    assert "--publish needs the recipe's own fold 'bob'" in err
    assert "run 1 of" not in err


OUTCOME = Outcome(
    model="m",
    command="hil results m --seeds 2",
    voted=False,
    seeds=(1, 2),
    folds=("a", "b"),
    runs=tuple(
        RunScore(fold, seed, 100, {"float GRU": 0.9, "quantized eGRU": 0.88 + 0.01 * seed}, "0" * 64, 5, 50, 50, 5)
        for fold in ("a", "b")
        for seed in (1, 2)
    ),
    differences=(Difference("quantized eGRU", -0.005, -0.02, 0.01, "folds", -0.03, 0.02),),
    parameter_bytes={"float GRU": 1000, "quantized eGRU": 100},
    epochs={"float GRU": 70, "quantized eGRU": 70},
    rig="emulator",
    tier=Tier.CYCLE_MODEL,
    hashes={"recipe": "1" * 64},
    versions={"torch": "2"},
)


def test_results_go_to_json_and_back() -> None:
    """Equal, and damaged ones are named."""
    assert outcome_from_json(OUTCOME.to_json()) == OUTCOME
    with pytest.raises(UsageError, match="are no results or are corrupt"):
        outcome_from_json("{")


def test_the_table_says_points_intervals_and_sizes() -> None:
    """In the card and on the terminal alike."""
    console = Console(width=300, record=True)
    print_outcome(OUTCOME, console)
    for shown in (console.export_text(), markdown(OUTCOME)):
        for words in ("90.0", "89.5", "-0.50", "-2.00 to +1.00", "-3.00 to +2.00", "t over folds", "10.0 times fewer"):
            assert words in shown
        assert "within" not in shown.replace("within the folds", "")


def test_a_cards_results_are_replaced_and_the_rest_stays() -> None:
    """Between two marks, as often as one likes."""
    card = with_results("# M\n\nText.\n", OUTCOME)
    other = with_results(f"{card}\n## Limits\n", replace(OUTCOME, command="hil results m --seeds 3"))
    assert other.count(BEGIN) == other.count(END) == 1
    assert other.startswith("# M\n\nText.\n")
    assert other.endswith("## Limits\n")
    assert "--seeds 3" in other
    assert "--seeds 2" not in other


def test_the_plot_is_the_same_every_time() -> None:
    """So that a card changes only with its numbers."""
    assert plot_svg(OUTCOME) == plot_svg(OUTCOME)
    assert plot_svg(OUTCOME).count("<svg") == 1


def test_vectors_are_checked_against_artefact_and_twin(tmp_path: Path) -> None:
    """Another artefact, a changed output, a damaged file: each is named."""
    artefact = make_artefact(seed=4)
    vectors = make_vectors(artefact)
    path = tmp_path / "vectors.safetensors"
    save_vectors(vectors, path)
    assert np.array_equal(load_vectors(path, artefact).x, vectors.x)
    with pytest.raises(ArtefactError, match="belong to another artefact"):
        load_vectors(path, make_artefact(seed=5))
    save_vectors(replace(vectors, logits=vectors.logits + 1), path)
    with pytest.raises(ArtefactError, match="the twin on this machine gives other"):
        load_vectors(path, artefact)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="are no test vectors or are corrupt"):
        load_vectors(path, artefact)


def test_what_was_trained_here_comes_before_what_is_shipped(tmp_path: Path) -> None:
    """The shipped artefact is taken only where there is none, and never mixed with other stages."""
    shipped, trained = make_artefact(seed=1), make_artefact(seed=2)
    (tmp_path / "model").mkdir()
    ws = Workspace(tmp_path / "out", Quiet())
    assert with_shipped(ws, tmp_path / "model") is ws
    shipped.save(tmp_path / "model" / "model.artefact")
    inner = with_shipped(ws, tmp_path / "model")
    assert inner.folder == tmp_path / "out" / "shipped"
    assert load_artefact(inner.path("model.artefact")).sha256() == shipped.sha256()
    trained.save(ws.path("model.artefact"))
    assert with_shipped(ws, tmp_path / "model") is ws
