"""Two results of `hil demo`: the eGRU, and the event eGRU beside it."""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

from hil.cli.show import REPORT
from hil.experiment.device_stages import with_gain
from hil.experiment.result import Result
from hil.experiment.workspace import Workspace
from hil.report import print_result, write_html
from hil.report.facts import summary


def show_beside(dense: Result, events: Result, ws: Workspace) -> None:
    """The table of the first, a comparison of both, and one page."""
    shown = with_gain(dense, ws)
    with ws.progress.task("writing the report"):
        write_html([shown, events], ws.path(REPORT))
    console = Console()
    print_result(shown, console)
    table = Table(title="the event eGRU beside it, on the same clips", title_justify="left")
    table.add_column("")
    for name in ("eGRU", "event eGRU"):
        table.add_column(name, justify="right")
    for title, cells in _rows(dense, events):
        table.add_row(title, *cells)
    console.print(table)
    console.print(f"{events.model}: {summary(events)}", highlight=False, soft_wrap=True)
    console.print(f"report: {ws.path(REPORT)}", highlight=False, soft_wrap=True)


def _rows(dense: Result, events: Result) -> list[tuple[str, tuple[str, str]]]:
    both = (dense, events)

    def row(title: str, cells: list[str]) -> tuple[str, tuple[str, str]]:
        return title, (cells[0], cells[1])

    return [
        row("accuracy of the device", [f"{r.accuracy['device']:.1%}" for r in both]),
        row("outputs that are not 0, by layer", [", ".join(f"{a:.0%}" for a in r.activity) or "all" for r in both]),
        row(f"cycles a step, median ({dense.tier.value})", [f"{statistics.median(r.cycles):,.0f}" for r in both]),
        row("cycles a step, least to most", [f"{min(r.cycles):,} to {max(r.cycles):,}" for r in both]),
        row("flash, whole program", [f"{r.flash_bytes:,} bytes" for r in both]),
        row("parameters", [f"{r.parameter_bytes:,} bytes" for r in both]),
    ]
