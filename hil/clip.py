"""Labelled sound, and labelled sequences of vectors: what data sets deliver and features are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Clip:
    """
    One labelled recording.

    Attributes:
        samples: [N] int16, mono, full scale 2**15.
        rate_hz: Sampling rate.
        label: Index into the data set's labels.
        speaker: Who speaks; the unit by which sets are split.
        name: Identifies the clip in errors and reports.
    """

    samples: npt.NDArray[np.int16]
    rate_hz: int
    label: int
    speaker: str
    name: str


@dataclass(frozen=True)
class Dataset:
    """
    Three disjoint sets of clips.

    Attributes:
        labels: Names of the classes, in the order of the network's outputs.
        train, validation, test: Clips; no speaker occurs in two of them.
    """

    labels: tuple[str, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]

    def sha256(self) -> str:
        """Hash of every sample, label and speaker, in order."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for part in (self.train, self.validation, self.test):
            _update(digest, part)
        return digest.hexdigest()


@dataclass(frozen=True)
class SequenceSet:
    """
    Labelled sequences of vectors.

    Attributes:
        values: [M, D] numbers of any real type: the vectors of all sequences, one after the other.
        lengths: [N] int64, steps of each sequence, at least 1; together M.
        y: [N] int64, indices into the data set's labels.
        names: [N] identify sequences in errors and reports.
    """

    values: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class SequenceDataset:
    """
    Three disjoint sets of sequences.

    Attributes:
        labels: Names of the classes, in the order of the network's outputs.
        train, validation, test: None of their sequences occurs in two of them.
    """

    labels: tuple[str, ...]
    train: SequenceSet
    validation: SequenceSet
    test: SequenceSet

    def sha256(self) -> str:
        """Hash of every value, length, label and name, in order."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for part in (self.train, self.validation, self.test):
            digest.update(f"{len(part)}\0{part.values.dtype.str}\0{part.values.shape}\0".encode())
            for array in (part.values, part.lengths, part.y):
                digest.update(np.ascontiguousarray(array).tobytes())
            digest.update("\0".join(part.names).encode())
        return digest.hexdigest()


def _update(digest: hashlib._Hash, clips: Sequence[Clip]) -> None:
    digest.update(len(clips).to_bytes(8, "little"))
    for clip in clips:
        digest.update(f"{clip.name}\0{clip.speaker}\0{clip.label}\0{clip.rate_hz}\0{clip.samples.size}\0".encode())
        digest.update(clip.samples.astype("<i2").tobytes())
