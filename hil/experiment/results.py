"""
A recipe trained with several seeds on all its folds, every model on the same test clips.

In the folder of results ``FOLD/`` holds data and features, ``FOLD/seed-N/`` the stages of one training: what is
finished is skipped the next time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.artefact import load_artefact
from hil.clip import Clip
from hil.errors import ToolError, UsageError
from hil.experiment.baseline import GRU8, make_gru8
from hil.experiment.device_stages import RigName, make_firmware, opened_rig
from hil.experiment.feature_file import Features, load_features
from hil.experiment.hashes import code_sha256, commit, version
from hil.experiment.outcome import REFERENCE, Difference, Outcome, RunScore
from hil.experiment.paired import difference_of
from hil.experiment.result import Result, result_from_json
from hil.experiment.run import GRU8_TITLE, Background, run_on_rig
from hil.experiment.stages import (
    ARTEFACT,
    DATA,
    FEATURES,
    FLOAT_EGRU,
    FLOAT_GRU,
    file_sha256,
    logits_file,
    make_data,
    make_features,
    make_models,
)
from hil.experiment.stages import (
    QUANTIZED as QUANTIZED_MODEL,
)
from hil.experiment.workspace import Workspace, link_file, write_text
from hil.features import FeatureSet
from hil.fixed import Q15_ONE
from hil.float_model import CELL_NAMES, load_float_model
from hil.quant import run_twin_batch
from hil.recipe import Recipe
from hil.trace import Tier

DEVICE = "device.json"
WHOLE = "all"
"""Folder of the only fold of a source without folds."""
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """
    Where artefacts are run.

    Attributes:
        rig, compiler, fast_load: As `hil.experiment.device_stages.make_run`.
        clips: Test clips of every run that go through the rig, spread evenly; 0: none.
    """

    rig: RigName
    compiler: str | None
    fast_load: bool
    clips: int


@dataclass(frozen=True)
class _Run:
    """One seed on one fold: its score, and who was right."""

    score: RunScore
    right: dict[str, npt.NDArray[np.bool_]]
    bytes: dict[str, int]
    rig: str
    tier: Tier


def choose_folds(recipe: Recipe, asked: str) -> tuple[int | str | None, ...]:
    """
    The folds of ``--folds``.

    Args:
        recipe: Its own fold keeps the recipe's spelling, so that its artefact is that of `hil quantize`.
        asked: ``"all"``, ``"own"`` (the recipe's), or names separated by commas.

    Raises:
        UsageError: The data are not there, or there is no such fold.
    """
    from hil.datasets import recipe_folds

    there = recipe_folds(recipe.data)
    if not there or asked == "own":
        return (None,)
    wanted = [str(fold) for fold in there] if asked == "all" else [part.strip() for part in asked.split(",")]
    chosen: list[int | str | None] = []
    for name in wanted:
        number = next((i for i, fold in enumerate(there, 1) if name in (str(fold), str(i))), None)
        if number is None:
            raise UsageError(f"--folds {asked}: there is no fold {name!r}, only {', '.join(map(str, there))}")
        own = str(recipe.data.fold) in (str(there[number - 1]), str(number))
        chosen.append(None if own else there[number - 1])
    return tuple(chosen)


def make_results(
    recipe: Recipe,
    ws: Workspace,
    folds: Sequence[int | str | None],
    seeds: int,
    bench: Bench,
    *,
    jobs: int = 2,
    command: str = "",
) -> Outcome:
    """
    Train, quantize and evaluate every seed on every fold; what is finished is not done again.

    Args:
        recipe: Of the model.
        ws: Folder of the results.
        folds: From `choose_folds`.
        seeds: How many, counted from the recipe's.
        bench: Where artefacts are run.
        jobs: Trainings at once, at most two.
        command: For the reader of the results.

    Raises:
        HilError: As the stages.  `ToolError`: the twin does not give what training saw.
    """
    numbers = tuple(range(recipe.train.seed, recipe.train.seed + seeds))
    runs: list[list[_Run]] = []
    hashes = {"recipe": recipe.sha256(), "code": code_sha256("."), "commit": commit()}
    names = []
    for fold in folds:
        here, name = on_fold(recipe, fold)
        names.append(name)
        folder = dataclasses.replace(ws, folder=ws.path(name or WHOLE))
        with folder.locked():
            hashes[f"data {name}".strip()] = make_data(here, folder).facts["sha256"]
            make_features(here, folder)
            runs.append([])
            for seed in numbers:
                done, total = sum(map(len, runs)) + 1, len(folds) * seeds
                ws.progress.say(f"run {done} of {total}: {f'fold {name}, ' if name else ''}seed {seed}")
                runs[-1].append(_run(here, folder, name, seed, bench, jobs))
    return _outcome(recipe, names, numbers, runs, hashes, command)


def on_fold(recipe: Recipe, fold: int | str | None) -> tuple[Recipe, str]:
    """The recipe with a fold, and the fold's name; empty for a source without folds."""
    from hil.datasets import with_fold

    if fold is None:
        return recipe, own_fold(recipe)
    return dataclasses.replace(recipe, data=with_fold(recipe.data, fold)), str(fold)


def own_fold(recipe: Recipe) -> str:
    """Name of the recipe's fold; empty without folds."""
    from hil.datasets import recipe_folds

    there = recipe_folds(recipe.data)
    if not there or (recipe.data.source == "fsdd" and recipe.data.protocol == "speakers-held-out"):
        return ""
    own = recipe.data.fold
    return str(own if own in there else there[int(own) - 1])


def require_own(recipe: Recipe, folds: Sequence[int | str | None]) -> None:
    """Before training: raises `UsageError` unless the recipe's own fold, whose artefact is published, is among them."""
    if None not in folds:
        raise UsageError(f"--publish needs the recipe's own fold {own_fold(recipe)!r} among --folds")


def own_artefact(recipe: Recipe, ws: Workspace) -> Path:
    """The artefact of the recipe's own fold and seed in a folder of results: what `hil quantize` makes."""
    return ws.path(own_fold(recipe) or WHOLE) / f"seed-{recipe.train.seed}" / ARTEFACT


def _run(recipe: Recipe, folder: Workspace, fold: str, seed: int, bench: Bench, jobs: int) -> _Run:
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed))
    ws = dataclasses.replace(folder, folder=folder.path(f"seed-{seed}"))
    with ws.locked():
        for name in (DATA, FEATURES, "data.manifest.json", "features.manifest.json"):
            link_file(folder.path(name), ws.path(name))  # seeds share their fold's data and features
        make_models(recipe, ws, quantized=True, jobs=jobs)
        make_gru8(recipe, ws)
        features = load_features(ws.path(FEATURES))
        logits = _logits(recipe, ws, features.test)
        device = on_rig(recipe, ws, features, bench) if bench.clips else None
    voted = recipe.data.hop_seconds > 0
    right = {model: right_clips(features.test, values, voted) for model, values in logits.items()}
    artefact = load_artefact(ws.path(ARTEFACT))
    score = RunScore(
        fold=fold,
        seed=seed,
        clips=len(right[REFERENCE]),
        accuracy={model: float(values.mean()) for model, values in right.items()},
        artefact_sha256=artefact.sha256(),
        device_clips=device.outputs if device else 0,
        device_steps=device.steps if device else 0,
        device_steps_exact=device.steps_exact if device else 0,
        device_outputs_exact=device.outputs_exact if device else 0,
    )
    real, quantized = _titles(recipe)
    sizes = {
        REFERENCE: load_float_model(ws.path(FLOAT_GRU)).parameter_bytes,
        GRU8_TITLE: load_artefact(ws.path(GRU8)).parameter_bytes,
        real: load_float_model(ws.path(FLOAT_EGRU)).parameter_bytes,
        quantized: artefact.parameter_bytes,
    }
    return _Run(score, right, sizes, device.rig if device else "", device.tier if device else Tier.HOST)


def _titles(recipe: Recipe) -> tuple[str, str]:
    """Of the recipe's cell in floats, and in integers."""
    cell = CELL_NAMES[recipe.cell.kind]
    return f"float {cell}", f"quantized {cell}"


def _logits(recipe: Recipe, ws: Workspace, test: FeatureSet) -> dict[str, Logits]:
    """Of each model on the test set, [N, O]; those of the int8 GRU and the quantized eGRU come from their twins."""
    real, quantized = _titles(recipe)
    seen = np.load(ws.path(logits_file(QUANTIZED_MODEL)), allow_pickle=False)
    twin = run_twin_batch(load_artefact(ws.path(ARTEFACT)), test.x, test.lengths) / Q15_ONE
    if not np.array_equal(seen, twin):
        raise ToolError(f"{ws.path(ARTEFACT)}: its twin gives other outputs than the quantized network in training did")
    return {
        REFERENCE: np.load(ws.path(logits_file(FLOAT_GRU)), allow_pickle=False),
        GRU8_TITLE: run_twin_batch(load_artefact(ws.path(GRU8)), test.x, test.lengths) / Q15_ONE,
        real: np.load(ws.path(logits_file(FLOAT_EGRU)), allow_pickle=False),
        quantized: twin,
    }


def right_clips(test: FeatureSet, logits: Logits, voted: bool) -> npt.NDArray[np.bool_]:
    """
    Which clips a model gets right.

    Args:
        test: [N] clips, or windows of clips.
        logits: [N, O].
        voted: The windows of a clip vote.

    Returns:
        [C], for each clip.
    """
    from hil.datasets.voting import vote

    if not voted:
        return np.asarray(logits.argmax(axis=1) == test.y)
    nothing = np.zeros(0, np.int16)
    windows = [Clip(nothing, 0, int(y), "", name) for y, name in zip(test.y, test.names, strict=True)]
    _, labels, decided = vote(windows, logits)
    return np.asarray(labels == decided)


def on_rig(recipe: Recipe, ws: Workspace, features: Features, bench: Bench) -> Result:
    """Stage ``device``: some test clips on the rig, every step compared with the twin."""
    artefact = load_artefact(ws.path(ARTEFACT))
    some = _some(features, bench.clips)
    with opened_rig(ws, bench.rig, fast_load=bench.fast_load) as rig:
        firmware = make_firmware(recipe, ws, bench.compiler, rig)
        inputs = {
            "artefact": artefact.sha256(),
            "features": file_sha256(ws.path(FEATURES)),
            "clips": str(len(some.test.y)),
            "elf": firmware.elf_sha256,
            "rig": rig.sha256,
        }

        def make(part: Path) -> dict[str, str]:
            result = run_on_rig(artefact, some, firmware, rig, Background(), ws.progress)
            write_text(part / DEVICE, result.to_json())
            return {"bit_exact": str(result.bit_exact)}

        ws.stage("device", inputs, [DEVICE], make, always=rig.tier is Tier.SILICON)
    path = ws.path(DEVICE)
    return result_from_json(path.read_text(encoding="utf-8"), path)


def _some(features: Features, clips: int) -> Features:
    test = features.test
    rows = np.unique(np.linspace(0, len(test.y) - 1, min(clips, len(test.y))).round().astype(np.int64))
    return dataclasses.replace(features, test=test.chosen(rows))


def _outcome(
    recipe: Recipe,
    names: Sequence[str],
    seeds: tuple[int, ...],
    runs: Sequence[Sequence[_Run]],
    hashes: dict[str, str],
    command: str,
) -> Outcome:
    first = runs[0][0]
    total = recipe.train.epochs + recipe.quantize.epochs
    real, quantized = _titles(recipe)
    return Outcome(
        model=recipe.name,
        command=command,
        voted=recipe.data.hop_seconds > 0,
        seeds=seeds,
        folds=tuple(names),
        runs=tuple(run.score for fold in runs for run in fold),
        differences=tuple(_difference(model, runs) for model in first.right if model != REFERENCE),
        parameter_bytes=first.bytes,
        epochs={REFERENCE: total, GRU8_TITLE: total, real: recipe.train.epochs, quantized: total},
        rig=first.rig,
        tier=first.tier,
        hashes=hashes,
        versions={package: version(package) for package in ("torch", "numpy")},
    )


def _difference(model: str, runs: Sequence[Sequence[_Run]]) -> Difference:
    pairs = [
        np.stack([run.right[model].astype(np.int8) - run.right[REFERENCE].astype(np.int8) for run in fold])
        for fold in runs
    ]
    return difference_of(model, pairs)
