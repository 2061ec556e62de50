"""The grid of a language model: on the terminal, as Markdown for its card, as the plot of both sparsities."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from statistics import mean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from hil.language.result import Combined, Grid, GridCell
from hil.report.plots import BLUE, GREEN, MUTED, ORANGE, PURPLE, RED, STYLE, THOUSANDS

BEGIN, END = "<!-- grid: made by `hil language grid`, do not edit -->", "<!-- end of grid -->"
_COLOURS = (BLUE, GREEN, ORANGE, RED, MUTED)
_LSTM = "lstm"
Rows = list[tuple[str, ...]]


def print_grid(grid: Grid, console: Console) -> None:
    """Both tables, and what they do not say."""
    for title, (head, *body) in _tables(grid):
        table = Table(
            title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False, collapse_padding=True
        )
        for i, heading in enumerate(head):
            table.add_column("\n".join(heading.split()), justify="right" if i else "left")
        for row in body:
            table.add_row(*row)
        console.print(table)
    for line in _lines(grid):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def markdown(grid: Grid) -> str:
    """What stands in a card between `BEGIN` and `END`, both included."""
    parts = [BEGIN, "", f"`{grid.command}`", ""]
    for title, (head, *body) in _tables(grid):
        parts += [f"{title}:", "", f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
        parts += [*(f"| {' | '.join(row)} |" for row in body), ""]
    return "\n".join([*parts, *(f"- {line}" for line in _lines(grid)), "", END]) + "\n"


def with_grid(card: str, grid: Grid) -> str:
    """A card with its grid replaced, or with one at its end."""
    block = markdown(grid)
    if BEGIN in card and END in card:
        return card[: card.index(BEGIN)] + block.rstrip("\n") + card[card.index(END) + len(END) :]
    return f"{card.rstrip()}\n\n## Results\n\n{block}"


def plot_svg(grid: Grid) -> str:
    """Perplexity over products, and products against what multiplying would leave; equal grids give equal text."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "hil"}):
        combined = grid.combined()
        figure = Figure(figsize=(8.6 if combined else 4.8, 3.9), layout="constrained")
        panels = figure.subplots(1, 2 if combined else 1, squeeze=False)[0]
        _draw_perplexity(panels[0], grid)
        if combined:
            _draw_combined(panels[1], grid, combined)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _draw_perplexity(axes: Axes, grid: Grid) -> None:
    for row, colour in _colours(grid).items():
        places = [grid.at(row, level) for level in grid.levels if grid.at(row, level)]
        x = [_mean(cells, "products") for cells in places]
        y = [_mean(cells, "valid_perplexity") for cells in places]
        axes.plot(x, y, "o-", color=colour, markersize=4, label=_title(grid, row))
        for cells in places:
            axes.plot([c.products for c in cells], [c.valid_perplexity for c in cells], ".", color=colour, markersize=3)
        for at, cells in zip(zip(x, y, strict=True), places, strict=True):
            axes.annotate(
                f"{100 * cells[0].level:g}", at, (3, 3), textcoords="offset points", fontsize=6.5, color=colour
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(THOUSANDS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("validation perplexity; numbers: % of weights that are 0")
    axes.set_xlabel("products a word in the recurrent layers (host)")


def _draw_combined(axes: Axes, grid: Grid, combined: Sequence[Combined]) -> None:
    colours = _colours(grid)
    ends = [100 * value for c in combined for value in (c.product, c.both)]
    low, high = 0.8 * min(ends), 1.25 * max(ends)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, dashes=(4, 2))
    for c in combined:
        axes.plot(100 * c.product, 100 * c.both, "o", color=colours[c.row], markersize=4)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_title("% of products that both leave; dashed: savings multiply")
    axes.set_xlabel("share of nonzero weights x share that activity leaves, %")


def _colours(grid: Grid) -> dict[str, str]:
    rows = [row for row in grid.rows if row != _LSTM]
    colours = {row: _COLOURS[i % len(_COLOURS)] for i, row in enumerate(rows)}
    return {**colours, _LSTM: PURPLE} if _LSTM in grid.rows else colours


def _title(grid: Grid, row: str) -> str:
    """Of a row: its cell, and how often units speak before anything is pruned."""
    if row == _LSTM:
        return "LSTM"
    cells = grid.at(row, 0.0)
    return f"EGRU, activity {100 * mean(mean(cell.activity) for cell in cells):.0f} %" if cells else row


def _tables(grid: Grid) -> Iterator[tuple[str, Rows]]:
    yield "Weight sparsity x activity (tier host)", _grid_rows(grid)
    if combined := grid.combined():
        yield "Do the savings multiply (tier host)", _combined_rows(combined)


def _grid_rows(grid: Grid) -> Rows:
    rows: Rows = [
        (
            "row",
            "zeros",
            "perplexity, valid./test",
            "activity, %",
            "nonzero weights",
            "products",
            "of dense, %",
            "with readout",
        )
    ]
    for row in grid.rows:
        for level in grid.levels:
            if not (cells := grid.at(row, level)):
                continue
            rows.append(
                (
                    row,
                    f"{100 * level:g} %",
                    f"{_mean(cells, 'valid_perplexity'):.1f}/{_mean(cells, 'test_perplexity'):.1f}",
                    "dense" if row == _LSTM else _activity(cells),
                    f"{_mean(cells, 'nonzero'):,.0f}",
                    f"{_mean(cells, 'products'):,.0f}",
                    f"{100 * _mean(cells, 'share'):.1f}",
                    f"{mean(cell.products + cell.readout.products for cell in cells):,.0f}",
                )
            )
    return rows


def _combined_rows(combined: Sequence[Combined]) -> Rows:
    rows: Rows = [
        (
            "row",
            "zeros",
            "activity leaves, %",
            "product, %",
            "both leave, %",
            "ratio",
            "loss, activity",
            "loss, zeros",
            "loss, sum",
            "loss, both",
        )
    ]
    for c in combined:
        shares = (c.activity_alone, c.product, c.both)
        losses = (c.activity_nats, c.weights_nats, c.activity_nats + c.weights_nats, c.both_nats)
        rows.append(
            (
                c.row,
                f"{100 * c.level:g} %",
                *(f"{100 * share:.1f}" for share in shares),
                f"{c.ratio:.2f}",
                *(f"{nats:+.3f}" for nats in losses),
            )
        )
    return rows


def _lines(grid: Grid) -> Iterator[str]:
    """What the tables do not say."""
    train, valid, test = grid.lengths
    first = grid.cells[0]
    yield (
        f"Seeds {', '.join(map(str, grid.seeds))}; {train:,} words to learn from, {valid:,} for validation, {test:,} "
        f"for testing, each of them predicted once; vocabulary {grid.words:,}. Every network has read the training "
        f"text {first.epochs:g} times, pruned or not."
    )
    yield f"Units: {_sizes(grid)}. Activity is that of each layer, input side first, on the test text."
    yield (
        "Products: nonzero weights that meet a nonzero input, counted column by column over the test text; word "
        "vectors and an LSTM's outputs count as dense. Zeros are of the recurrent layers' matrices. \"With readout\" "
        f"adds the word vectors, {first.readout.weights:,} weights, which are not pruned, by the events they meet."
    )
    yield f"The rule nonzero x density gives {_rule_error(grid)} of the products counted."
    if grid.combined():
        yield (
            "Product: what activity leaves x weights that are not 0; ratio: what both leave over that, 1 where savings "
            "multiply. Losses are differences of the validation loss (nats a word) to free activity without zeros; "
            "the perplexity grows by the factor exp(loss)."
        )
    spent = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in grid.seconds.items())
    yield f"Minutes of training on a shared core: {spent}."


def _sizes(grid: Grid) -> str:
    """Units and weights of each kind of cell."""
    found: dict[str, GridCell] = {}
    for cell in grid.cells:
        found.setdefault("LSTM" if cell.cell == "lstm" else "EGRU", cell)
    return "; ".join(
        f"{name} {' and '.join(map(str, cell.units))}, {cell.weights:,} weights in recurrent layers"
        for name, cell in found.items()
    )


def _rule_error(grid: Grid) -> str:
    ratios = [sum(matrix.rule for matrix in cell.matrices) / cell.products for cell in grid.cells if cell.products]
    return f"{100 * min(ratios):.0f} to {100 * max(ratios):.0f} %" if ratios else "nothing"


def _activity(cells: Sequence[GridCell]) -> str:
    """Of each layer in percent."""
    return "/".join(f"{100 * mean(layer):.1f}" for layer in zip(*(cell.activity for cell in cells), strict=True))


def _mean(cells: Sequence[GridCell], name: str) -> float:
    return float(mean(getattr(cell, name) for cell in cells))
