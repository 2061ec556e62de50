"""Where a model's data come from, and how they become features.  Tables [data] and [features]."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from hil.errors import UsageError


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
    "uea": frozenset({"problem", "validation_fraction"}),
    "mnist": frozenset({"view", "pool", "train_clips", "test_clips", "validation_fraction"}),
}
"""Fields of `DataRecipe` that each source reads, besides source, seconds, seed and skip_bad."""
SEQUENCE_SOURCES = ("uea", "mnist")
"""Sources whose clips are sequences of vectors rather than sound."""
LATER_FIELDS = ("problem", "view", "pool", "train_clips", "test_clips")
"""Fields of `DataRecipe` that a recipe's hash leaves out while they have their default: there were none at first."""


@dataclass(frozen=True)
class DataRecipe:
    """
    Where clips come from.

    A field that the source does not read must keep its default.

    Attributes:
        source: ``"synthetic-keywords"``: spoken by espeak-ng, nothing to download.
            ``"fsdd"``: Free Spoken Digit Dataset.  ``"speech_commands"``: Google's, the whole
            archive or a part of it.  ``"esc10"``: environmental sounds.  ``"folder"``: files
            ``LABEL/*.{wav,flac,ogg}`` of your own.  Sequences of vectors, for features of kind
            ``"sequence"``: ``"uea"``, a problem of the UEA archive; ``"mnist"``, written digits.
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
            label's files.  uea, mnist: of each label's clips in the publisher's training set.
        problem: uea.  Its name, as that of its folder.
        view: mnist.  ``"rows"``: a step is a row of the picture.  ``"pixels"``: a step is one pixel.
        pool: mnist.  Squares of so many pixels a side are averaged first: 1, 2, 4 or 7.
        train_clips, test_clips: mnist.  So many clips of the publisher's training and test set, drawn with the
            seed, of each digit equally many; 0: all.
        skip_bad: Leave out files that cannot be used, and say how many.  Otherwise they are an error.
    """

    source: Literal["synthetic-keywords", "fsdd", "speech_commands", "esc10", "folder", "uea", "mnist"] = (
        "synthetic-keywords"
    )
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
    problem: str = ""
    view: Literal["rows", "pixels"] = "rows"
    pool: Literal[1, 2, 4, 7] = 1
    train_clips: int = 0
    test_clips: int = 0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.source in ("synthetic-keywords", "speech_commands"):
            _require(len(self.keywords) >= 1, "data.keywords is empty: name at least one word")
        _require(len(set(self.keywords)) == len(self.keywords), "data.keywords names a word twice")
        _require(self.clips >= 100, f"data.clips = {self.clips}: at least 100 are needed for three disjoint sets")
        _require(0.1 <= self.seconds <= 10, f"data.seconds = {self.seconds}: must be within 0.1 and 10")
        _require(
            self.source != "uea" or (self.problem.isidentifier() and self.problem.isascii()),
            f"data.problem = {self.problem!r}: name a problem of the archive, such as JapaneseVowels",
        )
        self._require_own_fields()
        self._require_ranges()

    @property
    def is_sound(self) -> bool:
        """Whether clips are waveforms; else they are sequences of vectors."""
        return self.source not in SEQUENCE_SOURCES

    def _require_own_fields(self) -> None:
        common = {"source", "seed", *(("seconds", "skip_bad") if self.is_sound else ())}
        for item in dataclasses.fields(self):
            if item.name not in common | DATA_FIELDS[self.source] and getattr(self, item.name) != item.default:
                users = [source for source, names in DATA_FIELDS.items() if item.name in names] or ["sound"]
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
        for name in ("train_clips", "test_clips"):
            value = getattr(self, name)
            _require(value == 0 or value >= 20, f"data.{name} = {value}: must be 0, or at least 20")
        shared = set(self.test_speakers) & set(self.validation_speakers)
        _require(not shared, f"data: {', '.join(sorted(shared))} in test_speakers and in validation_speakers")


@dataclass(frozen=True)
class FeatureRecipe:
    """
    The front end.

    Attributes:
        kind: ``"log-mel"``, or ``"magnitude"`` (the paper's FFT magnitudes, no window function).
            ``"sequence"``: clips are sequences of vectors, which are only scaled; takes `normalize` and nothing else.
        rate_hz: Sampling rate.
        window, hop: Samples.  The FFT has as many points as the window, rounded up to a power of two.
        bands: Mel bands, or magnitude bins counted from 0 Hz.
        low_hz, high_hz: Range of the mel bands.
        gain_shift: Features are multiplied by ``2**gain_shift`` with saturation.
            Omitted: fitted on the training set so that at most 0.1 % of values saturate.
        running: log-mel.  Each band's offset follows its mean with a time constant of ``2**running``
            frames, from the training set's on; 0: it stays there.
        normalize: sequence.  ``"standard"``: each value's mean over the training set becomes 0, its standard
            deviation 1/4 of full scale.  ``"range"``: 0 stays 0, the largest magnitude in the training set becomes
            full scale, with one scale for all values.
    """

    kind: Literal["log-mel", "magnitude", "sequence"] = "log-mel"
    rate_hz: int = 8000
    window: int = 256
    hop: int = 128
    bands: int = 32
    low_hz: float = 60.0
    high_hz: float = 3800.0
    gain_shift: int | None = None
    running: int = 0
    normalize: Literal["standard", "range"] = "standard"

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            own = item.name == "kind" or (item.name == "normalize") == (self.kind == "sequence")
            _require(
                own or getattr(self, item.name) == item.default,
                f"features.{item.name} is not for features of kind {self.kind!r}",
            )
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
