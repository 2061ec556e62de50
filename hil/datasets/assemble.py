"""From a list of files with label, speaker and set to a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hil.clip import Clip, Dataset
from hil.datasets.audio import Progress, Samples, loud_windows, loudest_window, read_sounds
from hil.errors import UsageError
from hil.recipe import DataRecipe

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Entry:
    """
    A file that belongs to a set.

    Attributes:
        path: The file.
        label: Index into the labels.
        speaker: See `hil.clip.Clip`.
        part: The set.
    """

    path: Path
    label: int
    speaker: str
    part: Part


def assemble(
    labels: Sequence[str],
    entries: Sequence[Entry],
    root: Path,
    recipe: DataRecipe,
    rate_hz: int,
    notes: list[str],
    progress: Progress | None = None,
    more: Sequence[tuple[Part, Clip]] = (),
) -> Dataset:
    """
    Read the files and cut their clips, in the order of ``entries``; then come the clips of ``more``.

    Raises:
        UsageError: Files cannot be used (see `read_sounds`), or a set is empty, or a label
            has no clip for training.
    """
    sounds = read_sounds(
        [entry.path for entry in entries],
        root,
        rate_hz,
        skip_bad=recipe.skip_bad,
        notes=notes,
        progress=progress,
    )
    used = [(entry, samples) for entry, samples in zip(entries, sounds, strict=True) if samples is not None]
    count = round(recipe.seconds * rate_hz)
    if not recipe.hop_seconds:
        cut = sum(samples.size > count for _, samples in used)
        if cut:
            notes.append(f"{root}: cut {cut} of {len(used)} files to their loudest {recipe.seconds:g} s")
    clips = [
        *((entry.part, clip) for entry, samples in used for clip in _clips(entry, samples, root, recipe, rate_hz)),
        *more,
    ]
    parts = [tuple(clip for part, clip in clips if part == wanted) for wanted in PARTS]
    dataset = Dataset(tuple(labels), *parts)
    _require_complete(dataset, root, notes)
    return dataset


def hash_order(names: Iterable[str], seed: int) -> list[str]:
    """Names in the order of their SHA-256 with the seed: like shuffled, and the same everywhere."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def _clips(entry: Entry, samples: Samples, root: Path, recipe: DataRecipe, rate_hz: int) -> Iterator[Clip]:
    count = round(recipe.seconds * rate_hz)
    name = entry.path.relative_to(root).as_posix()
    if not recipe.hop_seconds:
        yield Clip(loudest_window(samples, count), rate_hz, entry.label, entry.speaker, name)
        return
    hop = max(1, round(recipe.hop_seconds * rate_hz))
    for index, window in loud_windows(samples, count, hop, recipe.quiet_db):
        yield Clip(window, rate_hz, entry.label, entry.speaker, f"{name}#{index}")


def _require_complete(dataset: Dataset, root: Path, notes: list[str]) -> None:
    for part in PARTS:
        clips: tuple[Clip, ...] = getattr(dataset, part)
        present = {clip.label for clip in clips}
        absent = [label for i, label in enumerate(dataset.labels) if i not in present]
        if not clips:
            raise UsageError(f"{root}: there is no clip for {part}")
        if absent and part == "train":
            raise UsageError(f"{root}: there is no clip for training of {', '.join(absent)}")
        if absent:
            notes.append(f"{root}: the {part} set has no clip of {', '.join(absent)}")
