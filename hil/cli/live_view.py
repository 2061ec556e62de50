"""What is seen of a live run: a screen in a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Protocol

import numpy as np
from rich.console import Console, Group
from rich.live import Live as Screen
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hil.artefact import Artefact
from hil.capture.live import Live, shares
from hil.trace import Decision

REFRESH_S = 0.1
STATUS_S = 5.0
"""From one line about the run to the next, where there is no screen."""
ROWS, COLUMNS, BAR = 12, 64, 30
SHADES = " .:-=+*#%@"
QUIETEST_DB = -80.0
LAST_DETECTIONS = 5


class View(Protocol):
    """Somewhere to show a live run."""

    def show(self, state: Live, decisions: tuple[Decision, ...]) -> None:
        """What it has come to, and the decisions that have just come."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(artefact: Artefact, title: str, console: Console | None = None) -> View:
    """A screen if stdout is a terminal."""
    console = console or Console()
    return ScreenView(artefact, title, console) if console.is_terminal else LineView(artefact, title, console)


def when_s(artefact: Artefact, decision: Decision) -> float:
    """When the decision's window was complete, seconds since its stream began."""
    fe = artefact.sound
    return (decision.frame * fe.hop + fe.window) / fe.rate_hz


class LineView:
    """A line for each decision, and one about the run every few seconds of sound."""

    def __init__(self, artefact: Artefact, title: str, console: Console) -> None:
        self._artefact, self._console, self._next_s = artefact, console, STATUS_S
        self._told = False
        self.say(title)

    def show(self, state: Live, decisions: tuple[Decision, ...]) -> None:
        """As of `View`."""
        for decision in decisions:
            label, lead = self._artefact.labels[decision.label], decision.margin_q15 / (1 << 15)
            mark = "  DETECTED" if decision.triggered else ""
            self.say(f"{when_s(self._artefact, decision):8.3f} s  {label:<12} lead {lead:7.3f}{mark}")
        if state.first is not None and not self._told:
            self._told = True
            self.say(f"differs from the twin {state.first}")
        heard_s = state.samples / self._artefact.sound.rate_hz
        if heard_s >= self._next_s:
            self._next_s = heard_s + STATUS_S
            self.say(status(state))

    def say(self, text: str) -> None:
        """As of `View`."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> LineView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def status(state: Live) -> str:
    """One line about a run."""
    return (
        f"level {state.level_db:.0f} dB, load {state.load:.1%}, "
        f"sound to decision {1e3 * state.latency_s(50):.0f} ms (p99 {1e3 * state.latency_s(99):.0f} ms), "
        f"{state.repetitions} requests sent again, {state.bad_frames} damaged frames, {state.lost} samples lost"
    )


class ScreenView:
    """A screen that is drawn ten times a second."""

    def __init__(self, artefact: Artefact, title: str, console: Console) -> None:
        self._artefact, self._title = artefact, title
        self._detections: deque[str] = deque(maxlen=LAST_DETECTIONS)
        self._screen = Screen(console=console, auto_refresh=False)
        self._next_s = 0.0

    def show(self, state: Live, decisions: tuple[Decision, ...]) -> None:
        """As of `View`."""
        for decision in decisions:
            if decision.triggered:
                at = when_s(self._artefact, decision)
                self._detections.append(f"{at:8.3f} s  {self._artefact.labels[decision.label]}")
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + REFRESH_S
            self._screen.update(self._drawn(state), refresh=True)

    def _drawn(self, state: Live) -> Panel:
        twin = Text("twin: equal so far", "green") if state.exact else Text(f"twin: differs {state.first}", "bold red")
        share = (state.level_db - QUIETEST_DB) / -QUIETEST_DB
        lower = Table.grid(padding=(0, 3))
        lower.add_row(_outputs(self._artefact, state), Text("\n".join(("detections", *self._detections))))
        return Panel(
            Group(
                Text(f"level {state.level_db:6.1f} dB  {bar(share)}"),
                Text("\n".join(spectrogram(list(state.spectrum)))),
                lower,
                Text(f"{status(state)}; {state.decisions} decisions, {state.detections} detections"),
                twin,
            ),
            title=self._title,
        )

    def say(self, text: str) -> None:
        """As of `View`."""
        self._screen.console.print(text, highlight=False, markup=False)

    def __enter__(self) -> ScreenView:
        self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.stop()


def _outputs(artefact: Artefact, state: Live) -> Text:
    if state.last is None:
        return Text("no decision yet")
    width = max(map(len, artefact.labels))
    rows = [
        f"{label:<{width}} {share:6.1%} {bar(share)}"
        for label, share in zip(artefact.labels, shares(state.last), strict=True)
    ]
    return Text("\n".join(rows))


def bar(share: float) -> str:
    """A bar of `BAR` characters for 1."""
    return "#" * round(BAR * min(1.0, max(0.0, share)))


def spectrogram(vectors: list[np.typing.NDArray[np.int16]]) -> list[str]:
    """The last feature vectors as rows of characters, the highest band on top; darker is more."""
    if not vectors:
        return [""] * ROWS
    x = np.array(vectors[-COLUMNS:], np.float64)
    rows = min(ROWS, x.shape[1])
    bands = np.stack([part.mean(axis=1) for part in np.array_split(x, rows, axis=1)])  # [rows, columns]
    low, high = bands.min(), bands.max()
    shades = ((bands - low) / max(high - low, 1.0) * (len(SHADES) - 1)).round().astype(int)
    return ["".join(SHADES[value] for value in row) for row in shades[::-1]]
