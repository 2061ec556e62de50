"""Recipes: how a model is made, from data to test, as one TOML file read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hil.config import load_toml
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


DATA_FIELDS: dict[str, frozenset[str]] = {
    "synthetic-keywords": frozenset({"keywords", "unknown_words", "clips"}),
    "fsdd": frozenset({"protocol", "test_speakers", "validation_speakers", "validation", "fold"}),
    "speech_commands": frozenset({"keywords", "unknown_words", "unknown_ratio", "silence_ratio", "unlisted"}),
    "esc10": frozenset({"fold", "hop_seconds", "quiet_db"}),
    "folder": frozenset(
        {"folder", "keywords", "speaker_pattern", "validation_fraction", "test_fraction", "hop_seconds", "quiet_db"}
    ),
}
"""Fields of `DataRecipe` that each source reads, besides source, seconds, seed and skip_bad."""


@dataclass(frozen=True)
class DataRecipe:
    """
    Where clips come from.

    A field that the source does not read must keep its default.

    Attributes:
        source: ``"synthetic-keywords"``: spoken by espeak-ng, nothing to download.
            ``"fsdd"``: Free Spoken Digit Dataset.  ``"speech_commands"``: Google's, the whole
            archive or a part of it.  ``"esc10"``: environmental sounds.  ``"folder"``: files
            ``LABEL/*.{wav,flac,ogg}`` of your own.
        keywords: Words to tell apart; ``unknown`` and ``silence`` are added.  folder: the
            subfolders to use as labels; empty for all.
        unknown_words: Words that make up ``unknown``; ``["*"]`` (speech_commands): all words
            that are not keywords.
        clips: Number of clips in all, at least 100.
        seconds: Length of each clip.
        seed: Of everything random in it.
        protocol: fsdd.  ``"speakers-held-out"``: test_speakers are for testing.
            ``"leave-one-speaker-out"``: one speaker is, chosen by fold.
        test_speakers, validation_speakers: fsdd with speakers held out.
        validation: fsdd.  ``"speakers"``: validation has speakers of its own (validation_speakers,
            or the one after the test speaker).  ``"takes"``: it has takes 0 to 4 (the publisher's
            test set) of the training speakers, who thus are in both; test speakers never are.
        fold: Which fold is for testing.  fsdd: 1 to 6 or a speaker.  esc10: 1 to 5.
        unknown_ratio: At most so many ``unknown`` clips, as a multiple of the mean number of
            clips of a keyword in the same set.
        silence_ratio: So many ``silence`` clips, as the same multiple; 0: no such label.
        unlisted: speech_commands, clips of words that neither official list mentions (which
            happens in cut-down copies only).  ``"train"``: for training, except clips of speakers
            who are in a list, which are left out.  ``"publisher-rule"``: split by the hash of the
            speaker with which the publisher made the lists.
        hop_seconds: Windows of ``seconds`` are cut so far apart; 0: one window a file, the loudest.
        quiet_db: A window below this level (mean square, dB of full scale) is not used, unless it
            is its file's loudest.
        folder: The folder of source "folder", relative to the recipe's.
        speaker_pattern: Regular expression with one group, found in the file name: the speaker.
            Empty: every file is a speaker of its own.
        validation_fraction, test_fraction: Of the speakers (with speaker_pattern), or of each
            label's files.
        skip_bad: Leave out files that cannot be used, and say how many.  Otherwise they are an error.
    """

    source: Literal["synthetic-keywords", "fsdd", "speech_commands", "esc10", "folder"] = "synthetic-keywords"
    keywords: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    clips: int = 2400
    seconds: float = 1.0
    seed: int = 1
    protocol: Literal["speakers-held-out", "leave-one-speaker-out"] = "speakers-held-out"
    test_speakers: tuple[str, ...] = ()
    validation_speakers: tuple[str, ...] = ()
    validation: Literal["speakers", "takes"] = "speakers"
    fold: int | str = 1
    unknown_ratio: float = 1.0
    silence_ratio: float = 1.0
    unlisted: Literal["train", "publisher-rule"] = "train"
    hop_seconds: float = 0.0
    quiet_db: float = -60.0
    folder: str = ""
    speaker_pattern: str = ""
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.source in ("synthetic-keywords", "speech_commands"):
            _require(len(self.keywords) >= 1, "data.keywords is empty: name at least one word")
        _require(len(set(self.keywords)) == len(self.keywords), "data.keywords names a word twice")
        _require(self.clips >= 100, f"data.clips = {self.clips}: at least 100 are needed for three disjoint sets")
        _require(0.1 <= self.seconds <= 10, f"data.seconds = {self.seconds}: must be within 0.1 and 10")
        self._require_own_fields()
        self._require_ranges()

    def _require_own_fields(self) -> None:
        common = {"source", "seconds", "seed", "skip_bad"}
        for item in dataclasses.fields(self):
            if item.name not in common | DATA_FIELDS[self.source] and getattr(self, item.name) != item.default:
                users = [source for source, names in DATA_FIELDS.items() if item.name in names]
                raise UsageError(f"data.{item.name} is not for source {self.source!r}, only for {', '.join(users)}")

    def _require_ranges(self) -> None:
        for name in ("unknown_ratio", "silence_ratio"):
            value = getattr(self, name)
            _require(0 <= value <= 10, f"data.{name} = {value}: must be within 0 and 10")
        _require(
            self.hop_seconds == 0 or 0.05 <= self.hop_seconds <= 10,
            f"data.hop_seconds = {self.hop_seconds}: must be 0, or within 0.05 and 10",
        )
        _require(-120 <= self.quiet_db <= 0, f"data.quiet_db = {self.quiet_db}: must be within -120 and 0")
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            _require(0 < value <= 0.4, f"data.{name} = {value}: must be above 0 and at most 0.4")
        shared = set(self.test_speakers) & set(self.validation_speakers)
        _require(not shared, f"data: {', '.join(sorted(shared))} in test_speakers and in validation_speakers")


@dataclass(frozen=True)
class FeatureRecipe:
    """
    The front end.

    Attributes:
        kind: ``"log-mel"``, or ``"magnitude"`` (the paper's FFT magnitudes, no window function).
        rate_hz: Sampling rate.
        window, hop: Samples.  The FFT has as many points as the window, rounded up to a power of two.
        bands: Mel bands, or magnitude bins counted from 0 Hz.
        low_hz, high_hz: Range of the mel bands.
        gain_shift: Features are multiplied by ``2**gain_shift`` with saturation.
            Omitted: fitted on the training set so that at most 0.1 % of values saturate.
        running: log-mel.  Each band's offset follows its mean with a time constant of ``2**running``
            frames, from the training set's on; 0: it stays there.
    """

    kind: Literal["log-mel", "magnitude"] = "log-mel"
    rate_hz: int = 8000
    window: int = 256
    hop: int = 128
    bands: int = 32
    low_hz: float = 60.0
    high_hz: float = 3800.0
    gain_shift: int | None = None
    running: int = 0

    def __post_init__(self) -> None:
        _require(self.rate_hz > 0, f"features.rate_hz = {self.rate_hz}: must be positive")
        _require(self.hop >= 1, f"features.hop = {self.hop}: must be at least 1")
        _require(2 <= self.window <= 4096, f"features.window = {self.window}: must be within 2 and 4096")
        _require(
            0 <= self.low_hz < self.high_hz <= self.rate_hz / 2,
            f"features: need 0 <= low_hz < high_hz <= rate_hz / 2, got {self.low_hz}, {self.high_hz}, {self.rate_hz}",
        )
        _require(1 <= self.bands <= 512, f"features.bands = {self.bands}: must be within 1 and 512")
        if self.gain_shift is not None:
            _require(0 <= self.gain_shift <= 15, f"features.gain_shift = {self.gain_shift}: must be within 0 and 15")
        _require(
            self.running == 0 or (self.kind == "log-mel" and 1 <= self.running <= 12),
            f"features.running = {self.running}: must be 0, or within 1 and 12 with kind log-mel",
        )


@dataclass(frozen=True)
class CellRecipe:
    """
    The network: recurrent layers, sum over time, one hidden dense layer, classes.

    Attributes:
        kind: ``"embedded_gru"`` (eGRU) or ``"event_embedded_gru"`` (event eGRU).
        hidden: Units of each recurrent layer, input side first.
        dense: Units of the dense layer (ReLU).
        hold: An input that moved by no more than this (1.0 = full scale) since it was last taken counts as unchanged,
            in training as on the device; 0: every input is taken as it is.
    """

    kind: Literal["embedded_gru", "event_embedded_gru"] = "embedded_gru"
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
    How units of an event eGRU come to speak rarely; not for other cells.

    Attributes:
        threshold: Initial threshold of every unit; thresholds are learned.
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

    def sha256(self) -> str:
        """
        Hash of what decides the model's numbers and the chip.

        The file's layout is not in it, nor where the data lie (they have a hash of their own), nor kernels.
        """
        values = dataclasses.asdict(self)
        del values["data"]["folder"], values["stream"], values["build"]["kernel"], values["build"]["layers"]
        if not self.features.running:
            del values["features"]["running"]  # recipes without it keep the hash that they had before there was one
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
