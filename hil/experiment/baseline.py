"""The int8 GRU beside a model: the float GRU in 8-bit weights, its accuracy by the twin, its run on a rig."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from hil.artefact import Artefact, load_artefact
from hil.experiment.device_stages import RigName, make_run
from hil.experiment.feature_file import load_features
from hil.experiment.hashes import code_sha256
from hil.experiment.result import Result
from hil.experiment.stages import ARTEFACT, FEATURES, FLOAT_GRU, file_sha256
from hil.experiment.workspace import Manifest, Workspace
from hil.float_model import load_float_model
from hil.quant import run_twin_batch
from hil.quant.quantize_bytes import quantize_gru8
from hil.recipe import Recipe

GRU8 = "gru8.artefact"


@dataclass(frozen=True)
class Baseline:
    """
    The int8 GRU of a model.

    Attributes:
        artefact: Equal to its twin on every rig, bit for bit.
        test_accuracy, validation_accuracy: Of the twin, on all clips of the set, 0..1.
        correct: Of each test clip in order, 1 where the twin is right: for paired differences.
    """

    artefact: Artefact
    test_accuracy: float
    validation_accuracy: float
    correct: tuple[int, ...]


def make_gru8(recipe: Recipe, ws: Workspace) -> Manifest:
    """
    Stage ``gru8``: the float GRU rounded to 8-bit weights, and what its twin gets right.

    Raises:
        UsageError: Features or float GRU are missing: the message says what makes them.
    """
    inputs = {
        "features": file_sha256(ws.path(FEATURES)),
        "float": file_sha256(ws.path(FLOAT_GRU)),
        "name": recipe.name,
        "code": code_sha256(
            "quant", "artefact", "arithmetic.py", "fixed.py", "float_model.py", "experiment/baseline.py"
        ),
    }

    def make(folder: Path) -> dict[str, str]:
        features = load_features(ws.path(FEATURES))
        artefact = quantize_gru8(
            load_float_model(ws.path(FLOAT_GRU)),
            features.frontend,
            features.labels,
            name=f"{recipe.name}-gru8",
            provenance={"recipe_sha256": recipe.sha256(), "float_sha256": inputs["float"]},
        )
        artefact.save(folder / GRU8)
        found = {}
        for name in ("test", "validation"):
            part = getattr(features, name)
            right = run_twin_batch(artefact, part.x, part.lengths).argmax(axis=1) == part.y
            found[f"{name}_accuracy"] = repr(float(right.mean()))
            found[f"{name}_correct"] = "".join(str(int(r)) for r in right)
        return found

    return ws.stage("gru8", inputs, [GRU8], make)


def baseline(recipe: Recipe, ws: Workspace) -> Baseline:
    """The int8 GRU of a folder whose float GRU is trained; made if it is not there.  Raises as `make_gru8`."""
    facts = make_gru8(recipe, ws).facts
    return Baseline(
        load_artefact(ws.path(GRU8)),
        float(facts["test_accuracy"]),
        float(facts["validation_accuracy"]),
        tuple(int(c) for c in facts["test_correct"]),
    )


def gru8_workspace(ws: Workspace) -> Workspace:
    """Where program and result of the int8 GRU lie."""
    return replace(ws, folder=ws.path("gru8"))


def run_gru8(recipe: Recipe, ws: Workspace, rig: RigName, compiler: str | None, fast_load: bool = False) -> Result:
    """
    The test sequences through the int8 GRU on a rig, every step compared with its twin.

    Raises:
        HilError: As `make_gru8` and `hil.experiment.device_stages.make_run`.
    """
    make_gru8(recipe, ws)
    own = gru8_workspace(ws)
    own.folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((GRU8, ARTEFACT), (FEATURES, FEATURES)):
        _same_file(ws.path(source), own.path(name))
    return make_run(recipe, own, rig, compiler, fast_load, trained=ws)


def _same_file(source: Path, target: Path) -> None:
    """A copy, written anew where it differs."""
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, part)
        part.replace(target)
