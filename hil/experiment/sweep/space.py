"""What a sweep varies: ``--param`` to keys of a recipe and their values, and from values to a recipe."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil.errors import UsageError, suggest
from hil.recipe import Recipe

Raw = str | int | float
"""A value as it stands in the storage: a choice's text, or a number of a range."""
Values = Mapping[str, Raw]
"""Raw values by key."""

FIXED = {
    "data": "accuracies on other clips cannot be compared",
    "stream": "it is no part of the model",
    "build.chip": "it is the rig's",
}
"""What is not swept, and why."""
MOST_COMBINATIONS = 100_000
"""Spaces with more count as infinite."""
_RANGE = re.compile(r"([^.:]+(?:\.\d+)?(?:e[-+]?\d+)?)\.\.([^:]+)(?::(.+))?", re.IGNORECASE)
_LIST = "+"


@dataclass(frozen=True)
class Choices:
    """Values by their text, in the order given."""

    texts: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.texts)

    def all(self) -> tuple[Raw, ...] | None:
        return self.texts


@dataclass(frozen=True)
class Range:
    """
    Numbers from ``low`` to ``high``, both included.

    Attributes:
        low, high: Both int, or both float.
        log: Spread evenly by their logarithm.
        step: Between neighbours; None: any float.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __str__(self) -> str:
        plain = self.step is None or (self.step == 1 and isinstance(self.low, int))
        more = ":log" if self.log else "" if plain else f":{self.step!r}"
        return f"{self.low!r}..{self.high!r}{more}"

    def all(self) -> tuple[Raw, ...] | None:
        if self.step is None:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(self.low + i * self.step for i in range(min(count, MOST_COMBINATIONS + 1)))


@dataclass(frozen=True)
class Space:
    """
    Domains by full key, such as ``"cell.hidden"``.

    Attributes:
        domains: In the order given.
    """

    domains: Mapping[str, Choices | Range]

    def texts(self) -> dict[str, str]:
        """As ``--param`` takes them; equal spaces give equal texts."""
        return {key: str(domain) for key, domain in self.domains.items()}

    @property
    def combinations(self) -> int | None:
        """How many there are; None: infinitely many, or more than `MOST_COMBINATIONS`."""
        count = 1
        for domain in self.domains.values():
            values = domain.all()
            if values is None or (count := count * len(values)) > MOST_COMBINATIONS:
                return None
        return count

    def all(self) -> Iterator[dict[str, Raw]]:
        """Every combination, the last key changing fastest; only of a finite space."""
        columns = [domain.all() or () for domain in self.domains.values()]
        for row in itertools.product(*columns):
            yield dict(zip(self.domains, row, strict=True))


def make_space(recipe: Recipe, texts: Sequence[str]) -> Space:
    """
    The space of some ``--param NAME=VALUES``.

    ``VALUES`` are choices ``16,32,64``, or a range ``8..64``, ``8..64:4`` (in steps), ``1e-3..3e-2:log``.  A list, such
    as the units of two layers, is written ``30+20``; a list of one like a number.

    Raises:
        UsageError: No such key (the nearest is suggested), an ambiguous one, or a value that the recipe does not take.
    """
    hints = leaf_types()
    domains: dict[str, Choices | Range] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise UsageError(f"--param {text}: expected NAME=VALUES, such as hidden=16,32,64")
        key = full_key(name.strip(), hints)
        if key in domains:
            raise UsageError(f"--param {text}: {key} is given twice")
        domains[key] = _domain(key, values.strip(), hints[key])
    space = Space(domains)
    _check_ends(recipe, space)
    return space


def leaf_types() -> dict[str, Any]:
    """Type of every key of a recipe that may be swept, by its full name."""
    return {
        key: hint
        for key, hint in _leaves(Recipe, "")
        if "." in key and not _fixed(key) and typing.get_origin(hint) is not dict
    }


def full_key(name: str, hints: Mapping[str, Any]) -> str:
    """The one key that a full name, or the end of one, names.  Raises `UsageError`."""
    if name in hints:
        return name
    ending = [key for key in hints if key.endswith(f".{name}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise UsageError(f"--param {name}: could be {' or '.join(ending)}: write one of them in full")
    if why := _fixed(name):
        raise UsageError(f"--param {name}: is the same for all trials: {why}")
    short = [key.rpartition(".")[2] for key in hints]
    hint = suggest(name, sorted({*hints, *short}))
    raise UsageError(f"--param {name}: no such key of a recipe{hint}")


def _fixed(key: str) -> str:
    """Why a key is not swept; empty: it may be."""
    return next((why for name, why in FIXED.items() if key == name or key.startswith(f"{name}.")), "")


def recipe_for(recipe: Recipe, values: Values) -> Recipe:
    """
    The recipe with these values.

    Raises:
        UsageError: The recipe does not take them, alone or together.
    """
    hints = leaf_types()
    made = {key: _value(key, raw, hints[key]) for key, raw in values.items()}
    result: Recipe = _replaced(recipe, made)
    return result


def flat(recipe: Recipe) -> dict[str, Any]:
    """
    All values by full key, as JSON has them; what decides a trial's numbers, and no place on this machine.

    The tables of single layers (``build.layers``) are one value.
    """
    values = {
        key: _get(recipe, key)
        for key, _ in _leaves(Recipe, "")
        if key != "data.folder" and not key.startswith("stream.")
    }
    values["build.layers"] = {name: dataclasses.asdict(layer) for name, layer in recipe.build.layers.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def shown(values: Values) -> str:
    """Values for the reader, keys by their last part where that is not ambiguous here."""
    short = [key.rpartition(".")[2] for key in values]
    names = [last if short.count(last) == 1 else key for key, last in zip(values, short, strict=True)]
    texts = [f"{raw:.4g}" if isinstance(raw, float) else str(raw) for raw in values.values()]
    return " ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))


def _leaves(into: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(into)
    for field in dataclasses.fields(into):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _leaves(hint, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", hint


def _get(recipe: Any, key: str) -> Any:
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


def _replaced(table: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with values by dotted key; all of a table at once, so that they are checked together."""
    own = {key: value for key, value in values.items() if "." not in key}
    for name in dict.fromkeys(key.partition(".")[0] for key in values if "." in key):
        inner = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}
        own[name] = _replaced(getattr(table, name), inner)
    return dataclasses.replace(table, **own)


def _domain(key: str, text: str, hint: Any) -> Choices | Range:
    match = _RANGE.fullmatch(text)
    if match and _number_type(hint) is not None:
        return _range(key, text, match, hint)
    texts = tuple(part.strip() for part in text.split(","))
    if len(set(texts)) < len(texts):
        raise UsageError(f"--param {key}={text}: a value is given twice")
    for part in texts:
        _value(key, part, hint)
    return Choices(texts)


def _range(key: str, text: str, match: re.Match[str], hint: Any) -> Range:
    number = _number_type(hint)
    assert number is not None
    what = f"--param {key}={text}"
    low, high = (_number(what, match[i], number) for i in (1, 2))
    if low >= high:
        raise UsageError(f"{what}: the range must begin below its end")
    if match[3] == "log":
        if low <= 0:
            raise UsageError(f"{what}: a range by logarithm must begin above 0")
        return Range(low, high, log=True, step=1 if number is int else None)
    step = _number(what, match[3], number) if match[3] else 1 if number is int else None
    if step is not None and not 0 < step <= high - low:
        raise UsageError(f"{what}: the step must be above 0 and at most {high - low:g}")
    return Range(low, high, step=step)


def _number(what: str, text: str, number: type[int] | type[float]) -> int | float:
    try:
        value = number(text)
    except ValueError:
        kind = "a whole number" if number is int else "a number"
        raise UsageError(f"{what}: {text!r} is not {kind}; ranges are 8..64, 8..64:4 or 1e-3..3e-2:log") from None
    if not math.isfinite(value):
        raise UsageError(f"{what}: {text!r} is no number of a range")
    return value


def _number_type(hint: Any) -> type[int] | type[float] | None:
    """Of what a range can be: a number, or a list of them with one element."""
    if typing.get_origin(hint) is tuple:
        return _number_type(typing.get_args(hint)[0])
    if _is_union(hint):
        return next((t for t in map(_number_type, typing.get_args(hint)) if t), None)
    return hint if hint in (int, float) else None


def _value(key: str, raw: Raw, hint: Any) -> Any:
    """A raw value as the recipe has it."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_value(key, part, item) for part in (raw.split(_LIST) if isinstance(raw, str) else [raw]))
    if _is_union(hint):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return None if raw == "none" and len(inner) < len(typing.get_args(hint)) else _value(key, raw, inner[0])
    if typing.get_origin(hint) is typing.Literal:
        known = {str(arg): arg for arg in typing.get_args(hint)}
        if str(raw) not in known:
            raise UsageError(f"{key} = {raw}: is none of {', '.join(known)}{suggest(str(raw), known)}")
        return known[str(raw)]
    if hint is bool:
        if raw not in ("true", "false"):
            raise UsageError(f"{key} = {raw}: is neither true nor false")
        return raw == "true"
    if hint is str:
        return str(raw)
    try:
        return hint(raw)
    except ValueError:
        raise UsageError(
            f"{key} = {raw}: is not {'a whole number' if hint is int else 'a number'}"
            + (f" (a range is written {key}=8..64)" if ".." in str(raw) else "")
        ) from None


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _check_ends(recipe: Recipe, space: Space) -> None:
    """Every choice, and both ends of every range, must be a recipe by itself."""
    for key, domain in space.domains.items():
        ends = domain.texts if isinstance(domain, Choices) else (domain.low, domain.high)
        for raw in ends:
            try:
                recipe_for(recipe, {key: raw})
            except UsageError as error:
                raise UsageError(f"--param {key}={domain}: {error}") from None
