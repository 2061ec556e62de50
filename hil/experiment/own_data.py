"""A recipe for a folder of your own sounds, so that every command after `hil train --data` has one."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hil.errors import UsageError
from hil.experiment.recipe_file import recipe_toml
from hil.experiment.workspace import write_text
from hil.recipe import RECIPE_FILE, DataRecipe, QuantizeRecipe, Recipe, TrainRecipe, load_recipe

UPDATES = 500
"""Of float training, at least: as many as small networks of the shipped recipes needed to settle."""
MOST_EPOCHS = 200
FEWEST_IN_BATCH = 8
BATCHES_AN_EPOCH = 8


@dataclass(frozen=True)
class OwnData:
    """
    What `hil train --data` is told.

    Attributes:
        folder: Holds ``LABEL/*.{wav,flac,ogg}``.
        name: Of the model; empty: the folder's.
        speaker_pattern: As `hil.recipe.DataRecipe.speaker_pattern`.
        seconds: Length of a clip; None: the base recipe's.
        skip_bad: Leave out files that cannot be used.
    """

    folder: Path
    name: str = ""
    speaker_pattern: str = ""
    seconds: float | None = None
    skip_bad: bool = False

    @property
    def model(self) -> str:
        """Name of the model: letters, digits, dot, dash and underscore only."""
        wanted = self.name or self.folder.resolve().name
        made = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted).strip("-.")[:64]
        if not made or (self.name and made != self.name):
            raise UsageError(f"--name {wanted!r}: must be 1 to 64 letters, digits, '.', '_' or '-'")
        return made


def write_recipe_for(own: OwnData, base: Recipe, out: Path) -> Recipe:
    """
    Write ``recipe.toml`` into the folder of results, or bring the one that is there up to date.

    A recipe that is already there keeps all but its ``[data]``, which always is what the command line says.

    Args:
        own: The command line.
        base: Where features, cell and training come from the first time.
        out: The folder of results.

    Raises:
        UsageError: The sounds' folder is missing, or the folder of results is another model's.
    """
    if not own.folder.is_dir():
        raise UsageError(f"--data {own.folder}: no such folder. It must hold LABEL/*.wav (or .flac, .ogg)")
    path = out / RECIPE_FILE
    known = load_recipe(path) if path.is_file() else None
    _require_own(own, known, out)
    before = known or _sized(base, _count_files(own.folder))
    data = DataRecipe(
        source="folder",
        folder=_relative(own.folder, out),
        speaker_pattern=own.speaker_pattern,
        seconds=own.seconds or before.data.seconds,
        hop_seconds=known.data.hop_seconds if known else 0.0,
        seed=before.data.seed,
        skip_bad=own.skip_bad,
    )
    made = dataclasses.replace(before, name=own.model, data=data)
    if known is None or _toml(known, out) != _toml(made, out):
        write_text(path, _toml(made, out))
    return load_recipe(path)


def _require_own(own: OwnData, known: Recipe | None, out: Path) -> None:
    if known is None:
        if any(out.glob("*.manifest.json")):
            raise UsageError(f"{out}: holds the results of another model. Choose another --name or --out.")
        return
    if known.data.source != "folder" or Path(known.data.folder).resolve() != own.folder.resolve():
        raise UsageError(
            f"{out / RECIPE_FILE}: is the recipe of {known.data.folder or known.data.source}, not of {own.folder}. "
            "Choose another --name or --out."
        )


def _relative(folder: Path, out: Path) -> str:
    """Relative to the recipe where both lie below the current folder, which may then move as a whole."""
    here = Path.cwd()
    if here in folder.resolve().parents and here in out.resolve().parents:
        return os.path.relpath(folder.resolve(), out.resolve())
    return str(folder.resolve())


def _count_files(folder: Path) -> int:
    return sum(1 for label in folder.iterdir() if label.is_dir() for file in label.iterdir() if file.is_file())


def _sized(base: Recipe, files: int) -> Recipe:
    """Few sounds are few updates an epoch: smaller batches and more epochs, so that training still arrives."""
    clips = max(1, round(files * 0.7))
    batch = min(base.train.batch, max(FEWEST_IN_BATCH, clips // BATCHES_AN_EPOCH))
    updates = math.ceil(clips / batch)
    epochs = min(MOST_EPOCHS, max(base.train.epochs, math.ceil(UPDATES / updates)))
    quantized = round(base.quantize.epochs * epochs / base.train.epochs)
    train: TrainRecipe = dataclasses.replace(base.train, batch=batch, epochs=epochs)
    quantize: QuantizeRecipe = dataclasses.replace(base.quantize, epochs=quantized)
    return dataclasses.replace(base, train=train, quantize=quantize)


def _toml(recipe: Recipe, out: Path) -> str:
    data = dataclasses.replace(recipe.data, folder=_relative(out / recipe.data.folder, out))
    made = dataclasses.replace(recipe, data=data)
    return recipe_toml(made, "Made by `hil train --data`, which writes [data] anew; the rest is yours to change.")
