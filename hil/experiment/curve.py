"""
Another recipe on a model's folds and seeds, along a value of it, each point beside the model's own quantized network.

The folder is that of `hil.experiment.results`: what was trained there is not trained again.  A point's stages lie in
``FOLD/seed-N/RECIPE-VALUE/``.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.artefact import load_artefact
from hil.errors import ToolError, UsageError
from hil.experiment.beside import check_events
from hil.experiment.curve_outcome import Curve, CurvePoint, CurveRun
from hil.experiment.feature_file import Features, load_features
from hil.experiment.hashes import code_sha256, commit, version
from hil.experiment.outcome import Difference
from hil.experiment.paired import difference_of
from hil.experiment.results import WHOLE, Bench, on_fold, on_rig, right_clips
from hil.experiment.stages import (
    ARTEFACT,
    DATA,
    FEATURES,
    QUANTIZED,
    logits_file,
    make_data,
    make_features,
    make_models,
)
from hil.experiment.work import matrices_of, step_macs, step_weights, zero_share
from hil.experiment.workspace import Workspace, link_file
from hil.fixed import Q15_ONE
from hil.quant import run_twins
from hil.recipe import Recipe
from hil.trace import Tier

OWN = "own"
"""Value of the point that is the recipe as it stands, and folder of the model's own network."""


@dataclass(frozen=True)
class _Run:
    score: CurveRun
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Vary:
    """
    A value of a recipe that is varied.

    Attributes:
        table, key: Where it stands, such as ``"prune"`` and ``"sparsity"``.
        values: As they are written.
    """

    table: str
    key: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.table}.{self.key}"


def parse_vary(text: str, recipe: Recipe) -> Vary:
    """
    ``TABLE.KEY=VALUE,VALUE,...``.

    Raises:
        UsageError: It is not of this form, or the recipe has no such value.
    """
    name, equals, values = text.partition("=")
    table, dot, key = name.strip().partition(".")
    listed = tuple(value.strip() for value in values.split(",") if value.strip())
    if not (equals and dot and listed):
        raise UsageError(f"--vary {text}: expected TABLE.KEY=VALUE,VALUE, such as prune.sparsity=0.5,0.7")
    vary = Vary(table, key, listed)
    for value in listed:
        with_value(recipe, vary, value)
    return vary


def with_value(recipe: Recipe, vary: Vary, value: str) -> Recipe:
    """The recipe with another value.  Raises `UsageError`: there is no such number, or it is out of range."""
    part: Any = getattr(recipe, vary.table, None)
    now = getattr(part, vary.key, None) if dataclasses.is_dataclass(part) else None
    kind = type(now)
    if kind not in (int, float):
        raise UsageError(f"--vary {vary.name}: the recipe has no number there")
    try:
        number = kind(value)
    except ValueError:
        raise UsageError(f"--vary {vary.name}={value}: expected a number such as {now}") from None
    parts: Mapping[str, Any] = {vary.table: dataclasses.replace(part, **{vary.key: number})}
    return dataclasses.replace(recipe, **parts)


def make_curve(
    recipe: Recipe,
    other: Recipe,
    stem: str,
    ws: Workspace,
    folds: Sequence[int | str | None],
    seeds: int,
    bench: Bench,
    vary: Vary | None = None,
    *,
    command: str = "",
) -> Curve:
    """
    Train, quantize and evaluate every point with every seed on every fold; what is finished is not done again.

    Args:
        recipe: Of the model; its quantized network is what differences are against.
        other: The recipe of the points: the same data and features.
        stem: Short name of it, for folders.
        ws: Folder of the results.
        folds: From `hil.experiment.results.choose_folds`.
        seeds: How many, counted from the model recipe's.
        bench: Where artefacts are run; the model's own network gets kernel, chip and optimization of ``other``.
        vary: What varies; None: one point, ``other`` as it stands.
        command: For the reader.

    Raises:
        HilError: As the stages.  `UsageError`: the recipes do not name the same data, features and number of epochs.
    """
    check_events(recipe, other)
    epochs = [r.train.epochs + r.quantize.epochs for r in (recipe, other)]
    if epochs[0] != epochs[1]:
        raise UsageError(
            f"{other.name}: trains for {epochs[1]} epochs in all, {recipe.name} for {epochs[0]}: not equal"
        )
    points = {value: with_value(other, vary, value) for value in vary.values} if vary else {OWN: other}
    trained: dict[str, list[list[_Run]]] = {value: [] for value in (recipe.name, *points)}
    numbers = tuple(range(recipe.train.seed, recipe.train.seed + seeds))
    hashes = {"recipe": recipe.sha256(), "other": other.sha256(), "code": code_sha256("."), "commit": commit()}
    names = []
    for fold in folds:
        own, name = on_fold(recipe, fold)
        names.append(name)
        folder = dataclasses.replace(ws, folder=ws.path(name or WHOLE))
        with folder.locked():
            hashes[f"data {name}".strip()] = make_data(own, folder).facts["sha256"]
            make_features(own, folder)
            for runs in trained.values():
                runs.append([])
            for seed in numbers:
                ws.progress.say(f"{f'fold {name}, ' if name else ''}seed {seed}")
                dense = _own_run(own, other, stem, folder, name, seed, bench)
                trained[recipe.name][-1].append(dense)
                for value, point in points.items():
                    here = dataclasses.replace(point, data=own.data)
                    trained[value][-1].append(_point_run(here, f"{stem}-{value}", folder, name, seed, bench))
    return _curve(recipe, other, vary, names, numbers, trained, hashes, command, epochs[0])


def _own_run(recipe: Recipe, other: Recipe, stem: str, folder: Workspace, fold: str, seed: int, bench: Bench) -> _Run:
    """The model's own network, trained where `hil results` trains it, built as the points are."""
    recipe = _with_seed(recipe, seed)
    ws = dataclasses.replace(folder, folder=folder.path(f"seed-{seed}"))
    with ws.locked():
        _link(folder, ws)
        make_models(recipe, ws, quantized=True, jobs=1, baseline=False)
        built = dataclasses.replace(ws, folder=ws.path(f"{stem}-{OWN}-model"))
        built.folder.mkdir(exist_ok=True)
        for name in (ARTEFACT, FEATURES, logits_file(QUANTIZED)):
            link_file(ws.path(name), built.path(name))
        build = dataclasses.replace(other.build, layers={})  # single layers are another network's
        return _scored(dataclasses.replace(recipe, build=build), built, fold, seed, bench)


def _point_run(point: Recipe, name: str, folder: Workspace, fold: str, seed: int, bench: Bench) -> _Run:
    point = _with_seed(point, seed)
    ws = dataclasses.replace(folder, folder=folder.path(f"seed-{seed}") / name)
    with ws.locked():
        _link(folder, ws)
        ws.progress.say(f"{name}, seed {seed}")
        make_models(point, ws, quantized=True, jobs=1, baseline=False)
        return _scored(point, ws, fold, seed, bench)


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed))


def _link(folder: Workspace, ws: Workspace) -> None:
    for name in (DATA, FEATURES, "data.manifest.json", "features.manifest.json"):
        link_file(folder.path(name), ws.path(name))


def _scored(recipe: Recipe, ws: Workspace, fold: str, seed: int, bench: Bench) -> _Run:
    features: Features = load_features(ws.path(FEATURES))
    artefact = load_artefact(ws.path(ARTEFACT))
    traces = run_twins(artefact, features.test.x, lengths=features.test.lengths)
    logits = np.stack([trace.logits for trace in traces]) / Q15_ONE
    if not np.array_equal(logits, np.load(ws.path(logits_file(QUANTIZED)), allow_pickle=False)):
        raise ToolError(f"{ws.path(ARTEFACT)}: its twin gives other outputs than the quantized network in training did")
    right = right_clips(features.test, logits, recipe.data.hop_seconds > 0)
    device = on_rig(recipe, ws, features, bench) if bench.clips else None
    matrices = matrices_of(artefact, features.test.x, traces, features.test.lengths)
    score = CurveRun(
        fold=fold,
        seed=seed,
        clips=len(right),
        accuracy=float(right.mean()),
        activity=tuple(np.mean([trace.activity for trace in traces], axis=0).tolist()),
        zeros=zero_share(matrices),
        macs=step_macs(matrices),
        weights=step_weights(matrices),
        parameter_bytes=artefact.parameter_bytes,
        artefact_sha256=artefact.sha256(),
        rig=device.rig if device else "",
        tier=device.tier if device else Tier.HOST,
        compiler=device.compiler if device else "",
        cycles=statistics.mean(device.cycles) if device else 0.0,
        flash_bytes=device.flash_bytes if device else 0,
        device_steps=device.steps if device else 0,
        device_steps_exact=device.steps_exact if device else 0,
    )
    return _Run(score, right)


def _curve(
    recipe: Recipe,
    other: Recipe,
    vary: Vary | None,
    names: Sequence[str],
    seeds: tuple[int, ...],
    trained: Mapping[str, list[list[_Run]]],
    hashes: dict[str, str],
    command: str,
    epochs: int,
) -> Curve:
    dense = trained[recipe.name]
    points = [
        CurvePoint(value, tuple(run.score for fold in runs for run in fold), _difference(value, runs, dense))
        for value, runs in trained.items()
        if value != recipe.name
    ]
    return Curve(
        model=recipe.name,
        recipe=other.name,
        command=command,
        varied=vary.name if vary else "",
        hidden=other.cell.hidden,
        epochs=epochs,
        seeds=seeds,
        folds=tuple(names),
        dense=tuple(run.score for fold in dense for run in fold),
        points=tuple(points),
        hashes=hashes,
        versions={package: version(package) for package in ("torch", "numpy")},
    )


def _difference(value: str, runs: Sequence[Sequence[_Run]], dense: Sequence[Sequence[_Run]]) -> Difference:
    """Of a point against the model's own network, on the same clips and seeds."""
    pairs = [
        np.stack([a.right.astype(np.int8) - b.right.astype(np.int8) for a, b in zip(mine, theirs, strict=True)])
        for mine, theirs in zip(runs, dense, strict=True)
    ]
    return difference_of(value, pairs)
