"""A sweep on the terminal and as a plot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from rich.console import Console
from rich.table import Table

from hil.experiment.sweep.outcome import OBJECTIVES, Row, SweepOutcome, cost
from hil.experiment.sweep.space import shown
from hil.report.kernel_plots import as_svg
from hil.report.plots import BLUE, GRID, MUTED, ORANGE, STYLE

_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
_UNITS = {"accuracy": "validation accuracy, %", "flash": "flash of the program, bytes", "ram": "RAM, bytes"}
PNG_DPI = 150


def print_sweep(outcome: SweepOutcome, console: Console, *, all_rows: bool = True) -> None:
    """
    Trials, those of the front in bold, and what became of the others.

    Args:
        outcome: To show.
        console: Where.
        all_rows: Also those that are not on the front.
    """
    front = outcome.front
    numbers = {row.number for row in front}
    tested = any(row.test_accuracy is not None for row in outcome.rows)
    console.print(
        f"{outcome.model}: {_counts(outcome)}; bold: none is better in {', '.join(outcome.objectives)} at once",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    table = Table()
    table.add_column("trial", justify="right")
    table.add_column("values")
    heads = ["accuracy %", "cycles", "flash", "RAM", *(["test %"] if tested else []), "s"]
    for heading in heads:
        table.add_column(heading, justify="right")
    table.add_column("")
    others = [row for row in outcome.rows if row.number not in numbers]
    for row in (*front, *(others if all_rows else ())):
        table.add_row(*_cells(row, tested), style="bold" if row.number in numbers else None)
    console.print(table)
    for line in _lines(outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _counts(outcome: SweepOutcome) -> str:
    verdicts = [row.verdict for row in outcome.rows]
    counts = [f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts) if name != "complete"]
    done = verdicts.count("complete") + verdicts.count("stopped")
    return ", ".join([f"{done} of {outcome.trials} trials complete", *counts])


def _lines(outcome: SweepOutcome) -> list[str]:
    steps = f" of {outcome.steps} steps and an output" if outcome.steps else ""
    lines = [
        f"accuracy: the artefact's twin on the validation set (host); cycles: a clip{steps}, {outcome.rig} "
        f"({outcome.tier}); flash, RAM: whole program for {outcome.chip}, {outcome.compiler}"
    ]
    if outcome.taken_over:
        lines.append(f"{outcome.taken_over} begun again after their worker had ended in the middle")
    if any(row.test_accuracy is not None for row in outcome.rows):
        lines.append("test %: of models chosen on the validation set; it has decided nothing")
    return lines


def _cells(row: Row, tested: bool) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}"

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    again = f"repeats {row.retry_of}" if row.retry_of is not None else ""
    note = "" if row.verdict == "complete" else f"{row.verdict}: {row.reason}" if row.reason else row.verdict
    return [
        str(row.number),
        shown(row.values),
        percent(row.accuracy),
        number(row.cycles),
        number(row.flash),
        number(row.ram),
        *([percent(row.test_accuracy)] if tested else []),
        "" if row.seconds is None else f"{row.seconds:,.0f}",
        "; ".join(filter(None, [note, again])),
    ]


def front_figure(outcome: SweepOutcome) -> Figure:
    """
    The first objective over each of the others: all complete trials as dots, those on the front with number and ring.

    The line is the front of the two objectives of a panel alone.  With one objective: its value by trial.
    """
    first, *others = outcome.objectives
    figure = Figure(figsize=(4.6 * max(1, len(others)), 3.7), layout="constrained")
    panels = figure.subplots(1, max(1, len(others)), squeeze=False, sharey=True)[0]
    for axes, other in zip(panels, others or [""], strict=True):
        _panel(axes, outcome, first, other)
        axes.grid(color=GRID)
        axes.tick_params(colors=MUTED)
    panels[0].set_ylabel(_label(first, outcome))
    figure.suptitle(
        f"{outcome.model}: {len(outcome.complete)} trials, ring: none is better in "
        f"{', '.join(outcome.objectives)} at once",
        x=0.01,
        ha="left",
        fontsize=9,
    )
    return figure


def front_svg(outcome: SweepOutcome) -> str:
    """`front_figure` as a file's text; equal outcomes give equal text."""
    with mpl.rc_context(STYLE):
        return as_svg(front_figure(outcome))


def save_png(outcome: SweepOutcome, path: Path) -> None:
    """`front_figure` as a picture on white; a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with mpl.rc_context({**STYLE, "savefig.facecolor": "white"}):
            front_figure(outcome).savefig(temporary, format="png", dpi=PNG_DPI)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _panel(axes: Axes, outcome: SweepOutcome, first: str, other: str) -> None:
    rows, best = outcome.complete, {row.number for row in outcome.front}
    x = [_shown_value(row, other) if other else float(row.number) for row in rows]
    y = [_shown_value(row, first) for row in rows]
    axes.plot(x, y, "o", color=BLUE, alpha=0.45, markersize=4.5, markeredgewidth=0)
    for row, a, b in zip(rows, x, y, strict=True):
        if row.number in best:
            axes.plot([a], [b], "o", color=ORANGE, markersize=9, fillstyle="none")
            axes.annotate(str(row.number), (a, b), (5, 5), textcoords="offset points", fontsize=7, color=MUTED)
    axes.set_xlabel(_label(other, outcome) if other else "trial")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(_THOUSANDS)
    if first != "accuracy":
        axes.yaxis.set_major_formatter(_THOUSANDS)
    if other and rows:
        line = _two_dimensional(rows, first, other)
        axes.plot([p[0] for p in line], [p[1] for p in line], color=ORANGE, linewidth=1, drawstyle=_steps(other))


def _two_dimensional(rows: Sequence[Row], first: str, other: str) -> list[tuple[float, float]]:
    """The front of two objectives, in order of the second's cost."""
    kept: list[tuple[float, float]] = []
    least = float("inf")
    for row in sorted(rows, key=lambda row: (cost(row, other), cost(row, first))):
        if cost(row, first) < least:
            least = cost(row, first)
            kept.append((_shown_value(row, other), _shown_value(row, first)))
    return kept


def _steps(other: str) -> str:
    """Between two points of a front the worse of both values is what is to be had."""
    return "steps-post" if OBJECTIVES[other] == "minimize" else "steps-pre"


def _shown_value(row: Row, name: str) -> float:
    value = float(getattr(row, name))
    return 100 * value if name == "accuracy" else value


def _label(name: str, outcome: SweepOutcome) -> str:
    return f"cycles a clip ({outcome.tier})" if name == "cycles" else _UNITS[name]
