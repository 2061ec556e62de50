"""TOML files to frozen dataclasses; an unknown key is an error with a suggestion."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from hil.errors import UsageError, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def load_toml(path: Path, into: type[T]) -> T:
    """
    Read a TOML file into a dataclass whose fields are plain values, tuples or dataclasses.

    Args:
        path: The file.
        into: A dataclass; a field that is itself a dataclass is a table.

    Raises:
        UsageError: The file cannot be read or parsed, a key is unknown (the nearest
            known one is suggested), missing or of another type, or the dataclass's
            own ``__post_init__`` refuses the values.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return from_table(table, into, str(path))


def from_table(table: dict[str, Any], into: type[T], where: str, section: str = "") -> T:
    """Build dataclass ``into`` from a parsed table; ``where`` and ``section`` name it in errors."""
    hints = typing.get_type_hints(into)
    fields = {f.name: f for f in dataclasses.fields(into)}  # type: ignore[arg-type]
    inside = f" in [{section}]" if section else ""
    for key in table:
        if key not in fields:
            raise UsageError(f"{where}: unknown key {key!r}{inside}{suggest(key, fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _convert(table[name], hints[name], where, f"{section}.{name}".lstrip("."))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UsageError(f"{where}: missing key {name!r}{inside}")
    try:
        return into(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _convert(value: Any, hint: Any, where: str, name: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(value) in args:
            return value
        return _convert(value, next(a for a in args if a is not type(None)), where, name)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_table(value, typing.cast("type[Any]", hint), where, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(item, args[0], where, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(item, args[1], where, f"{name}.{key}") for key, item in value.items()}
    if origin is typing.Literal:
        if value not in args:
            hint_text = suggest(str(value), map(str, args))
            raise UsageError(f"{where}: {name} = {value!r} is none of {', '.join(map(repr, args))}{hint_text}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(hint, type) or type(value) is not hint:
        wanted = getattr(hint, "__name__", str(hint))
        raise UsageError(f"{where}: {name} = {value!r} is a {type(value).__name__}, expected {wanted}")
    return value
