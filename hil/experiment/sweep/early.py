"""Trials that are not promising are stopped: their learning curves are read while they train."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import TrialPruned
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.trial import Trial
from safetensors import SafetensorError, safe_open

from hil.experiment.progress import Progress, Update
from hil.experiment.sweep.interrupts import Interrupts
from hil.recipe import Recipe

CHECKPOINTS = ("float-egru.checkpoint", "quantize.checkpoint")
"""Of the stages of a trial, in order."""
LOOK_S = 1.0
FIRST_TRIALS = 5
"""That are never stopped."""
FIRST_SHARE = 1 / 3
"""Of the float epochs: no trial is stopped before."""


def make_pruner(recipe: Recipe, *, stop_early: bool) -> BasePruner:
    """Stops a trial whose best validation accuracy so far is below the median of the others' at its epoch."""
    if not stop_early:
        return NopPruner()
    return MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=round(FIRST_SHARE * recipe.train.epochs) + 1)


class Watching:
    """
    Progress that also reads the checkpoints of a trial and ends it, from within an update, if Optuna says so.

    Args:
        progress: Where everything is shown.
        folder: Of the trial.
        trial: That is training.
        recipe: Its own.
        interrupts: Held back while the storage is used.
    """

    def __init__(self, progress: Progress, folder: Path, trial: Trial, recipe: Recipe, interrupts: Interrupts):
        self._progress, self._folder, self._trial = progress, folder, trial
        self._before = (0, recipe.train.epochs)
        self._interrupts = interrupts
        self._reported = 0
        self._looked = 0.0

    @contextmanager
    def task(self, title: str) -> Iterator[Update]:
        with self._progress.task(title) as update:

            def watched(done: int, total: int, text: str = "") -> None:
                update(done, total, text)
                if time.monotonic() - self._looked >= LOOK_S:
                    self._looked = time.monotonic()
                    with self._interrupts.forbidden():
                        self.look()

            yield watched

    def say(self, text: str) -> None:
        self._progress.say(text)

    def look(self) -> None:
        """
        Report the epochs that are new.

        Raises:
            TrialPruned: The trial is not promising.
        """
        for name, before in zip(CHECKPOINTS, self._before, strict=True):
            for i, accuracy in enumerate(_curve(self._folder / name), before + 1):
                if i > self._reported:
                    self._trial.report(accuracy, i)
                    self._reported = i
        if self._reported and self._trial.should_prune():
            self._trial.set_user_attr("reason", f"below the median after {self._reported} epochs")
            self.say(f"trial {self._trial.number}: stopped after {self._reported} epochs: below the median")
            raise TrialPruned


def _curve(checkpoint: Path) -> list[float]:
    """Validation accuracy by epoch; empty while there is no checkpoint."""
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            manifest = json.loads((file.metadata() or {})["manifest"])
        return [float(epoch["validation_accuracy"]) for epoch in manifest["curve"]]
    except (OSError, SafetensorError, KeyError, ValueError):
        return []
