"""The results of a model over seeds and folds: on the terminal, as Markdown for its card, as a plot."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from hil.experiment.outcome import REFERENCE, Difference, Outcome
from hil.report.plots import BLUE, ORANGE, PURPLE, RED

BEGIN, END = "<!-- results: made by `hil results`, do not edit -->", "<!-- end of results -->"
_COLOURS = (PURPLE, RED, ORANGE, BLUE)
"""Float GRU, int8 GRU, the recipe's cell in floats and in integers."""


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Accuracies by fold and model, differences with their intervals, and what was run on the device."""
    tables = (
        (f"{outcome.model}: accuracy on the test clips, %", _accuracies(outcome)),
        (f"{outcome.model}: differences on the same clips", _differences(outcome)),
    )
    for title, (head, *body) in tables:
        table = Table(title=title, title_justify="left")
        for i, heading in enumerate(head):
            table.add_column(heading, justify="right" if i else "left")
        for row in body:
            table.add_row(*row)
        console.print(table)
    for line in _lines(outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def markdown(outcome: Outcome) -> str:
    """What stands in a card between `BEGIN` and `END`, both included."""
    parts = [BEGIN, "", f"`{outcome.command}`", "", *markdown_table(_accuracies(outcome)), ""]
    parts += [*markdown_table(_differences(outcome)), "", *bullets(_lines(outcome)), "", END]
    return "\n".join(parts) + "\n"


def with_results(card: str, outcome: Outcome) -> str:
    """A card with its results replaced, or with results at its end."""
    block = markdown(outcome)
    if BEGIN in card and END in card:
        return card[: card.index(BEGIN)] + block.rstrip("\n") + card[card.index(END) + len(END) :]
    return f"{card.rstrip()}\n\n## Results\n\n{block}"


def plot_svg(outcome: Outcome) -> str:
    """Each training as a point, folds side by side, bars at the means; equal outcomes give equal text."""
    figure = Figure(figsize=(max(4.8, 1.1 * len(outcome.folds) + 2), 3.0), layout="constrained")
    axes = figure.add_subplot()
    models = outcome.models
    for j, model in enumerate(models):
        colour = _COLOURS[j % len(_COLOURS)]
        for i, fold in enumerate(outcome.folds):
            x = i + (j - (len(models) - 1) / 2) * 0.8 / len(models)
            values = [100 * run.accuracy[model] for run in outcome.runs if run.fold == fold]
            mean = sum(values) / len(values)
            axes.plot([x] * len(values), values, "o", color=colour, markersize=3.5, alpha=0.7)
            label = model if i == 0 else None
            axes.plot([x - 0.1, x + 0.1], [mean, mean], color=colour, linewidth=2.0, label=label)
    axes.set_xticks(range(len(outcome.folds)), [fold or "test set" for fold in outcome.folds])
    axes.set_title("accuracy, %: points are seeds, bars their mean", loc="left", fontsize=9)
    axes.grid(axis="y", linewidth=0.4)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(models), frameon=False, fontsize=8)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "hil", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _accuracies(outcome: Outcome) -> list[tuple[str, ...]]:
    """Head, a row for each fold, the mean, and each seed's mean."""
    models = outcome.models
    rows = [("", "clips", *models)]
    clips = {run.fold: run.clips for run in outcome.runs}
    if len(outcome.folds) > 1:
        for fold in outcome.folds:
            rows.append((fold, str(clips[fold]), *(_percent(outcome.accuracy(m, fold)) for m in models)))
    rows.append(("mean", str(sum(clips.values())), *(_percent(outcome.accuracy(m)) for m in models)))
    for i, seed in enumerate(outcome.seeds):
        rows.append((f"seed {seed}", "", *(_percent(outcome.seed_accuracies(m)[i]) for m in models)))
    return rows


def _differences(outcome: Outcome) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (f"minus {REFERENCE}, points", "mean", "95 %, clips and seeds", f"95 %, {_spread(outcome.differences)}")
    ]
    for d in outcome.differences:
        over = interval(d.t_low, d.t_high) if d.spread else "-"
        rows.append((d.model, points_of(d.mean), interval(d.low, d.high), over))
    return rows


def _spread(differences: Sequence[Difference]) -> str:
    return next((f"t over {d.spread}" for d in differences if d.spread), "t")


def _lines(outcome: Outcome) -> Iterator[str]:
    """What the tables do not say."""
    runs = len(outcome.runs)
    what = "clips by the vote of their windows" if outcome.voted else "clips"
    seeds = ", ".join(map(str, outcome.seeds))
    folds = f" on each of {len(outcome.folds)} folds" if len(outcome.folds) > 1 else ""
    yield f"{runs} trainings of each model: seeds {seeds}{folds}; accuracy of {what}, all models on the same ones."
    yield (
        "Intervals: a bootstrap over clips and seeds within the folds (10,000 replicates), and Student's t over "
        f"the {outcome.differences[0].spread or 'seeds'} (hil/experiment/paired.py says why both)."
    )
    epochs = ", ".join(f"{model} {count}" for model, count in outcome.epochs.items())
    yield f"Epochs in all stages together: {epochs}."
    sizes = ", ".join(f"{model} {size:,}" for model, size in outcome.parameter_bytes.items())
    fewer = f"the {outcome.quantized}'s are {outcome.ratio:.1f} times fewer than the float GRU's"
    yield f"Parameter bytes: {sizes}; {fewer}."
    yield from _device_lines(outcome)
    yield from outcome.notes


def _device_lines(outcome: Outcome) -> Iterator[str]:
    of = outcome.quantized
    yield f"The {of}'s outputs are those of its integer twin, equal to the last bit to the network in training."
    checked = [run for run in outcome.runs if run.device_clips]
    if not checked:
        return
    steps, exact = sum(r.device_steps for r in checked), sum(r.device_steps_exact for r in checked)
    clips, outputs = sum(r.device_clips for r in checked), sum(r.device_outputs_exact for r in checked)
    yield (
        f"Twin against device ({outcome.rig}, {outcome.tier.value}), {clips:,} sequences of {len(checked)} artefacts: "
        f"bit-exact {exact:,} of {steps:,} steps, {outputs:,} of {clips:,} outputs."
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *body = rows
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in body:
        yield f"| {' | '.join(row)} |"


def bullets(lines: Iterator[str]) -> Iterator[str]:
    return (f"- {line}" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def points_of(share: float) -> str:
    return f"{100 * share:+.2f}"


def interval(low: float, high: float) -> str:
    return f"{points_of(low)} to {points_of(high)}"
