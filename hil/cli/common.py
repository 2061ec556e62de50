"""What the commands share: options, examples in their help, the recipe and the folder that they work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hil.cli.options import rig_option
from hil.errors import UsageError, suggest

if TYPE_CHECKING:
    from hil.experiment.workspace import Workspace
    from hil.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

DEMO_MODEL = "keyword-demo"

MODEL = click.argument("model")
OUT = click.option("--out", type=click.Path(path_type=Path), help="Folder for results.  [default: build/NAME]")
FORCE = click.option("--force", is_flag=True, help="Do stages again even if nothing has changed.")
TRAININGS = click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Trainings at once.")
TENSORBOARD = click.option(
    "--tensorboard", type=click.Path(path_type=Path, file_okay=False), help="Folder for learning curves (TensorBoard)."
)
RIG = rig_option
RIG_FILE = click.option("--rig", default="emulator", show_default=True, help="Name (see `hil rigs`) or a .toml file.")
COMPILER = click.option(
    "--compiler",
    type=click.Choice(["gcc", "zig"]),
    help="arm-none-eabi-gcc, or clang from the ziglang wheel.  [default: gcc if it is on PATH]",
)
FAST_LOAD = click.option(
    "--fast-load", is_flag=True, help="Write into the emulated chip's memory directly, not through pyOCD."
)
DEBUG = click.option("--debug", is_flag=True, expose_value=False, help="Show where in the code an error came from.")


def options(*added: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options in their order, and --debug."""

    def add(function: F) -> F:
        for option in reversed((*added, DEBUG)):
            function = option(function)
        return function

    return add


def examples(*lines: str) -> str:
    """An epilog that click does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def find_recipe(model: str) -> Recipe:
    """
    The recipe of a folder, a file, or a shipped model's name.

    Raises:
        UsageError: There is none; the nearest name is suggested.
    """
    from hil.recipe import load_recipe

    return load_recipe(model_folder(model))


def model_folder(model: str) -> Path:
    """Where `find_recipe` looks: the folder (or recipe file) given, or a shipped model's.  Raises as there."""
    from hil.recipe import RECIPE_FILE
    from hil.resources import resource

    shipped = {path.parent.name: path.parent for path in resource("models").glob(f"*/{RECIPE_FILE}")}
    if not Path(model).exists():
        name = model.removeprefix("models/").rstrip("/")
        if name in shipped:
            return shipped[name]
        if "/" not in name:
            known = ", ".join(sorted(shipped))
            raise UsageError(f"no model {model!r}{suggest(name, shipped)}; give a recipe folder, or one of {known}")
    return Path(model)


@contextmanager
def device_workspace(model: str, recipe: Recipe, out: Path | None, force: bool) -> Iterator[Workspace]:
    """As `workspace`; if nothing was trained there, with the artefact that the model's folder ships."""
    from hil.experiment.shipped import with_shipped

    with workspace(recipe, out, force) as ws:
        yield with_shipped(ws, model_folder(model))


def find_events(model: str) -> Recipe | None:
    """The recipe of the event eGRU in a model's folder, if there is one.  Raises `UsageError` as `find_recipe`."""
    from hil.experiment.beside import EVENTS_FILE
    from hil.recipe import load_recipe

    path = model_folder(model) / EVENTS_FILE  # never beside a recipe that was named as a file
    return load_recipe(path) if path.is_file() else None


@contextmanager
def workspace(recipe: Recipe, out: Path | None, force: bool) -> Iterator[Workspace]:
    """The folder of a recipe's results, locked."""
    with opened(out or Path("build") / recipe.name, force) as ws:
        yield ws


@contextmanager
def opened(folder: Path, force: bool) -> Iterator[Workspace]:
    """A folder of results, locked, with progress on stderr."""
    from hil.cli.progress import make_progress
    from hil.experiment.workspace import Workspace

    ws = Workspace(folder, make_progress(), force)
    with ws.locked():
        yield ws
