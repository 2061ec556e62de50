"""
The grid of a language recipe: weight sparsity x activity, and an LSTM beside it.

``ROW/seed-N/`` holds one network: the trunk, and a branch for each share of zeros, each a stage that is skipped while
nothing that it was made from has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.datasets.text import Corpus, load_corpus
from hil.errors import UsageError, suggest
from hil.experiment.hashes import code_sha256, commit, values_sha256, version
from hil.experiment.workspace import Manifest, Workspace, write_text
from hil.language.recipe import Cell, LanguageRecipe
from hil.language.result import Grid, GridCell, cell_from_json, cell_to_json, row_name

if TYPE_CHECKING:
    from hil.train.language import Plan

TRUNK = "trunk.model"
_CODE = (
    "cells",
    "datasets/text.py",
    "language/recipe.py",
    "train/language.py",
    "train/language_model.py",
    "train/language_score.py",
    "train/prune.py",
)


def rows_of(recipe: LanguageRecipe) -> dict[str, tuple[Cell, float]]:
    """Cell and target of activity of each row, by its name, in the order in which they are shown."""
    cells: list[tuple[Cell, float]] = [("event_gru", target) for target in recipe.activity.targets]
    return {row_name(*row): row for row in (*cells, ("lstm", 1.0))}


def choose_rows(recipe: LanguageRecipe, asked: Sequence[str]) -> tuple[str, ...]:
    """All rows, or those that were asked for.  Raises `UsageError` for one that there is not."""
    known = rows_of(recipe)
    for name in asked:
        if name not in known:
            raise UsageError(f"--row {name}: {recipe.name} has no such row{suggest(name, known)}; {', '.join(known)}")
    return tuple(name for name in known if not asked or name in asked)


def make_rows(recipe: LanguageRecipe, ws: Workspace, rows: Sequence[str], seeds: Sequence[int]) -> None:
    """
    Train, prune and score; what is finished is not done again, what is interrupted goes on after its last pass.

    Args:
        recipe: Of the model.
        ws: Folder of the grid; each network's folder in it is locked while it is worked on.
        rows: From `choose_rows`.
        seeds: Of training.

    Raises:
        UsageError: Data are missing, training fails, or another process works on the same network.
    """
    corpus = load_corpus(recipe.data)
    known, done = rows_of(recipe), 0
    for seed in seeds:
        for name in rows:
            done += 1
            ws.progress.say(f"network {done} of {len(rows) * len(seeds)}: {name}, seed {seed}")
            place = replace(ws, folder=_folder(ws, name, seed))
            with place.locked():
                _make_row(recipe, place, corpus, known[name], seed)


def read_grid(recipe: LanguageRecipe, ws: Workspace, rows: Sequence[str], seeds: Sequence[int], command: str) -> Grid:
    """
    What is there of a grid, from the stages' files; networks that are not finished are left out.

    Raises:
        UsageError: Nothing of it is finished.
    """
    cells: list[GridCell] = []
    seconds: dict[str, float] = {}
    for name in rows:
        for level in recipe.prune.levels:
            for seed in seeds:
                place = replace(ws, folder=_folder(ws, name, seed))
                manifest = place.manifest(_stage(level))
                if manifest is None:
                    continue
                path = place.path(_score_file(level))
                cells.append(cell_from_json(path.read_text(encoding="utf-8"), path))
                spent = manifest.seconds
                if level == 0:
                    trunk = place.manifest("trunk")
                    spent += trunk.seconds if trunk else 0.0
                key = f"{name}, seed {seed}"
                seconds[key] = round(seconds.get(key, 0.0) + spent, 1)
    if not cells:
        raise UsageError(f"{ws.folder}: no network of {recipe.name} is finished here. Make them: `hil language grid`")
    corpus = load_corpus(recipe.data)
    return Grid(
        model=recipe.name,
        command=command,
        words=len(corpus.words),
        lengths=(len(corpus.train), len(corpus.validation), len(corpus.test)),
        cells=tuple(cells),
        hashes={"recipe": recipe.sha256(), "data": corpus.sha256(), "code": code_sha256(*_CODE), "commit": commit()},
        versions={package: version(package) for package in ("torch", "numpy")},
        seconds=seconds,
    )


def _folder(ws: Workspace, row: str, seed: int) -> Path:
    return ws.path(row) / f"seed-{seed}"


def _stage(level: float) -> str:
    return f"zeros-{100 * level:g}"


def _score_file(level: float) -> str:
    return f"{_stage(level)}.json"


def _make_row(recipe: LanguageRecipe, ws: Workspace, corpus: Corpus, row: tuple[Cell, float], seed: int) -> None:
    from hil.train.language import Plan, Row

    network = Row(*row, seed)
    shared = {
        "data": corpus.sha256(),
        "row": repr(network),
        "recipe": " ".join(values_sha256(part) for part in (recipe.network, recipe.train, recipe.activity)),
        "code": code_sha256(*_CODE),
        "tools": f"torch {version('torch')}",
    }
    trunk = _train(Plan(recipe, network, None), ws, corpus, "trunk", TRUNK, shared)
    for level in recipe.prune.levels:
        branch = {**shared, "trunk": trunk.outputs[TRUNK], "prune": values_sha256(replace(recipe.prune, levels=(0.0,)))}
        _train(Plan(recipe, network, level), ws, corpus, _stage(level), f"{_stage(level)}.model", branch)


def _train(plan: Plan, ws: Workspace, corpus: Corpus, stage: str, file: str, inputs: dict[str, str]) -> Manifest:
    """A trunk, or a branch with its score."""
    from hil.train.language import train
    from hil.train.language_score import score_model

    start = None if plan.level is None else ws.path(TRUNK)
    checkpoint = ws.path(f"{stage}.checkpoint")
    outputs = [file] if plan.level is None else [file, _score_file(plan.level)]

    def make(part: Path) -> None:
        if ws.force:
            checkpoint.unlink(missing_ok=True)
        with ws.progress.task(stage) as update:

            def tell(done: int, total: int, text: str) -> None:
                update(done, total, f"{ws.folder.parent.name}, {stage}, {text}")

            train(plan, corpus, start, part / file, checkpoint, tell)
        if plan.level is not None:
            with ws.progress.task(f"{stage}, validation and test text") as update:
                cell = score_model(plan, corpus, part / file, update)
            write_text(part / _score_file(plan.level), cell_to_json(cell))

    manifest = ws.stage(stage, inputs, outputs, make)
    checkpoint.unlink(missing_ok=True)
    return manifest
