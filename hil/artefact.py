"""
The model file: integer arrays, their formats and where they came from.

One safetensors file (never a pickle): a JSON manifest and the arrays.  The format is
written down in docs/artefact.md.
"""

from __future__ import annotations

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

from hil.errors import ArtefactError
from hil.fixed import BIAS_LIMIT_Q17, MAX_FAN_IN, WEIGHT_LEVELS_Q2, Int

FORMAT = "hil-artefact"
FORMAT_VERSION = 1
SOFTSIGN = "table-257-241"
"""Name of the only softsign form that kernels implement (docs/artefact.md, "Softsign")."""
MAX_SHIFT = 15
BIAS16_LSB_Q17 = 1 << 5
"""16-bit biases are int16 in Q12, so every bias in Q17 is a multiple of 2**5 within +-8."""
BIAS3_LEVELS_Q17 = tuple(level << 15 for level in WEIGHT_LEVELS_Q2)


@dataclass(frozen=True)
class FrontEnd:
    """
    Waveform to features: ``x = saturate((raw - offset) << gain_shift)``.

    Attributes:
        kind: ``"log-mel"`` (raw: log2 of the band's energy, Q10) or ``"magnitude"``
            (raw: magnitude of the bin, Q15).
        rate_hz, window, hop, low_hz, high_hz: As in the recipe.
        frames: Feature vectors of one clip; shorter clips are padded, longer ones cut.
        gain_shift: Power of two, 0 to 15.
        offset: [F] int16, subtracted before the gain.
    """

    kind: Literal["log-mel", "magnitude"]
    rate_hz: int
    window: int
    hop: int
    low_hz: float
    high_hz: float
    frames: int
    gain_shift: int
    offset: npt.NDArray[np.int16]

    @property
    def features(self) -> int:
        """F, values of one feature vector."""
        return int(self.offset.size)


@dataclass(frozen=True)
class Rows:
    """
    A matrix of 3-bit power-of-two weights with a bias and a shift per row.

    A row's pre-activation is ``(weight_q2 @ u + bias_q17 + half) >> shift`` with
    ``half = 2**(shift - 1)`` (0 for a shift of 0): Q17 to Q15 is a shift of 2, and a
    row scale of ``2**e`` makes it ``2 - e``.  The bias is scaled with its row.

    Attributes:
        weight_q2: [R, U] int8, 4 times the weight, in {0, +-1, +-2, +-4}.
        bias_q17: [R] int32, magnitude below 2**29.
        shift: [R] int8, 0 to 15.
    """

    weight_q2: npt.NDArray[np.int8]
    bias_q17: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int8]

    @property
    def outputs(self) -> int:
        return int(self.weight_q2.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weight_q2.shape[1])


@dataclass(frozen=True)
class EmbeddedGruLayer:
    """
    One recurrent layer (eGRU).

    Attributes:
        rows: [2H, D + H], z rows then g rows; columns are the inputs, then the state.
    """

    rows: Rows

    @property
    def units(self) -> int:
        """H."""
        return self.rows.outputs // 2

    @property
    def inputs(self) -> int:
        """D."""
        return self.rows.inputs - self.units


@dataclass(frozen=True)
class DenseLayer:
    """
    One dense layer.

    Attributes:
        rows: [O, I].
        activation: ``"relu"``: clipped to [0, 32767], int16, Q15.  ``"linear"``: int32, Q15, not clipped.
    """

    rows: Rows
    activation: Literal["relu", "linear"]


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
        provenance: Hashes of recipe, data and code, seeds, scores: text or numbers by name.
    """

    name: str
    labels: tuple[str, ...]
    frontend: FrontEnd
    recurrent: tuple[EmbeddedGruLayer, ...]
    readout_shift: int
    dense: tuple[DenseLayer, ...]
    bias_bits: Literal[3, 16] = 16
    softsign: str = SOFTSIGN
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ArtefactError(None, problem)

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
        rows = list(_all_rows(self))
        bits = sum(3 * r.weight_q2.size + (self.bias_bits + 4) * r.outputs for _, r in rows)
        return (bits + 7) // 8

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(r.weight_q2.size for _, r in _all_rows(self))

    @property
    def zero_weights(self) -> int:
        return sum(int((r.weight_q2 == 0).sum()) for _, r in _all_rows(self))

    def to_bytes(self) -> bytes:
        """The file's contents; equal artefacts give equal bytes."""
        tensors = _tensors(self)
        manifest = _manifest(self, tensors)
        return _save_tensors(tensors, metadata={"manifest": json.dumps(manifest, sort_keys=True)})

    def sha256(self) -> str:
        """The artefact hash: SHA-256 of the file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

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
    manifest, tensors = _parse(data, path)
    try:
        if manifest["arrays_sha256"] != _arrays_sha256(tensors):
            raise ArtefactError(path, "is corrupt: its arrays do not have the hash that its manifest gives")
        artefact = _assemble(manifest, tensors)
        described = json.loads(json.dumps(_manifest(artefact, tensors)))
    except ArtefactError as error:
        raise error if error.path else ArtefactError(path, str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArtefactError(path, f"is corrupt: {type(error).__name__} {error}") from error
    if described != manifest:
        raise ArtefactError(path, "is corrupt: its manifest does not describe its arrays")
    return artefact


def _parse(data: bytes, path: Path | None) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    try:
        tensors = _load_tensors(data)
        header_bytes = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + header_bytes])
        manifest = json.loads(header["__metadata__"]["manifest"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(path, f"is not an artefact or is corrupt ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtefactError(path, "is not an artefact: its manifest does not say so")
    version = manifest.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ArtefactError(
            path, f"has format version {version}, this program reads up to {FORMAT_VERSION}: install a newer hil"
        )
    return manifest, tensors


def _assemble(manifest: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Artefact:
    def rows(prefix: str) -> Rows:
        arrays = [tensors[f"{prefix}.{part}"] for part in ("weight_q2", "bias_q17", "shift")]
        for array, dtype in zip(arrays, (np.int8, np.int32, np.int8), strict=True):
            if array.dtype != dtype:
                raise ValueError(f"{prefix} has an array of {array.dtype}, expected {np.dtype(dtype)}")
        return Rows(*arrays)

    frontend = FrontEnd(**manifest["frontend"], offset=tensors["frontend.offset"])
    recurrent = tuple(EmbeddedGruLayer(rows(f"recurrent.{i}")) for i in range(len(manifest["recurrent"])))
    dense = tuple(DenseLayer(rows(f"dense.{i}"), d["activation"]) for i, d in enumerate(manifest["dense"]))
    return Artefact(
        name=manifest["name"],
        labels=tuple(manifest["labels"]),
        frontend=frontend,
        recurrent=recurrent,
        readout_shift=manifest["readout"]["shift"],
        dense=dense,
        bias_bits=manifest["bias_bits"],
        softsign=manifest["softsign"],
        provenance=manifest["provenance"],
    )


def _all_rows(a: Artefact) -> Iterator[tuple[str, Rows]]:
    for i, layer in enumerate(a.recurrent):
        yield f"recurrent.{i}", layer.rows
    for i, dense in enumerate(a.dense):
        yield f"dense.{i}", dense.rows


def _manifest(a: Artefact, tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "name": a.name,
        "labels": list(a.labels),
        "frontend": {
            "kind": a.frontend.kind,
            "rate_hz": a.frontend.rate_hz,
            "window": a.frontend.window,
            "hop": a.frontend.hop,
            "low_hz": a.frontend.low_hz,
            "high_hz": a.frontend.high_hz,
            "frames": a.frontend.frames,
            "gain_shift": a.frontend.gain_shift,
        },
        "recurrent": [{"cell": "embedded_gru", "inputs": layer.inputs, "units": layer.units} for layer in a.recurrent],
        "readout": {"kind": "sum", "shift": a.readout_shift},
        "dense": [
            {"inputs": layer.rows.inputs, "outputs": layer.rows.outputs, "activation": layer.activation}
            for layer in a.dense
        ],
        "bias_bits": a.bias_bits,
        "softsign": a.softsign,
        "provenance": dict(a.provenance),
        "arrays_sha256": _arrays_sha256(tensors),
    }


def _tensors(a: Artefact) -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = {"frontend.offset": a.frontend.offset}
    for prefix, rows in _all_rows(a):
        tensors[f"{prefix}.weight_q2"] = rows.weight_q2
        tensors[f"{prefix}.bias_q17"] = rows.bias_q17
        tensors[f"{prefix}.shift"] = rows.shift
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
    if not a.recurrent or not a.dense:
        yield "a model needs at least one recurrent and one dense layer"
        return
    yield from _frontend_problems(a.frontend)
    for prefix, rows in _all_rows(a):
        yield from _row_problems(prefix, rows, a.bias_bits)
    yield from _chain_problems(a)


def _frontend_problems(f: FrontEnd) -> Iterator[str]:
    if f.kind not in ("log-mel", "magnitude"):
        yield f"front end {f.kind!r} is not known"
    if f.offset.dtype != np.int16 or f.offset.ndim != 1 or not f.offset.size:
        yield "frontend.offset is not a vector of int16"
    for name in ("rate_hz", "window", "hop", "frames", "gain_shift"):
        value = getattr(f, name)
        if type(value) is not int or not (0 if name == "gain_shift" else 1) <= value < 1 << 20:
            yield f"frontend.{name} is {value!r}"
    if type(f.gain_shift) is int and f.gain_shift > MAX_SHIFT:
        yield f"frontend.gain_shift is {f.gain_shift}, at most {MAX_SHIFT}"


def _row_problems(prefix: str, rows: Rows, bias_bits: int) -> Iterator[str]:
    weight, bias, shift = rows.weight_q2, rows.bias_q17, rows.shift
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or shift.shape != weight.shape[:1] or not weight.size:
        yield f"{prefix}: shapes {weight.shape}, {bias.shape}, {shift.shape} do not fit together"
        return
    for name, array, dtype in (("weight_q2", weight, np.int8), ("bias_q17", bias, np.int32), ("shift", shift, np.int8)):
        if array.dtype != dtype:
            yield f"{prefix}.{name} is {array.dtype}, expected {np.dtype(dtype)}"
    if not np.isin(weight, WEIGHT_LEVELS_Q2).all():
        yield f"{prefix}.weight_q2 has values outside {WEIGHT_LEVELS_Q2}"
    if rows.inputs > MAX_FAN_IN:
        yield f"{prefix}: {rows.inputs} inputs could overflow the 32-bit sum; at most {MAX_FAN_IN}"
    if (np.abs(bias.astype(np.int64)) >= BIAS_LIMIT_Q17).any():
        yield f"{prefix}.bias_q17 reaches 2**29"
    if not _bias_fits(bias, bias_bits):
        yield f"{prefix}.bias_q17 does not fit {bias_bits} bits"
    if ((shift < 0) | (shift > MAX_SHIFT)).any():
        yield f"{prefix}.shift is outside 0 to {MAX_SHIFT}"


def _bias_fits(bias_q17: Int, bits: int) -> bool:
    if bits == 3:
        return bool(np.isin(bias_q17, BIAS3_LEVELS_Q17).all())
    quotient = bias_q17.astype(np.int64) // BIAS16_LSB_Q17
    return bool((quotient * BIAS16_LSB_Q17 == bias_q17).all() and (np.abs(quotient + 0.5) < 1 << 15).all())


def _chain_problems(a: Artefact) -> Iterator[str]:
    width = a.frontend.features
    for i, layer in enumerate(a.recurrent):
        if layer.rows.outputs % 2 or layer.inputs != width:
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
