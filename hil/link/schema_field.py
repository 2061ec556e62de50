"""A field of a frame's body."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """
    One field of a body, little-endian.

    Attributes:
        name: Identifier in both languages.
        type: ``u8``, ``u16``, ``u32``, ``i16`` or ``i32``.
        count: 1 for a scalar, N for a fixed array, 0 for an array that takes the rest of the body.
        meaning: One line; ends up in the header as a comment.
    """

    name: str
    type: str
    count: int
    meaning: str


def body_field(name: str, spec: str, meaning: str) -> Field:
    """A field from its type, or ``type*count``."""
    kind, _, count = spec.partition("*")
    return Field(name, kind, 1 if not _ else int(count or 0), meaning)
