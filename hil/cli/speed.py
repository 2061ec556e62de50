"""`hil bench emulator`: how fast the emulated chip is on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hil.cli.progress import make_progress
from hil.errors import ToolError
from hil.experiment.emulator_speed import REPEATS, REQUIRED, compile_speed, has_oracle, measure_speed
from hil.firmware import find_compiler

EXIT_SLOW = 1
_ROUNDS = 7


def show_emulator_bench(compiler: str | None) -> int:
    """
    Million instructions a second of the emulated chip and of Unicorn without hooks, in one run.

    Returns:
        1 if a required ratio is missed.

    Raises:
        ToolError: There is no Unicorn, or no compiler.
    """
    if not has_oracle():
        raise ToolError("Unicorn is not installed, which the emulator is measured against: pip install unicorn")
    found, progress = find_compiler(compiler), make_progress()
    table = Table(title=f"million instructions a second, best of {_ROUNDS} in turns")
    table.add_column("program", no_wrap=True)
    for heading in ("executed", "1 WS", "0 WS", "Unicorn", "ratio", "required"):
        table.add_column(heading, justify="right")
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        for program in REPEATS:
            elf = compile_speed(program, found, Path(folder))
            with progress.task(f"{program} on the emulated chip and on Unicorn") as update:
                speed = measure_speed(program, elf, _ROUNDS, update)
            slow |= not speed.fast_enough
            rates = [f"{rate / 1e6:,.0f}" for rate in (speed.emulator, speed.emulator_0ws, speed.oracle)]
            required = f"{REQUIRED[program]:.2f}" if program in REQUIRED else ""
            table.add_row(program, f"{speed.instructions:,}", *rates, f"{speed.ratio:.2f}", required)
    Console().print(table)
    Console(soft_wrap=True, highlight=False).print(
        f"WS: wait states of the flash, counted; ratio: the slower of the two against Unicorn. {found.version}, -O2"
    )
    return EXIT_SLOW if slow else 0
