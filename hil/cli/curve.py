"""``hil curve``: another recipe of a model along one of its values, beside the model's own network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import (
    COMPILER,
    FAST_LOAD,
    FORCE,
    MODEL,
    OUT,
    RIG,
    examples,
    find_recipe,
    model_folder,
    opened,
    options,
)
from hil.errors import UsageError, suggest

if TYPE_CHECKING:
    from hil.experiment.curve_outcome import Curve
    from hil.experiment.workspace import Workspace
    from hil.rig import RigRequest


@click.command(
    short_help="A recipe along one of its values",
    epilog=examples(
        "hil curve speech-commands pruned --vary prune.sparsity=0.5,0.7,0.9",
        "hil curve speech-commands events --vary events.activity=0.15,0.05 --seeds 5",
        "hil curve models/fsdd-digits events --folds 1,2 --device-clips 0 --publish",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.argument("recipe", metavar="RECIPE")
@click.option("--vary", help="TABLE.KEY=VALUE,VALUE: a point for each.  [default: the recipe as it stands]")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="From the model's on.")
@click.option(
    "--folds", default="all", show_default=True, help='"all", "own" (the recipe\'s), or some by name or number.'
)
@click.option(
    "--device-clips",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Test clips of each artefact that go through the rig: cycles, and every step compared with the twin.",
)
@click.option("--publish", is_flag=True, help="Also put table, plot and RECIPE.json into the model's folder.")
def curve(
    model: str,
    recipe: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    fast_load: bool,
    vary: str | None,
    seeds: int,
    folds: str,
    device_clips: int,
    publish: bool,
) -> int:
    """
    Accuracy, zeros, activity, products and cycles of RECIPE, a file beside MODEL's, with equal epochs and seeds.

    Everything is beside MODEL's own quantized network, on the same clips, with the same kernels. Both are trained in
    build/NAME/results, where `hil results` trains too; what is finished is kept, and after Ctrl-C the same command goes
    on. RECIPE.json, RECIPE.md and RECIPE.svg lie there.
    """
    from rich.console import Console

    from hil.cli.commands import check_bench
    from hil.experiment.curve import make_curve, parse_vary
    from hil.experiment.results import Bench, choose_folds
    from hil.recipe import load_recipe
    from hil.report.curve import print_curve

    own, path = find_recipe(model), _recipe_file(model, recipe)
    other = load_recipe(path)
    varied = parse_vary(vary, other) if vary else None
    chosen = choose_folds(own, folds)
    if device_clips:
        check_bench(rig, compiler, fast_load)
    command = shlex.join(["hil", "curve", own.name, path.stem, *(["--vary", vary] if vary else [])])
    command += f" --seeds {seeds}" + ("" if folds == "all" else f" --folds {folds}")
    bench = Bench(rig, compiler, fast_load, device_clips)
    with opened(out or Path("build") / own.name / "results", force) as ws:
        done = make_curve(own, other, path.stem, ws, chosen, seeds, bench, varied, command=command)
        _write(done, path.stem, ws.folder)
        print_curve(done, Console())
        ws.progress.say(f"curve: {ws.path(path.stem)}.json, .md, .svg")
        if publish:
            _publish(done, path.stem, model_folder(model), ws)
    return 0 if done.device_exact else 1


def _recipe_file(model: str, recipe: str) -> Path:
    """The file beside the model's recipe, with or without its suffix.  Raises `UsageError`."""
    folder = model_folder(model)
    if folder.suffix == ".toml":
        raise UsageError(f"{folder}: give the model's folder; RECIPE is a file in it")
    path = folder / (recipe if recipe.endswith(".toml") else f"{recipe}.toml")
    if not path.is_file():
        others = sorted(p.stem for p in folder.glob("*.toml") if p.name != "recipe.toml")
        raise UsageError(f"{path}: no such recipe{suggest(recipe, others)}. There are {', '.join(others) or 'none'}")
    return path


def _write(done: Curve, stem: str, folder: Path) -> None:
    from hil.experiment.workspace import write_text
    from hil.report.curve import curve_markdown, curve_svg

    write_text(folder / f"{stem}.json", done.to_json())
    write_text(folder / f"{stem}.md", curve_markdown(done, stem))
    write_text(folder / f"{stem}.svg", curve_svg(done))


def _publish(done: Curve, stem: str, folder: Path, ws: Workspace) -> None:
    from hil.experiment.workspace import write_text
    from hil.report.curve import curve_svg, with_curve

    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {done.model}\n"
    write_text(card, with_curve(text, done, stem))
    write_text(folder / f"{stem}.json", done.to_json())
    write_text(folder / f"{stem}.svg", curve_svg(done))
    ws.progress.say(f"published in {folder}: {stem}.json, {stem}.svg, the table in README.md")
