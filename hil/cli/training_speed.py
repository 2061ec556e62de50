"""``hil bench training``: how fast the event-based GRU trains on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hil.cli.progress import make_progress
from hil.experiment.workspace import write_text

EXIT_SLOW = 1
_ROUNDS = 15
_WIDTH = 130
"""Columns of the table; a narrower terminal folds it."""
RESULT = "training-speed.json"


def show_training_bench(inputs: int | None, units: int | None, threads: int, out: Path | None) -> int:
    """
    Time of a training step, by activity, as a ratio to `torch.nn.GRU`'s in the same run.

    Returns:
        1 if a required ratio is missed.

    Raises:
        UsageError: There is no torch.
        ToolError: This system does not tell a process's peak memory.
    """
    from hil.train.speed import VARIANTS, Workload, as_table, measure_training

    default, progress = Workload(), make_progress()
    work = Workload(inputs or default.inputs, units or default.units, threads=threads)
    with progress.task("training steps") as update:
        rows = measure_training(work, VARIANTS, _ROUNDS, update)
    sizes = f"batch {work.batch}, {work.steps} steps, D={work.inputs}, H={work.units}"
    table = Table(title=f"forward and backward, {sizes}, {work.threads} thread(s); median of {_ROUNDS} in turns (host)")
    table.add_column("layer", no_wrap=True)
    for heading in ("forward ms", "backward ms", "/ nn.GRU", "at most", "events", "gradients", "peak MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        shares = ["" if share is None else f"{share:.1%}" for share in (row.events, row.wanted)]
        most = "" if row.variant.most is None else f"{row.variant.most:.1f}"
        times = f"{row.forward_ms:.1f}", f"{row.backward_ms:.1f}", f"{row.ratio:.2f}"
        table.add_row(row.variant.title, *times, most, *shares, f"{row.peak_bytes / 1e6:.0f}")
    Console(width=max(Console().width, _WIDTH)).print(table)
    Console(soft_wrap=True, highlight=False).print(
        "events: share that is not 0; gradients: share of units and steps whose event or surrogate "
        "(damping and support 3.6) is not 0; peak: what the step adds to a process of its own"
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / RESULT, json.dumps(as_table(work, rows), indent=1) + "\n")
    return 0 if all(row.fast_enough for row in rows) else EXIT_SLOW
