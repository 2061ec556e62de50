"""`hil calibrate`: how far the cycle model is from a rig, effect by effect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, OUT, RIG, examples, opened, options

if TYPE_CHECKING:
    from hil.experiment.calibrate import Calibration
    from hil.rig import RigRequest

EXIT_DIFFERENT = 1
"""As `hil.cli.EXIT_DIFFERENT`: with ``--limit``, the model is further off."""
_WIDE = 120
"""Columns from which on the table says what one operation is."""


@click.command(
    short_help="The cycle model against a rig, effect by effect",
    epilog=examples(
        "hil calibrate --rig emulator                  # every error is zero",
        "hil calibrate --rig metro-m0.toml --limit 5   # status 1 if an effect is more than 5 % off",
        "hil calibrate --rig emulator --effect loop_9 --effect pendsv",
    ),
)
@options(OUT, RIG, COMPILER, FAST_LOAD)
@click.option("--effect", "effects", multiple=True, help="Only this one; may be repeated.  [default: all]")
@click.option("--repeats", type=click.IntRange(1, 64), default=8, show_default=True, help="Calls of each effect.")
@click.option("--limit", type=click.FloatRange(0), help="Largest error in percent that is accepted.")
def calibrate(
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    fast_load: bool,
    effects: tuple[str, ...],
    repeats: int,
    limit: float | None,
) -> int:
    """
    Measure every effect of the cycle model on a rig.

    A firmware of micro-benchmarks, one for each effect of docs/cycle-model.md, runs on the rig and on the emulated
    chip, the same ELF on both. The table compares the cycles; build/calibrate-RIG/calibration.json is that rig's
    table of errors (docs/emulator.md explains its fields). One row of the flash is erased and written in each call.
    """
    from hil.experiment.calibrate import run_calibration

    with opened(out or Path("build") / f"calibrate-{Path(rig.name).stem}", force=False) as ws:
        done = run_calibration(ws, rig, compiler, effects=effects, repeats=repeats, fast_load=fast_load)
        _show(done, ws.folder)
    return EXIT_DIFFERENT if limit is not None and abs(done.worst.error_percent) > limit else 0


def _show(done: Calibration, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from hil.experiment.calibrate import CALIBRATION

    console = Console(soft_wrap=True, highlight=False)
    wide = Console().width >= _WIDE
    table = Table(title=f"{done.rig} ({done.tier.value}) against the cycle model, {done.compiler}")
    for heading in ("#", "effect", *(("one operation",) if wide else ())):
        table.add_column(heading, no_wrap=True)
    for heading in ("measured", "modelled", "error of a call", "%"):
        table.add_column(heading, justify="right")
    for effect in done.effects:
        measured, modelled = effect.per_operation
        table.add_row(
            str(effect.assumption),
            effect.name,
            *((effect.text,) if wide else ()),
            f"{measured:,.2f}",
            f"{modelled:,.2f}",
            f"{effect.error_cycles:+,.0f}" if effect.error_cycles else "0",
            f"{effect.error_percent:+.2f}" if effect.error_cycles else "0",
        )
    Console().print(table)
    worst = done.worst
    wrong = sum(effect.error_cycles != 0 for effect in done.effects)
    told = f"largest: {worst.name}, {worst.error_percent:+.2f} %" if wrong else "the model is right in every cycle"
    console.print(f"{wrong} of {len(done.effects)} effects differ; {told}")
    console.print(f"error table: {folder / CALIBRATION}", markup=False)
