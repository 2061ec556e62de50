"""
Baselines: what a test measured when it was right, in small JSON files to be committed.

One file for each test module.  A value counts only for the same tier, chip, compiler with its flags, and artefact;
another tier's baseline is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hil.errors import UsageError
from hil.pytest_plugin.values import Measurement, shown

FORMAT = 1
SYMBOLS_NAMED = 8
EXACT: Literal["exact"] = "exact"
ABSOLUTE: Literal["absolute"] = "absolute"
RELATIVE: Literal["relative"] = "relative"


@dataclass(frozen=True)
class Within:
    """
    How far a value may be from its baseline, to the worse or to the better.

    Attributes:
        kind: ``exact``, ``absolute`` or ``relative``.
        amount: In the value's unit, or as a fraction.
    """

    kind: Literal["exact", "absolute", "relative"]
    amount: float = 0.0

    def allows(self, before: float, now: float) -> bool:
        """Whether the change is allowed."""
        room = {EXACT: 0.0, ABSOLUTE: self.amount, RELATIVE: self.amount * abs(before)}[self.kind]
        return abs(now - before) <= room

    def __str__(self) -> str:
        return {
            EXACT: "exactly",
            ABSOLUTE: f"within {shown(self.amount)}",
            RELATIVE: f"within {100 * self.amount:g} %",
        }[self.kind]


def exact() -> Within:
    """No change at all."""
    return Within(EXACT)


def absolute(amount: float) -> Within:
    """At most so much, in the value's unit."""
    return Within(ABSOLUTE, amount)


def relative(fraction: float) -> Within:
    """At most this fraction of the baseline."""
    return Within(RELATIVE, fraction)


class Regression(AssertionError):
    """A value left its bounds, or there is no baseline to hold it to."""


@dataclass(frozen=True)
class Key:
    """What a baseline is for."""

    tier: str
    chip: str
    compiler: str
    artefact: str

    def differences(self, other: Mapping[str, str]) -> str:
        """In words, for an error."""
        mine = vars(self)
        return ", ".join(
            f"{n} {other.get(n, '?')[:40]} there, {mine[n][:40]} here" for n in mine if mine[n] != other.get(n)
        )


def file_of(folder: Path, nodeid: str) -> tuple[Path, str]:
    """A test module's file, and the test's name in it."""
    module, _, name = nodeid.partition("::")
    return folder / (module.removesuffix(".py").replace("/", ".") + ".json"), name.partition("[")[0]


def read(path: Path) -> list[dict[str, Any]]:
    """
    The entries of a file; none if it does not exist.

    Raises:
        UsageError: It is damaged or of another version.
    """
    if not path.is_file():
        return []
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise UsageError(f"{path}: format {table['format']}, this version of hil reads {FORMAT}")
        entries: list[dict[str, Any]] = table["entries"]
        return entries
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: is no baseline ({error}). Write it again: --update-baseline") from error


def check(
    folder: Path, nodeid: str, key: Key, measured: Measurement, within: Within, symbols: Mapping[str, int]
) -> None:
    """
    Hold a value to its baseline.

    Args:
        folder: Of the baselines.
        nodeid: Of the test.
        key: What the value is for.
        measured: The value.
        within: How far it may be away.
        symbols: Sizes of the program's symbols, if the value is a size.

    Raises:
        Regression: It is further away; or there is no baseline for this key.
    """
    path, test = file_of(folder, nodeid)
    entries = [e for e in read(path) if e["test"] == test and measured.name in e["metrics"]]
    same = next((e for e in entries if e["key"] == vars(key)), None)
    if same is None:
        raise Regression(_nothing_to_compare(path, test, key, measured, entries))
    before = same["metrics"][measured.name]["value"]
    if within.allows(before, measured.value):
        return
    change = measured.value - before
    percent = f" ({100 * change / before:+.2f} %)" if before else ""
    raise Regression(
        f"{measured.name}: {shown(before)} {measured.unit} before, {shown(measured.value)} now: {change:+,g}{percent}; "
        f"the test allows it {within} ({key.tier}, {key.chip}, {key.compiler})."
        f"{_grown(same.get('symbols', {}), symbols)}\n"
        f"baseline {path}; if the change is meant: --update-baseline"
    )


def _nothing_to_compare(path: Path, test: str, key: Key, measured: Measurement, entries: list[dict[str, Any]]) -> str:
    if not entries:
        return f"{path}: no baseline of {measured.name} for {test}. Write it: --update-baseline"
    tiers = sorted({e["key"]["tier"] for e in entries})
    if key.tier not in tiers:
        return (
            f"{path}: the baseline of {measured.name} is of tier {', '.join(tiers)}; a value of tier {key.tier} is not "
            "compared with it. Write one for this tier: --update-baseline"
        )
    nearest = min((e for e in entries if e["key"]["tier"] == key.tier), key=lambda e: len(key.differences(e["key"])))
    return f"{path}: no baseline of {measured.name} for this key ({key.differences(nearest['key'])}): --update-baseline"


def _grown(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    changes = {name: now.get(name, 0) - before.get(name, 0) for name in {*before, *now}} if before and now else {}
    named = sorted(((d, n) for n, d in changes.items() if d), key=lambda c: (-abs(c[0]), c[1]))[:SYMBOLS_NAMED]
    return "\nsymbols: " + ", ".join(f"{name} {change:+d}" for change, name in named) if named else ""


def write(folder: Path, values: list[tuple[str, Key, Measurement, Mapping[str, int]]]) -> list[Path]:
    """
    Enter values into the baselines; what was there for another key stays.

    Args:
        folder: Made if missing.
        values: Node id, key, value, and sizes of symbols for sizes.

    Returns:
        The files written, each whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[Path, list[dict[str, Any]]] = {}
    for nodeid, key, measured, symbols in values:
        path, test = file_of(folder, nodeid)
        entries = files.setdefault(path, read(path))
        entry = next((e for e in entries if e["test"] == test and e["key"] == vars(key)), None)
        if entry is None:
            entry = {"test": test, "key": vars(key), "metrics": {}}
            entries.append(entry)
        entry["metrics"][measured.name] = {"value": measured.value, "unit": measured.unit}
        if symbols:
            entry["symbols"] = dict(sorted(symbols.items()))
    for path, entries in files.items():
        entries.sort(key=lambda e: (e["test"], sorted(e["key"].items())))
        text = json.dumps({"format": FORMAT, "entries": entries}, indent=1, sort_keys=True) + "\n"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return sorted(files)
