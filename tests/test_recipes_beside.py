"""Recipes beside a model's own: the same data and epochs, short trainings of them, and what is published of them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from test_train import FRONTEND, LABELS, TEST, TRAIN, VALIDATION

from hil.datasets import load_dataset
from hil.experiment.beside import check_events
from hil.experiment.curve_outcome import averaged, curve_from_json, layer_activity
from hil.experiment.work import matrices_of, zero_share
from hil.features import extract_set, fit_frontend, frame_count
from hil.quant import quantize, run_twins
from hil.recipe import AugmentRecipe, Recipe, load_recipe
from hil.report.curve import curve_markdown
from hil.resources import resource
from hil.train import Session, fit, fit_quantized

MODELS = resource("models")
RECIPES = sorted(
    path
    for path in MODELS.glob("*/*.toml")
    if path.name not in ("recipe.toml", "quick.toml") and (path.parent / "recipe.toml").is_file()
)
"""All but quick variants, whose data are fewer."""
CURVES = [path.with_suffix(".json") for path in RECIPES if path.with_suffix(".json").is_file()]

PROMISES = {
    ("speech-commands-pruned", "0.5"): (0.91, -0.015),
    ("speech-commands-pruned", "0.7"): (0.90, -0.025),
    ("speech-commands-events", "0.15"): (0.91, -0.02),
    ("speech-commands-events", "0.05"): (0.86, -0.07),
    ("speech-commands-events-pruned", "own"): (0.88, -0.045),
}
"""By recipe and value: least accuracy, and least mean difference to the model's own quantized network."""


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def activity_of(recipe: Recipe) -> float:
    return recipe.events.activity if recipe.cell.kind == "event_embedded_gru" else 1.0


@named(RECIPES)
def test_recipes_of_a_folder_can_be_compared(path: Path) -> None:
    """The same data, features, chip and epochs in all as the model's own; another name."""
    own, other = load_recipe(path.parent), load_recipe(path)
    check_events(own, other)
    assert own.train.epochs + own.quantize.epochs == other.train.epochs + other.quantize.epochs
    assert own.build.chip == other.build.chip
    assert own.name != other.name


@named([path for path in RECIPES if path.parent.name == "speech-commands"])
def test_a_quick_variant_keeps_its_zeros_and_its_activity(path: Path) -> None:
    """The recipe's cell, events and pruning on a small set and for few epochs: what it promises besides accuracy."""
    recipe = load_recipe(path)
    quick = dataclasses.replace(
        recipe,
        cell=dataclasses.replace(recipe.cell, hidden=(16, 12)),
        train=dataclasses.replace(recipe.train, epochs=6, batch=16, augment=AugmentRecipe(noise=0.02, time_shift=2)),
        quantize=dataclasses.replace(recipe.quantize, epochs=3),
    )
    start = fit(quick, TRAIN, VALIDATION, kind=quick.cell.kind)
    done = fit_quantized(quick, start, TRAIN, VALIDATION)
    artefact = quantize(done, FRONTEND, LABELS, quick.quantize, name="quick")
    traces = run_twins(artefact, TEST.x)
    matrices = matrices_of(artefact, TEST.x, traces)
    assert zero_share(matrices) >= quick.prune.sparsity - 0.003
    assert np.mean([trace.activity for trace in traces]) <= 1.4 * activity_of(quick)
    assert np.mean([trace.decision == y for trace, y in zip(traces, TEST.y, strict=True)]) > 0.5
    for name, threshold in done.arrays.items():
        if name.endswith(".threshold"):
            assert np.ptp(threshold) > 0.01, "thresholds are learned, each unit its own"


@named(CURVES)
def test_the_card_says_what_the_curve_says(path: Path) -> None:
    """Table and plot are those of the JSON file, which was made by the recipe beside it; every step was bit-exact."""
    curve = curve_from_json(path.read_text(encoding="utf-8"), path)
    card = (path.parent / "README.md").read_text(encoding="utf-8")
    assert curve_markdown(curve, path.stem).strip() in card
    assert path.with_suffix(".svg").name in card
    assert curve.hashes["other"] == load_recipe(path.with_suffix(".toml")).sha256()
    assert curve.hashes["recipe"] == load_recipe(path.parent).sha256()
    assert curve.device_exact
    assert all(run.device_steps for point in curve.points for run in point.runs)


@named(CURVES)
def test_a_curve_keeps_its_promises(path: Path) -> None:
    """Measured first, then set: accuracy, the difference to the model's own network, activity and zeros."""
    curve = curve_from_json(path.read_text(encoding="utf-8"), path)
    recipe = load_recipe(path.with_suffix(".toml"))
    assert len(curve.seeds) >= 3
    for point in curve.points:
        least, difference = PROMISES.get((curve.recipe, point.value), (0.0, -1.0))
        assert averaged(point.runs, "accuracy") >= least
        assert point.difference.mean >= difference
        activity = float(point.value) if curve.varied == "events.activity" else activity_of(recipe)
        assert max(layer_activity(point.runs)) <= activity + 0.005
        zeros = float(point.value) if curve.varied == "prune.sparsity" else recipe.prune.sparsity
        assert averaged(point.runs, "zeros") >= zeros
    known = {(curve.recipe, point.value) for point in curve.points}
    assert {key for key in PROMISES if key[0] == curve.recipe} <= known


@pytest.mark.skipif(not os.environ.get("HIL_DATA"), reason="needs real data, and HIL_DATA names none")
@pytest.mark.parametrize("name", ["events", "pruned"])
def test_real_speech(name: str) -> None:
    """One seed on speech commands: a floor below the mean of the table, and the activity or the zeros promised."""
    recipe = load_recipe(MODELS / "speech-commands" / f"{name}.toml")
    dataset = load_dataset(recipe.data, recipe.features.rate_hz)
    frontend = fit_frontend(recipe.features, dataset.train, frame_count(recipe.features, recipe.data.seconds))
    train, validation, test = (
        extract_set(getattr(dataset, part), frontend) for part in ("train", "validation", "test")
    )
    session = Session(frontend, dataset.labels)
    start = fit(recipe, train, validation, kind=recipe.cell.kind, session=session)
    done = fit_quantized(recipe, start, train, validation, session=session)
    artefact = quantize(done, frontend, dataset.labels, recipe.quantize, name=recipe.name)
    traces = run_twins(artefact, test.x)
    assert np.mean([trace.decision == y for trace, y in zip(traces, test.y, strict=True)]) >= 0.87
    assert zero_share(matrices_of(artefact, test.x, traces)) >= recipe.prune.sparsity - 0.003
    assert np.mean([trace.activity for trace in traces]) <= activity_of(recipe) + 0.01
