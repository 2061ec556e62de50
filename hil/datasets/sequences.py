"""Sequences of vectors: three sets out of the publisher's two, and a data set as one file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.clip import SequenceDataset, SequenceSet
from hil.errors import UsageError

FORMAT = "hil-sequences-1"
PARTS = ("train", "validation", "test")
_ARRAYS = ("values", "lengths", "y")

Indices = npt.NDArray[np.int64]


def chosen(part: SequenceSet, indices: Indices) -> SequenceSet:
    """The sequences of these indices, in their order."""
    names = tuple(part.names[i] for i in indices)
    if len(set(part.lengths.tolist())) == 1:
        one = part.values.reshape(len(part), -1, part.values.shape[1])[indices]
        return SequenceSet(one.reshape(-1, one.shape[2]), part.lengths[indices], part.y[indices], names)
    starts = np.cumsum(part.lengths) - part.lengths
    rows = [np.arange(starts[i], starts[i] + part.lengths[i]) for i in indices]
    steps = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    return SequenceSet(part.values[steps], part.lengths[indices], part.y[indices], names)


def of_each_label(y: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Indices of ``count`` clips in ascending order: of each label equally many (those that come first one more)."""
    labels = np.unique(y)
    taken = []
    for place, label in enumerate(labels):
        share = count // len(labels) + (place < count % len(labels))
        taken.append(rng.permutation(np.flatnonzero(y == label))[:share])
    return np.sort(np.concatenate(taken))


def without_validation(y: Indices, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """
    Indices for training and for validation, each ascending.

    Of each label ``round(fraction * clips)`` are for validation, but at least one, and one is left for training.

    Raises:
        UsageError: A label has a single clip.
    """
    held = []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        if len(members) < 2:
            raise UsageError(f"the training set has one clip of class {label}; two are needed, one of them to validate")
        held.append(members[: min(len(members) - 1, max(1, round(fraction * len(members))))])
    validation = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), validation), validation


def save_sequences(dataset: SequenceDataset, path: Path) -> None:
    """Write the file; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "sha256": np.array(dataset.sha256()),
        "labels": np.array(dataset.labels),
    }
    for name in PARTS:
        part: SequenceSet = getattr(dataset, name)
        arrays |= {f"{name}.{array}": getattr(part, array) for array in _ARRAYS}
        arrays[f"{name}.names"] = np.array(part.names, np.str_)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_saved_sequences(path: Path) -> SequenceDataset:
    """
    Read what `save_sequences` wrote.

    Raises:
        UsageError: The file is missing, is not a data set of sequences, or is corrupt (its values do not have the
            hash that it gives).
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["format"]) != FORMAT:
                raise UsageError(f"{path}: is not a data set of format {FORMAT}: delete it and run again")
            parts = [
                SequenceSet(
                    arrays[f"{name}.values"],
                    arrays[f"{name}.lengths"],
                    arrays[f"{name}.y"],
                    tuple(arrays[f"{name}.names"].tolist()),
                )
                for name in PARTS
            ]
            dataset = SequenceDataset(tuple(map(str, arrays["labels"])), *parts)
            sha256 = str(arrays["sha256"])
    except FileNotFoundError:
        raise UsageError(f"{path}: no such data set. Make it: `hil train MODEL`") from None
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: is not a data set or is corrupt ({error}): delete it and run again") from error
    if dataset.sha256() != sha256:
        raise UsageError(f"{path}: is corrupt, its values do not have the hash that it gives: delete it and run again")
    return dataset


def split(
    labels: Sequence[str], train: SequenceSet, test: SequenceSet, fraction: float, rng: np.random.Generator
) -> SequenceDataset:
    """The publisher's test set as it is; of his training set a fraction validates (`without_validation`)."""
    learn, validate = without_validation(train.y, fraction, rng)
    return SequenceDataset(tuple(labels), chosen(train, learn), chosen(train, validate), test)
