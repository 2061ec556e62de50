"""``hil train``: a recipe's model, or one for a folder of your own sounds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import DEMO_MODEL, FORCE, OUT, TENSORBOARD, TRAININGS, examples, find_recipe, opened, options
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.experiment.own_data import OwnData
    from hil.experiment.workspace import Workspace
    from hil.recipe import Recipe


@click.command(
    short_help="Data, features, float models",
    epilog=examples(
        "hil train models/keyword-demo",
        "hil train keyword-demo --out /tmp/kd --force",
        "hil train keyword-demo --tensorboard runs",
        "hil train --data sounds/",
        r"hil train --data sounds/ --speaker-pattern '^([a-z]+)_' --skip-bad",
    ),
)
@click.argument("model", required=False)
@options(OUT, FORCE, TRAININGS, TENSORBOARD)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Train on a folder of LABEL/*.{wav,flac,ogg}; MODEL then is where the rest of the recipe comes from.  "
    f"[default: {DEMO_MODEL}]",
)
@click.option("--name", default="", help="Of the new model.  [default: the folder's name]")
@click.option(
    "--speaker-pattern",
    default="",
    help="Regular expression whose one group is the speaker in a file's name: no speaker is then in two sets. "
    "Without it files are split by a hash of their names.",
)
@click.option("--seconds", type=float, help="Length of a clip; of longer sounds the loudest part is used.")
@click.option("--skip-bad", is_flag=True, help="Leave out sound files that cannot be used, and name them.")
def train(
    model: str | None,
    out: Path | None,
    force: bool,
    jobs: int,
    tensorboard: Path | None,
    folder: Path | None,
    name: str,
    speaker_pattern: str,
    seconds: float | None,
    skip_bad: bool,
) -> None:
    """
    Data, features, float GRU and float eGRU.

    After Ctrl-C the same command goes on after the last epoch, and ends with the bits it would have ended with;
    --force begins anew.

    With --data a recipe is written to build/NAME/recipe.toml, and build/NAME is the MODEL of the commands that
    follow. Change what you like in it; only its [data] is written anew by the next --data.
    """
    if folder is None:
        if model is None:
            raise UsageError("name a MODEL, or --data FOLDER of your own sounds: hil train --help")
        if name or speaker_pattern or seconds is not None:
            raise UsageError("--name, --speaker-pattern and --seconds go with --data; a MODEL's are in its recipe.toml")
        recipe = find_recipe(model)
        recipe = dataclasses.replace(
            recipe, data=dataclasses.replace(recipe.data, skip_bad=skip_bad or recipe.data.skip_bad)
        )
        with opened(out or Path("build") / recipe.name, force) as ws:
            _train(recipe, ws, jobs, tensorboard)
        return
    from hil.experiment.own_data import OwnData

    _train_own(
        OwnData(folder, name, speaker_pattern, seconds, skip_bad), model or DEMO_MODEL, out, force, jobs, tensorboard
    )


def _train_own(own: OwnData, base: str, out: Path | None, force: bool, jobs: int, tensorboard: Path | None) -> None:
    from hil.experiment.own_data import write_recipe_for

    place = out or Path("build") / own.model
    with opened(place, force) as ws:
        recipe = write_recipe_for(own, find_recipe(base), place)
        ws.progress.say(f"recipe: {place / 'recipe.toml'}")
        _train(recipe, ws, jobs, tensorboard)
        there = f" --out {out}" if out else ""
        ws.progress.say(f"next: hil quantize {place}{there}, then hil run {place}{there}")


def _train(recipe: Recipe, ws: Workspace, jobs: int, tensorboard: Path | None) -> None:
    from hil.experiment.stages import make_data, make_features, make_models

    make_data(recipe, ws)
    make_features(recipe, ws)
    make_models(recipe, ws, quantized=False, jobs=jobs, tensorboard=tensorboard)
