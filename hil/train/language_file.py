"""A language model in a file: trained, or on its way with the moments of its optimizer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hil.errors import UsageError

FORMAT = "hil-language-model"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """
    A network between two passes over the text.

    Attributes:
        plan: Everything that decides its bits, as text.
        updates: Of the plan that are done.
        parameters: By name.
        moments: Of the optimizer, by parameter and kind; none in a finished network.
    """

    plan: str
    updates: int
    parameters: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write the file; a reader sees the old one or the new one, never a part."""
    manifest = {"format": FORMAT, "version": FORMAT_VERSION, "plan": snapshot.plan, "updates": snapshot.updates}
    parts = {"parameter": snapshot.parameters, "moment": snapshot.moments}
    tensors = {f"{kind}/{name}": t.detach().contiguous() for kind, ts in parts.items() for name, t in ts.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, temporary, metadata={"manifest": json.dumps(manifest)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_snapshot(path: Path) -> Snapshot:
    """Read what `save_snapshot` wrote.  Raises `UsageError` if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            manifest = json.loads((file.metadata() or {})["manifest"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (manifest["format"], manifest["version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"format {manifest['format']!r} {manifest['version']!r}")
        parameters, moments = (
            {name.removeprefix(f"{kind}/"): t for name, t in tensors.items() if name.startswith(f"{kind}/")}
            for kind in ("parameter", "moment")
        )
        return Snapshot(str(manifest["plan"]), int(manifest["updates"]), parameters, moments)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(
            f"{path}: is no language model or is damaged ({type(error).__name__} {error}). Delete it to train it again."
        ) from error
