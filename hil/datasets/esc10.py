"""
ESC-10: ten environmental sounds, 400 clips of about 5 s, five official folds.

Two layouts of the publisher are read: ESC-10's own (``001 - Dog bark/FOLD-SOURCE-TAKE.ogg``)
and ESC-50's (``audio/*.wav`` with ``meta/esc50.csv``, whose column ``esc10`` picks the clips).

One fold is for testing, the next one (after 5 comes 1) for validation, three are for training.
Clips of one source recording are in one fold, so "speaker" is the source.  Clips are cut into
windows (see `hil.datasets.audio.loud_windows`); all windows of a clip are in its set, and their
names are the clip's with ``#`` and a number (see `hil.datasets.voting`).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from hil.clip import Dataset
from hil.datasets.assemble import Entry, Part, assemble
from hil.datasets.audio import Progress
from hil.datasets.places import data_folder
from hil.errors import UsageError
from hil.recipe import DataRecipe

FOLDS = 5
LABELS = {
    "dog_bark": "dog",
    "rain": "rain",
    "sea_waves": "sea_waves",
    "baby_cry": "crying_baby",
    "clock_tick": "clock_tick",
    "person_sneeze": "sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster",
    "fire_crackling": "crackling_fire",
}
"""ESC-10's names in its order, and ESC-50's."""

_FOLDER = re.compile(r"(?P<number>0[01][0-9]) - (?P<name>.+)")
_FILE = re.compile(r"(?P<fold>[1-5])-(?P<source>[0-9]+)-(?P<take>[A-Z])(-[0-9]+)?\.(ogg|wav)")


def load_esc10(recipe: DataRecipe, rate_hz: int, notes: list[str], progress: Progress | None = None) -> Dataset:
    """
    Windows of environmental sounds.

    Raises:
        UsageError: The data are not there, files cannot be used, or there is no such fold.
    """
    root = data_folder("esc10")
    test = _fold(recipe.fold)
    entries = [
        Entry(path, label, f"source-{source}", _part(fold, test)) for path, label, fold, source in _files(root, notes)
    ]
    return assemble(tuple(LABELS), entries, root, recipe, rate_hz, notes, progress)


def _fold(fold: int | str) -> int:
    if str(fold).isdecimal() and 1 <= int(fold) <= FOLDS:
        return int(fold)
    raise UsageError(f"data.fold = {fold!r}: must be 1 to {FOLDS}")


def _part(fold: int, test: int) -> Part:
    if fold == test:
        return "test"
    return "validation" if fold == test % FOLDS + 1 else "train"


def _files(root: Path, notes: list[str]) -> list[tuple[Path, int, int, str]]:
    """(file, label, fold, source), by label and file name."""
    listed = _from_table(root) if (root / "meta" / "esc50.csv").is_file() else _from_folders(root)
    found = [(path, label, _FILE.fullmatch(path.name)) for path, label in sorted(listed, key=lambda f: (f[1], f[0]))]
    strange = [path.name for path, _, match in found if match is None]
    if strange:
        notes.append(f"{root}: ignored {len(strange)} files not named FOLD-SOURCE-TAKE.ogg: {', '.join(strange)}")
    files = [(path, label, int(m["fold"]), m["source"]) for path, label, m in found if m is not None]
    if not files:
        raise UsageError(f"{root}: has neither folders like '001 - Dog bark' with clips nor meta/esc50.csv with audio/")
    return files


def _from_folders(root: Path) -> list[tuple[Path, int]]:
    names = list(LABELS)
    labels = {
        folder: names.index(match["name"].lower().replace(" ", "_"))
        for folder in root.iterdir()
        if (match := _FOLDER.fullmatch(folder.name)) and match["name"].lower().replace(" ", "_") in LABELS
    }
    return [(path, label) for folder, label in labels.items() for path in folder.iterdir() if path.suffix == ".ogg"]


def _from_table(root: Path) -> list[tuple[Path, int]]:
    table = root / "meta" / "esc50.csv"
    names = list(LABELS.values())
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["esc10"] == "True"]
        return [(root / "audio" / row["filename"], names.index(row["category"])) for row in rows]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{table}: {error}: needs columns filename, category, esc10 with ESC-50's names") from error
