"""``hil baseline``: the int8 GRU of a model on a rig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, FORCE, MODEL, OUT, RIG, examples, find_recipe, options, workspace

if TYPE_CHECKING:
    from hil.rig import RigRequest


@click.command(
    short_help="The int8 GRU on a rig, compared",
    epilog=examples(
        "hil baseline models/keyword-demo --rig emulator",
        "hil baseline speech-commands --compiler zig",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
def baseline(model: str, out: Path | None, rig: RigRequest, compiler: str | None, force: bool, fast_load: bool) -> int:
    """
    The float GRU in 8-bit weights: what else the same chip could run.

    It is rounded without training (gru8.artefact), generated, compiled and run as the eGRU is, and every step is
    compared with its twin. Program, result and page are in the folder gru8 of the model's.
    """
    from hil.cli.show import show_result
    from hil.experiment.baseline import gru8_workspace, run_gru8

    recipe = find_recipe(model)
    with workspace(recipe, out, force) as ws:
        result = run_gru8(recipe, ws, rig, compiler, fast_load)
        show_result(result, gru8_workspace(ws))
    return 0 if result.bit_exact else 1
