"""A recipe along one of its values: on the terminal, as Markdown for a card, as a plot."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from hil.experiment.curve_outcome import Curve, CurveRun, averaged, layer_activity
from hil.report.plots import BLUE, ORANGE
from hil.report.results import bullets, interval, markdown_table, points_of

_END = "<!-- end of curve -->"
_Of = Callable[[CurveRun], float]


def print_curve(curve: Curve, console: Console) -> None:
    """The table in two, and what it does not say."""
    rows = _rows(curve)
    titles = (f"{curve.recipe} beside {curve.model}: accuracy on the test clips", "its work and cycles")
    for title, columns in zip(titles, (slice(1, 4), slice(4, None)), strict=True):
        table = Table(title=title, title_justify="left")
        for i, heading in enumerate((rows[0][0], *rows[0][columns])):
            table.add_column(heading, justify="right" if i else "left")
        for row in rows[1:]:
            table.add_row(row[0], *row[columns])
        console.print(table)
    for line in _lines(curve):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def curve_markdown(curve: Curve, stem: str) -> str:
    """What stands in a card for the recipe file ``stem``.toml, its marks included."""
    parts = [_begin(stem), "", f"`{curve.command}`", "", *markdown_table(_rows(curve)), ""]
    return "\n".join([*parts, *bullets(_lines(curve)), "", _END]) + "\n"


def with_curve(card: str, curve: Curve, stem: str) -> str:
    """A card with this curve replaced, or with a section for it at its end."""
    block, begin = curve_markdown(curve, stem), _begin(stem)
    if begin in card:
        start = card.index(begin)
        return card[:start] + block.rstrip("\n") + card[card.index(_END, start) + len(_END) :]
    return f"{card.rstrip()}\n\n## {curve.recipe}\n\n{block}\n![Accuracy and cycles]({stem}.svg)\n"


def curve_svg(curve: Curve) -> str:
    """Accuracy against what varies, and cycles against effective products; equal curves give equal text."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    by_zeros = curve.varied.startswith("prune.")
    axis, title = (_zeros, "weights that are 0, %") if by_zeros else (_activity, "units that speak in a step, %")
    _plot(left, curve, axis, _accuracy, title, "accuracy, %: points are trainings")
    if any(run.cycles for run in curve.dense):
        _plot(right, curve, _macs, _cycles, "effective multiply-accumulates a step", "cycles a step")
        right.set_xlim(left=0)
        right.set_ylim(bottom=0)
    else:
        right.set_axis_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "hil", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _plot(axes: Axes, curve: Curve, x_of: _Of, y_of: _Of, x_title: str, title: str) -> None:
    series = ((curve.model, ORANGE, [curve.dense]), (curve.recipe, BLUE, [point.runs for point in curve.points]))
    for name, colour, groups in series:
        means = []
        for runs in groups:
            xs, ys = [x_of(run) for run in runs], [y_of(run) for run in runs]
            axes.plot(xs, ys, "o", color=colour, markersize=3, alpha=0.5)
            means.append((sum(xs) / len(xs), sum(ys) / len(ys)))
        means.sort()
        axes.plot(*zip(*means, strict=True), "s-", color=colour, markersize=4, linewidth=1.2, label=name)
    axes.set_xlabel(x_title, fontsize=8)
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(linewidth=0.4)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _accuracy(run: CurveRun) -> float:
    return 100 * run.accuracy


def _activity(run: CurveRun) -> float:
    return 100 * sum(run.activity) / len(run.activity)


def _zeros(run: CurveRun) -> float:
    return 100 * run.zeros


def _macs(run: CurveRun) -> float:
    return run.macs


def _cycles(run: CurveRun) -> float:
    return run.cycles


def _begin(stem: str) -> str:
    return f"<!-- curve of {stem}.toml: made by `hil curve`, do not edit -->"


def _rows(curve: Curve) -> list[tuple[str, ...]]:
    """Head, the model's own network, and each point."""
    measured = any(run.cycles for run in curve.dense)
    head = ("", "accuracy %", f"minus {curve.model}, points", "95 %, clips and seeds", "activity by layer %", "zeros %")
    rows = [(*head, "effective MACs a step", *(("cycles a step", "cycles a MAC", "of its cycles %") * measured))]
    rows.append((curve.model, *_cells(curve, curve.dense, "", "")))
    for point in curve.points:
        d = point.difference
        name = f"{curve.varied} = {point.value}" if curve.varied else curve.recipe
        rows.append((name, *_cells(curve, point.runs, points_of(d.mean), interval(d.low, d.high))))
    return rows


def _cells(curve: Curve, runs: Sequence[CurveRun], mean: str, over: str) -> tuple[str, ...]:
    activity = ", ".join(f"{100 * share:.1f}" for share in layer_activity(runs))
    macs, cycles = averaged(runs, "macs"), averaged(runs, "cycles")
    cells = (f"{100 * averaged(runs, 'accuracy'):.1f}", mean, over, activity, f"{100 * averaged(runs, 'zeros'):.1f}")
    if not cycles:
        return (*cells, f"{macs:,.0f}")
    share = 100 * cycles / averaged(curve.dense, "cycles")
    return (*cells, f"{macs:,.0f}", f"{cycles:,.0f}", f"{cycles / macs:.2f}", f"{share:.0f}")


def _lines(curve: Curve) -> Iterator[str]:
    seeds = ", ".join(map(str, curve.seeds))
    folds = f" on each of the folds {', '.join(curve.folds)}" if len(curve.folds) > 1 else ""
    clips = sum({run.fold: run.clips for run in curve.dense}.values())
    yield (
        f"Seeds {seeds}{folds}, {clips} test clips, {curve.epochs} epochs in all stages of every training; differences "
        f"are paired by clip and seed, intervals as in [docs/results.md](../../docs/results.md)."
    )
    units = ", ".join(map(str, curve.hidden))
    dense, first = curve.dense[0], curve.points[0].runs[0]
    yield (
        f"{curve.recipe}: {units} units, {first.weights:,} weights in the recurrent layers ({curve.model} "
        f"{dense.weights:,}); its accuracies are those of the integer twin, "
        "equal to the last bit to the network in training."
    )
    yield (
        "Activity: outputs of a layer that are not 0. Effective MACs: weights that are not 0 times the density of "
        "their inputs, recurrent layers (docs/training.md)."
    )
    everything = [*curve.dense, *(run for point in curve.points for run in point.runs)]
    if steps := sum(run.device_steps for run in everything):
        exact = sum(run.device_steps_exact for run in everything)
        yield (
            f"Cycles: mean of a step, {dense.rig}, tier `{dense.tier.value}`, {dense.compiler}, kernels of the "
            f"recipe's [build] for both; bit-exact {exact:,} of {steps:,} steps of {len(everything)} artefacts."
        )
