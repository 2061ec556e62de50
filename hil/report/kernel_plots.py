"""Plots of kernels: what a model's layers cost by kernel, cycles over active weights."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hil.experiment.kernel_bench import KernelBench, KernelCost, active_weights, line
from hil.experiment.tune_stages import Tuned
from hil.report.plots import BLUE, GREEN, GRID, MUTED, ORANGE, PURPLE, RED, STYLE

_COLOURS = (BLUE, ORANGE, PURPLE, GREEN, RED)
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def tuned_svg(tuned: Tuned) -> str:
    """Cycles over flash of the models that none beats, dots by RAM; the chosen one and the budget are marked."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        most = max(point.ram_bytes for point in tuned.front)
        for point in tuned.front:
            size = 12 + 60 * point.ram_bytes / max(1, most)
            axes.scatter(point.flash_bytes, point.cycles, s=size, color=BLUE, alpha=0.45, linewidths=0)
        axes.scatter(tuned.chosen.flash_bytes, tuned.chosen.cycles, s=90, facecolors="none", edgecolors=ORANGE)
        if tuned.budget.flash_bytes is not None:
            axes.axvline(tuned.budget.flash_bytes, color=ORANGE, linewidth=1, dashes=(4, 2))
        axes.set(xlabel="flash of the layers, bytes", ylabel=f"cycles a step ({tuned.tier.value})")
        axes.set_title(f"{tuned.rig}, {tuned.compiler}: dots grow with RAM (to {most:,} bytes), ring: chosen")
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.set_ylim(bottom=0)
        axes.grid(color=GRID)
        axes.tick_params(colors=MUTED)
        return as_svg(figure)


def kernels_svg(bench: KernelBench) -> str:
    """
    Sums at D = 32, H = 64 if that was measured, else at the largest shape; left at 0, right at 1 wait states.

    Above: cycles over active nonzero weights, with the line through them, as far as the event-driven ones reach.
    Below: cycles of dense values over the share of zeros.
    """
    shape = max(((c.case.inputs, c.case.units) for c in bench.costs), key=lambda s: (s == (32, 64), s))
    compiler = bench.costs[0].case.compiler
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 6.2), layout="constrained")
        panels = figure.subplots(2, 2, sharex="row", sharey="row")
        for column, waits in enumerate((0, 1)):
            wanted = (*shape, compiler, waits)
            mine = [c for c in bench.costs if c.update_cycles and wanted == _group(c)]
            _over_active(panels[0, column], mine)
            _over_zeros(panels[1, column], mine)
            panels[0, column].set_title(f"{waits} wait states ({bench.tier.value}, {compiler}), D, H = {shape}")
        return as_svg(figure)


def _group(cost: KernelCost) -> tuple[int, int, str, int]:
    return cost.case.inputs, cost.case.units, cost.case.compiler, cost.case.wait_states


def _over_active(axes: Axes, costs: Sequence[KernelCost]) -> None:
    least = min((cost.case.zeros for cost in costs), default=0.0)
    for cost, colour in zip((c for c in costs if c.case.zeros == least), _COLOURS, strict=False):
        x = np.array(active_weights(cost.case))
        fitted = line(cost)
        axes.plot(x, cost.cycles, ".", color=colour)
        axes.plot(x, fitted.slope * x + fitted.intercept, color=colour, linewidth=1, label=cost.case.title)
    visited = [max(cost.cycles) for cost in costs if len(set(cost.cycles)) > 1]
    axes.set_ylim(0, 1.3 * max(visited, default=max((max(cost.cycles) for cost in costs), default=1)))
    _axes(axes, f"active nonzero weights, {least:.0%} zeros", "linear")


def _over_zeros(axes: Axes, costs: Sequence[KernelCost]) -> None:
    for title, colour in zip(dict.fromkeys(cost.case.title for cost in costs), _COLOURS, strict=False):
        mine = [cost for cost in costs if cost.case.title == title]
        axes.plot([100 * c.case.zeros for c in mine], [c.cycles[-1] for c in mine], ".-", color=colour, label=title)
    _axes(axes, "zero weights, %; all columns active", "log")


def _axes(axes: Axes, what: str, scale: str) -> None:
    axes.set(xlabel=what, ylabel="cycles of the sums", yscale=scale)
    axes.grid(color=GRID)
    axes.legend(fontsize=7)


def as_svg(figure: Figure) -> str:
    """The file's text; equal figures give equal text."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "hil"}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
