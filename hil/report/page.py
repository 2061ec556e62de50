"""Results as a page that needs nothing else, and as JSON."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from hil.errors import UsageError
from hil.experiment.result import Result
from hil.report import plots
from hil.report.facts import WORTH, Fact, facts, first_difference, grouped, summary

_TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Plot:
    """One figure of the page: heading, caption, inline SVG."""

    title: str
    caption: str
    svg: Markup


def write_html(results: Result | Sequence[Result], path: Path) -> None:
    """
    Write a page with tables and plots; it refers to nothing outside itself.

    Args:
        results: One, or several to compare (rigs, compilers), in order of display.
        path: The file; a reader sees the old page or the new one, never a part.

    Raises:
        UsageError: No results, or the file cannot be written.
    """
    shown = (results,) if isinstance(results, Result) else tuple(results)
    if not shown:
        raise UsageError("a report needs at least one result: run `hil run MODEL` first")
    _write(path, _render(shown))


def write_json(result: Result, path: Path) -> None:
    """
    Write a result as JSON (read it with `hil.experiment.result.result_from_json`), whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    _write(path, result.to_json())


def _render(results: Sequence[Result]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        title=", ".join(dict.fromkeys(result.model for result in results)),
        results=results,
        names=_names(results),
        tables=[grouped(facts(result)) for result in results],
        comparison=_comparison(results) if len(results) > 1 else {},
        summaries=[summary(result) for result in results],
        plots=[list(_plots(result, f"r{i}")) for i, result in enumerate(results)],
        worth=WORTH,
        first_difference=first_difference,
        tiers=list(dict.fromkeys(result.tier for result in results)),
    )


def _names(results: Sequence[Result]) -> list[str]:
    """A heading for each result that tells it from the others."""
    parts = [(result.model, result.rig, result.compiler) for result in results]
    told = [i for i in range(3) if i == 1 or len({p[i] for p in parts}) > 1]
    return [", ".join(part[i] for i in told) for part in parts]


def _comparison(results: Sequence[Result]) -> dict[str, dict[str, list[Fact | None]]]:
    """By heading and line, one fact for each result, None where it has no such line."""
    tables = [{(fact.group, fact.name): fact for fact in facts(result)} for result in results]
    comparison: dict[str, dict[str, list[Fact | None]]] = {}
    for group, name in dict.fromkeys(key for table in tables for key in table):
        comparison.setdefault(group, {})[name] = [table.get((group, name)) for table in tables]
    return comparison


def _plots(result: Result, name: str) -> Iterator[Plot]:
    worth = f"Tier {result.tier.value}: {WORTH[result.tier]}."
    if result.curves:
        draw = functools.partial(plots.learning_curves, result.curves)
        yield _plot("Learning curves", "Accuracy and loss in training, on the host.", draw, f"{name}-curves")
    if result.confusion:
        draw = functools.partial(plots.confusion, result.confusion, result.labels)
        caption = "Test clips by true class (rows) and decision of the device (columns)."
        yield _plot("Confusion matrix", caption, draw, f"{name}-confusion")
    if result.cycles:
        yield _plot("Cost of each step", worth, functools.partial(plots.costs, result), f"{name}-costs")
    if result.trajectories:
        draw = functools.partial(plots.trajectories, result.trajectories)
        yield _plot("Device against twin", f"State of single units. {worth}", draw, f"{name}-states")


def _plot(title: str, caption: str, draw: Callable[[], Figure], name: str) -> Plot:
    # The SVG is matplotlib's, which escapes its texts.
    return Plot(title, caption, Markup(plots.svg(draw, name)))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
