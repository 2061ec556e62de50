"""One page for all rigs of a session: cycles a step and state trajectories, device against twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hil.experiment.result import Difference, Result, Trajectory
from hil.report import write_html
from hil.trace import Tier

MOST_TRAJECTORIES = 2
"""Of each rig and model."""


def write_page(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the page; ``runs`` as `hil.pytest_plugin.reports.keep_run` keeps them.  Raises `OSError`."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["facts"]["rig"]), []).append(run)
    write_html([_result(group) for group in groups.values()], path)


def _result(runs: Sequence[dict[str, Any]]) -> Result:
    """All sequences of one model on one rig."""
    one = runs[0]
    found = one["facts"]
    shown = [run for run in runs if "twin" in run]
    first = next((run["first"] for run in runs if run["first"]), None)
    return Result(
        model=one["model"],
        rig=found["rig"],
        rig_reason=found["reason"],
        tier=Tier(found["tier"]),
        compiler=found.get("compiler", "unknown"),
        clock_hz=int(found.get("clock_hz", 0)),
        hashes={name: found[name] for name in ("artefact", "elf") if name in found},
        labels=tuple(one["labels"]),
        accuracy={},
        steps=sum(run["steps"] for run in runs),
        steps_exact=sum(run["steps_exact"] for run in runs),
        outputs=len(runs),
        outputs_exact=sum(run["output_exact"] for run in runs),
        cycles=tuple(c for run in runs for c in run["cycles"]),
        output_cycles=tuple(run["output_cycles"] for run in runs if run["output_cycles"] is not None),
        void_windows=0,
        overhead_cycles=one["overhead"],
        parameter_bytes=one["parameter_bytes"],
        float_parameter_bytes=0,
        flash_bytes=one["flash_bytes"],
        ram_bytes=one["ram_bytes"],
        stack_bytes=0,
        first_difference=Difference(**first) if first else None,
        trajectories=tuple(
            Trajectory(f"sequence {i}, state {run['unit']}", tuple(run["device"]), tuple(run["twin"]))
            for i, run in enumerate(shown[:MOST_TRAJECTORIES])
        ),
    )
