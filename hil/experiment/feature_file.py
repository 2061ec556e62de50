"""Features of the three sets as one file, so that a bench needs neither sound nor torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from hil.artefact import AnyInput, take_input
from hil.errors import UsageError
from hil.features import FeatureSet

FORMAT = "hil-features"
FORMAT_VERSION = 1
_SETS = ("train", "validation", "test")


@dataclass(frozen=True)
class Features:
    """
    What training, quantization and runs take.

    Attributes:
        labels: Names of the classes.
        frontend: That made them.
        train, validation, test: No speaker occurs in two of them.
    """

    labels: tuple[str, ...]
    frontend: AnyInput
    train: FeatureSet
    validation: FeatureSet
    test: FeatureSet


def save_features(features: Features, path: Path) -> None:
    """Write the file (not atomic: stages publish whole folders)."""
    tensors: dict[str, npt.NDArray[Any]] = dict(features.frontend.arrays())
    sets: dict[str, Any] = {}
    for name in _SETS:
        part: FeatureSet = getattr(features, name)
        tensors |= {f"{name}.x": part.x, f"{name}.y": part.y}
        if part.lengths is not None:
            tensors[f"{name}.lengths"] = part.lengths
        sets[name] = {"names": list(part.names), "saturated": part.saturated}
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    manifest = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "labels": list(features.labels),
        "frontend": features.frontend.manifest(),
        "sets": sets,
        "arrays_sha256": _sha256(tensors),
    }
    path.write_bytes(_save_tensors(tensors, metadata={"manifest": json.dumps(manifest, sort_keys=True)}))


def load_features(path: Path) -> Features:
    """
    Read what `save_features` wrote.

    Raises:
        UsageError: The file is missing, is no feature file, is corrupt, or of a newer format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: no features here ({error.strerror}). Make them: `hil train MODEL`") from None
    try:
        tensors = _load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        manifest = json.loads(header["__metadata__"]["manifest"])
        if manifest["format"] != FORMAT or manifest["version"] > FORMAT_VERSION:
            raise ValueError(f"format {manifest['format']!r} {manifest['version']}")
        if manifest["arrays_sha256"] != _sha256(tensors):
            raise ValueError("its arrays do not have the hash that it gives")
        sets = {
            name: FeatureSet(
                tensors[f"{name}.x"],
                tensors[f"{name}.y"],
                tuple(part["names"]),
                part["saturated"],
                tensors.get(f"{name}.lengths"),
            )
            for name, part in manifest["sets"].items()
        }
        frontend = take_input(manifest["frontend"], lambda name, dtype: tensors[name])
        return Features(labels=tuple(manifest["labels"]), frontend=frontend, **sets)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path}: is no feature file or is corrupt ({error}). Delete it and run `hil train`."
        ) from error


def _sha256(tensors: dict[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\0{tensors[name].dtype.str}\0{tensors[name].shape}\0".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
