"""One thing that the doctor has looked at."""

from __future__ import annotations

from dataclasses import dataclass

OPTIONAL = ("train", "renode", "sound", "data")
"""What a bench does without."""


@dataclass(frozen=True)
class Finding:
    """
    One thing looked at.

    Attributes:
        what: Name.
        works: It does.
        found: What is there, or what is wrong and what to do.
        needed_for: Which commands fail without it.
    """

    what: str
    works: bool
    found: str
    needed_for: str
