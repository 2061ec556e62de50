"""
The device's cycles as the clock of pytest-benchmark.

The clock advances by what the device reported; the fixture reads it before and after a call and subtracts, so
statistics, tables and JSON are in whole cycles.  Only ``benchmark.pedantic`` with one iteration makes sense: a clock
that stands still between calls cannot be calibrated.
"""

from __future__ import annotations

from typing import Any

import pytest

from hil.errors import UsageError

BENCHED: pytest.StashKey[dict[str, str]] = pytest.StashKey()
"""In a config: facts about the rig of the last benchmark."""
COMPARED: pytest.StashKey[set[str]] = pytest.StashKey()
"""In a config: tiers of the stored benchmarks that are compared with."""
UNIT = "cycle"


class DeviceClock:
    """
    Cycles that devices have reported since the process began.

    Attributes:
        cycles: So far.
    """

    __name__ = "device_cycles"

    def __init__(self) -> None:
        self.cycles = 0

    def __call__(self) -> int:
        return self.cycles

    def advance(self, cycles: int) -> None:
        """A device has taken so many."""
        self.cycles += cycles


DEVICE_CLOCK = DeviceClock()
"""For ``@pytest.mark.benchmark(timer=DEVICE_CLOCK)``; the fixture `stream` advances it."""


def scale_unit(unit: str, benchmarks: Any) -> tuple[str, float] | None:
    """Whole cycles where the device's clock was the timer of all; None leaves it to pytest-benchmark."""
    timers = {str((benchmark.get("options") or {}).get("timer")).rpartition(".")[2] for benchmark in benchmarks}
    if timers != {DEVICE_CLOCK.__name__}:
        return None
    return (UNIT, 1.0) if unit == "seconds" else ("", 1.0)


def describe(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Put the rig into pytest-benchmark's machine info."""
    facts = config.stash.get(BENCHED, None)
    if facts:
        machine_info["hil"] = dict(facts)


def remember_compared(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Note the tier of stored benchmarks; the rig of this run is not known yet when they are read."""
    tier = machine_info.get("hil", {}).get("tier")
    if tier:
        config.stash[COMPARED] = {*config.stash.get(COMPARED, set()), str(tier)}


def refuse_other_tiers(config: pytest.Config, tier: str) -> None:
    """Raises `UsageError` if stored benchmarks that this run is compared with are of another tier."""
    others = config.stash.get(COMPARED, set()) - {tier}
    if others:
        raise UsageError(
            f"benchmarks of tier {tier} cannot be compared with stored ones of tier {', '.join(sorted(others))}: keep "
            "them apart with --benchmark-storage, one folder for each rig"
        )
