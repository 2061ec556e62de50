"""Labelled clips: made or read, split by speaker; and labelled sequences of vectors."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from pathlib import Path

from hil.clip import Dataset, SequenceDataset
from hil.datasets.audio import Progress, Samples
from hil.datasets.esc10 import FOLDS, load_esc10
from hil.datasets.folder import load_folder
from hil.datasets.fsdd import fsdd_speakers, load_fsdd
from hil.datasets.mnist import load_mnist
from hil.datasets.places import data_folder
from hil.datasets.sequences import load_saved_sequences, save_sequences
from hil.datasets.speech_commands import load_speech_commands, training_noise
from hil.datasets.store import load_saved_dataset, save_dataset
from hil.datasets.synthetic import load_synthetic
from hil.datasets.uea import load_uea
from hil.errors import UsageError
from hil.recipe import DataRecipe

__all__ = [
    "files_fingerprint",
    "load_dataset",
    "load_noise",
    "load_saved_dataset",
    "load_saved_sequences",
    "load_sequences",
    "recipe_folds",
    "save_dataset",
    "save_sequences",
    "with_fold",
]

_LOADERS = {
    "fsdd": load_fsdd,
    "speech_commands": load_speech_commands,
    "esc10": load_esc10,
    "folder": load_folder,
}


def load_dataset(
    recipe: DataRecipe,
    rate_hz: int,
    *,
    fold: int | str | None = None,
    notes: list[str] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """
    Three disjoint sets of clips; the same recipe, fold, rate and files give the same samples.

    Args:
        recipe: The source and its settings.
        rate_hz: Sampling rate of the clips.
        fold: Instead of the recipe's (see `recipe_folds`); fsdd then leaves one speaker out.
        notes: Gets a line for each thing that was done to files (resampled, mixed down, cut,
            left out), with their number, to be shown once.  None: they are logged as warnings.
        progress: Called with the number of clips done and to do.

    Raises:
        UsageError: The recipe cannot be carried out, data are missing or cannot be used, or a
            library is missing (which one is said).
        ToolError: The speech synthesizer failed.
    """
    if fold is not None:
        recipe = with_fold(recipe, fold)
    if recipe.source == "synthetic-keywords":
        return load_synthetic(recipe, rate_hz, progress)
    found: list[str] = [] if notes is None else notes
    dataset = _LOADERS[recipe.source](recipe, rate_hz, found, progress)
    if notes is None:
        for line in found:
            logging.getLogger(__name__).warning("%s", line)
    return dataset


def load_sequences(recipe: DataRecipe) -> SequenceDataset:
    """
    Three disjoint sets of sequences; the same recipe and files give the same values.

    Args:
        recipe: Of a source that is no sound.

    Raises:
        UsageError: Data are missing or cannot be used.
    """
    return {"uea": load_uea, "mnist": load_mnist}[recipe.source](recipe)


def recipe_folds(recipe: DataRecipe) -> tuple[int | str, ...]:
    """
    Values of ``fold`` that together test every clip once; none for a source without folds.

    Raises:
        UsageError: The data are not there.
    """
    if recipe.source == "fsdd":
        return fsdd_speakers()
    return tuple(range(1, FOLDS + 1)) if recipe.source == "esc10" else ()


def load_noise(recipe: DataRecipe, rate_hz: int) -> tuple[Samples, ...]:
    """
    Recordings of background noise to mix into training clips; () if the source has none.

    Raises:
        UsageError: The data are not there, or a recording cannot be used.
    """
    return training_noise(recipe, rate_hz) if recipe.source == "speech_commands" else ()


def files_fingerprint(recipe: DataRecipe) -> str:
    """
    Changes when files of the source do: a hash of their names, lengths and times, without reading them.

    Raises:
        UsageError: The data are not there.
    """
    if recipe.source == "synthetic-keywords":
        return ""
    root = Path(recipe.folder).expanduser() if recipe.source == "folder" else data_folder(recipe.source)
    root = root / recipe.problem
    files = sorted((path.relative_to(root).as_posix(), path.stat()) for path in root.rglob("*") if path.is_file())
    lines = "".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def with_fold(recipe: DataRecipe, fold: int | str) -> DataRecipe:
    """The recipe with another fold for testing.  Raises `UsageError` for a source without folds."""
    if recipe.source == "fsdd":
        return dataclasses.replace(recipe, protocol="leave-one-speaker-out", fold=fold)
    if recipe.source == "esc10":
        return dataclasses.replace(recipe, fold=fold)
    raise UsageError(f"data.source {recipe.source!r} has no folds: leave out the fold")
