"""
A worker of a sweep: one trial after the other, until all workers together have completed as many as were asked for.

Workers know of each other only through the storage.  What makes their sum exact, whoever asks when: a trial that was
begun is carried out only if there is room for it beside those completed and those begun before it, and if its values
are not theirs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import platform
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from hil.errors import RigError, ToolError, UsageError
from hil.experiment.progress import Progress, Update
from hil.experiment.recipe_file import recipe_toml
from hil.experiment.sweep.early import Watching
from hil.experiment.sweep.interrupts import Interrupts
from hil.experiment.sweep.sampler import FAILED, VERDICT, tried, values_key
from hil.experiment.sweep.space import Choices, Range, Raw, Space, recipe_for, shown
from hil.experiment.sweep.study import (
    ATTEMPT,
    FOLDER,
    MEASURED,
    REFUSED,
    RETRY_OF,
    TRIALS,
    WORKER,
    OtherData,
    is_gone,
    quiet_optuna,
    require_data,
)
from hil.experiment.sweep.trial import Inputs, Measured, Place, Refused, link_inputs, make_inputs, measure_trial
from hil.experiment.workspace import Workspace, write_text
from hil.recipe import RECIPE_FILE, Recipe

POLL_S = 0.5
ATTEMPTS = 3
"""Workers that may end in the middle of a trial before it is given up: it may be the trial that ends them."""
SETTLE_S = 30.0
"""A trial without values after so long was begun by a worker that ended in that moment."""
SETTLE_POLL_S = 0.05
MOST_REASON = 400
"""Characters of a reason in the storage."""
WITHDRAWN = "withdrawn"
MOST_REFUSED = 50
MOST_FAILED = 5
"""In a row: then something is wrong with the sweep, not with the values."""


class Brief:
    """Progress without what is said of each stage that was there already."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def task(self, title: str) -> AbstractContextManager[Update]:
        return self._progress.task(title)

    def say(self, text: str) -> None:
        if ": unchanged, skipped" not in text:
            self._progress.say(text)


class _Withdrawn(Exception):
    """Another worker has the last free place, or the same values."""


class _Failed(Exception):
    """These values cannot be trained."""


@dataclass(frozen=True)
class Sweep:
    """
    What a worker works on.

    Attributes:
        study: Shared by all workers.
        recipe: Without the swept values.
        space: What is swept.
        objectives: In the study's order.
        ws: The sweep's folder on this machine.
        place: Where trials are built and run.
        interrupts: When Ctrl-C may end the worker.
    """

    study: Study
    recipe: Recipe
    space: Space
    objectives: tuple[str, ...]
    ws: Workspace
    place: Place
    interrupts: Interrupts = field(default_factory=Interrupts)


def work(sweep: Sweep) -> None:
    """
    Carry out trials until there are enough, or every combination was tried.

    Raises:
        UsageError: The data are not there, nothing fits the chip, or nothing can be trained.
        HilError: The bench or the firmware is wrong; the trial is queued again.
    """
    with sweep.interrupts.held_back():
        if not any(key.startswith("features.") for key in sweep.space.domains):
            _inputs(sweep, sweep.recipe)  # what is wrong with them is no trial's fault
        in_a_row = {REFUSED: 0, FAILED: 0}
        told: set[str] = set()
        while (step := _next_step(sweep)) is not None:
            if step.others:
                _wait(sweep, step, told)
                continue
            told.clear()
            attributes = _one(sweep, step)
            for name, most in ((REFUSED, MOST_REFUSED), (FAILED, MOST_FAILED)):
                in_a_row[name] = in_a_row[name] + 1 if attributes.get(VERDICT) == name else 0
                if in_a_row[name] >= most:
                    reason = attributes["reason"]
                    raise UsageError(f"{most} trials in a row {name}, the last one: {reason}. Change --param")


@dataclass(frozen=True)
class _Step:
    """What a worker does next: a trial, or wait for those of others; ``done`` and ``wanted`` count complete trials."""

    done: int
    wanted: int
    others: tuple[str, ...]


def _next_step(sweep: Sweep) -> _Step | None:
    """None: there are enough trials, or every combination was tried."""
    with quiet_optuna():
        take_over(sweep.study)
    trials = sweep.study.get_trials(deepcopy=False)
    wanted = int(sweep.study.user_attrs[TRIALS])
    done, running = _completed(trials), [t for t in trials if t.state == TrialState.RUNNING]
    waiting = any(t.state == TrialState.WAITING for t in trials)
    exhausted = not waiting and sweep.space.combinations == len(tried(trials))
    if done >= wanted:
        return None
    if exhausted and not running:
        sweep.ws.progress.say(f"all {sweep.space.combinations} combinations were tried")
        return None
    others = tuple(str(t.user_attrs.get(WORKER, "another worker")) for t in running)
    return _Step(done, wanted, others if exhausted or done + len(running) >= wanted else ())


def _wait(sweep: Sweep, step: _Step, told: set[str]) -> None:
    if text := ", ".join(sorted(set(step.others) - told)):
        sweep.ws.progress.say(f"waiting for {text}")
        told.update(step.others)
    with sweep.interrupts.allowed():
        time.sleep(POLL_S)


def take_over(study: Study) -> None:
    """Queue the trials of workers that have ended in the middle again."""
    optuna.storages.fail_stale_trials(study)
    now = datetime.now()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        begun = trial.datetime_start
        unborn = WORKER not in trial.user_attrs and begun is not None and (now - begun).total_seconds() > SETTLE_S
        if unborn or is_gone(trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (UpdateFinishedTrialError, ValueError):
                continue  # another worker was faster
            again(study, trial)


def again(study: Study, trial: FrozenTrial, *, blame: bool = True) -> None:
    """
    Queue a trial that was not finished; one that has ended its workers too often is marked as failed.

    Args:
        study: Of the trial.
        trial: Marked as failed.
        blame: It may be the trial that ended its worker; not so after Ctrl-C.
    """
    if not trial.params:
        return
    attempt = int(trial.user_attrs.get(ATTEMPT, 1)) + blame
    attrs: dict[str, Any] = {RETRY_OF: trial.user_attrs.get(RETRY_OF, trial.number), ATTEMPT: attempt}
    state = TrialState.WAITING
    if attempt > ATTEMPTS:
        reason = f"its worker ended in the middle {ATTEMPTS} times; is there enough memory?"
        attrs, state = {**attrs, VERDICT: FAILED, "reason": reason}, TrialState.FAIL
    study.add_trial(
        optuna.create_trial(state=state, params=trial.params, distributions=trial.distributions, user_attrs=attrs)
    )


def _completed(trials: list[FrozenTrial]) -> int:
    """Trials with a result: complete, or stopped because they were not promising."""
    return sum(
        t.state == TrialState.COMPLETE or (t.state == TrialState.PRUNED and t.user_attrs.get(VERDICT) != REFUSED)
        for t in trials
    )


def _one(sweep: Sweep, step: _Step) -> dict[str, Any]:
    """Begin one trial and carry it out; returns its attributes."""
    mine: list[int] = []
    own: list[BaseException] = []
    with ExitStack() as held:  # the folder's lock outlives the trial: who finds it free finds the trial ended

        def objective(trial: Trial) -> tuple[float, ...]:
            mine.append(trial.number)
            try:
                return _carry_out(sweep, trial, held, step)
            except BaseException as error:
                own.append(error)
                raise

        try:
            with quiet_optuna():
                sweep.study.optimize(objective, n_trials=1, catch=(_Withdrawn, _Failed))
        except BaseException as error:
            if not mine:
                raise
            ended = _ended(sweep.study, mine[0])
            told_by_another = isinstance(error, ValueError) and error not in own  # Optuna's, of a finished trial
            if told_by_another or isinstance(error, UpdateFinishedTrialError):
                lost = ended.state == TrialState.FAIL
                how = "given up as lost by another worker, who repeats it" if lost else "done by another worker"
                sweep.ws.progress.say(f"trial {ended.number}: {how}")
                return {}
            if ended.state == TrialState.FAIL:
                blame = isinstance(error, Exception) and not isinstance(error, (RigError, OtherData))
                again(sweep.study, ended, blame=blame)
            raise
    return sweep.study.get_trials(deepcopy=False)[mine[0]].user_attrs


def _ended(study: Study, number: int) -> FrozenTrial:
    """A trial of this worker's that an error has ended, also one that Optuna does not know of."""
    with contextlib.suppress(UpdateFinishedTrialError, ValueError):
        study.tell(number, state=TrialState.FAIL)
    return study.get_trials(deepcopy=False)[number]


def _carry_out(sweep: Sweep, trial: Trial, held: ExitStack, step: _Step) -> tuple[float, ...]:
    trial.set_user_attr(WORKER, f"{platform.node()}:{os.getpid()}")
    values = {key: _suggest(trial, key, domain) for key, domain in sweep.space.domains.items()}
    _claim(sweep, trial, step.wanted)
    name = hashlib.sha256(values_key(values).encode()).hexdigest()[:12]
    ws = Workspace(sweep.ws.path("trials") / name, Brief(sweep.ws.progress))
    with sweep.interrupts.allowed():
        held.enter_context(ws.locked(wait=True))
    if sweep.study.get_trials(deepcopy=False)[trial.number].state.is_finished():
        raise _Withdrawn  # SQLite may give a queued trial to two workers at once; the other one has done it
    trial.set_user_attr(FOLDER, str(ws.folder.resolve()))
    ws.progress.say(f"trial {trial.number} ({step.done} of {step.wanted} complete): {shown(values)}")
    try:
        recipe = recipe_for(sweep.recipe, values)
        write_text(ws.path(RECIPE_FILE), recipe_toml(recipe, f"Trial {trial.number} of `hil sweep`."))
        link_inputs(_inputs(sweep, recipe), ws)
        with sweep.interrupts.allowed():
            measured = measure_trial(recipe, _watched(sweep, ws, trial, recipe), sweep.place)
    except Refused as error:
        _mark(trial, REFUSED, str(error))
        trial.set_constraint("fits", max(error.over, 1e-9))
        ws.progress.say(f"trial {trial.number}: refused {'after' if error.trained else 'before'} training: {error}")
        raise TrialPruned from None
    except (UsageError, ToolError) as error:
        if isinstance(error, OtherData):
            raise
        _mark(trial, FAILED, str(error))
        ws.progress.say(f"trial {trial.number}: failed: {error}")
        raise _Failed from error
    return _tell(sweep, trial, measured)


def _inputs(sweep: Sweep, recipe: Recipe) -> Inputs:
    """Data and features; the data are those of all workers.  Raises `OtherData`."""
    with sweep.interrupts.allowed():
        inputs = make_inputs(recipe, dataclasses.replace(sweep.ws, progress=Brief(sweep.ws.progress)), sweep.place)
    require_data(sweep.study, inputs.ws.folder.name, inputs.data_sha256)
    return inputs


def _watched(sweep: Sweep, ws: Workspace, trial: Trial, recipe: Recipe) -> Workspace:
    """The trial's folder, whose progress may end the trial, if trials are stopped early at all."""
    if isinstance(sweep.study.pruner, NopPruner):
        return ws
    return dataclasses.replace(ws, progress=Watching(ws.progress, ws.folder, trial, recipe, sweep.interrupts))


def _mark(trial: Trial, verdict: str, reason: str) -> None:
    trial.set_user_attr("reason", reason.splitlines()[0][:MOST_REASON])
    trial.set_user_attr(VERDICT, verdict)


def _tell(sweep: Sweep, trial: Trial, measured: Measured) -> tuple[float, ...]:
    """Write the measurements down; returns the objectives."""
    found = {
        "accuracy": measured.accuracy,
        "cycles": measured.cycles,
        "flash": measured.flash_bytes,
        "ram": measured.ram_bytes,
    }
    facts = {"stack": measured.stack_bytes, "steps": measured.steps, "artefact": measured.artefact_sha256}
    trial.set_user_attr(MEASURED, {**found, **facts})
    trial.set_constraint("fits", 0.0)
    sweep.ws.progress.say(
        f"trial {trial.number}: {measured.accuracy:.2%} of the validation set, {measured.cycles:,.0f} cycles a clip "
        f"({measured.tier}), {measured.flash_bytes:,} bytes of flash, {measured.ram_bytes:,} of RAM"
    )
    return tuple(float(found[objective]) for objective in sweep.objectives)


def _suggest(trial: Trial, key: str, domain: Choices | Range) -> Raw:
    if isinstance(domain, Choices):
        return trial.suggest_categorical(key, domain.texts)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return trial.suggest_int(key, domain.low, domain.high, step=int(domain.step or 1), log=domain.log)
    return trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log)


def _claim(sweep: Sweep, trial: Trial, wanted: int) -> None:
    """
    See that there is room for a trial, and that its values are nobody else's.

    A trial gives way to those completed and to those that were begun before it, so that of two that see each other
    one stays.

    Raises:
        _Withdrawn: There is no room, or the values are taken.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        trials = sweep.study.get_trials(deepcopy=False)
        before = [t for t in trials[: trial.number] if t.state in (TrialState.RUNNING, TrialState.WAITING)]
        if all(len(t.params) == len(sweep.space.domains) for t in before) or time.monotonic() > deadline:
            break
        time.sleep(SETTLE_POLL_S)
    mine = trials[trial.number]
    others = [t for t in trials if t.state.is_finished()] + before
    taken = values_key(mine.params) in tried(others)
    if taken or _completed(trials) + len(before) >= wanted:
        trial.set_user_attr(VERDICT, WITHDRAWN)
        if not taken and RETRY_OF in mine.user_attrs:
            again(sweep.study, mine, blame=False)
        raise _Withdrawn
