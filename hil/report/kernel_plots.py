"""Plots of kernels: what a model's layers cost by kernel, cycles over active weights."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hil.experiment.tune_stages import Tuned
from hil.report.plots import BLUE, GRID, MUTED, ORANGE, STYLE

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


def as_svg(figure: Figure) -> str:
    """The file's text; equal figures give equal text."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "hil"}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
