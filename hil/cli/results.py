"""``hil results``: a recipe over seeds and folds."""

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
    TRAININGS,
    examples,
    find_recipe,
    model_folder,
    options,
)

if TYPE_CHECKING:
    from hil.experiment.outcome import Outcome
    from hil.experiment.workspace import Workspace
    from hil.recipe import Recipe
    from hil.rig import RigRequest

RESULTS, CARD, PLOT = "results.json", "results.md", "results.svg"


@click.command(
    short_help="Seeds, folds, paired differences",
    epilog=examples(
        "hil results models/speech-commands --seeds 5",
        "hil results fsdd-digits --seeds 3 --folds all --jobs 1",
        "hil results esc10 --folds 1,2 --device-clips 0",
        "hil results models/esc10 --publish",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, TRAININGS, FAST_LOAD)
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="From the recipe's on.")
@click.option(
    "--folds",
    default="all",
    show_default=True,
    help='"all", "own" (the recipe\'s), or some by name or number: 1,3. Without meaning where there are no folds.',
)
@click.option(
    "--device-clips",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Test clips of each training that go through the rig, to show that device and twin are one.",
)
@click.option(
    "--publish",
    is_flag=True,
    help="Also put the table, the plot, the artefact and its test vectors into the recipe's folder.",
)
def results(
    model: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    jobs: int,
    fast_load: bool,
    seeds: int,
    folds: str,
    device_clips: int,
    publish: bool,
) -> int:
    """
    Float GRU, float eGRU and quantized eGRU with several seeds on all folds, compared on the same test clips.

    Finished trainings are kept: after Ctrl-C the same command goes on. The table, results.json, results.md and
    results.svg lie in build/NAME/results.
    """
    from rich.console import Console

    from hil.cli.commands import check_bench
    from hil.cli.common import opened
    from hil.experiment.results import Bench, choose_folds, make_results, require_own
    from hil.report.results import print_outcome

    recipe = find_recipe(model)
    chosen = choose_folds(recipe, folds)
    if publish:
        require_own(recipe, chosen)
    if device_clips:
        check_bench(rig, compiler, fast_load)
    bench = Bench(rig, compiler, fast_load, device_clips)
    command = f"hil results {shlex.quote(recipe.name)} --seeds {seeds}" + (
        "" if folds == "all" else f" --folds {folds}"
    )
    with opened(out or Path("build") / recipe.name / "results", force) as ws:
        outcome = make_results(recipe, ws, chosen, seeds, bench, jobs=jobs, command=command)
        _write(outcome, ws)
        print_outcome(outcome, Console())
        if publish:
            _publish(recipe, outcome, model_folder(model), ws)
    return 0 if all(run.device_exact for run in outcome.runs) else 1


def _write(outcome: Outcome, ws: Workspace) -> None:
    from hil.experiment.workspace import write_text
    from hil.report.results import markdown, plot_svg

    write_text(ws.path(RESULTS), outcome.to_json())
    write_text(ws.path(CARD), markdown(outcome))
    write_text(ws.path(PLOT), plot_svg(outcome))
    ws.progress.say(f"results: {ws.path(RESULTS)}, {CARD}, {PLOT}")


def _publish(recipe: Recipe, outcome: Outcome, folder: Path, ws: Workspace) -> None:
    """Results, their table in the card, the plot, the artefact and its vectors into the model's folder."""
    from hil.experiment import shipped
    from hil.experiment.results import own_artefact
    from hil.experiment.workspace import write_text
    from hil.report.results import plot_svg, with_results

    artefact = shipped.publish(folder, own_artefact(recipe, ws))
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {recipe.name}\n"
    write_text(card, with_results(text, outcome))
    write_text(folder / RESULTS, outcome.to_json())
    write_text(folder / PLOT, plot_svg(outcome))
    ws.progress.say(f"published in {folder}: artefact {artefact.sha256()[:16]}, test vectors, results")
