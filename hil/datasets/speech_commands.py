"""
Google Speech Commands: ``WORD/{speaker}_nohash_{take}.wav`` and the two official lists.

Every clip in ``validation_list.txt`` or ``testing_list.txt`` is in that set, every other one
is for training.  The labels are the keywords, ``unknown`` and ``silence``.

Balance, in every set on its own: ``unknown`` has at most ``unknown_ratio`` times as many clips
as a keyword has on average, drawn in equal shares from the unknown words in the order of a hash;
``silence`` has ``silence_ratio`` times as many.  Silence is cut out of the background noise at
random places and levels: out of the first 80 % of each recording for training, the next 10 % for
validation, the last 10 % for testing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.clip import Clip, Dataset
from hil.datasets.assemble import PARTS, Entry, Part, assemble, hash_order
from hil.datasets.audio import Progress, Samples, read_sounds
from hil.datasets.places import data_folder
from hil.errors import UsageError, suggest
from hil.recipe import DataRecipe

UNKNOWN, SILENCE = "unknown", "silence"
NOISE_FOLDER = "_background_noise_"
LISTS: dict[Part, str] = {"validation": "validation_list.txt", "test": "testing_list.txt"}
NOISE_SHARES: dict[Part, tuple[float, float]] = {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1)}
"""Of each recording's length."""
SILENCE_GAIN_DB = (-40.0, 0.0)
"""Uniform.  The recordings are louder than most speech."""

HASH_RANGE = 2**27
VALIDATION_PERCENT = TEST_PERCENT = 10.0
"""Of the publisher's rule (README of the data set, function ``which_set``)."""


@dataclass(frozen=True)
class Lists:
    """
    The official lists.

    Attributes:
        part: The set of each file listed, by ``WORD/FILE``.
        speakers: The set of each speaker who is listed.
        words: Words with a file in one of the lists.
    """

    part: dict[str, Part]
    speakers: dict[str, Part]
    words: frozenset[str]


def load_speech_commands(
    recipe: DataRecipe, rate_hz: int, notes: list[str], progress: Progress | None = None
) -> Dataset:
    """
    Keywords, unknown and silence, from the whole archive or a part of it.

    Raises:
        UsageError: The data are not there or incomplete, files cannot be used, or there is no
            such word.
    """
    root = data_folder("speech_commands")
    lists = _read_lists(root)
    unknown_words = _unknown_words(recipe, root)
    keywords = [
        entry for label, word in enumerate(recipe.keywords) for entry in _word(word, label, lists, root, recipe, notes)
    ]
    unknown = [
        entry for word in unknown_words for entry in _word(word, len(recipe.keywords), lists, root, recipe, notes)
    ]
    unknown = [entry for part in PARTS for entry in _balanced(unknown, keywords, part, recipe)]
    labels = [*recipe.keywords, *([UNKNOWN] if unknown else []), *([SILENCE] if recipe.silence_ratio else [])]
    silence = _silence(recipe, rate_hz, root, keywords, len(labels) - 1, notes) if recipe.silence_ratio else []
    return assemble(labels, [*keywords, *unknown], root, recipe, rate_hz, notes, progress, silence)


def training_noise(recipe: DataRecipe, rate_hz: int) -> tuple[Samples, ...]:
    """
    The part of each background recording that is for training, to be mixed into training clips.

    Raises:
        UsageError: The data are not there, or a recording cannot be used.
    """
    recordings = _recordings(recipe, rate_hz, data_folder("speech_commands"), [])
    return tuple(_share(samples, "train")[1] for _, samples in recordings)


def publisher_part(file_name: str) -> Part:
    """
    The set of a file by the rule with which the publisher made the lists: a hash of its speaker.

    Source: README of the data set, function ``which_set``.
    """
    hashed = int(hashlib.sha1(_speaker(file_name).encode()).hexdigest(), 16)
    percent = (hashed % HASH_RANGE) * (100.0 / (HASH_RANGE - 1))
    if percent < VALIDATION_PERCENT:
        return "validation"
    return "test" if percent < VALIDATION_PERCENT + TEST_PERCENT else "train"


def _speaker(file_name: str) -> str:
    return file_name.split("_nohash_")[0]


def _read_lists(root: Path) -> Lists:
    part: dict[str, Part] = {}
    for name, file_name in LISTS.items():
        path = root / file_name
        if not path.is_file():
            raise UsageError(f"{path}: no such file, so this is not the data set's own layout")
        part |= dict.fromkeys(path.read_text(encoding="utf-8").split(), name)
    speakers = {_speaker(entry.split("/")[-1]): name for entry, name in part.items()}
    return Lists(part, speakers, frozenset(entry.split("/")[0] for entry in part))


def _unknown_words(recipe: DataRecipe, root: Path) -> list[str]:
    there = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
    for word in (*recipe.keywords, *(w for w in recipe.unknown_words if w != "*")):
        if word not in there:
            raise UsageError(f"{root}: has no word {word!r}, only {', '.join(there)}{suggest(word, there)}")
    both = sorted(set(recipe.keywords) & set(recipe.unknown_words))
    if both:
        raise UsageError(f"data: {', '.join(both)} in keywords and in unknown_words: leave it out of one")
    if "*" in recipe.unknown_words:
        return [word for word in there if word not in recipe.keywords]
    return list(recipe.unknown_words)


def _word(word: str, label: int, lists: Lists, root: Path, recipe: DataRecipe, notes: list[str]) -> list[Entry]:
    paths = sorted((root / word).glob("*.wav"))
    listed = {name for name in lists.part if name.startswith(f"{word}/")}
    missing = listed - {f"{word}/{path.name}" for path in paths}
    if missing:
        notes.append(f"{root / word}: {len(missing)} of {len(listed)} clips in the official lists are not here")
    if word in lists.words or recipe.unlisted == "train":
        entries = [_listed(path, label, lists) for path in paths]
    else:
        entries = [Entry(path, label, _speaker(path.name), publisher_part(path.name)) for path in paths]
        notes.append(f"{root / word}: is in no official list; split by the publisher's hash of the speaker")
    kept = [e for e in entries if lists.speakers.get(e.speaker, "train") in (e.part, "train")]
    if len(kept) < len(entries):
        notes.append(
            f"{root / word}: left out {len(entries) - len(kept)} of {len(entries)} clips: they are in no official "
            "list, but their speakers are in the lists of other words"
        )
    return kept


def _listed(path: Path, label: int, lists: Lists) -> Entry:
    return Entry(path, label, _speaker(path.name), lists.part.get(f"{path.parent.name}/{path.name}", "train"))


def _keyword_mean(keywords: Iterable[Entry], part: Part, recipe: DataRecipe) -> float:
    """Clips of a keyword in a set, on average."""
    return sum(entry.part == part for entry in keywords) / len(recipe.keywords)


def _balanced(unknown: Sequence[Entry], keywords: Sequence[Entry], part: Part, recipe: DataRecipe) -> list[Entry]:
    """Clips of one set, by turns from each word, up to the limit."""
    by_word: dict[str, list[str]] = defaultdict(list)
    entries = {f"{e.path.parent.name}/{e.path.name}": e for e in unknown if e.part == part}
    for name in hash_order(entries, recipe.seed):
        by_word[name.split("/")[0]].append(name)
    turns = sorted((rank, word, name) for word, names in by_word.items() for rank, name in enumerate(names))
    limit = round(recipe.unknown_ratio * _keyword_mean(keywords, part, recipe))
    return [entries[name] for _, _, name in turns[:limit]]


def _recordings(recipe: DataRecipe, rate_hz: int, root: Path, notes: list[str]) -> list[tuple[str, Samples]]:
    paths = sorted((root / NOISE_FOLDER).glob("*.wav"))
    if not paths:
        raise UsageError(
            f"{root / NOISE_FOLDER}: has no recording to cut silence from; "
            "without that label, set data.silence_ratio = 0"
        )
    sounds = read_sounds(paths, root, rate_hz, skip_bad=recipe.skip_bad, notes=notes)
    return [(path.stem, samples) for path, samples in zip(paths, sounds, strict=True) if samples is not None]


def _share(samples: Samples, part: Part) -> tuple[int, Samples]:
    """(first sample, samples) of the set's share of a recording."""
    begin, end = (round(samples.size * edge) for edge in NOISE_SHARES[part])
    return begin, samples[begin:end]


def _silence(
    recipe: DataRecipe, rate_hz: int, root: Path, keywords: Sequence[Entry], label: int, notes: list[str]
) -> list[tuple[Part, Clip]]:
    count = round(recipe.seconds * rate_hz)
    recordings = _recordings(recipe, rate_hz, root, notes)
    clips: list[tuple[Part, Clip]] = []
    for number, part in enumerate(PARTS):
        rng = np.random.default_rng([recipe.seed, number])
        shares = [(name, *_share(samples, part)) for name, samples in recordings]
        shares = [share for share in shares if share[2].size >= count]
        wanted = round(recipe.silence_ratio * _keyword_mean(keywords, part, recipe))
        if not shares and wanted:
            raise UsageError(
                f"{root / NOISE_FOLDER}: too short to cut {recipe.seconds:g} s for {part} out of its share"
            )
        for i in range(wanted):
            name, first, samples = shares[i % len(shares)]
            start = int(rng.integers(samples.size - count + 1))
            gain = 10 ** (rng.uniform(*SILENCE_GAIN_DB) / 20)
            noise = np.rint(samples[start : start + count] * gain).astype(np.int16)
            where = f"{NOISE_FOLDER}/{name}.wav@{(first + start) / rate_hz:.3f}s"
            clips.append((part, Clip(noise, rate_hz, label, f"noise-{name}-{part}", f"{where}-{i}")))
    return clips
