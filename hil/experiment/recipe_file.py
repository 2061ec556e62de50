"""A recipe as the text of its file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from hil.recipe import Recipe

ONLY_CHANGED = ("data", "stream")
"""Tables of which only what is not the default is written; all of the others."""


def recipe_toml(recipe: Recipe, comment: str) -> str:
    """The file that `hil.recipe.load_recipe` reads back as this recipe; ``comment`` is its first line."""
    lines = [f"# {comment}", f"name = {_value(recipe.name)}"]
    for part in dataclasses.fields(recipe):
        section = getattr(recipe, part.name)
        if dataclasses.is_dataclass(section):
            lines += _table(part.name, section, only_changed=part.name in ONLY_CHANGED)
    return "\n".join(lines) + "\n"


def _table(name: str, section: Any, only_changed: bool) -> Iterator[str]:
    """A table and those inside it, each after an empty line; nothing if nothing is in it."""
    if shown := _lines(section, only_changed):
        yield from ("", f"[{name}]", *shown)
    for key, inner in vars(section).items():
        if dataclasses.is_dataclass(inner):
            yield from _table(f"{name}.{key}", inner, only_changed=False)
        elif isinstance(inner, dict):
            for entry, table in inner.items():
                yield from _table(f"{name}.{key}.{json.dumps(entry)}", table, only_changed=False)


def _lines(section: Any, only_changed: bool) -> list[str]:
    values = {field.name: (getattr(section, field.name), field.default) for field in dataclasses.fields(section)}
    return [
        f"{name} = {_value(value)}"
        for name, (value, default) in values.items()
        if value is not None
        and not dataclasses.is_dataclass(value)
        and not isinstance(value, dict)
        and not (only_changed and value == default and name != "seconds")
    ]


def _value(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
