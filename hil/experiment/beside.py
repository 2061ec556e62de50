"""The event eGRU beside an eGRU: another recipe on the same clips and features, in a folder of its own."""

from __future__ import annotations

from dataclasses import replace

from hil.errors import UsageError
from hil.experiment.device_stages import RigName, make_run
from hil.experiment.result import Result
from hil.experiment.stages import DATA, FEATURES, FLOAT_GRU, logits_file, make_models
from hil.experiment.workspace import Workspace, link_file
from hil.recipe import Recipe

EVENTS_FILE = "events.toml"
"""Beside a recipe: the same data and features for an event eGRU."""
FOLDER = "events"


def events_workspace(ws: Workspace) -> Workspace:
    """Where models, program and result of the event eGRU lie."""
    return replace(ws, folder=ws.path(FOLDER))


def check_events(recipe: Recipe, events: Recipe) -> None:
    """Raises `UsageError` if two recipes do not name the same data and features."""
    if (recipe.data, recipe.features) != (events.data, events.features):
        raise UsageError(f"{events.name}: [data] and [features] must be those of {recipe.name}, whose clips it takes")


def make_events(recipe: Recipe, events: Recipe, ws: Workspace, jobs: int) -> None:
    """
    Train and quantize the event eGRU on the features of a folder whose float GRU is trained.

    Args:
        recipe: Of the folder.
        events: Of the event eGRU.
        ws: The folder.
        jobs: As of `make_models`.

    Raises:
        UsageError: The two recipes do not name the same data and features, or nothing is trained here.
    """
    check_events(recipe, events)
    own = events_workspace(ws)
    own.folder.mkdir(parents=True, exist_ok=True)
    manifests = [f"{stage}.manifest.json" for stage in ("data", "features", "float-gru")]
    for name in (DATA, FEATURES, FLOAT_GRU, logits_file(FLOAT_GRU), *manifests):
        if not ws.path(name).is_file():
            raise UsageError(f"{ws.path(name)}: not there. Make it: `hil train MODEL`")
        link_file(ws.path(name), own.path(name))
    make_models(events, own, quantized=True, jobs=jobs, baseline=False)


def run_events(events: Recipe, ws: Workspace, rig: RigName, compiler: str | None, fast_load: bool = False) -> Result:
    """The test sequences through the event eGRU, every step compared.  Raises as `make_run`."""
    return make_run(events, events_workspace(ws), rig, compiler, fast_load)
