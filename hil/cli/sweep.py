"""``hil sweep``: a recipe over many values of its keys, by any number of workers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, MODEL, OUT, RIG, examples, find_recipe, options
from hil.cli.progress import make_progress
from hil.errors import ToolError, UsageError

if TYPE_CHECKING:
    from hil.experiment.sweep.begin import Asked
    from hil.experiment.sweep.study import Settings
    from hil.experiment.sweep.worker import Sweep
    from hil.experiment.workspace import Workspace
    from hil.rig import RigRequest

JSON, SVG, PNG = "sweep.json", "sweep.svg", "sweep.png"
ENDING_S = 30.0


@click.command(
    short_help="Many values of a recipe's keys, many workers",
    epilog=examples(
        "hil sweep keyword-demo --param hidden=16,32,64 --param dense=8,16 --trials 40",
        "hil sweep fsdd-digits --param hidden=20,30,30+20 --param train.learning_rate=1e-3..3e-2:log --jobs 2",
        "hil sweep fsdd-digits --storage postgresql+psycopg://me@server/sweeps   # on every machine",
        "hil sweep fsdd-digits                       # goes on, or joins in",
        "hil sweep fsdd-digits --show --test         # table, plot, JSON; the front on the test set",
        "hil sweep fsdd-digits --export 12 --to models/small-digits",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FAST_LOAD)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUES",
    help="A key of the recipe and its values: hidden=16,32,64 (a list: hidden=32,30+20), dense=8..32, dense=8..32:8 "
    "(in steps), train.learning_rate=1e-3..3e-2:log. Repeatable. A study that is there knows its own.",
)
@click.option("--trials", type=click.IntRange(1), help="Complete so many, all workers together.  [default: 40]")
@click.option("--objective", help="Of accuracy, cycles, flash, ram.  [default: accuracy,cycles,flash]")
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "nsga2", "random", "grid"]),
    help="How values are chosen.  [default: tpe]",
)
@click.option("--seed", type=click.IntRange(0), help="Of the sampler; the recipe has its own.  [default: 1]")
@click.option("--storage", metavar="URL", help="Of the study, as SQLAlchemy has it.  [default: sweep.db in the folder]")
@click.option("--study", help="Name of the study.  [default: the model's]")
@click.option(
    "--stop-early",
    is_flag=True,
    help="Stop trials below the median of the others' validation accuracy; only with --objective accuracy.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Workers on this machine.")
@click.option(
    "--silence",
    type=click.IntRange(4),
    default=120,
    show_default=True,
    help="Seconds after which a worker of another machine that says nothing counts as gone. On the same machine that "
    "is seen at once.",
)
@click.option("--show", is_flag=True, help="Only show what there is.")
@click.option("--test", is_flag=True, help="At the end, also evaluate the front's models on the test set.")
@click.option("--export", type=click.IntRange(0), metavar="TRIAL", help="Write a trial's recipe and artefact.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder for --export.")
def sweep(
    model: str,
    params: tuple[str, ...],
    trials: int | None,
    objective: str | None,
    sampler: str | None,
    seed: int | None,
    storage: str | None,
    study: str | None,
    stop_early: bool,
    jobs: int,
    silence: int,
    show: bool,
    test: bool,
    export: int | None,
    to: Path | None,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    fast_load: bool,
) -> int:
    """
    Try values of a recipe's keys: train, quantize, build, run on a rig; what none beats is the front.

    Accuracy is that of the validation set. A shape that cannot fit the chip is refused before it is trained, and is
    not counted. Workers may join, end, be killed and come back at any time, on any machine with the same recipe, data
    and storage; the trial of one that has ended goes on where it stopped. Each trial keeps its stages in a folder of
    its own. Needs optuna: pip install 'hil[sweep]'.
    """
    if (export is None) != (to is None):
        raise UsageError("--export TRIAL and --to FOLDER go together")
    only_look = show or export is not None
    sweep_of = _optuna()
    asked = sweep_of.Asked(
        model=model,
        recipe=find_recipe(model),
        params=params,
        trials=trials,
        objective=objective,
        sampler=sampler,
        seed=seed,
        storage=storage,
        study=study,
        stop_early=stop_early,
        out=out,
        rig=rig,
        compiler=compiler,
        fast_load=fast_load,
        silence_s=silence,
    )
    if jobs > 1 and not only_look and rig.name != "emulator":
        raise UsageError("--jobs goes with --rig emulator: a single board takes one trial after the other")
    with sweep_of.begun(asked, make_progress(), only_look=only_look) as (began, settings):
        if export is not None and to is not None:
            return _export(began, settings, export, to)
        if not only_look:
            with _more_workers(asked, began.ws, jobs - 1):
                _work(began)
        _show(began, settings, test)
    return 0


def _optuna() -> ModuleType:
    try:
        from hil.experiment.sweep import begin
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("hil"):
            raise
        raise UsageError(f"hil sweep needs {error.name}: pip install 'hil[sweep]'") from None
    return begin


def _work(began: Sweep) -> None:
    from hil.experiment.sweep.worker import work

    work(began)


def _show(began: Sweep, settings: Settings, test: bool) -> None:
    """Table, JSON and plots of what there is."""
    from rich.console import Console

    from hil.experiment.sweep.export import with_test
    from hil.experiment.sweep.study import outcome_of
    from hil.experiment.workspace import write_text
    from hil.report.sweep import front_svg, print_sweep, save_png

    outcome = outcome_of(began.study, settings, began.recipe.name)
    if test:
        outcome = with_test(outcome, began.recipe)
    ws = began.ws
    write_text(ws.path(JSON), outcome.to_json())
    write_text(ws.path(SVG), front_svg(outcome))
    save_png(outcome, ws.path(PNG))
    print_sweep(outcome, Console())
    ws.progress.say(f"sweep: {ws.path(JSON)}, {SVG}, {PNG}")


def _export(began: Sweep, settings: Settings, number: int, folder: Path) -> int:
    from hil.experiment.sweep.export import export_trial
    from hil.experiment.sweep.study import outcome_of

    outcome = outcome_of(began.study, settings, began.recipe.name)
    if export_trial(outcome, began.recipe, number, folder):
        click.echo(f"{folder}: recipe, artefact and test vectors of trial {number}. Next: hil run {folder}")
    else:
        click.echo(
            f"{folder}: the recipe of trial {number}; its artefact is not on this machine. Its numbers are made "
            f"anew by: hil train {folder} && hil quantize {folder}"
        )
    return 0


@contextmanager
def _more_workers(asked: Asked, ws: Workspace, count: int) -> Iterator[None]:
    """
    Further workers as processes of their own, whose words are passed on; they are waited for, or ended with the block.

    Raises:
        ToolError: One of them failed; the others have done its work.
    """
    processes = [
        subprocess.Popen(_command(asked), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    readers = [
        threading.Thread(target=_pass_on, args=(process.stderr, ws, f"worker {i}"), daemon=True)
        for i, process in enumerate(processes, 2)
    ]
    for reader in readers:
        reader.start()
    try:
        yield
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()  # one that has ended does not mind
        for process, reader in zip(processes, readers, strict=True):
            process.wait(ENDING_S)
            reader.join(ENDING_S)
    if any(codes):
        ended = ", ".join(f"worker {i} with {code}" for i, code in enumerate(codes, 2) if code)
        raise ToolError(f"the sweep is complete, but {ended} ended early (exit code): see its lines above")


def _command(asked: Asked) -> list[str]:
    """This sweep, which is there already, once more."""
    command = [sys.executable, "-m", "hil.cli", "sweep", asked.model, "--study", asked.name, "--rig", asked.rig.name]
    command += ["--silence", str(asked.silence_s)]
    for option, value in (("--storage", asked.storage), ("--out", asked.out), ("--compiler", asked.compiler)):
        command += [option, str(value)] if value is not None else []
    return command + (["--fast-load"] if asked.fast_load else [])


def _pass_on(lines: IO[str] | None, ws: Workspace, who: str) -> None:
    assert lines is not None
    with lines:
        for line in lines:
            if line.strip():
                ws.progress.say(f"{who}: {line.rstrip()}")
