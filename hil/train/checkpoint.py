"""The state of a training that is not finished, in a file: what Ctrl-C or a lost machine leaves to go on from."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hil.errors import UsageError
from hil.features import FeatureSet
from hil.float_model import Epoch
from hil.train.loop import Plan, State

FORMAT = "hil-training-checkpoint"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """
    Where the state of a training is kept.

    Attributes:
        path: The file; replaced whole after each epoch.
        fingerprint: Of everything that decides the bits of this training (`fingerprint`).
    """

    path: Path
    fingerprint: str

    def load(self) -> State | None:
        """
        The state that was saved; None if there is none, or it is that of another training.

        Raises:
            UsageError: The file is not a checkpoint, or is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                manifest = json.loads((file.metadata() or {})["manifest"])
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if (manifest["format"], manifest["version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"format {manifest['format']!r} {manifest['version']!r}")
            if manifest["fingerprint"] != self.fingerprint:
                return None
            curve = tuple(Epoch(**epoch) for epoch in manifest["curve"])
            return State(tensors, curve, (manifest["best"][0], manifest["best"][1]), manifest["best_epoch"])
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise UsageError(
                f"{self.path}: is no checkpoint or is damaged ({type(error).__name__} {error}). "
                "Delete it to train from the beginning."
            ) from error

    def save(self, state: State) -> None:
        """Write the file; a reader sees the old one or the new one, never a part."""
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "curve": [asdict(epoch) for epoch in state.curve],
            "best": state.best,
            "best_epoch": state.best_epoch,
        }
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
            save_file(tensors, temporary, metadata={"manifest": json.dumps(manifest)})
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the file, and what a killed process left half written."""
        self.path.unlink(missing_ok=True)
        for left in self.path.parent.glob(f".{self.path.name}.*.part"):
            left.unlink(missing_ok=True)


def fingerprint(plan: Plan, start: list[Tensor], train: FeatureSet, validation: FeatureSet, settings: str) -> str:
    """
    Hash of everything that decides the bits of a training.

    Args:
        plan: Of the stage.
        start: Parameters that it begins with.
        train, validation: The sets.
        settings: What of the recipe the plan does not hold.
    """
    digest = hashlib.sha256(f"{plan!r}\0{settings}\0{torch.__version__}\0".encode())
    for tensor in start:
        digest.update(tensor.detach().numpy().tobytes())
    for features in (train, validation):
        digest.update(features.x.tobytes())
        digest.update(features.y.tobytes())
        if features.lengths is not None:
            digest.update(features.lengths.tobytes())
    return digest.hexdigest()
