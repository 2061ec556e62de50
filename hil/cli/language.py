"""``hil language``: language models on the host, weight sparsity x activity."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import FORCE, MODEL, OUT, examples, options
from hil.errors import UsageError, suggest

if TYPE_CHECKING:
    from hil.experiment.workspace import Workspace
    from hil.language.recipe import LanguageRecipe
    from hil.language.result import Grid

GRID, PLOT = "grid.json", "grid.svg"


@click.group(
    name="language",
    short_help="Language models on the host: weight sparsity x activity",
    epilog=examples("hil language show ptb", "hil data get ptb && hil language grid ptb"),
)
def language() -> None:
    """
    Language models of EGRU and LSTM layers: perplexity and products a word over weight sparsity and activity.

    On the host only: nothing of them runs on a device. MODEL is a folder with a language.toml, such as models/ptb, or
    the name of one that is shipped.
    """


@language.command(
    short_help="Train, prune, score",
    epilog=examples(
        "hil language grid models/ptb",
        "hil language grid ptb --row lstm --row egru-10     # some rows; others may run elsewhere at the same time",
        "hil language grid ptb --seeds 3 --publish",
    ),
)
@options(MODEL, OUT, FORCE)
@click.option("--row", "rows", multiple=True, help="Only this row of the grid; may be repeated.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="How many, from the recipe's on."
)
@click.option("--publish", is_flag=True, help="Also put the table and the plot into the recipe's folder.")
def grid(model: str, out: Path | None, force: bool, rows: tuple[str, ...], seeds: int, publish: bool) -> None:
    """
    Train each row of the grid, branch off every share of zeros, and score validation and test text.

    Rows are an LSTM and an EGRU for each target of activity. After Ctrl-C the same command goes on after the last
    pass, and ends with the bits it would have ended with; --force begins anew.
    """
    from hil.cli.progress import make_progress
    from hil.experiment.language import choose_rows, make_rows, read_grid, rows_of
    from hil.experiment.workspace import Workspace

    folder, recipe = _find(model)
    ws = Workspace(out or Path("build") / recipe.name, make_progress(), force)
    numbers = tuple(range(recipe.train.seed, recipe.train.seed + seeds))
    make_rows(recipe, ws, choose_rows(recipe, rows), numbers)
    command = f"hil language grid {shlex.quote(recipe.name)}" + (f" --seeds {seeds}" if seeds > 1 else "")
    found = read_grid(recipe, ws, tuple(rows_of(recipe)), numbers, command)
    _write(found, ws.folder, ws)
    _show(found)
    if publish:
        _publish(found, folder, ws)


@language.command(short_help="Table of a grid", epilog=examples("hil language show ptb"))
@options(MODEL, OUT)
def show(model: str, out: Path | None) -> None:
    """Print the grid that was made last, else the one that the model's folder ships."""
    from hil.language.result import grid_from_json

    folder, recipe = _find(model)
    paths = [(out or Path("build") / recipe.name) / GRID, folder / GRID]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UsageError(f"{paths[0]}: no grid here. Make it: `hil language grid {model}`")
    click.echo(f"{path}", err=True)
    _show(grid_from_json(path.read_text(encoding="utf-8"), path))


def _find(model: str) -> tuple[Path, LanguageRecipe]:
    """Folder and recipe, of a folder, a file, or a shipped model's name.  Raises `UsageError` with the nearest name."""
    from hil.language.recipe import LANGUAGE_FILE, load_language_recipe
    from hil.resources import resource

    shipped = {path.parent.name: path.parent for path in resource("models").glob(f"*/{LANGUAGE_FILE}")}
    path = Path(model)
    if not path.exists():
        name = model.removeprefix("models/").rstrip("/")
        if name not in shipped:
            raise UsageError(
                f"no language model {model!r}{suggest(name, shipped)}; give a folder with a {LANGUAGE_FILE}, or one of "
                f"{', '.join(sorted(shipped)) or 'none that are shipped'}"
            )
        path = shipped[name]
    return (path.parent if path.is_file() else path), load_language_recipe(path)


def _write(found: Grid, folder: Path, ws: Workspace) -> None:
    from hil.experiment.workspace import write_text
    from hil.report.language import plot_svg

    write_text(folder / GRID, found.to_json())
    write_text(folder / PLOT, plot_svg(found))
    ws.progress.say(f"grid: {folder / GRID}, {PLOT}")


def _publish(found: Grid, folder: Path, ws: Workspace) -> None:
    from hil.experiment.workspace import write_text
    from hil.report.language import with_grid

    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {found.model}\n"
    write_text(card, with_grid(text, found))
    _write(found, folder, ws)


def _show(found: Grid) -> None:
    from rich.console import Console

    from hil.report.language import print_grid

    print_grid(found, Console())
