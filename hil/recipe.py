"""Recipes: how a model is made, from data to test, as one TOML file read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hil.config import load_toml
from hil.data_recipe import LATER_FIELDS, SEQUENCE_SOURCES, DataRecipe, FeatureRecipe
from hil.errors import UsageError, suggest
from hil.layer_build import LayerBuild
from hil.prune_recipe import PruneRecipe
from hil.train_recipe import AugmentRecipe, QuantizeRecipe, TrainRecipe

__all__ = [
    "AugmentRecipe",
    "BuildRecipe",
    "CellRecipe",
    "DataRecipe",
    "EventRecipe",
    "FeatureRecipe",
    "PruneRecipe",
    "QuantizeRecipe",
    "Recipe",
    "StreamRecipe",
    "TrainRecipe",
    "load_recipe",
]

RECIPE_FILE = "recipe.toml"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True)
class CellRecipe:
    """
    The network: recurrent layers, sum over time, one hidden dense layer, classes.

    Attributes:
        kind: ``"embedded_gru"`` (eGRU) or ``"event_embedded_gru"`` (event eGRU), both in 3-bit weights, or
            ``"event_gru"`` (EGRU), in 8-bit weights, for which [quantize] has epochs, learning_rate and
            refit_epochs only.
        hidden: Units of each recurrent layer, input side first.
        dense: Units of the dense layer (ReLU).
        hold: An input that moved by no more than this (1.0 = full scale) since it was last taken counts as unchanged,
            in training as on the device; 0: every input is taken as it is.
    """

    kind: Literal["embedded_gru", "event_embedded_gru", "event_gru"] = "embedded_gru"
    hidden: tuple[int, ...] = (30, 20)
    dense: int = 16
    hold: float = 0.0

    def __post_init__(self) -> None:
        _require(len(self.hidden) >= 1, "cell.hidden is empty: name at least one layer")
        for units in (*self.hidden, self.dense):
            _require(1 <= units <= 4096, f"cell: {units} units; must be within 1 and 4096")
        _require(0 <= self.hold <= 0.5, f"cell.hold = {self.hold}: must be within 0 and 0.5")


@dataclass(frozen=True)
class EventRecipe:
    """
    How units of an event eGRU or EGRU come to speak rarely; not for other cells.

    Attributes:
        threshold: Initial threshold of every unit (EGRU: their mean); thresholds are learned.
        damping, support: Surrogate derivative ``damping * max(0, 1 - support |c - threshold|)``.
        activity: Wanted share of units that speak in a step, of each layer.
        strength: Weight in the loss of a layer's activity above it.
        least_rate: A unit that speaks in fewer steps than this share is pulled up.
        least_strength: Weight of that.
        ramp: Both weights grow from 0 over this share of float training.
    """

    threshold: float = 0.05
    damping: float = 0.5
    support: float = 2.0
    activity: float = 0.1
    strength: float = 3.0
    least_rate: float = 0.005
    least_strength: float = 3.0
    ramp: float = 0.3

    def __post_init__(self) -> None:
        for name in ("threshold", "activity"):
            _require(0 < getattr(self, name) < 1, f"events.{name} = {getattr(self, name)}: must be within 0 and 1")
        _require(self.damping > 0 and self.support > 0, "events: damping and support must be positive")
        _require(self.strength >= 0 and self.least_strength >= 0, "events: strengths must not be negative")
        _require(
            0 <= self.least_rate < self.activity,
            f"events.least_rate = {self.least_rate}: must be below events.activity = {self.activity}",
        )
        _require(0 <= self.ramp <= 1, f"events.ramp = {self.ramp}: must be within 0 and 1")


@dataclass(frozen=True)
class BuildRecipe:
    """
    The firmware.

    Attributes:
        chip: One of `hil.firmware`'s chips.
        optimize: Compiler flag ``-O...`` without the dash and O.
        kernel: Of every layer that has it and was not tuned (`hil.codegen`'s names).
        layers: Choices for single layers, by name (``"recurrent.0"``); they win over tuned ones.
    """

    chip: str = "atsamd21j18a"
    optimize: Literal["2", "3", "s"] = "2"
    kernel: str = ""
    layers: dict[str, LayerBuild] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamRecipe:
    """
    How a stream of sound is decided about; not part of the model.

    Attributes:
        hop: Feature vectors from one decision to the next; 0: a quarter of a clip's.
        state: ``"reset"``: each window begins at zero, as a clip; ``"carry"``: states run on.
        smooth: Decisions whose outputs are averaged: 1, 2, 4 or 8.
        margin: Least lead of the best average over the second best for a trigger, 1.0 = 2**15.
        hold: Decisions without a trigger after one.
        quiet: Labels that never trigger.  Omitted: ``unknown`` and ``silence``, if the model has them.
    """

    hop: int = 0
    state: Literal["reset", "carry"] = "reset"
    smooth: Literal[1, 2, 4, 8] = 1
    margin: float = 0.5
    hold: int = 2
    quiet: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.hop < 1 << 16, f"stream.hop = {self.hop}: must be within 0 and 65535")
        _require(0 <= self.margin < 1 << 16, f"stream.margin = {self.margin}: must be within 0 and 65535")
        _require(0 <= self.hold <= 255, f"stream.hold = {self.hold}: must be within 0 and 255")


@dataclass(frozen=True)
class Recipe:
    """
    A whole recipe.

    Attributes:
        name: Of the model; folders and reports are named after it.
        path: The file it was read from.
    """

    name: str
    data: DataRecipe
    features: FeatureRecipe = field(default_factory=FeatureRecipe)
    cell: CellRecipe = field(default_factory=CellRecipe)
    events: EventRecipe = field(default_factory=EventRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    quantize: QuantizeRecipe = field(default_factory=QuantizeRecipe)
    prune: PruneRecipe = field(default_factory=PruneRecipe)
    build: BuildRecipe = field(default_factory=BuildRecipe)
    stream: StreamRecipe = field(default_factory=StreamRecipe)

    def __post_init__(self) -> None:
        _require(
            self.data.is_sound == (self.features.kind != "sequence"),
            f"features.kind = {self.features.kind!r} does not go with data.source = {self.data.source!r}: "
            f"{', '.join(SEQUENCE_SOURCES)} take kind 'sequence', other sources 'log-mel' or 'magnitude'",
        )

    def sha256(self) -> str:
        """
        Hash of what decides the model's numbers and the chip.

        The file's layout is not in it, nor where the data lie (they have a hash of their own), nor kernels.
        """
        values = dataclasses.asdict(self)
        del values["data"]["folder"], values["stream"], values["build"]["kernel"], values["build"]["layers"]
        if not self.features.running:
            del values["features"]["running"]  # recipes without it keep the hash that they had before there was one
        if self.features.kind != "sequence":
            del values["features"]["normalize"]  # the same
        for item in dataclasses.fields(self.data):
            if item.name in LATER_FIELDS and getattr(self.data, item.name) == item.default:
                del values["data"][item.name]  # the same
        if self.train.keep == "best":
            del values["train"]["keep"]  # the same
        if not self.prune.sparsity:
            del values["prune"]  # the same
        if not self.cell.hold:
            del values["cell"]["hold"]  # the same
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_recipe(folder: Path | str) -> Recipe:
    """
    Read ``recipe.toml`` in ``folder`` (or the file itself).

    Raises:
        UsageError: No such recipe (near names are suggested), or a key or value is wrong.
    """
    folder = Path(folder)
    path = folder if folder.suffix == ".toml" else folder / RECIPE_FILE
    if not path.is_file():
        siblings = [p.parent.name for p in path.parent.parent.glob(f"*/{RECIPE_FILE}")]
        raise UsageError(f"{path}: no such recipe{suggest(path.parent.name, siblings)}")
    recipe = load_toml(path, Recipe)
    if not recipe.data.folder:
        return recipe
    data_folder = str((path.parent / Path(recipe.data.folder).expanduser()).resolve())
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, folder=data_folder))
