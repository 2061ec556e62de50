"""MNIST, 70,000 written digits of 28 x 28 pixels, as sequences of rows or of single pixels: ``mnist/mnist.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.clip import SequenceDataset, SequenceSet
from hil.datasets.places import data_folder
from hil.datasets.sequences import chosen, of_each_label, split
from hil.errors import UsageError
from hil.recipe import DataRecipe

FOLDER, FILE = "mnist", "mnist.npz"
SIDE, DIGITS = 28, 10

Pictures = npt.NDArray[np.uint8]


def load_mnist(recipe: DataRecipe) -> SequenceDataset:
    """
    The publisher's training and test set as sequences.

    Clips are drawn with the seed: first those of train_clips and test_clips, then those that validate.

    Raises:
        UsageError: The file is not there, or is not MNIST's.
    """
    path = data_folder(FOLDER) / FILE
    arrays = _read(path)
    rng = np.random.default_rng(recipe.seed)
    sets: list[SequenceSet] = []
    for part, count in (("train", recipe.train_clips), ("test", recipe.test_clips)):
        whole = _sequences(arrays[f"x_{part}"], arrays[f"y_{part}"], recipe, part)
        least = int(np.bincount(whole.y, minlength=DIGITS).min())
        if count > least * DIGITS:
            raise UsageError(f"data.{part}_clips = {count}: at most {least * DIGITS} are there with equal shares")
        sets.append(chosen(whole, of_each_label(whole.y, count, rng)) if count else whole)
    train, test = sets
    return split([str(digit) for digit in range(DIGITS)], train, test, recipe.validation_fraction, rng)


def pooled(pictures: Pictures, pool: int) -> Pictures:
    """[N, 28, 28] to [N, 28 / pool, 28 / pool]: means of squares, rounded to nearest, halves up."""
    if pool == 1:
        return pictures
    side = pictures.shape[1] // pool
    squares = pictures.reshape(len(pictures), side, pool, side, pool).sum(axis=(2, 4), dtype=np.uint32)
    return np.asarray((2 * squares + pool * pool) // (2 * pool * pool), np.uint8)


def _sequences(pictures: Pictures, y: npt.NDArray[np.uint8], recipe: DataRecipe, part: str) -> SequenceSet:
    small = pooled(pictures, recipe.pool)
    side = small.shape[1]
    steps, width = (side, side) if recipe.view == "rows" else (side * side, 1)
    names = tuple(f"{part}#{i}" for i in range(len(y)))
    lengths = np.full(len(y), steps, np.int64)
    return SequenceSet(small.reshape(len(y) * steps, width), lengths, y.astype(np.int64), names)


def _read(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {f"{kind}_{part}": found[f"{kind}_{part}"] for kind in "xy" for part in ("train", "test")}
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file. Download it: `hil data get mnist`") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: is not MNIST as an npz file ({error}). Get it: `hil data get mnist`") from error
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        fits = x.dtype == y.dtype == np.uint8 and x.ndim == 3 and x.shape[1:] == (SIDE, SIDE) and y.shape == x.shape[:1]
        if not fits or set(np.unique(y).tolist()) != set(range(DIGITS)):
            raise UsageError(
                f"{path}: x_{part} is {x.dtype} {x.shape} with labels {y.dtype} {y.shape}; "
                f"expected uint8 [N, {SIDE}, {SIDE}] and [N], each digit 0 to 9 at least once"
            )
    return arrays
