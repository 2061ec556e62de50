"""From a command line to a study, new or known, and a worker's place in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from hil.errors import ToolError, UsageError
from hil.experiment.device_stages import chip_for
from hil.experiment.progress import Progress
from hil.experiment.sweep.early import make_pruner
from hil.experiment.sweep.objects import ObjectFiles
from hil.experiment.sweep.outcome import parse_objectives
from hil.experiment.sweep.space import Space, flat, make_space
from hil.experiment.sweep.study import MADE_BY, Settings, join_study, known_settings, made_by, open_storage, shown_url
from hil.experiment.sweep.trial import Place
from hil.experiment.sweep.worker import Sweep, again
from hil.experiment.workspace import Workspace
from hil.firmware import find_compiler
from hil.recipe import Recipe
from hil.rig import RigRequest, load_rig

DATABASE = "sweep.db"
BENCH = ("rig", "tier", "chip", "compiler")
"""Settings that say where trials are measured."""
TRIALS, OBJECTIVES, SAMPLER, SEED = 40, "accuracy,cycles,flash", "tpe", 1


@dataclass(frozen=True)
class Asked:
    """
    The command line of ``hil sweep``; None: as the study says, or the default.

    Attributes:
        model, recipe: Name and contents.
        params, trials, objective, sampler, seed, stop_early: What is tried.
        storage, study: Where, under which name.
        out: Of the model's results.
        rig, compiler, fast_load: Where trials are measured.
        silence_s: As `hil.experiment.sweep.study.open_storage`.
    """

    model: str
    recipe: Recipe
    params: tuple[str, ...]
    trials: int | None
    objective: str | None
    sampler: str | None
    seed: int | None
    storage: str | None
    study: str | None
    stop_early: bool
    out: Path | None
    rig: RigRequest
    compiler: str | None
    fast_load: bool
    silence_s: int

    @property
    def name(self) -> str:
        """Of the study."""
        return self.study or self.recipe.name

    @property
    def folder(self) -> Path:
        return (self.out or Path("build") / self.recipe.name) / "sweep" / self.name

    @property
    def url(self) -> str:
        return self.storage or f"sqlite:///{(self.folder / DATABASE).resolve()}"


@contextmanager
def begun(asked: Asked, progress: Progress, *, only_look: bool = False) -> Iterator[tuple[Sweep, Settings]]:
    """
    The study, opened or made, until the block ends.

    Args:
        asked: The command line.
        progress: Where work is shown.
        only_look: It must be there, and nothing is changed.

    Raises:
        UsageError: The storage cannot be opened, the study was begun with other settings, or nothing is to be swept.
        RigError, ToolError: There is no such rig, or no compiler; or the storage is lost.
    """
    if "/" in asked.name or asked.name in ("", ".", ".."):
        raise UsageError(f"--study {asked.name!r}: must be a name without slashes")
    if not only_look and importlib.util.find_spec("torch") is None:
        raise UsageError("training needs torch: pip install 'hil[train]'")
    if asked.storage is None:
        if only_look and not (asked.folder / DATABASE).is_file():
            raise UsageError(
                f"{asked.folder / DATABASE}: no sweep here. Make it: `hil sweep {asked.model} --param ...`"
            )
        asked.folder.mkdir(parents=True, exist_ok=True)
    storage = open_storage(asked.url, asked.silence_s, again)
    try:
        yield _joined(asked, storage, progress, only_look)
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error).splitlines()[0]
        raise ToolError(
            f"--storage {shown_url(asked.url)}: lost ({reason}). Nothing of what is complete is lost: the same command "
            "goes on when the storage is back"
        ) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _joined(asked: Asked, storage: RDBStorage, progress: Progress, only_look: bool) -> tuple[Sweep, Settings]:
    known = known_settings(storage, asked.name)
    if only_look and known is None:
        raise UsageError(f"--storage {shown_url(asked.url)}: holds no study {asked.name!r}")
    if known is None and not asked.params:
        raise UsageError("what is to be swept? --param NAME=VALUES, such as --param hidden=16,32,64")
    texts = asked.params or tuple(f"{key}={text}" for key, text in (known.space if known else {}).items())
    space = make_space(asked.recipe, texts)
    settings = _settings(asked, space, known, only_look)
    if settings.sampler == "grid" and space.combinations is None:
        raise UsageError("--sampler grid: a range of any number has no end of combinations; give choices or steps")
    if settings.stop_early and settings.objectives != ("accuracy",):
        raise UsageError("--stop-early goes with --objective accuracy alone: a trial's other figures come at its end")
    pruner = make_pruner(asked.recipe, stop_early=settings.stop_early)
    study = join_study(storage, asked.name, settings, space, pruner, None if only_look else asked.trials, TRIALS)
    if not only_look and (made := study.user_attrs.get(MADE_BY)) not in (None, made_by()):
        progress.say(f"note: the study was begun with other versions ({made}, here {made_by()}): figures may differ")
    objects = ObjectFiles(asked.folder / "objects")
    place = Place(asked.rig, asked.compiler, asked.fast_load, asked.folder / "inputs", objects)
    return Sweep(study, asked.recipe, space, settings.objectives, Workspace(asked.folder, progress), place), settings


def _settings(asked: Asked, space: Space, known: Settings | None, only_look: bool) -> Settings:
    """Of this worker; where nothing is done, rig and compiler are the study's."""
    if known is not None and only_look:
        bench = {name: str(getattr(known, name)) for name in BENCH}
    else:
        rig = load_rig(asked.rig)
        values = (
            rig.name,
            rig.tier.value,
            chip_for(asked.recipe.build.chip, rig),
            find_compiler(asked.compiler).version,
        )
        bench = dict(zip(BENCH, values, strict=True))
    return Settings(
        recipe=flat(asked.recipe),
        space=space.texts(),
        objectives=_objectives(asked, known),
        sampler=asked.sampler or (known.sampler if known else SAMPLER),
        seed=asked.seed if asked.seed is not None else known.seed if known else SEED,
        stop_early=asked.stop_early or (known.stop_early if known else False),
        **bench,
    )


def _objectives(asked: Asked, known: Settings | None) -> tuple[str, ...]:
    if asked.objective is None and known is not None:
        return known.objectives
    return parse_objectives(asked.objective or OBJECTIVES)
