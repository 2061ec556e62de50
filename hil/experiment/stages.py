"""
A recipe to an ELF in stages, each with its files and a manifest in the model's folder.

data -> features -> float models (GRU and eGRU at once) -> quantize -> firmware.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hil.errors import UsageError
from hil.experiment.feature_file import Features, load_features, save_features
from hil.experiment.hashes import code_sha256, values_sha256, version
from hil.experiment.training import Job, Model, Trained, Workers, workers
from hil.experiment.workspace import Manifest, Pending, Workspace
from hil.float_model import CELL_NAMES, EVENT_KINDS, load_float_model
from hil.quant import quantize
from hil.recipe import Recipe

DATA, FEATURES = "dataset.npz", "features.safetensors"
FLOAT_GRU, FLOAT_EGRU = "float-gru.model", "float-egru.model"
QUANTIZED, ARTEFACT = "quantized.model", "model.artefact"

_SEAMS = ("fixed.py", "recipe.py", "data_recipe.py", "train_recipe.py", "prune_recipe.py")
_TRAINING = ("train", "cells", "arithmetic.py", "float_model.py", *_SEAMS)


def make_data(recipe: Recipe, ws: Workspace) -> Manifest:
    """
    Stage ``data``: clips of three disjoint sets.

    What was done to files (resampled, cut, left out) is said, and kept as the fact ``notes``.

    Raises:
        UsageError, ToolError: As `hil.datasets.load_dataset`.
    """
    from hil.clip import Dataset, SequenceDataset
    from hil.datasets import files_fingerprint, load_dataset, load_sequences, save_dataset, save_sequences

    synthetic = recipe.data.source == "synthetic-keywords"
    inputs = {
        "recipe": values_sha256(recipe.data),
        "rate_hz": str(recipe.features.rate_hz),
        "files": files_fingerprint(recipe.data),
        "code": code_sha256("datasets", "clip.py", *_SEAMS),
        "tools": " ".join(f"{p} {version(p)}" for p in ("espeakng-loader", "numpy", "soxr")),
    }

    def make(folder: Path) -> dict[str, str]:
        notes: list[str] = []
        title = "synthesizing clips" if synthetic else f"reading {recipe.data.folder or recipe.data.source}"
        with ws.progress.task(title) as update:
            dataset: Dataset | SequenceDataset
            if recipe.data.is_sound:
                dataset = load_dataset(recipe.data, recipe.features.rate_hz, notes=notes, progress=update)
            else:
                dataset = load_sequences(recipe.data)
        for note in notes:
            ws.progress.say(note)
        counts = {part: str(len(getattr(dataset, part))) for part in ("train", "validation", "test")}
        ws.progress.say(", ".join(f"{count} clips for {part}" for part, count in counts.items()))
        if isinstance(dataset, Dataset):
            save_dataset(dataset, folder / DATA)
        else:
            save_sequences(dataset, folder / DATA)
        return {"sha256": dataset.sha256(), "notes": "\n".join(notes), **counts}

    return ws.stage("data", inputs, [DATA], make)


def make_features(recipe: Recipe, ws: Workspace) -> Manifest:
    """Stage ``features``: front end fitted on the training set, features of all sets."""
    inputs = {
        "data": file_sha256(ws.path(DATA)),
        "recipe": values_sha256(recipe.features),
        "seconds": str(recipe.data.seconds),
        "code": code_sha256("features", "clip.py", "experiment/feature_file.py", *_SEAMS),
        "tools": f"numpy {version('numpy')}",
    }

    def make(folder: Path) -> dict[str, str]:
        features = _extract(recipe, ws)
        save_features(features, folder / FEATURES)
        sets = (features.train, features.validation, features.test)
        return {"saturated": str(sum(s.saturated for s in sets)), "values": str(sum(s.x.size for s in sets))}

    return ws.stage("features", inputs, [FEATURES], make)


def _extract(recipe: Recipe, ws: Workspace) -> Features:
    from hil.datasets import load_saved_dataset, load_saved_sequences
    from hil.features import extract_set, fit_frontend, fit_sequences, frame_count, scale_set

    if not recipe.data.is_sound:
        sequences = load_saved_sequences(ws.path(DATA))
        given = fit_sequences(recipe.features, sequences.train)
        parts = [scale_set(part, given) for part in (sequences.train, sequences.validation, sequences.test)]
        return Features(sequences.labels, given, *parts)
    dataset = load_saved_dataset(ws.path(DATA))
    frames = frame_count(recipe.features, recipe.data.seconds)
    with ws.progress.task("fitting the front end") as update:
        frontend = fit_frontend(recipe.features, dataset.train, frames, progress=update)
    sets = []
    for name in ("train", "validation", "test"):
        with ws.progress.task(f"features, {name} set") as update:
            sets.append(extract_set(getattr(dataset, name), frontend, progress=update))
    return Features(dataset.labels, frontend, *sets)


@dataclass(frozen=True)
class _Training:
    """One training stage: its name, model, file and what of the recipe it depends on."""

    stage: str
    title: str
    model: Model
    file: str

    @property
    def files(self) -> tuple[str, str]:
        return self.file, logits_file(self.file)

    def inputs(self, recipe: Recipe, ws: Workspace) -> dict[str, str]:
        shape: tuple[Any, ...] = (recipe.train, recipe.cell, *_sparsity(recipe, self.model))
        inputs = {
            "features": file_sha256(ws.path(FEATURES)),
            "recipe": " ".join(values_sha256(part) for part in shape),
            "code": code_sha256(*_TRAINING),
            "tools": f"torch {version('torch')}",
        }
        if self.model == "gru":
            inputs["quantize.epochs"] = str(recipe.quantize.epochs)
        return inputs


_GRU = _Training("float-gru", "float GRU", "gru", FLOAT_GRU)


def _egru(recipe: Recipe) -> _Training:
    return _Training("float-egru", f"float {CELL_NAMES[recipe.cell.kind]}", recipe.cell.kind, FLOAT_EGRU)


def _sparsity(recipe: Recipe, model: Model) -> tuple[Any, ...]:
    """What of the recipe is for event cells only, and for pruned ones."""
    if model == "gru":
        return ()
    events = (recipe.events,) if recipe.cell.kind in EVENT_KINDS else ()
    pruned = recipe.prune.sparsity > 0 and (model == "quantized" or recipe.prune.stage == "float")
    return (*events, recipe.prune) if pruned else events


def make_models(
    recipe: Recipe,
    ws: Workspace,
    *,
    quantized: bool,
    jobs: int = 2,
    tensorboard: Path | None = None,
    baseline: bool = True,
) -> None:
    """
    Stages ``float-gru`` and ``float-egru`` in processes of their own, and ``quantize`` if ``quantized``.

    The GRU is only a baseline: the eGRU is quantized while it is still training.

    Args:
        recipe: Of the model.
        ws: Its folder; features must be there.
        quantized: Go on to the artefact.
        jobs: Trainings at once; 1 does one after the other.
        tensorboard: Folder for learning curves, one folder a stage inside.
        baseline: Train the GRU as well.
    """
    float_egru = _egru(recipe)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(ws.progress))
        gru = stack.enter_context(ws.begin(_GRU.stage, _GRU.inputs(recipe, ws), _GRU.files)) if baseline else None
        egru = stack.enter_context(ws.begin(float_egru.stage, float_egru.inputs(recipe, ws), float_egru.files))
        _start(pool, float_egru, egru, recipe, ws, tensorboard)
        if gru and jobs > 1:
            _start(pool, _GRU, gru, recipe, ws, tensorboard)
        _finish(pool, float_egru, egru, ws)
        if quantized:
            make_artefact(recipe, ws, pool, tensorboard)
        if gru and jobs <= 1:
            _start(pool, _GRU, gru, recipe, ws, tensorboard)
        if gru:
            _finish(pool, _GRU, gru, ws)


def _start(
    pool: Workers, training: _Training, pending: Pending, recipe: Recipe, ws: Workspace, tensorboard: Path | None
) -> None:
    if pending.known is None:
        job = Job(recipe, training.model, ws.path(FEATURES), pending.part / training.file)
        pool.start(training.title, _watched(job, ws, training.stage, tensorboard))


def _watched(job: Job, ws: Workspace, stage: str, tensorboard: Path | None) -> Job:
    """The job with its checkpoint, which outlives an interrupted run; --force begins anew."""
    checkpoint = ws.path(f"{stage}.checkpoint")
    if ws.force:
        checkpoint.unlink(missing_ok=True)
    return replace(job, checkpoint=checkpoint, tensorboard=tensorboard / stage if tensorboard else None)


def _finish(pool: Workers, training: _Training, pending: Pending, ws: Workspace) -> None:
    if pending.known is None:
        ws.finish(pending, _facts(pool.result(training.title)))


def _facts(trained: Trained) -> dict[str, str]:
    return {name: repr(value) for name, value in vars(trained).items()}


def make_artefact(
    recipe: Recipe, ws: Workspace, pool: Workers | None = None, tensorboard: Path | None = None
) -> Manifest:
    """
    Stage ``quantize``: quantization-aware training from the float eGRU, then the artefact.

    Args:
        recipe: Of the model.
        ws: Its folder; features and the float eGRU must be there.
        pool: Where to train; None: a pool of its own.
        tensorboard: Folder for learning curves; the stage's own is inside.

    Raises:
        UsageError: Features or float model are missing: the message says what makes them.
    """
    parts = (recipe.train, recipe.cell, recipe.quantize, *_sparsity(recipe, "quantized"))
    title = f"quantized {CELL_NAMES[recipe.cell.kind]}"
    inputs = {
        "features": file_sha256(ws.path(FEATURES)),
        "float": file_sha256(ws.path(FLOAT_EGRU)),
        "recipe": " ".join(values_sha256(part) for part in parts),
        "name": recipe.name,
        "data": _data_sha256(ws),
        "code": code_sha256("quant", "artefact", *_TRAINING),
        "tools": f"torch {version('torch')}",
    }
    with ExitStack() as stack:
        pending = stack.enter_context(ws.begin("quantize", inputs, [QUANTIZED, logits_file(QUANTIZED), ARTEFACT]))
        if pending.known:
            return pending.known
        pool = pool or stack.enter_context(workers(ws.progress))
        job = Job(recipe, "quantized", ws.path(FEATURES), pending.part / QUANTIZED, ws.path(FLOAT_EGRU))
        pool.start(title, _watched(job, ws, "quantize", tensorboard))
        trained = pool.result(title)
        _write_artefact(recipe, ws, pending, trained)
        return ws.finish(pending, _facts(trained))


def _write_artefact(recipe: Recipe, ws: Workspace, pending: Pending, trained: Trained) -> None:
    features = load_features(ws.path(FEATURES))
    provenance = {
        "recipe_sha256": recipe.sha256(),
        "data_sha256": pending.inputs["data"],
        "code_sha256": pending.inputs["code"],
        "torch": version("torch"),
        "seed": recipe.train.seed,
        "test_accuracy": trained.test_accuracy,
        "validation_accuracy": trained.validation_accuracy,
    }
    model = load_float_model(pending.part / QUANTIZED)
    if pruned := model.pruned:
        provenance["pruned"] = ", ".join(f"{layer} {n} of {of}" for layer, (n, of) in pruned.items())
    artefact = quantize(
        model,
        features.frontend,
        features.labels,
        recipe.quantize,
        name=recipe.name,
        provenance=provenance,
    )
    artefact.save(pending.part / ARTEFACT)


def logits_file(model: str) -> str:
    """The file beside a model's that holds its outputs on the test set: [N, O] float64, numpy's own format."""
    return Path(model).with_suffix(".logits.npy").name


def file_sha256(path: Path, maker: str = "hil train") -> str:
    """Hash of a file of an earlier stage.  Raises `UsageError` that says what makes it."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Make it: `{maker} MODEL`") from None


def _data_sha256(ws: Workspace) -> str:
    known = ws.manifest("data")
    return known.facts["sha256"] if known else "unknown"
