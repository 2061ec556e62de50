"""
The model file: integer arrays, their formats and where they came from.

One safetensors file (never a pickle): a JSON manifest and the arrays.  The format is
written down in docs/artefact.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from hil.artefact.byte_layers import MAX_SHIFT, ByteRows
from hil.artefact.layers import CELLS, AnyInput, AnyRows, DenseLayer, FrontEnd, RecurrentLayer, Rows, take_input
from hil.artefact.sequence_input import SequenceInput
from hil.config import from_table
from hil.errors import ArtefactError, UsageError
from hil.fixed import INT16_MAX
from hil.layer_build import Build, LayerBuild

FORMAT = "hil-artefact"
FORMAT_VERSION = 4
"""Newest that is read; a file says 1 unless it uses what came later (docs/artefact.md)."""
SOFTSIGN = "lines-512-112"
"""Name of the only softsign form that kernels implement (docs/artefact.md, "Softsign")."""


@dataclass(frozen=True)
class Artefact:
    """
    A quantized model.

    Attributes:
        name: Of the model.
        labels: [O] names of the outputs.
        frontend: How its inputs are made.
        recurrent: Layers, input side first.
        readout_shift: The state summed over time is shifted right by this (rounding) and
            saturated to int16 before the dense layers.
        dense: Layers; only the last is linear.
        bias_bits: 16 or 3: what a bias is counted with, and checked against.
        softsign: Name of the integer form of softsign.
        hold_q15: An input that moved by no more than this since it was last taken counts as unchanged; at the start of
            a sequence 0 was taken.  0: every input is taken as it is.
        provenance: Hashes of recipe, data and code, seeds, scores: text or numbers by name.
        build: How its layers become code, of those that were tuned; not part of its hash.
    """

    name: str
    labels: tuple[str, ...]
    frontend: AnyInput
    recurrent: tuple[RecurrentLayer, ...]
    readout_shift: int
    dense: tuple[DenseLayer, ...]
    bias_bits: Literal[3, 16] = 16
    softsign: str = SOFTSIGN
    hold_q15: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    build: Build = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ArtefactError(None, problem)

    @property
    def sound(self) -> FrontEnd:
        """
        Its front end.

        Raises:
            UsageError: It has none, it takes sequences of vectors.
        """
        if isinstance(self.frontend, FrontEnd):
            return self.frontend
        raise UsageError(
            f"{self.name} has no front end for sound: it takes sequences of {self.inputs} values a step. "
            "Run it on those: `hil run MODEL`, without --mode audio and --input"
        )

    @property
    def inputs(self) -> int:
        """D of the first layer."""
        return self.recurrent[0].inputs

    @property
    def state_units(self) -> int:
        """S, units of all recurrent layers."""
        return sum(layer.units for layer in self.recurrent)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights (3 bits), biases (`bias_bits`) and shifts (4 bits), packed without gaps."""
        bits = sum(rows.bits(self.bias_bits) for _, rows in _all_rows(self))
        bits += sum(8 * array.nbytes for array in _vectors(self).values())
        return (bits + 7) // 8

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(rows.weight.size for _, rows in _all_rows(self))

    @property
    def zero_weights(self) -> int:
        return sum(int((rows.weight == 0).sum()) for _, rows in _all_rows(self))

    def to_bytes(self) -> bytes:
        """The file's contents; equal artefacts give equal bytes."""
        return self._bytes({name: dataclasses.asdict(choice) for name, choice in self.build.items()})

    def _bytes(self, build: Mapping[str, Any]) -> bytes:
        tensors = _tensors(self)
        metadata = {"manifest": json.dumps(_manifest(self, tensors), sort_keys=True)}
        if build:
            metadata["build"] = json.dumps(build, sort_keys=True)
        return _save_tensors(tensors, metadata=metadata)

    def sha256(self) -> str:
        """The artefact hash: SHA-256 of the file as it is without a build section."""
        return hashlib.sha256(self._bytes({})).hexdigest()

    def save(self, path: Path) -> None:
        """Write the file; a reader sees the old file or the new one, never a part."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_bytes(self.to_bytes())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def load_artefact(path: Path) -> Artefact:
    """
    Read a model file.

    Raises:
        ArtefactError: It is missing, truncated, altered, of a newer format, or its
            numbers break a rule of the arithmetic.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(path, "no such artefact. Make it: `hil quantize MODEL`") from None
    except OSError as error:
        raise ArtefactError(path, f"cannot be read ({error.strerror})") from error
    return artefact_from_bytes(data, path)


def artefact_from_bytes(data: bytes, path: Path | None = None) -> Artefact:
    """Parse the contents of a model file; ``path`` is named in errors.  Raises `ArtefactError`."""
    manifest, tensors, build = _parse(data, path)
    try:
        if manifest["arrays_sha256"] != _arrays_sha256(tensors):
            raise ArtefactError(path, "is corrupt: its arrays do not have the hash that its manifest gives")
        artefact = _assemble(manifest, tensors, _build(build))
        described = json.loads(json.dumps(_manifest(artefact, tensors)))
    except ArtefactError as error:
        raise error if error.path else ArtefactError(path, str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, UsageError) as error:
        raise ArtefactError(path, f"is corrupt: {type(error).__name__} {error}") from error
    if described != manifest:
        raise ArtefactError(path, "is corrupt: its manifest does not describe its arrays")
    return artefact


def _parse(data: bytes, path: Path | None) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[str, Any]]:
    try:
        tensors = _load_tensors(data)
        header_bytes = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + header_bytes])
        manifest = json.loads(header["__metadata__"]["manifest"])
        build = json.loads(header["__metadata__"].get("build", "{}"))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(path, f"is not an artefact or is corrupt ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtefactError(path, "is not an artefact: its manifest does not say so")
    version = manifest.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ArtefactError(
            path, f"has format version {version}, this program reads up to {FORMAT_VERSION}: install a newer hil"
        )
    return manifest, tensors, build


def _assemble(manifest: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]], build: Build) -> Artefact:
    def take(name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
        if tensors[name].dtype != dtype:
            raise ValueError(f"{name} is {tensors[name].dtype}, expected {np.dtype(dtype)}")
        return tensors[name]

    frontend = take_input(manifest["frontend"], take)
    for i, layer in enumerate(manifest["recurrent"]):
        if layer["cell"] not in CELLS:
            raise ArtefactError(None, f"recurrent.{i} is a {layer['cell']!r}, known are {', '.join(CELLS)}")
    recurrent = tuple(CELLS[r["cell"]].take(f"recurrent.{i}", take) for i, r in enumerate(manifest["recurrent"]))
    dense = []
    for i, d in enumerate(manifest["dense"]):
        rows = ByteRows if f"dense.{i}.weight_q7" in tensors else Rows
        dense.append(DenseLayer(rows.take(f"dense.{i}", take), d["activation"]))
    return Artefact(
        name=manifest["name"],
        labels=tuple(manifest["labels"]),
        frontend=frontend,
        recurrent=recurrent,
        readout_shift=manifest["readout"]["shift"],
        dense=tuple(dense),
        bias_bits=manifest["bias_bits"],
        softsign=manifest["softsign"],
        hold_q15=manifest.get("hold_q15", 0),
        provenance=manifest["provenance"],
        build=build,
    )


def _build(table: Mapping[str, Any]) -> dict[str, LayerBuild]:
    return {name: from_table(choice, LayerBuild, "build", name) for name, choice in table.items()}


def _all_rows(a: Artefact) -> Iterator[tuple[str, AnyRows]]:
    for i, layer in enumerate(a.recurrent):
        yield from layer.matrices(f"recurrent.{i}").items()
    for i, dense in enumerate(a.dense):
        yield f"dense.{i}", dense.rows


def _vectors(a: Artefact) -> dict[str, npt.NDArray[Any]]:
    """Arrays of the recurrent layers that are not rows."""
    return {n: array for i, layer in enumerate(a.recurrent) for n, array in layer.vectors(f"recurrent.{i}").items()}


def _manifest(a: Artefact, tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": _version(a),
        "name": a.name,
        "labels": list(a.labels),
        "frontend": a.frontend.manifest(),
        "recurrent": [{"cell": layer.cell, "inputs": layer.inputs, "units": layer.units} for layer in a.recurrent],
        "readout": {"kind": "sum", "shift": a.readout_shift},
        "dense": [
            {"inputs": layer.rows.inputs, "outputs": layer.rows.outputs, "activation": layer.activation}
            for layer in a.dense
        ],
        "bias_bits": a.bias_bits,
        "softsign": a.softsign,
        **({"hold_q15": a.hold_q15} if a.hold_q15 else {}),
        "provenance": dict(a.provenance),
        "arrays_sha256": _arrays_sha256(tensors),
    }


def _version(a: Artefact) -> int:
    """The oldest format that has everything which this file uses."""
    if isinstance(a.frontend, SequenceInput):
        return 4
    return 3 if a.hold_q15 else 2 if a.frontend.mean_shift else 1


def _tensors(a: Artefact) -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = {**a.frontend.arrays(), **_vectors(a)}
    for prefix, rows in _all_rows(a):
        tensors |= rows.arrays(prefix)
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def _arrays_sha256(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _problems(a: Artefact) -> Iterator[str]:
    """Each broken rule as a sentence; the order is that of a reader."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", a.name):
        yield f"model name {a.name!r} is not 1 to 64 letters, digits, '.', '_' or '-'"
    if a.softsign != SOFTSIGN:
        yield f"softsign form {a.softsign!r} is not known, expected {SOFTSIGN!r}"
    if a.bias_bits not in (3, 16):
        yield f"bias_bits is {a.bias_bits!r}, expected 3 or 16"
    if type(a.hold_q15) is not int or not 0 <= a.hold_q15 <= INT16_MAX:
        yield f"hold_q15 is {a.hold_q15!r}, expected 0 to {INT16_MAX}"
    if not a.recurrent or not a.dense:
        yield "a model needs at least one recurrent and one dense layer"
        return
    yield from a.frontend.problems()
    for prefix, rows in _all_rows(a):
        yield from rows.problems(prefix, a.bias_bits)
    yield from _chain_problems(a)


def _chain_problems(a: Artefact) -> Iterator[str]:
    width = a.frontend.features
    for i, layer in enumerate(a.recurrent):
        yield from layer.problems(f"recurrent.{i}")
        if layer.inputs != width:
            yield f"recurrent.{i} takes {layer.inputs} inputs, the part before it gives {width}"
        width = layer.units
    for i, dense in enumerate(a.dense):
        if dense.rows.inputs != width:
            yield f"dense.{i} takes {dense.rows.inputs} inputs, the part before it gives {width}"
        last = i == len(a.dense) - 1
        if dense.activation != ("linear" if last else "relu"):
            yield f"dense.{i} is {dense.activation!r}: the last layer is linear, the others relu"
        width = dense.rows.outputs
    if width != len(a.labels):
        yield f"{len(a.labels)} labels for {width} outputs"
    if type(a.readout_shift) is not int or not 0 <= a.readout_shift <= MAX_SHIFT:
        yield f"readout shift is {a.readout_shift!r}, expected 0 to {MAX_SHIFT}"
