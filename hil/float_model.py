"""
A trained network in floating point, as arrays: what training leaves and quantization takes.

One safetensors file with a JSON manifest, so that it is read without torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from hil.errors import ArtefactError

FORMAT = "hil-float-model"
FORMAT_VERSION = 1
MAX_READOUT_SHIFT = 15

Kind = Literal["embedded_gru", "event_embedded_gru", "event_gru", "gru"]
EVENT_KINDS = ("event_embedded_gru", "event_gru")
"""Cells whose units send events."""
CELL_NAMES: Mapping[str, str] = {
    "embedded_gru": "eGRU",
    "event_embedded_gru": "event eGRU",
    "gru": "GRU",
    "event_gru": "EGRU",
}


@dataclass(frozen=True)
class Epoch:
    """One point of a learning curve: mean loss over the training set, accuracies in 0..1."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float


@dataclass(frozen=True)
class FloatModel:
    """
    Recurrent layers, sum over time, one hidden dense layer (ReLU), classes (linear).

    Inputs are Q15 features divided by 2**15; the readout is the sum of the last layer's
    states (an event eGRU's: events) over time, divided by ``2**readout_shift``.

    Attributes:
        kind: ``"embedded_gru"`` (eGRU), ``"event_embedded_gru"`` (event eGRU), ``"event_gru"`` (EGRU) or
            ``"gru"`` (the baseline, reset after the product).
        inputs: D, values of one feature vector.
        hidden: Units of each recurrent layer, input side first.
        dense: Units of the hidden dense layer.
        outputs: O, classes.
        readout_shift: 0 to 15.
        hold_q15: As in the artefact: how far an input may move and count as unchanged.
        arrays: float32 by name; a weight of exactly 0 is pruned, and training on leaves it so.
            eGRU: ``recurrent.N.weight`` [2H, D + H], z rows then g rows, columns inputs then
            state; ``recurrent.N.bias`` [2H].  Event eGRU: the same, its columns inputs then events,
            and ``recurrent.N.threshold`` [H] in (0, 1).  GRU:
            ``recurrent.N.weight_ih`` [3H, D], ``.weight_hh`` [3H, H], ``.bias_ih`` and
            ``.bias_hh`` [3H], rows r, z, n.  EGRU: as the GRU, and thresholds as the event eGRU.
            All: ``dense.N.weight`` [O, I], ``dense.N.bias`` [O].
        exponents: int8 by layer, such as ``recurrent.0`` [2H]: the row scales ``2**e`` that
            quantization-aware training used; empty after float training.  EGRU: [4H], of the rows
            of both gates, of the candidate's inputs, of its state.
        quantization: What it was trained for (``zero_threshold``, ``row_scales``,
            ``bias_bits``; EGRU: ``weight_bits``); empty after float training.
        curve: Learning curve of this stage.
        provenance: Text or numbers by name: seeds, epochs, hashes.
    """

    kind: Kind
    inputs: int
    hidden: tuple[int, ...]
    dense: int
    outputs: int
    readout_shift: int
    arrays: Mapping[str, npt.NDArray[np.float32]]
    exponents: Mapping[str, npt.NDArray[np.int8]] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    hold_q15: int = 0

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ArtefactError(None, problem)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, input side first: ``recurrent.0``, ..., ``dense.1``."""
        return (*(f"recurrent.{i}" for i in range(len(self.hidden))), "dense.0", "dense.1")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(array.size for array in self.arrays.values())

    @property
    def pruned(self) -> dict[str, tuple[int, int]]:
        """Pruned weights and all weights of each layer; empty if none is pruned."""
        matrices = {layer: self.arrays.get(f"{layer}.weight") for layer in self.layers}
        counts = {
            layer: (int((matrix == 0).sum()), matrix.size) for layer, matrix in matrices.items() if matrix is not None
        }
        return counts if any(zeros for zeros, _ in counts.values()) else {}

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights and biases in float32."""
        return 4 * self.parameters

    def to_bytes(self) -> bytes:
        """The file's contents; equal models give equal bytes."""
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "kind": self.kind,
            "inputs": self.inputs,
            "hidden": list(self.hidden),
            "dense": self.dense,
            "outputs": self.outputs,
            "readout_shift": self.readout_shift,
            "quantization": dict(self.quantization),
            "curve": [asdict(epoch) for epoch in self.curve],
            "provenance": dict(self.provenance),
            **({"hold_q15": self.hold_q15} if self.hold_q15 else {}),
        }
        tensors = _tensors(self)
        manifest["arrays_sha256"] = _arrays_sha256(tensors)
        return _save_tensors(tensors, metadata={"manifest": json.dumps(manifest, sort_keys=True)})

    def sha256(self) -> str:
        """SHA-256 of the file."""
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


def load_float_model(path: Path) -> FloatModel:
    """
    Read a float model.

    Raises:
        ArtefactError: It is missing, truncated, altered, of a newer format, or its arrays do not fit together.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(path, "no such float model. Make it: `hil train MODEL`") from None
    except OSError as error:
        raise ArtefactError(path, f"cannot be read ({error.strerror})") from error
    try:
        return _assemble(*_parse(data))
    except ArtefactError as error:
        raise ArtefactError(path, str(error)) from None
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArtefactError(path, f"is not a float model or is corrupt ({type(error).__name__} {error})") from error


def _parse(data: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    tensors = _load_tensors(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    manifest = json.loads(header["__metadata__"]["manifest"])
    if manifest["format"] != FORMAT:
        raise ArtefactError(None, "is not a float model: its manifest does not say so")
    version = manifest["version"]
    if type(version) is not int or version > FORMAT_VERSION:
        raise ArtefactError(
            None, f"has format version {version}, this program reads up to {FORMAT_VERSION}: install a newer hil"
        )
    if manifest["arrays_sha256"] != _arrays_sha256(tensors):
        raise ArtefactError(None, "is corrupt: its arrays do not have the hash that its manifest gives")
    return manifest, tensors


def _assemble(manifest: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> FloatModel:
    suffix = ".exponent"
    return FloatModel(
        kind=manifest["kind"],
        inputs=manifest["inputs"],
        hidden=tuple(manifest["hidden"]),
        dense=manifest["dense"],
        outputs=manifest["outputs"],
        readout_shift=manifest["readout_shift"],
        arrays={name: array for name, array in tensors.items() if not name.endswith(suffix)},
        exponents={name.removesuffix(suffix): array for name, array in tensors.items() if name.endswith(suffix)},
        quantization=manifest["quantization"],
        curve=tuple(Epoch(**epoch) for epoch in manifest["curve"]),
        provenance=manifest["provenance"],
        hold_q15=manifest.get("hold_q15", 0),
    )


def _tensors(m: FloatModel) -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = dict(m.arrays)
    tensors.update({f"{layer}.exponent": array for layer, array in m.exponents.items()})
    return {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}


def _arrays_sha256(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def array_shapes(
    kind: Kind, inputs: int, hidden: tuple[int, ...], dense: int, outputs: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of a `FloatModel`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (D, H) in enumerate(zip((inputs, *hidden[:-1]), hidden, strict=True)):
        if kind in ("gru", "event_gru"):
            shapes |= {f"recurrent.{i}.weight_ih": (3 * H, D), f"recurrent.{i}.weight_hh": (3 * H, H)}
            shapes |= {f"recurrent.{i}.bias_ih": (3 * H,), f"recurrent.{i}.bias_hh": (3 * H,)}
        else:
            shapes |= {f"recurrent.{i}.weight": (2 * H, D + H), f"recurrent.{i}.bias": (2 * H,)}
        if kind in EVENT_KINDS:
            shapes[f"recurrent.{i}.threshold"] = (H,)
    for i, (width_in, width_out) in enumerate(((hidden[-1], dense), (dense, outputs))):
        shapes |= {f"dense.{i}.weight": (width_out, width_in), f"dense.{i}.bias": (width_out,)}
    return shapes


def _problems(m: FloatModel) -> Iterator[str]:
    """Each broken rule as a sentence."""
    sizes = (m.inputs, *m.hidden, m.dense, m.outputs)
    if m.kind not in get_args(Kind) or not m.hidden or not all(type(n) is int and n > 0 for n in sizes):
        yield f"a {m.kind!r} with sizes {sizes} is not a network"
        return
    if type(m.readout_shift) is not int or not 0 <= m.readout_shift <= MAX_READOUT_SHIFT:
        yield f"readout shift is {m.readout_shift!r}, expected 0 to {MAX_READOUT_SHIFT}"
    if type(m.hold_q15) is not int or not 0 <= m.hold_q15 < 1 << 15:
        yield f"hold_q15 is {m.hold_q15!r}, expected 0 to 32767"
    shapes = array_shapes(m.kind, m.inputs, m.hidden, m.dense, m.outputs)
    if set(m.arrays) != set(shapes):
        yield f"arrays {sorted(set(m.arrays) ^ set(shapes))} are missing or too many"
        return
    for name, shape in shapes.items():
        array = m.arrays[name]
        if array.dtype != np.float32 or array.shape != shape:
            yield f"{name} is {array.dtype} {array.shape}, expected float32 {shape}"
        elif not np.isfinite(array).all():
            yield f"{name} has values that are not finite: training diverged; lower the learning rate"
        elif name.endswith(".threshold") and not ((array > 0) & (array < 1)).all():
            yield f"{name} has values outside (0, 1)"
    if m.exponents and set(m.exponents) != set(m.layers):
        yield f"row exponents are given for {sorted(m.exponents)}, expected {sorted(m.layers)}"
        return
    for layer, exponent in m.exponents.items():
        byte_rows = m.kind == "event_gru" and layer.startswith("recurrent")
        rows = 4 * m.arrays[f"{layer}.threshold"].size if byte_rows else m.arrays[f"{layer}.bias"].size
        if exponent.dtype != np.int8 or exponent.shape != (rows,):
            yield f"{layer}.exponent is {exponent.dtype} {exponent.shape}, expected int8 per row"
