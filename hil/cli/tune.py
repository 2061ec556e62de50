"""``hil tune``: the fastest kernels under a budget, by measurement."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, FORCE, MODEL, OUT, RIG, device_workspace, examples, find_recipe, options

if TYPE_CHECKING:
    from hil.experiment.tune import Candidate, Point
    from hil.experiment.tune_stages import Tuned
    from hil.rig import RigRequest

PLOT = "tune.svg"
_BYTES = re.compile(r"(\d+)([kK]?)")
_NEIGHBOURS = 5
"""Rows of the front that are shown on either side of the chosen one."""


class Bytes(click.ParamType[int]):
    """``65536`` or ``64k``."""

    name = "BYTES"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _BYTES.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no number of bytes; expected such as 65536 or 64k", param, ctx)
        return int(match[1]) << (10 if match[2] else 0)


@click.command(
    short_help="Fastest kernels under a budget, measured",
    epilog=examples(
        "hil tune models/keyword-demo",
        "hil tune keyword-demo --flash 64k --ram 8k",
        "hil tune keyword-demo --rig metro-m0 --flash 16k",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.option("--flash", type=Bytes(), help="Most flash for the layers.  [default: the chip's]")
@click.option("--ram", type=Bytes(), help="Most RAM for the layers.  [default: the chip's]")
def tune(
    model: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    fast_load: bool,
    flash: int | None,
    ram: int | None,
) -> None:
    """
    Measure each layer by each of its kernels on a rig, and write the best under a budget into the artefact.

    A layer's kernels differ in speed, flash and RAM, never in a number, so the model's hash stays. The budget is for
    what the layers take: weights, code and buffers. Whether the whole program fits the chip is read from its map
    before it is flashed; then a sequence must equal the twin. Measurements are kept by their content.
    """
    from hil.experiment.tune import Budget
    from hil.experiment.tune_stages import tune as run
    from hil.experiment.workspace import write_text
    from hil.report.kernel_plots import tuned_svg

    recipe = find_recipe(model)
    with device_workspace(model, recipe, out, force) as ws:
        done = run(recipe, ws, rig, compiler, Budget(flash, ram), fast_load=fast_load)
        write_text(ws.path(PLOT), tuned_svg(done))
        show_tuned(done)
        click.echo(f"plot: {ws.path(PLOT)}")


def show_tuned(tuned: Tuned) -> None:
    """Kernels by layer, the front around the chosen model, and the whole model before and after."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"Layers by kernel, {tuned.rig} ({tuned.tier.value}), {tuned.compiler}; bold: chosen")
    for heading in ("layer", "kernel"):
        table.add_column(heading)
    for heading in ("cycles", "flash", "RAM"):
        table.add_column(heading, justify="right")
    for candidate in tuned.candidates:
        chosen = tuned.chosen.build[candidate.layer] == candidate.choice
        table.add_row(*_cells(candidate), style="bold" if chosen else None)
    console.print(table)
    table = Table(title=f"The models that none of {len(tuned.front)} beats; bold: chosen")
    for heading in ("cycles/step", "flash", "RAM"):
        table.add_column(heading, justify="right")
    table.add_column("kernels")
    at, last = tuned.front.index(tuned.chosen), len(tuned.front) - 1
    for i in sorted({0, last, *range(max(0, at - _NEIGHBOURS), min(last, at + _NEIGHBOURS) + 1)}):
        table.add_row(*_point(tuned.front[i]), style="bold" if i == at else None)
    console.print(table)
    for name, whole in (("before", tuned.before), ("after", tuned.after)):
        console.print(
            f"{name}: {whole.cycles:,.0f} cycles a step, {whole.output_cycles:,} for the output; whole program "
            f"{whole.flash_bytes:,} bytes of flash, {whole.ram_bytes:,} of RAM, {whole.stack_bytes} of stack "
            f"({tuned.tier.value})",
            highlight=False,
            soft_wrap=True,
        )
    console.print("equal to the twin before and after; the choice is in the artefact", highlight=False)


def _cells(candidate: Candidate) -> tuple[str, ...]:
    choice = candidate.choice
    details = [f"{choice.rows} rows" if choice.rows else "", f"RAM {choice.ram_bytes:,}" if choice.ram_bytes else ""]
    kernel = ", ".join([choice.kernel, *filter(None, details)])
    return candidate.layer, kernel, f"{candidate.cycles:,.0f}", f"{candidate.flash_bytes:,}", f"{candidate.ram_bytes:,}"


def _point(point: Point) -> tuple[str, ...]:
    kernels = ", ".join(f"{c.kernel}{f'+{c.ram_bytes}' if c.ram_bytes else ''}" for c in point.build.values())
    return f"{point.cycles:,.0f}", f"{point.flash_bytes:,}", f"{point.ram_bytes:,}", kernels
