"""Progress: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hil.cli import progress
from hil.cli.progress import BarProgress, LineProgress, make_progress


def test_without_a_terminal_lines_are_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most one line in ten seconds; what is said comes at once, all on stderr."""
    clock = iter([0.0, 1.0, 10.0, 10.0, 11.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = LineProgress()
    with shown.task("training") as update:
        update(1, 9)
        update(5, 9, "epoch 2")
        shown.say("hello")
        update(6, 9)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["epoch 2: 5 of 9", "hello"]
    assert captured.out == ""


def test_in_a_terminal_there_are_bars() -> None:
    """Two at once; nothing of them is left when they are done, lines stay."""
    screen = io.StringIO()
    shown = BarProgress(Console(file=screen, force_terminal=True, width=80, _environ={}))
    with shown.task("one") as first, shown.task("two") as second:
        first(1, 2)
        second(1, 4, "two, epoch 1")
        shown.say("[a line]")
        shown._bars.refresh()
    text = screen.getvalue()
    assert "50%" in text
    assert "two, epoch 1" in text
    assert "[a line]" in text
    assert not shown._bars.tasks


def test_stderr_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a pipe gets lines."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(make_progress(), LineProgress)
