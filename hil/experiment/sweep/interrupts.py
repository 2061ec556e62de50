"""Ctrl-C and SIGTERM wait while the storage is read or written: a connection that they break keeps its locks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds signals back, but for the parts of a worker's life in which they may end it."""

    def __init__(self) -> None:
        self._allowed = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Of the main thread; others get no signals.  Whoever ends here is not interrupted again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Work that may be interrupted; a signal that came before takes effect now."""
        with self._set(True):
            yield

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """A part of such work that must not be; a signal that comes takes effect at its end."""
        with self._set(False):
            yield
        self._deliver()

    @contextmanager
    def _set(self, allowed: bool) -> Iterator[None]:
        before, self._allowed = self._allowed, allowed
        try:
            self._deliver()
            yield
        finally:
            self._allowed = before

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._waiting = number
        self._deliver()

    def _deliver(self) -> None:
        if self._waiting is None or not self._allowed:
            return
        number, self._waiting = self._waiting, None
        handler: Callable[[int, FrameType | None], Any] | Any = self._before.get(number)
        if callable(handler):
            handler(number, None)  # raises: KeyboardInterrupt, SystemExit
        elif handler == signal.SIG_DFL:
            raise KeyboardInterrupt
