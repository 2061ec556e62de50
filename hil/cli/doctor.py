"""`hil doctor`: what this machine has and lacks; how well a rig works."""

from __future__ import annotations

import click

from hil.cli.common import examples, options


@click.command(
    short_help="What this machine lacks; how well a rig works",
    epilog=examples(
        "hil doctor",
        "hil doctor emulator --frames 1000",
        "hil doctor samd21             # 10,000 frames, each line speed, clock, flash contents",
        "hil doctor samd21 --release   # let a board out of quarantine",
    ),
)
@click.argument("rig", required=False)
@options()
@click.option("--frames", type=click.IntRange(1), default=10_000, show_default=True, help="To count losses among.")
@click.option("--release", is_flag=True, help="Let the rig's board out of quarantine.")
def doctor(rig: str | None, frames: int, release: bool) -> int:
    """
    What this machine has and lacks, and what to do; with RIG, how well it works.

    A rig is flashed with a program of the doctor's, which it holds afterwards.
    """
    from hil.cli import doctor_machine

    return doctor_machine.release(rig) if release else doctor_machine.examine(rig, frames)
