"""`hil mlperf`: the official MLPerf Tiny runner against a rig."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.table import Table

from hil.cli.common import COMPILER, FAST_LOAD, FORCE, MODEL, OUT, RIG, examples, find_recipe, options, workspace

if TYPE_CHECKING:
    from hil.experiment.mlperf import MlperfRun
    from hil.rig import RigRequest


@click.command(
    short_help="The official MLPerf Tiny runner on a rig",
    epilog=examples(
        "hil mlperf keyword-demo --runner ~/tiny/benchmark/runner",
        "hil mlperf keyword-demo --runner ~/tiny --mode performance --rig samd21",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.option(
    "--runner",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Your checkout of mlcommons/tiny, or its folder benchmark/runner.",
)
@click.option(
    "--mode", type=click.Choice(["accuracy", "performance"]), default="accuracy", show_default=True, help="What to run."
)
@click.option("--clips", type=click.IntRange(5), default=50, show_default=True, help="Test clips to send at most.")
@click.option("--python", default=sys.executable, help="The interpreter that runs it.  [default: this one]")
def mlperf(
    model: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    fast_load: bool,
    runner: Path,
    mode: Literal["accuracy", "performance"],
    clips: int,
    python: str,
) -> int:
    """
    Drive the official MLPerf Tiny runner, unmodified, against a model on a rig.

    Its configuration and data are written into the model's folder; the firmware is the one of `hil run`. A run in
    which the runner's decisions differ from the twin's ends with exit code 1.
    """
    from hil.experiment.mlperf_stages import run_mlperf

    recipe = find_recipe(model)
    with workspace(recipe, out, force) as ws:
        done = run_mlperf(
            recipe, ws, rig, compiler, runner=runner, mode=mode, clips=clips, python=python, fast_load=fast_load
        )
    _show(done)
    return 0 if done.agreeing == done.clips else 1


def _show(done: MlperfRun) -> None:
    table = Table(title=f"MLPerf Tiny, {done.mode} mode, {done.rig} ({done.tier.value})", show_header=False)
    if done.accuracy is not None:
        table.add_row("accuracy by the runner", f"{done.accuracy:.1f} % of {done.clips} clips")
        table.add_row("accuracy of the twin", f"{done.twin_accuracy:.1f} %")
    if done.throughput is not None:
        table.add_row("median throughput", f"{done.throughput:.3f} inferences a second ({done.tier.value})")
    table.add_row("same decision as the twin", f"{done.agreeing} of {done.clips}")
    table.add_row("runner", done.runner)
    Console().print(table, highlight=False)
