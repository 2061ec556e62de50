"""docs/bench.md walks through docs/bench-checklist.md on the emulated board: every row, by tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKLIST = (ROOT / "docs/bench-checklist.md").read_text()
WALK = (ROOT / "docs/bench.md").read_text().split("## The checklist on the emulated board")[1]
ELSEWHERE = {*range(51, 80), *range(93, 97)}
"""Rows of sound, baselines, events, calibration and kernels, whose own tests run them on the emulated chip."""


def walked():
    """Rows and tests of the table."""
    for rows, text in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", WALK, re.MULTILINE):
        yield {int(row) for row in rows.split(",")}, re.findall(r"`(test_\w+)`", text), text


def test_every_row_is_walked_or_needs_silicon():
    """None is forgotten, none is invented."""
    listed = {int(row) for row in re.findall(r"^\| (\d+) \|", CHECKLIST, re.MULTILINE)}
    covered = set().union(*(rows for rows, _, _ in walked()))
    assert listed - ELSEWHERE == covered
    for rows, tests, text in walked():
        assert tests or text == "needs silicon", rows


def test_every_test_of_the_walk_exists():
    """By its name."""
    known = {
        name
        for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert not {test for _, tests, _ in walked() for test in tests} - known
