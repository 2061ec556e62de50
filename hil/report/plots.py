"""Plots as inline SVG whose colours are the page's."""

from __future__ import annotations

import io
import re
import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hil.experiment.result import Epoch, Result, Trajectory
from hil.report.facts import unit

INK, MUTED, GRID = "#1b1f24", "#626b76", "#d9dee4"
BLUE, ORANGE, PURPLE, GREEN, RED = "#1f6fd6", "#d0690c", "#8250c8", "#178a63", "#c8303c"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    BLUE: "--blue",
    ORANGE: "--orange",
    PURPLE: "--purple",
    GREEN: "--green",
    RED: "--red",
}
"""Each colour of a plot and the page's variable that replaces it."""

MODEL_COLOURS = {"float GRU": PURPLE, "float eGRU": ORANGE, "quantized eGRU": BLUE, "device": BLUE}
MODEL_COLOURS |= {"int8 GRU": PURPLE, "float event eGRU": ORANGE, "quantized event eGRU": BLUE}
OTHER_COLOURS = (GREEN, MUTED, RED)

WIDTH_IN = 4.8
TRACE_POINTS = 300
"""A longer run is drawn as the range of so many pieces."""
HISTOGRAM_BINS = 40
MAX_TRAJECTORIES = 4
LABEL_SPACE = 130
"""Font size times number of classes that fits along the confusion matrix."""
LOG_RATIO = 50
"""Counts that differ by more than this are drawn on a logarithmic scale."""

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.0,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def learning_curves(curves: dict[str, tuple[Epoch, ...]]) -> Figure:
    """Validation accuracy (strong), training accuracy (thin) and loss over the epochs of each model."""
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    accuracy, loss = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for colour, (model, epochs) in zip(_colours(curves), curves.items(), strict=True):
        x = [e.epoch for e in epochs]
        accuracy.plot(x, [100 * e.validation_accuracy for e in epochs], color=colour, label=_plain(model))
        accuracy.plot(
            x, [100 * e.train_accuracy for e in epochs], color=colour, linewidth=0.8, alpha=0.6, dashes=(3, 2)
        )
        loss.plot(x, [e.loss for e in epochs], color=colour)
    accuracy.set_ylim(top=101)
    accuracy.set_title("accuracy, %: validation (solid), training (dashed)")
    loss.set_title("mean training loss")
    if all(e.loss > 0 for epochs in curves.values() for e in epochs):
        loss.set_yscale("log")
    loss.grid(visible=False, axis="x", which="both")
    loss.set_xlabel("epoch")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> Figure:
    """Rows are true classes; right decisions blue, wrong ones orange, darker with their share of the row."""
    table = np.array(counts)
    size = len(labels)
    figure = Figure(figsize=(WIDTH_IN, WIDTH_IN * 0.9), layout="constrained")
    axes = figure.subplots()
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for row, column in zip(*np.nonzero(table), strict=True):
        _cell(axes, int(row), int(column), int(table[row, column]), float(share[row, column]), size)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="decision of the device", ylabel="true class")
    names = [_plain(label) for label in labels]
    small = min(8.0, LABEL_SPACE / size)
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(size), names, fontsize=small)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for edge in np.arange(size + 1) - 0.5:
        axes.axhline(edge, color=GRID, linewidth=0.5)
        axes.axvline(edge, color=GRID, linewidth=0.5)
    return figure


def costs(result: Result) -> Figure:
    """Every step in order of execution, and how often each count occurred."""
    values = np.array(result.cycles)
    figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    trace, histogram = figure.subplots(1, 2, sharey=True, width_ratios=(5, 2))
    _draw_trace(trace, values)
    _draw_histogram(histogram, values)
    median = statistics.median(result.cycles)
    for axes in (trace, histogram):
        axes.axhline(median, color=ORANGE, linewidth=1, dashes=(4, 2))
    trace.set(xlabel="step, in order of execution")
    trace.set_title(f"{unit(result.tier)} a step ({result.tier.value}), median dashed")
    margin = max(2.0, 0.08 * float(np.ptp(values)))
    trace.set_ylim(values.min() - margin, values.max() + margin)
    trace.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    trace.yaxis.set_major_formatter(THOUSANDS)
    return figure


def trajectories(shown: Sequence[Trajectory]) -> Figure:
    """Device over twin for single units; steps that differ are marked."""
    shown = shown[:MAX_TRAJECTORIES]
    figure = Figure(figsize=(WIDTH_IN, 0.7 + 1.35 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, trajectory in zip(panels, shown, strict=True):
        _draw_trajectory(axes, trajectory)
    panels[-1].set_xlabel("time step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3)
    return figure


def svg(draw: Callable[[], Figure], name: str) -> str:
    """
    Draw a figure as an inline SVG element.

    Args:
        draw: Makes the figure; called with this module's style in force.
        name: Distinguishes its ids from those of other figures of the page.

    Returns:
        ``<svg ...>...</svg>`` that refers to nothing outside itself and takes its colours
        from the page's variables.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser draws the text with its own fonts; that matplotlib's lacks a glyph does not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = draw()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(text.getvalue(), name)


def _inline(document: str, name: str) -> str:
    text = document[document.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    head = re.sub(r' (?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", head)
    text = f'{head} role="img">{body}'.replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def _plain(label: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign begins no formula."""
    return label.replace("$", r"\$")


def _colours(models: Iterable[str]) -> list[str]:
    others = cycle(OTHER_COLOURS)
    return [MODEL_COLOURS.get(model) or next(others) for model in models]


def _cell(axes: Axes, row: int, column: int, count: int, share: float, size: int) -> None:
    colour = BLUE if row == column else ORANGE
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=0.12 + 0.88 * share, linewidth=0))
    text = "#ffffff" if share > 0.5 else INK
    axes.text(column, row, str(count), color=text, ha="center", va="center", fontsize=min(8.0, LABEL_SPACE / size))


def _draw_trace(axes: Axes, values: npt.NDArray[np.int64]) -> None:
    if values.size <= TRACE_POINTS:
        axes.plot(np.arange(values.size), values, color=BLUE, linewidth=0.9)
        return
    edges = np.linspace(0, values.size, TRACE_POINTS + 1).astype(int)
    pieces = [values[a:b] for a, b in pairwise(edges)]
    low, middle, high = (np.array([f(p) for p in pieces]) for f in (np.min, np.median, np.max))
    axes.fill_between(edges[:-1], low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(edges[:-1], middle, color=BLUE, linewidth=0.9)
    axes.xaxis.set_major_formatter(THOUSANDS)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))


def _draw_histogram(axes: Axes, values: npt.NDArray[np.int64]) -> None:
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= HISTOGRAM_BINS:
        height = max(0.8, float(np.ptp(values)) / 80)
        axes.barh(distinct, counts, height=height, color=BLUE)
    else:
        counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
        axes.barh(edges[:-1], counts, height=np.diff(edges), align="edge", color=BLUE)
    filled = counts[counts > 0]
    if filled.max() > LOG_RATIO * filled.min():
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
        axes.xaxis.set_major_formatter(THOUSANDS)
    axes.set_xlabel("steps")
    axes.grid(visible=False, axis="x", which="both")
    axes.tick_params(axis="y", length=0)


def _draw_trajectory(axes: Axes, trajectory: Trajectory) -> None:
    twin, device = (np.array(q15) / 32768 for q15 in (trajectory.twin_q15, trajectory.device_q15))
    steps = np.arange(1, twin.size + 1)
    axes.plot(steps, twin, color=ORANGE, linewidth=4, alpha=0.45, label="twin")
    axes.plot(np.arange(1, device.size + 1), device, color=BLUE, linewidth=1.1, label="device")
    shared = min(twin.size, device.size)
    wrong = np.flatnonzero(twin[:shared] != device[:shared])
    if wrong.size:
        axes.plot(steps[wrong], device[wrong], "o", color=RED, markersize=3, label="differs")
    largest = int(np.abs(np.rint(32768 * (twin[:shared] - device[:shared]))).max(initial=0))
    axes.set_title(f"{_plain(trajectory.label)}: largest difference {largest:,} LSB of Q15")
