"""Progress on stderr: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hil.experiment.progress import Update

LINE_EVERY_S = 10.0
"""Without a terminal, one line per task at most this often."""


class BarProgress:
    """Bars, several at once; lines that are said appear above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._open = 0

    @contextmanager
    def task(self, title: str) -> Iterator[Update]:
        bar = self._bars.add_task(title, total=None)

        def update(done: int, total: int, text: str = "") -> None:
            self._bars.update(bar, completed=done, total=total, description=text or title)

        self._begin()
        try:
            yield update
        finally:
            self._bars.remove_task(bar)
            self._end()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def _begin(self) -> None:
        self._open += 1
        if self._open == 1:
            self._bars.start()

    def _end(self) -> None:
        self._open -= 1
        if not self._open:
            self._bars.stop()


class LineProgress:
    """Plain lines, for logs."""

    @contextmanager
    def task(self, title: str) -> Iterator[Update]:
        told = time.monotonic()

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal told
            if time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                self.say(f"{text or title}: {done} of {total}")

        yield update

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def make_progress() -> BarProgress | LineProgress:
    """Bars if stderr is a terminal."""
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress()
