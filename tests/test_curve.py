"""`hil curve`: a pruned recipe beside a model on a small FSDD of tones, resumed, published."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from test_cli import call
from test_results import RECIPE, model

from hil.errors import UsageError
from hil.experiment.curve import Vary, parse_vary, with_value
from hil.experiment.curve_outcome import Curve, CurvePoint, CurveRun, averaged, curve_from_json
from hil.experiment.outcome import Difference
from hil.recipe import DataRecipe, Recipe, TrainRecipe
from hil.report.curve import curve_markdown, curve_svg, print_curve, with_curve
from hil.trace import Tier

__all__ = ["model"]
TOY = Recipe("toy", DataRecipe(keywords=("rise",)), train=TrainRecipe(epochs=4))
PRUNED = RECIPE.replace('"digits"', '"digits-pruned"') + '[prune]\nsparsity = 0.5\n[build]\nkernel = "straight"\n'


def test_points_are_trained_compared_published_and_kept(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A pruned network beside the model's own: zeros, products and cycles fall together, all bit-exact.

    A second call trains nothing and publishes.
    """
    (model / "pruned.toml").write_text(PRUNED)
    command = ("curve", "models/digits", "pruned", "--vary", "prune.sparsity=0.8", "--seeds", "1", "--folds", "own")
    code, text, err = call(capsys, *command, "--device-clips", "2", "--fast-load")
    assert code == 0, err
    folder = Path("build/digits/results")
    curve = curve_from_json((folder / "pruned.json").read_text())
    assert (curve.varied, [point.value for point in curve.points]) == ("prune.sparsity", ["0.8"])
    assert (curve.folds, curve.seeds, curve.epochs) == (("bob",), (1,), 6)
    rows = [curve.dense, *(point.runs for point in curve.points)]
    zeros, macs, cycles = ([averaged(runs, name) for runs in rows] for name in ("zeros", "macs", "cycles"))
    assert zeros[0] < 0.5
    assert zeros[1] >= 0.79
    assert macs[0] > macs[1] > 0
    assert cycles[0] > cycles[1] > 0
    assert all(run.device_steps == run.device_steps_exact == 2 * 4 for runs in rows for run in runs)
    assert all(run.tier is Tier.CYCLE_MODEL for runs in rows for run in runs)
    for point in curve.points:
        assert point.difference.mean == pytest.approx(averaged(point.runs, "accuracy") - rows[0][0].accuracy)
    assert "bit-exact 16 of 16 steps" in text

    code, _, err = call(capsys, *command, "--device-clips", "2", "--fast-load", "--publish")
    assert code == 0
    assert not [line for line in err.splitlines() if ": done in" in line]
    assert json.loads((model / "pruned.json").read_text())["points"][0]["value"] == "0.8"
    assert curve_markdown(curve, "pruned").rstrip() in (model / "README.md").read_text()
    assert (model / "pruned.svg").read_text() == curve_svg(curve)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune.sparsity", "expected TABLE.KEY=VALUE"),
        ("prune=0.5", "expected TABLE.KEY=VALUE"),
        ("prune.sparcity=0.5", "prune.sparcity: the recipe has no number there"),
        ("prune.structure=columns", "no number there"),
        ("prune.sparsity=half", "expected a number such as 0.0"),
        ("prune.sparsity=0.5,1.5", "prune.sparsity = 1.5: must be at least 0 and below 1"),
        ("train.epochs=2.5", "expected a number such as 4"),
    ],
)
def test_what_cannot_vary_is_refused(text: str, message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError, match=message):
        parse_vary(text, TOY)


def test_a_value_is_changed_and_nothing_else() -> None:
    """As if the file said so."""
    vary = parse_vary("prune.sparsity=0.5, 0.7", TOY)
    assert vary == Vary("prune", "sparsity", ("0.5", "0.7"))
    changed = with_value(TOY, vary, "0.7")
    assert changed.prune.sparsity == 0.7
    assert dataclasses.replace(changed, prune=TOY.prune) == TOY


def test_other_data_epochs_and_files_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The comparison would not be one."""
    for text, message in (
        (PRUNED.replace("seconds = 0.3", "seconds = 0.4"), "[data] and [features] must be those of digits"),
        (PRUNED.replace("epochs = 4", "epochs = 5"), "trains for 7 epochs in all, digits for 6: not equal"),
    ):
        (model / "pruned.toml").write_text(text)
        code, _, err = call(capsys, "curve", "models/digits", "pruned", "--device-clips", "0")
        assert code == 2
        assert message in " ".join(err.split())
    code, _, err = call(capsys, "curve", "models/digits", "prunde")
    assert code == 2
    assert "did you mean 'pruned'" in " ".join(err.split())


def run(fold: str, seed: int, accuracy: float, **values: float) -> CurveRun:
    base = CurveRun(
        fold, seed, 100, accuracy, (0.1, 0.2), 0.5, 2000.0, 5000, 2615, "0" * 64, "emulator", Tier.CYCLE_MODEL, "gcc",
        12000.0, 30000, 10, 10,
    )  # fmt: skip
    return dataclasses.replace(base, **values)


CURVE = Curve(
    model="m",
    recipe="m-events",
    command="hil curve m events --seeds 2",
    varied="events.activity",
    hidden=(6, 5),
    epochs=6,
    seeds=(1, 2),
    folds=("",),
    dense=(run("", 1, 0.9, cycles=20000.0, macs=5000.0), run("", 2, 0.92, cycles=20000.0, macs=5000.0)),
    points=(CurvePoint("0.1", (run("", 1, 0.88), run("", 2, 0.91)), Difference("0.1", -0.015, -0.04, 0.01)),),
    hashes={"recipe": "0"},
    versions={"torch": "2"},
)


def test_the_table_says_what_the_curve_says() -> None:
    """Accuracy, difference with its interval, activity, zeros, products, cycles and their ratios; JSON and back."""
    assert curve_from_json(CURVE.to_json()) == CURVE
    text = curve_markdown(CURVE, "events")
    row = next(line for line in text.splitlines() if line.startswith("| events.activity = 0.1"))
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert cells == ["89.5", "-1.50", "-4.00 to +1.00", "10.0, 20.0", "50.0", "2,000", "12,000", "6.00", "60"]
    assert "bit-exact 40 of 40 steps of 4 artefacts" in text
    out = io.StringIO()
    print_curve(CURVE, Console(file=out, width=100))
    assert "bit-exact 40 of 40 steps of 4 artefacts" in out.getvalue()
    assert "events.activity = 0.1" in out.getvalue()
    with pytest.raises(UsageError, match="x: is no curve or is corrupt"):
        curve_from_json("{}", "x")


def test_a_card_has_a_place_for_each_recipe() -> None:
    """A second curve is added, the first one replaced, the rest stays."""
    card = with_curve("# M\n\nA card.\n", CURVE, "events")
    card = with_curve(card, dataclasses.replace(CURVE, recipe="m-pruned"), "pruned")
    again = with_curve(card + "\n## Limits\n", dataclasses.replace(CURVE, command="hil curve again"), "events")
    assert again.count("hil curve again") == 1
    assert again.count("hil curve m events") == 1, "the other curve's"
    assert again.startswith("# M\n\nA card.")
    assert again.endswith("## Limits\n")
    assert "![Accuracy and cycles](pruned.svg)" in again


def test_the_plot_is_the_same_every_time() -> None:
    """With cycles and without."""
    assert curve_svg(CURVE) == curve_svg(CURVE)
    without = dataclasses.replace(
        CURVE,
        dense=tuple(dataclasses.replace(r, cycles=0.0) for r in CURVE.dense),
        points=tuple(
            dataclasses.replace(p, runs=tuple(dataclasses.replace(r, cycles=0.0) for r in p.runs)) for p in CURVE.points
        ),
    )
    assert "cycles a step" in curve_svg(CURVE)
    assert "cycles a step" not in curve_svg(without)
