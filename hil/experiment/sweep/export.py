"""What is taken out of a sweep: a trial as a model of its own, the front's accuracy on the test set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from hil.artefact import load_artefact
from hil.errors import UsageError
from hil.experiment.feature_file import load_features
from hil.experiment.recipe_file import recipe_toml
from hil.experiment.results import right_clips
from hil.experiment.shipped import publish
from hil.experiment.stages import ARTEFACT, FEATURES
from hil.experiment.sweep.outcome import Row, SweepOutcome
from hil.experiment.sweep.space import recipe_for
from hil.experiment.workspace import write_text
from hil.fixed import Q15_ONE
from hil.quant import run_twin_batch
from hil.recipe import RECIPE_FILE, Recipe


def export_trial(outcome: SweepOutcome, recipe: Recipe, number: int, folder: Path) -> bool:
    """
    Make a model's folder of a trial: its recipe, and its artefact with test vectors if it was trained on this machine.

    Args:
        outcome: Of the sweep.
        recipe: That was swept.
        number: Of the trial.
        folder: New, or one that holds no recipe.

    Returns:
        Whether the artefact is there; if not, the recipe makes the same one anew.

    Raises:
        UsageError: There is no such trial, the folder is taken, or the artefact there is not the trial's.
    """
    row = next((row for row in outcome.rows if row.number == number), None)
    if row is None or not row.values:
        there = ", ".join(str(row.number) for row in outcome.rows[:40])
        raise UsageError(f"--export {number}: there is no such trial in study {outcome.study!r}, only {there}")
    path = folder / RECIPE_FILE
    if path.exists():
        raise UsageError(f"--to {folder}: holds a {RECIPE_FILE} already: choose a new folder")
    made = dataclasses.replace(recipe_for(recipe, row.values), name=f"{recipe.name}-{number}")
    comment = f"Trial {number} of sweep {outcome.study} of {outcome.model}."
    artefact = _artefact(row)
    write_text(path, recipe_toml(made, comment))
    if artefact is not None:
        publish(folder, artefact)
    return artefact is not None


def _artefact(row: Row) -> Path | None:
    """The trial's artefact, if it lies on this machine.  Raises `UsageError` if another one lies there."""
    path = Path(row.folder) / ARTEFACT
    if not row.folder or not row.artefact_sha256 or not path.is_file():
        return None
    if load_artefact(path).sha256() != row.artefact_sha256:
        raise UsageError(f"{path}: is not the artefact of trial {row.number}: it was made anew since")
    return path


def with_test(outcome: SweepOutcome, recipe: Recipe) -> SweepOutcome:
    """The outcome with the accuracy on the test set of those on the front that were trained on this machine."""
    front = {row.number for row in outcome.front}
    rows = tuple(
        dataclasses.replace(row, test_accuracy=_test_accuracy(row, recipe.data.hop_seconds > 0))
        if row.number in front
        else row
        for row in outcome.rows
    )
    return dataclasses.replace(outcome, rows=rows)


def _test_accuracy(row: Row, voted: bool) -> float | None:
    path = _artefact(row)
    if path is None:
        return None
    test = load_features(path.parent / FEATURES).test
    logits = run_twin_batch(load_artefact(path), test.x) / Q15_ONE
    return float(np.mean(right_clips(test, logits, voted)))
