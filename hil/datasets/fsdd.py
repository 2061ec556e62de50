"""
Free Spoken Digit Dataset: ``recordings/{digit}_{speaker}_{take}.wav``, six speakers, 50 takes of each digit.

The publisher's own test set is takes 0 to 4 of every speaker.  It is saturated, so the
split here is by speaker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hil.clip import Dataset
from hil.datasets.assemble import Entry, Part, assemble
from hil.datasets.audio import Progress
from hil.datasets.places import data_folder
from hil.errors import UsageError, suggest
from hil.recipe import DataRecipe

LABELS = tuple(str(digit) for digit in range(10))
OFFICIAL_TEST_TAKES = range(5)
"""README of the data set, section "Usage"."""

_FILE = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<take>[0-9]+)\.wav")


def load_fsdd(recipe: DataRecipe, rate_hz: int, notes: list[str], progress: Progress | None = None) -> Dataset:
    """
    Digits of unseen speakers, by one of two protocols (see `DataRecipe.protocol`).

    Raises:
        UsageError: The data are not there, files cannot be used, or the recipe names speakers
            or a fold that there are not.
    """
    root = data_folder("fsdd")
    takes = _takes(root, notes)
    test, validation = _roles(recipe, sorted({speaker for _, _, speaker, _ in takes}))
    entries = [
        Entry(path, digit, speaker, _part(speaker, take, test, validation)) for path, digit, speaker, take in takes
    ]
    return assemble(LABELS, entries, root, recipe, rate_hz, notes, progress)


def fsdd_speakers() -> tuple[str, ...]:
    """All speakers, sorted: the folds of leave-one-speaker-out."""
    return tuple(sorted({speaker for _, _, speaker, _ in _takes(data_folder("fsdd"), [])}))


def _takes(root: Path, notes: list[str]) -> list[tuple[Path, int, str, int]]:
    """(file, digit, speaker, take), sorted by file name."""
    folder = root / "recordings"
    if not folder.is_dir():
        raise UsageError(f"{root}: has no folder recordings/, so it is not the data set's own layout")
    matches = [(path, _FILE.fullmatch(path.name)) for path in sorted(folder.iterdir()) if path.suffix == ".wav"]
    strange = [path.name for path, match in matches if match is None]
    if strange:
        notes.append(f"{folder}: ignored {len(strange)} files not named DIGIT_SPEAKER_TAKE.wav: {', '.join(strange)}")
    found = [(path, int(m["digit"]), m["speaker"], int(m["take"])) for path, m in matches if m is not None]
    if not found:
        raise UsageError(f"{folder}: has no file named DIGIT_SPEAKER_TAKE.wav")
    return found


def _roles(recipe: DataRecipe, speakers: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Test speakers, and validation speakers (none: takes of the training speakers)."""
    if recipe.validation == "takes" and recipe.validation_speakers:
        raise UsageError("data.validation = 'takes' takes no data.validation_speakers: leave one of the two out")
    if recipe.protocol == "leave-one-speaker-out":
        index = _fold(recipe.fold, speakers)
        following = speakers[(index + 1) % len(speakers)]
        return frozenset({speakers[index]}), frozenset({following} if recipe.validation == "speakers" else ())
    for name in (*recipe.test_speakers, *recipe.validation_speakers):
        if name not in speakers:
            raise UsageError(f"data: no speaker {name!r} in fsdd, only {', '.join(speakers)}{suggest(name, speakers)}")
    if not recipe.test_speakers:
        raise UsageError(f"data.test_speakers is empty: name speakers to hold out, of {', '.join(speakers)}")
    if recipe.validation == "speakers" and not recipe.validation_speakers:
        raise UsageError("data.validation_speakers is empty: name at least one, or set data.validation = 'takes'")
    return frozenset(recipe.test_speakers), frozenset(recipe.validation_speakers)


def _fold(fold: int | str, speakers: Sequence[str]) -> int:
    """Index of the test speaker, from a name or a number counted from 1."""
    if fold in speakers:
        return speakers.index(str(fold))
    if str(fold).isdecimal() and 1 <= int(fold) <= len(speakers):
        return int(fold) - 1
    raise UsageError(
        f"data.fold = {fold!r}: must be 1 to {len(speakers)}, or one of {', '.join(speakers)}"
        f"{suggest(str(fold), speakers)}"
    )


def _part(speaker: str, take: int, test: frozenset[str], validation: frozenset[str]) -> Part:
    if speaker in test:
        return "test"
    held_back = speaker in validation if validation else take in OFFICIAL_TEST_TAKES
    return "validation" if held_back else "train"
