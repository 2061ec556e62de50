"""The recipe of a language model and its grid: language.toml of a model's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hil.config import load_toml
from hil.errors import UsageError, suggest

LANGUAGE_FILE = "language.toml"
Cell = Literal["event_gru", "lstm"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True)
class TextRecipe:
    """
    Where the words come from.

    Attributes:
        source: ``"ptb"``: Penn Treebank in Mikolov's preparation.  ``"folder"``: train.txt, valid.txt and test.txt of
            a folder of yours, words between blanks, a sentence a line.
        folder: For ``"folder"``; relative to the recipe.
    """

    source: Literal["ptb", "folder"] = "ptb"
    folder: str = ""

    def __post_init__(self) -> None:
        _require((self.source == "folder") == bool(self.folder), "data.folder goes with source 'folder', and it alone")


@dataclass(frozen=True)
class LanguageNetworkRecipe:
    """
    The network: word vectors, recurrent layers, the same word vectors as readout, a bias for each word.

    Attributes:
        embedding: Length of a word vector.
        layers: Units of each EGRU layer, input side first; the last has as many as a word vector.  The LSTM beside it
            gets, of all but the last layer, as many as make its parameters equal in number.
        threshold: Mean of the thresholds, drawn from Beta(a, 3) and left as they are.
        damping, support: Surrogate derivative ``damping * max(0, 1 - support |c - threshold|)``.
    """

    embedding: int = 96
    layers: tuple[int, ...] = (160, 96)
    threshold: float = 0.01
    damping: float = 3.6
    support: float = 3.6

    def __post_init__(self) -> None:
        _require(len(self.layers) >= 2, f"network.layers = {list(self.layers)}: name at least two layers")
        for units in (self.embedding, *self.layers):
            _require(1 <= units <= 8192, f"network: {units} units; must be within 1 and 8192")
        _require(
            self.layers[-1] == self.embedding,
            f"network.layers = {list(self.layers)}: the last must have network.embedding = {self.embedding} units, "
            "since word vectors read it out",
        )
        _require(0 < self.threshold < 1, f"network.threshold = {self.threshold}: must be between 0 and 1")
        _require(self.damping > 0 and self.support > 0, "network: damping and support must be positive")


@dataclass(frozen=True)
class LanguageTrainRecipe:
    """
    The trunk: AdamW over successive stretches of the text; states run on from stretch to stretch.

    Attributes:
        epochs: Passes over the text before the branches; the last may be a part of one, from the beginning.
        batch: Places in the text that are read at once.
        stretch: Words between two updates.
        learning_rate: Constant; the branches (`PruneLevelsRecipe`) end along a cosine.
        betas: Of AdamW.
        weight_decay: Of AdamW, decoupled; of matrices, not of biases.
        clip: Gradients of all parameters together are scaled down to this norm.
        drop_words: Share of words whose vector is left out of an update.
        drop_input, drop_between, drop_output: Dropout of word vectors, between layers, before the readout.
        drop_connect: Share of recurrent weights left out of an update.
        frequent, drawn: The loss of an update sums over the ``frequent`` most frequent words and ``drawn`` of the
            others, each of which stands for its share; 0 and 0: over all words.
        seed: Of initialization, dropout and drawing.
    """

    epochs: float = 3.0
    batch: int = 32
    stretch: int = 50
    learning_rate: float = 1e-2
    betas: tuple[float, ...] = (0.0, 0.999)
    weight_decay: float = 0.1
    clip: float = 0.25
    drop_words: float = 0.0
    drop_input: float = 0.3
    drop_between: float = 0.25
    drop_output: float = 0.3
    drop_connect: float = 0.2
    frequent: int = 0
    drawn: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("batch", "stretch"):
            _require(getattr(self, name) >= 1, f"train.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("epochs", "learning_rate", "clip"):
            _require(getattr(self, name) > 0, f"train.{name} = {getattr(self, name)}: must be positive")
        _require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"train.betas = {list(self.betas)}: give two numbers, at least 0 and below 1",
        )
        _require(self.weight_decay >= 0, f"train.weight_decay = {self.weight_decay}: must not be negative")
        for name in ("drop_words", "drop_input", "drop_between", "drop_output", "drop_connect"):
            _require(0 <= getattr(self, name) < 1, f"train.{name} = {getattr(self, name)}: must be within 0 and 1")
        _require(
            self.frequent >= 0 and self.drawn >= 0 and bool(self.frequent) == bool(self.drawn),
            "train: give frequent and drawn together, both at least 1, or neither",
        )


@dataclass(frozen=True)
class PruneLevelsRecipe:
    """
    Branches off the trained network, one for each share of zeros, all of one length: equal effort in every cell.

    The smallest magnitudes of all matrices of the recurrent layers together go, and do not come back.

    Attributes:
        levels: Shares of zeros, ascending; 0 is a branch that only trains on.
        epochs: Passes over the text of each branch, as those of the trunk.
        ramp: Share of these during which weights go, along a cubic; the rest tunes those that are left.
        every: Updates from one removal to the next.
        learning_rate: At the beginning of each branch; to 0 along a cosine.

    Source:
        Zhu and Gupta 2017, "To prune, or not to prune", equation 1.
    """

    levels: tuple[float, ...] = (0.0, 0.5, 0.7, 0.85, 0.95)
    epochs: float = 0.5
    ramp: float = 0.5
    every: int = 10
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        levels = list(self.levels)
        _require(
            bool(levels) and all(0 <= level < 1 for level in levels) and levels == sorted(set(levels)),
            f"prune.levels = {levels}: give shares of zeros, at least 0 and below 1, ascending",
        )
        _require(levels[0] == 0, f"prune.levels = {levels}: begin with 0, which all others are compared with")
        _require(self.epochs > 0, f"prune.epochs = {self.epochs}: must be positive")
        _require(self.every >= 1, f"prune.every = {self.every}: must be at least 1")
        _require(0 < self.ramp <= 1, f"prune.ramp = {self.ramp}: must be above 0 and at most 1")
        _require(self.learning_rate > 0, "prune.learning_rate must be positive")

    def share(self, level: float, done: float) -> float:
        """Share of zeros of a level's branch when ``done`` of it, 0 to 1, is over."""
        return level * (1 - (1 - min(1.0, done / self.ramp)) ** 3)


@dataclass(frozen=True)
class ActivityRecipe:
    """
    How often units speak: one row of the grid for each target.

    Attributes:
        targets: Share of units that speak at a word, of each layer; 1: left as it comes.
        strength: Weight in the loss of a layer's activity above the target.
        ramp: It grows from 0 over this share of the trunk.
    """

    targets: tuple[float, ...] = (1.0, 0.1, 0.05)
    strength: float = 3.0
    ramp: float = 0.3

    def __post_init__(self) -> None:
        targets = list(self.targets)
        _require(
            bool(targets) and all(0 < t <= 1 for t in targets) and targets == sorted(set(targets), reverse=True),
            f"activity.targets = {targets}: give shares above 0 and up to 1, descending",
        )
        _require(self.strength > 0, f"activity.strength = {self.strength}: must be positive")
        _require(0 <= self.ramp <= 1, f"activity.ramp = {self.ramp}: must be within 0 and 1")


@dataclass(frozen=True)
class LanguageRecipe:
    """A whole recipe; ``name`` is the model's."""

    name: str
    data: TextRecipe = field(default_factory=TextRecipe)
    network: LanguageNetworkRecipe = field(default_factory=LanguageNetworkRecipe)
    train: LanguageTrainRecipe = field(default_factory=LanguageTrainRecipe)
    prune: PruneLevelsRecipe = field(default_factory=PruneLevelsRecipe)
    activity: ActivityRecipe = field(default_factory=ActivityRecipe)

    def sha256(self) -> str:
        """Hash of all values but the data's place."""
        values = dataclasses.asdict(self)
        del values["data"]["folder"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_language_recipe(folder: Path | str) -> LanguageRecipe:
    """
    Read ``language.toml`` in ``folder`` (or the file itself).

    Raises:
        UsageError: No such recipe (near names are suggested), or a key or value is wrong.
    """
    folder = Path(folder)
    path = folder if folder.suffix == ".toml" else folder / LANGUAGE_FILE
    if not path.is_file():
        siblings = [p.parent.name for p in path.parent.parent.glob(f"*/{LANGUAGE_FILE}")]
        raise UsageError(f"{path}: no such recipe of a language model{suggest(path.parent.name, siblings)}")
    recipe = load_toml(path, LanguageRecipe)
    if not recipe.data.folder:
        return recipe
    there = str((path.parent / Path(recipe.data.folder).expanduser()).resolve())
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, folder=there))
