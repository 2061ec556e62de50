"""
Problems of the UEA archive of multivariate time series: ``uea/PROBLEM/PROBLEM_TRAIN.ts`` and ``PROBLEM_TEST.ts``.

A ``.ts`` file has a header of lines that begin with ``@`` (``#`` is a comment), then ``@data``, then one series a line:
its dimensions with ``:`` between them, values with ``,`` between them, the class at the end.  Series may differ in
length.

Source:
    Bagnall and others 2018, "The UEA multivariate time series classification archive, 2018".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.clip import SequenceDataset, SequenceSet
from hil.datasets.places import data_folder
from hil.datasets.sequences import split
from hil.errors import UsageError, suggest
from hil.recipe import DataRecipe

FOLDER = "uea"
STEPS_MOST = 1 << 15
"""Longer series cannot be summed up by the readout."""


@dataclass(frozen=True)
class _Header:
    """What a file says about itself: classes in its order, dimensions (0: it does not say)."""

    classes: tuple[str, ...]
    dimensions: int


def load_uea(recipe: DataRecipe) -> SequenceDataset:
    """
    A problem with the archive's own split.

    Of each class in the archive's training set a fraction, drawn with the seed, is for validation.

    Raises:
        UsageError: The problem is not there, or a file of it cannot be used; which line is said.
    """
    root = data_folder(FOLDER)
    folder = root / recipe.problem
    if not folder.is_dir():
        known = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise UsageError(f"{folder}: no such problem{suggest(recipe.problem, known)}")
    files = [folder / f"{recipe.problem}_{part}.ts" for part in ("TRAIN", "TEST")]
    (header, train), (again, test) = (read_ts(path) for path in files)
    if header.classes != again.classes or train.values.shape[1] != test.values.shape[1]:
        raise UsageError(f"{folder}: training and test set have other classes or dimensions")
    return split(header.classes, train, test, recipe.validation_fraction, np.random.default_rng(recipe.seed))


def read_ts(path: Path) -> tuple[_Header, SequenceSet]:
    """
    Read a ``.ts`` file.

    Raises:
        UsageError: It is missing, has no classes, has values that are missing or not finite, or series whose
            dimensions differ in number or length.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; a problem has PROBLEM_TRAIN.ts and PROBLEM_TEST.ts") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    begin = next((i for i, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if begin is None:
        raise UsageError(f"{path}: has no line @data: is it a .ts file?")
    header = _header(lines[:begin], path)
    series: list[npt.NDArray[np.float32]] = []
    y: list[int] = []
    names: list[str] = []
    for number, line in enumerate(lines[begin + 1 :], begin + 2):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        values, label = _series(line, header, where)
        series.append(values)
        y.append(label)
        names.append(f"{path.stem}#{len(names)}")
        if values.shape[1] != series[0].shape[1]:
            raise UsageError(f"{where}: {values.shape[1]} dimensions, expected {series[0].shape[1]}")
    if not series:
        raise UsageError(f"{path}: has no series")
    lengths = np.array([len(values) for values in series], np.int64)
    return header, SequenceSet(np.concatenate(series), lengths, np.array(y, np.int64), tuple(names))


def _header(lines: list[str], path: Path) -> _Header:
    words = [line.split() for line in lines if line.startswith("@")]
    found = {parts[0].lower(): parts[1:] for parts in words}
    if found.get("@timestamps", ["false"])[0].lower() == "true":
        raise UsageError(f"{path}: has time stamps, which are not supported")
    label = found.get("@classlabel", ["false"])
    if label[0].lower() != "true" or len(label) < 3:
        raise UsageError(f"{path}: @classLabel names no classes: only classification problems can be used")
    dimensions = found.get("@dimensions", ["0"])[0]
    return _Header(tuple(label[1:]), int(dimensions) if dimensions.isdigit() else 0)


def _series(line: str, header: _Header, where: str) -> tuple[npt.NDArray[np.float32], int]:
    """[T, D] float32 and the class's index."""
    *dimensions, label = line.strip().split(":")
    if label not in header.classes:
        raise UsageError(f"{where}: class {label!r} is none of {', '.join(header.classes)}")
    if header.dimensions not in (0, len(dimensions)):
        raise UsageError(f"{where}: {len(dimensions)} dimensions, expected {header.dimensions}")
    try:
        values = [np.array(part.split(","), np.float32) for part in dimensions]
    except ValueError as error:
        raise UsageError(f"{where}: {error}; missing values are not supported") from None
    lengths = sorted({len(part) for part in values})
    if len(lengths) != 1 or lengths[0] > STEPS_MOST:
        raise UsageError(f"{where}: dimensions of {lengths} steps; need one length of at most {STEPS_MOST}")
    stacked = np.stack(values, axis=1)
    if not np.isfinite(stacked).all():
        raise UsageError(f"{where}: has values that are not finite")
    return stacked, header.classes.index(label)
