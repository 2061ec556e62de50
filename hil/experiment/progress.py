"""How an experiment tells its user what it is doing; the front doors show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Update(Protocol):
    """Called with what is done and what there is to do, in any unit, and a line of text."""

    def __call__(self, done: int, total: int, text: str = "") -> None: ...


class Progress(Protocol):
    """Somewhere to show progress."""

    def task(self, title: str) -> AbstractContextManager[Update]:
        """A piece of work that takes time; several may be under way at once."""

    def say(self, text: str) -> None:
        """One line for the user."""


def _ignore(done: int, total: int, text: str = "") -> None:
    pass


class Quiet:
    """
    Shows nothing; keeps what was said.

    Attributes:
        said: Every line, in order.
    """

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def task(self, title: str) -> Iterator[Update]:
        yield _ignore

    def say(self, text: str) -> None:
        self.said.append(text)
