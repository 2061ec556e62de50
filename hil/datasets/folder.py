"""
Your own sounds: a folder of ``LABEL/*.{wav,flac,ogg}``.

Split by speaker if ``speaker_pattern`` finds one in the file names, otherwise by file.  Who is
for testing and validation is decided by a hash of the name and the seed, so it does not depend
on the order of the files and hardly on which others there are.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from hil.clip import Clip, Dataset
from hil.datasets.assemble import PARTS, Entry, Part, assemble, hash_order
from hil.datasets.audio import EXTENSIONS, Progress
from hil.errors import UsageError, suggest
from hil.recipe import DataRecipe


def load_folder(recipe: DataRecipe, rate_hz: int, notes: list[str], progress: Progress | None = None) -> Dataset:
    """
    Labels are the names of the subfolders, sorted, or `DataRecipe.keywords`.

    Raises:
        UsageError: There is no such folder, it has fewer than two labels, a label has too few
            files or speakers for three sets, a file name has no speaker, or files cannot be used.
    """
    if not recipe.folder:
        raise UsageError("data.folder is empty: name the folder that holds LABEL/*.wav")
    root = Path(recipe.folder).expanduser()
    labels = _labels(root, recipe)
    files = {label: _files(root / label, notes) for label in labels}
    entries = _by_speaker(files, recipe, root) if recipe.speaker_pattern else _by_file(files, recipe, root)
    dataset = assemble(labels, entries, root, recipe, rate_hz, notes, progress)
    _note_copies(dataset, root, notes)
    return dataset


def _labels(root: Path, recipe: DataRecipe) -> list[str]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder")
    there = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))
    for label in recipe.keywords:
        if label not in there:
            raise UsageError(f"{root}: has no folder {label!r}, only {', '.join(there)}{suggest(label, there)}")
    labels = list(recipe.keywords) or there
    if len(labels) < 2:
        raise UsageError(f"{root}: has {len(labels)} label folders, needs at least two: LABEL/*.wav")
    return labels


def _files(folder: Path, notes: list[str]) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    sounds = [p for p in files if p.suffix.lower() in EXTENSIONS]
    if len(sounds) < len(files):
        kinds = ", ".join(sorted({p.suffix or p.name for p in files if p not in sounds}))
        notes.append(f"{folder}: ignored {len(files) - len(sounds)} files that are not {_kinds()}: {kinds}")
    if not sounds:
        raise UsageError(f"{folder}: has no {_kinds()} file")
    return sounds


def _kinds() -> str:
    return ", ".join(extension[1:] for extension in EXTENSIONS)


def _by_file(files: dict[str, list[Path]], recipe: DataRecipe, root: Path) -> list[Entry]:
    """Each label's files on their own, so that every label is in every set."""
    parts: dict[str, Part] = {}
    for label, paths in files.items():
        names = [f"{label}/{path.name}" for path in paths]
        parts |= _split(names, recipe, f"{root / label}: has {len(names)} files, needs at least 3 for three sets")
    return [
        Entry(path, index, name, parts[name])
        for index, (label, paths) in enumerate(files.items())
        for path in paths
        for name in [f"{label}/{path.name}"]
    ]


def _by_speaker(files: dict[str, list[Path]], recipe: DataRecipe, root: Path) -> list[Entry]:
    pattern = _pattern(recipe.speaker_pattern)
    found = {path: pattern.search(path.name) for paths in files.values() for path in paths}
    without = [str(path.relative_to(root)) for path, match in found.items() if match is None or not match[1]]
    if without:
        raise UsageError(
            f"{root}: data.speaker_pattern = {recipe.speaker_pattern!r} finds no speaker in {len(without)} of "
            f"{len(found)} file names:\n  " + "\n  ".join(without)
        )
    speakers = {path: match[1] for path, match in found.items() if match is not None}
    names = sorted(set(speakers.values()))
    parts = _split(names, recipe, f"{root}: has {len(names)} speakers, needs at least 3 for three sets")
    return [
        Entry(path, index, speakers[path], parts[speakers[path]])
        for index, paths in enumerate(files.values())
        for path in paths
    ]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"data.speaker_pattern = {text!r}: is no regular expression ({error})") from error
    if pattern.groups != 1:
        raise UsageError(f"data.speaker_pattern = {text!r}: has {pattern.groups} groups, needs one, the speaker")
    return pattern


def _split(names: Sequence[str], recipe: DataRecipe, too_few: str) -> dict[str, Part]:
    """At least one for each set; first the test set, then validation, in the order of the hash."""
    if len(names) < len(PARTS):
        raise UsageError(too_few)
    test = max(1, round(len(names) * recipe.test_fraction))
    validation = max(1, round(len(names) * recipe.validation_fraction))
    ordered = hash_order(names, recipe.seed)
    parts: dict[str, Part] = dict.fromkeys(ordered, "train")
    parts |= dict.fromkeys(ordered[: test + validation], "validation")
    parts |= dict.fromkeys(ordered[:test], "test")
    return parts


def _note_copies(dataset: Dataset, root: Path, notes: list[str]) -> None:
    """Equal sounds in two sets make the accuracy look better than it is."""
    heard: dict[bytes, dict[Part, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part in PARTS:
        for clip in _distinct(getattr(dataset, part)):
            heard[hashlib.sha256(clip.samples.tobytes()).digest()][part].append(clip.name)
    leaks = [names for by_part in heard.values() if len(by_part) > 1 for names in [[n[0] for n in by_part.values()]]]
    if leaks:
        shown = "; ".join(" = ".join(names) for names in leaks[:5])
        notes.append(f"{root}: {len(leaks)} sounds are in more than one set, which makes scores too good: {shown}")


def _distinct(clips: Iterable[Clip]) -> list[Clip]:
    """Clips that are not digital silence: those may well be equal."""
    return [clip for clip in clips if clip.samples.any()]
