"""
A model folder's own artefact and test vectors, so that a bench needs neither torch nor data.

The vectors are features made of seeded random numbers: nothing of a data set is in them.  What they should give was
written down by the twin on the machine that trained; the twin here must agree before the device is asked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from hil.artefact import Artefact, load_artefact
from hil.errors import ArtefactError
from hil.experiment.device_stages import RESULT, RigName, make_firmware, opened_rig
from hil.experiment.feature_file import Features
from hil.experiment.hashes import code_sha256
from hil.experiment.result import Result, result_from_json
from hil.experiment.run import Background, run_on_rig
from hil.experiment.stages import ARTEFACT, file_sha256
from hil.experiment.workspace import Workspace, write_text
from hil.features import FeatureSet
from hil.fixed import INT16_MAX, INT16_MIN
from hil.quant import run_twins
from hil.recipe import Recipe
from hil.trace import Tier

VECTORS, SHIPPED = "vectors.safetensors", "shipped"
FORMAT, FORMAT_VERSION = "hil-vectors", 1
SEED = 1
KINDS = ("uniform", "quiet", "steps", "walk", "extremes", "zeros")

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Vectors:
    """
    Test sequences of an artefact.

    Attributes:
        x: [N, T, D] int16, Q15, features.
        logits: [N, O] int32, what the twin gave.
        states_sha256: [N] hashes of all states [T, S] int16, little-endian.
        artefact_sha256: Of the artefact that they belong to.
    """

    x: Int16
    logits: npt.NDArray[np.int32]
    states_sha256: tuple[str, ...]
    artefact_sha256: str


def make_vectors(artefact: Artefact, seed: int = SEED) -> Vectors:
    """One sequence of each of `KINDS`, with what the twin gives; equal arguments give equal numbers."""
    rng = np.random.default_rng(seed)
    x = np.stack([_sequence(kind, artefact.frontend.frames, artefact.inputs, rng) for kind in KINDS])
    logits, states = _expected(artefact, x)
    return Vectors(x, logits, states, artefact.sha256())


def _sequence(kind: str, steps: int, width: int, rng: np.random.Generator) -> Int16:
    shape = (steps, width)
    if kind == "uniform":
        values = rng.integers(INT16_MIN, INT16_MAX + 1, shape)
    elif kind == "quiet":
        values = rng.normal(0, 1500, shape).round().astype(np.int64)
    elif kind == "steps":
        values = np.repeat(rng.integers(-20000, 20000, (steps // 8 + 1, width)), 8, axis=0)[:steps]
    elif kind == "walk":
        values = np.cumsum(rng.integers(-3000, 3001, shape), axis=0)
    elif kind == "extremes":
        values = rng.choice([INT16_MIN, INT16_MAX], shape)
    else:
        values = np.zeros(shape, np.int64)
    return np.clip(values, INT16_MIN, INT16_MAX).astype(np.int16)


def _expected(artefact: Artefact, x: Int16) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    traces = run_twins(artefact, x)
    states = tuple(hashlib.sha256(trace.states_q15.astype("<i2").tobytes()).hexdigest() for trace in traces)
    return np.stack([trace.logits for trace in traces]).astype(np.int32), states


def save_vectors(vectors: Vectors, path: Path) -> None:
    """Write the file (through a temporary name)."""
    manifest = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "artefact_sha256": vectors.artefact_sha256,
        "states_sha256": list(vectors.states_sha256),
    }
    data = _save_tensors(
        {"x": np.ascontiguousarray(vectors.x), "logits": np.ascontiguousarray(vectors.logits)},
        metadata={"manifest": json.dumps(manifest, sort_keys=True)},
    )
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_vectors(path: Path, artefact: Artefact) -> Vectors:
    """
    Read what `save_vectors` wrote, and see that the twin here gives what is written down.

    Raises:
        ArtefactError: The file is missing or corrupt, belongs to another artefact, or the twin disagrees.
    """
    try:
        data = path.read_bytes()
        tensors = _load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        manifest = json.loads(header["__metadata__"]["manifest"])
        if manifest["format"] != FORMAT or manifest["version"] > FORMAT_VERSION:
            raise ValueError(f"format {manifest['format']!r} {manifest['version']}")
        states = tuple(manifest["states_sha256"])
        vectors = Vectors(tensors["x"], tensors["logits"], states, manifest["artefact_sha256"])
    except OSError as error:
        raise ArtefactError(path, f"no test vectors ({error.strerror})") from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(path, f"are no test vectors or are corrupt ({error})") from error
    if vectors.artefact_sha256 != artefact.sha256():
        raise ArtefactError(path, "belong to another artefact than the one beside them")
    logits, states = _expected(artefact, vectors.x)
    if states != vectors.states_sha256 or not np.array_equal(logits, vectors.logits):
        raise ArtefactError(path, "the twin on this machine gives other states or outputs than are written down here")
    return vectors


def with_shipped(ws: Workspace, folder: Path) -> Workspace:
    """
    Where a device's stages work.

    Returns:
        ``ws`` if the model was trained there or its folder has no artefact; else its folder `SHIPPED`, with the
        artefact of the model's folder, which is said.
    """
    shipped = folder / ARTEFACT
    if ws.path(ARTEFACT).is_file() or not shipped.is_file():
        return ws
    artefact = load_artefact(shipped)
    ws.progress.say(f"nothing was trained in {ws.folder}: taking the artefact that is shipped, {shipped}")
    inner = dataclasses.replace(ws, folder=ws.path(SHIPPED))
    if not _same(inner.path(ARTEFACT), artefact):
        artefact.save(inner.path(ARTEFACT))
    return inner


def _same(path: Path, artefact: Artefact) -> bool:
    """Whether the model is there already, perhaps with a build of its own."""
    try:
        return load_artefact(path).sha256() == artefact.sha256()
    except ArtefactError:
        return False


def is_shipped(ws: Workspace) -> bool:
    """Whether `with_shipped` took the model folder's artefact."""
    return ws.folder.name == SHIPPED


def make_shipped_run(
    recipe: Recipe, ws: Workspace, folder: Path, rig_name: RigName, compiler: str | None, fast_load: bool = False
) -> Result:
    """
    Stages ``firmware`` and ``run`` with a shipped artefact: its test vectors through a rig, compared with the twin.

    Args:
        recipe: Of the model.
        ws: From `with_shipped`.
        folder: The model's.
        rig_name, compiler, fast_load: As `hil.experiment.device_stages.make_run`.

    Raises:
        ArtefactError: As `load_vectors`.
        RigError, DeviceError: As `hil.experiment.run.run_on_rig`.
    """
    artefact = load_artefact(ws.path(ARTEFACT))
    vectors = load_vectors(folder / VECTORS, artefact)
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = make_firmware(recipe, ws, compiler, rig)
        inputs = {
            "artefact": artefact.sha256(),
            "vectors": file_sha256(folder / VECTORS),
            "elf": firmware.elf_sha256,
            "rig": rig.sha256,
            "code": code_sha256("link", "rig", "probe", "emulator", "quant", "experiment", "trace.py"),
        }

        def make(part: Path) -> dict[str, str]:
            background = Background(
                recipe_sha256=str(artefact.provenance.get("recipe_sha256", "unknown")),
                data_sha256=str(artefact.provenance.get("data_sha256", "unknown")),
                notes=("shipped artefact and test vectors (random features): no accuracy is measured",),
            )
            result = run_on_rig(artefact, _as_features(artefact, vectors), firmware, rig, background, ws.progress)
            result = dataclasses.replace(result, accuracy={}, confusion=())
            write_text(part / RESULT, result.to_json())
            return {"bit_exact": str(result.bit_exact)}

        ws.stage("run", inputs, [RESULT], make, always=rig.tier is Tier.SILICON)
    path = ws.path(RESULT)
    return result_from_json(path.read_text(encoding="utf-8"), path)


def _as_features(artefact: Artefact, vectors: Vectors) -> Features:
    count, steps, width = vectors.x.shape
    nothing = FeatureSet(np.zeros((0, steps, width), np.int16), np.zeros(0, np.int64), (), 0)
    names = tuple(KINDS[:count]) if count <= len(KINDS) else tuple(f"vector {i}" for i in range(count))
    test = FeatureSet(vectors.x, np.zeros(count, np.int64), names, 0)
    return Features(artefact.labels, artefact.frontend, nothing, nothing, test)


def publish(folder: Path, artefact_path: Path) -> Artefact:
    """Put an artefact and its test vectors into a model's folder."""
    artefact = load_artefact(artefact_path)
    artefact.save(folder / ARTEFACT)
    save_vectors(make_vectors(artefact), folder / VECTORS)
    return artefact
