"""A data set as one file: plain arrays in numpy's zip format, no pickle."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.clip import Clip, Dataset
from hil.errors import UsageError

FORMAT = "hil-dataset-1"
PARTS = ("train", "validation", "test")


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write the file; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "sha256": np.array(dataset.sha256()),
        "labels": np.array(dataset.labels),
    }
    for part in PARTS:
        arrays |= _arrays(part, getattr(dataset, part))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_saved_dataset(path: Path) -> Dataset:
    """
    Read what `save_dataset` wrote.

    Raises:
        UsageError: The file is missing, is not a data set, or is corrupt (its samples do
            not have the hash that it gives).
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["format"]) != FORMAT:
                raise UsageError(f"{path}: is not a data set of format {FORMAT}: delete it and run again")
            parts = [_clips(part, arrays) for part in PARTS]
            dataset = Dataset(tuple(map(str, arrays["labels"])), *parts)
            sha256 = str(arrays["sha256"])
    except FileNotFoundError:
        raise UsageError(f"{path}: no such data set. Make it: `hil train MODEL`") from None
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: is not a data set or is corrupt ({error}): delete it and run again") from error
    if dataset.sha256() != sha256:
        raise UsageError(f"{path}: is corrupt, its samples do not have the hash that it gives: delete it and run again")
    return dataset


def _arrays(part: str, clips: Sequence[Clip]) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{part}.samples": np.concatenate([np.zeros(0, np.int16), *(clip.samples for clip in clips)]),
        f"{part}.sizes": np.array([clip.samples.size for clip in clips], np.int64),
        f"{part}.rate_hz": np.array([clip.rate_hz for clip in clips], np.int64),
        f"{part}.label": np.array([clip.label for clip in clips], np.int64),
        f"{part}.speaker": np.array([clip.speaker for clip in clips], np.str_),
        f"{part}.name": np.array([clip.name for clip in clips], np.str_),
    }


def _clips(part: str, arrays: Any) -> tuple[Clip, ...]:
    sizes = arrays[f"{part}.sizes"]
    samples = np.split(arrays[f"{part}.samples"], np.cumsum(sizes)[:-1]) if sizes.size else []
    columns = [arrays[f"{part}.{name}"].tolist() for name in ("rate_hz", "label", "speaker", "name")]
    return tuple(Clip(*fields) for fields in zip(samples, *columns, strict=True))
