"""A study on a storage that many workers share: opened, checked, and read."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hil.errors import UsageError
from hil.experiment.hashes import code_sha256, version
from hil.experiment.sweep.outcome import OBJECTIVES, Row, SweepOutcome, Verdict
from hil.experiment.sweep.sampler import FAILED, VERDICT, DistinctSampler
from hil.experiment.sweep.space import Space
from hil.experiment.workspace import is_locked

SETTINGS, TRIALS, DATA, MADE_BY, FORMAT = "settings", "trials", "data", "made by", "format"
FORMAT_VERSION = 1
BEATS = 4
"""A worker says so often, in the time after which it counts as gone, that it is there."""
OPENINGS = 10
"""Attempts to open a storage that another worker is just making."""
SQLITE_WAIT_S = 60.0
REFUSED = "refused"
WORKER, FOLDER, MEASURED = "worker", "folder", "measured"
"""Of a trial: its worker's machine and process, where that works, what it has measured."""
RETRY_OF, ATTEMPT = "retry_of", "attempt"
"""Of a trial that was queued again: what it repeats, and for how many times."""

_NAMES = {
    "recipe": "the recipe's",
    "space": "--param",
    "objectives": "--objective",
    "sampler": "--sampler",
    "seed": "--seed",
    "rig": "--rig",
    "tier": "the rig's tier",
    "chip": "the rig's chip",
    "compiler": "the compiler",
    "stop_early": "--stop-early",
}


class OtherData(UsageError):
    """The data on this machine are not those of the study."""


@dataclass(frozen=True)
class Settings:
    """
    What all workers of a study must have in common.

    Attributes:
        recipe: Values by full key (`hil.experiment.sweep.space.flat`).
        space: ``--param`` by key.
        objectives: Of `OBJECTIVES`.
        sampler, seed: How values are chosen.
        rig, tier, chip, compiler: Where trials are measured: figures of others cannot be compared.
        stop_early: Whether trials that are not promising are stopped.
    """

    recipe: dict[str, Any]
    space: dict[str, str]
    objectives: tuple[str, ...]
    sampler: str
    seed: int
    rig: str
    tier: str
    chip: str
    compiler: str
    stop_early: bool = False

    def to_table(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "objectives": list(self.objectives)}


def settings_from(table: dict[str, Any]) -> Settings:
    """What `Settings.to_table` wrote."""
    return Settings(**{**table, "objectives": tuple(table["objectives"])})


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Its own words about trials, and its warnings about interfaces that may change, are not shown."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_storage(url: str, silence_s: int, gone: Callable[[Study, FrozenTrial], None]) -> RDBStorage:
    """
    The storage at a URL of SQLAlchemy's; made if it is not there.

    Args:
        url: Such as ``sqlite:///build/NAME/sweep/NAME/sweep.db`` or ``postgresql+psycopg://user@host/database``.
        silence_s: After so long without a sign a worker counts as gone.
        gone: Called with each trial of such a worker, which has been marked as failed.

    Raises:
        UsageError: The URL is none, its driver is not installed, or nothing answers there.
    """
    shown = shown_url(url)
    connect = {"connect_args": {"timeout": SQLITE_WAIT_S}} if url.startswith("sqlite") else {}
    for attempt in range(OPENINGS):
        try:
            with quiet_optuna():
                return RDBStorage(
                    url,
                    engine_kwargs=connect,
                    heartbeat_interval=max(1, silence_s // BEATS),
                    grace_period=silence_s,
                    heartbeat_stale_trial_callback=gone,
                )
        except ImportError as error:
            raise UsageError(
                f"--storage {shown}: its database driver is not installed ({error.__cause__ or error}). Install it, "
                "such as with pip install psycopg2-binary for postgresql://"
            ) from None
        except ArgumentError as error:
            raise UsageError(f"--storage {shown}: {error}. Expected such as sqlite:////shared/sweep.db") from None
        except (SQLAlchemyError, RuntimeError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            being_made = "exists" in reason or "locked" in reason or "UNIQUE" in reason
            if not being_made or attempt == OPENINGS - 1:
                raise UsageError(f"--storage {shown}: cannot be opened ({reason}). {_advice(url)}") from None
            time.sleep(0.1 * (attempt + 1))
    raise AssertionError("the last attempt returned or raised")


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _advice(url: str) -> str:
    if url.startswith("sqlite"):
        return "Is its folder there, and is the file an SQLite database?"
    return "Does the server run, and may this user write there?"


def known_settings(storage: RDBStorage, name: str) -> Settings | None:
    """
    What a study was begun with; None: there is no such study.

    Raises:
        UsageError: It is no sweep of this program's, or of a newer one's.
    """
    for _ in range(OPENINGS):
        try:
            attrs = optuna.load_study(study_name=name, storage=storage).user_attrs
        except KeyError:
            return None
        if attrs.get(FORMAT, 0) > FORMAT_VERSION:
            raise UsageError(f"study {name!r} was begun by a newer hil: install that, or choose another --study")
        if SETTINGS in attrs:
            return settings_from(attrs[SETTINGS])
        time.sleep(0.2)  # another worker is just making it
    raise UsageError(f"study {name!r} in this storage is not a sweep of hil's: choose another --study")


def join_study(
    storage: RDBStorage,
    name: str,
    settings: Settings,
    space: Space,
    pruner: BasePruner,
    trials: int | None,
    default_trials: int,
) -> Study:
    """
    The study of that name, made if it is not there.

    Args:
        storage: From `open_storage`.
        name: Of the study.
        settings: Of this worker.
        space: That of the settings.
        pruner: Of trials that are not promising.
        trials: How many are to be completed by all workers together; None: as the study says.
        default_trials: What a new study says.

    Raises:
        UsageError: The study was begun with other settings; what differs is named.
    """
    known = known_settings(storage, name)
    if known is not None:
        require_equal(known, settings, name)
    sampler = DistinctSampler(settings.sampler, settings.seed, space)
    directions = [OBJECTIVES[objective] for objective in settings.objectives]
    with quiet_optuna():
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=directions,
            sampler=sampler,
            pruner=pruner,
            load_if_exists=True,
        )
    if known is None:
        study.set_user_attr(FORMAT, FORMAT_VERSION)
        study.set_user_attr(TRIALS, trials or default_trials)
        study.set_user_attr(MADE_BY, made_by())
        study.set_user_attr(SETTINGS, settings.to_table())
    elif trials is not None:
        study.set_user_attr(TRIALS, trials)
    return study


def made_by() -> dict[str, str]:
    """What else decides the bits of a trial: the code, and torch."""
    code = code_sha256("cells", "codegen", "features", "firmware", "firmware/", "quant", "train")
    return {"hil": code[:12], "torch": version("torch").partition("+")[0]}


def require_equal(known: Settings, mine: Settings, name: str) -> None:
    """Raises `UsageError` that names each setting of a study that is another one here."""
    differing = [
        f"{_NAMES[field.name]} {_text(there)} there, {_text(here)} here"
        for field in dataclasses.fields(Settings)
        if field.name != "recipe" and (there := getattr(known, field.name)) != (here := getattr(mine, field.name))
    ]
    swept = set(known.space)
    differing += [
        f"recipe: {key} = {_text(known.recipe.get(key))} there, {_text(mine.recipe.get(key))} here"
        for key in sorted({*known.recipe, *mine.recipe} - swept)
        if known.recipe.get(key) != mine.recipe.get(key)
    ]
    if differing:
        raise UsageError(
            f"study {name!r} was begun with other settings ({'; '.join(differing)}). Use the same ones, or another "
            "--study"
        )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={inner}" for key, inner in value.items())
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def require_data(study: Study, inputs: str, sha256: str) -> None:
    """
    Remember the hash of the data, or compare it with that of the worker who was first.

    Args:
        study: Of all workers.
        inputs: Which data: trials may differ in their features.
        sha256: Of the data here.

    Raises:
        OtherData: The data here are others.
    """
    name = f"{DATA} {inputs}"
    known = study.user_attrs.get(name)
    if known is None:
        study.set_user_attr(name, sha256)
    elif known != sha256:
        raise OtherData(
            f"study {study.study_name!r} was begun with other data (SHA-256 {known[:12]}... there, {sha256[:12]}... "
            "here): accuracies on them cannot be compared. Bring the same data here, or use another --study"
        )


def outcome_of(study: Study, settings: Settings, model: str) -> SweepOutcome:
    """Everything that is known about a study now."""
    trials = study.get_trials(deepcopy=False)
    rows = tuple(row for row in map(_row, trials) if row is not None)
    steps = {int(trial.user_attrs[MEASURED]["steps"]) for trial in trials if MEASURED in trial.user_attrs}
    return SweepOutcome(
        study=study.study_name,
        model=model,
        space=settings.space,
        objectives=settings.objectives,
        trials=int(study.user_attrs.get(TRIALS, 0)),
        sampler=settings.sampler,
        seed=settings.seed,
        rig=settings.rig,
        tier=settings.tier,
        chip=settings.chip,
        compiler=settings.compiler,
        steps=steps.pop() if len(steps) == 1 else 0,
        rows=rows,
        taken_over=sum(1 for trial in trials if RETRY_OF in trial.user_attrs),
    )


def _row(trial: FrozenTrial) -> Row | None:
    attrs = trial.user_attrs
    measured = attrs.get(MEASURED, {})
    verdict = _verdict(trial)
    if verdict is None:
        return None
    return Row(
        number=trial.number,
        verdict=verdict,
        values=dict(trial.params),
        accuracy=measured.get("accuracy"),
        cycles=measured.get("cycles"),
        flash=measured.get("flash"),
        ram=measured.get("ram"),
        reason=attrs.get("reason", ""),
        worker=attrs.get(WORKER, ""),
        folder=attrs.get(FOLDER, ""),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        retry_of=attrs.get(RETRY_OF),
        artefact_sha256=measured.get("artefact", ""),
    )


def _verdict(trial: FrozenTrial) -> Verdict | None:
    """None: given up in favour of another worker's, or begun again under another number."""
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.PRUNED:
        return "refused" if trial.user_attrs.get(VERDICT) == REFUSED else "stopped"
    if trial.state == TrialState.FAIL:
        return "failed" if trial.user_attrs.get(VERDICT) == FAILED else None
    return "running" if trial.state == TrialState.RUNNING else "queued"


def is_gone(trial: FrozenTrial) -> bool:
    """
    Whether the worker of a running trial has ended, as far as that can be seen from here at once.

    On the same machine it can: the trial's folder is locked as long as its worker lives.  Others are given up when
    they have been silent for long enough (`open_storage`).
    """
    attrs = trial.user_attrs
    if attrs.get(WORKER, "").rpartition(":")[0] != platform.node():
        return False
    folder = attrs.get(FOLDER)
    return folder is not None and Path(folder).is_dir() and not is_locked(Path(folder))
