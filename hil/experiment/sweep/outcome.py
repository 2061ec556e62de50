"""What a sweep has found: plain data for the terminal, the plot and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hil.errors import UsageError, suggest
from hil.experiment.sweep.space import Raw

OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "cycles": "minimize",
    "flash": "minimize",
    "ram": "minimize",
}
"""Where each is better: accuracy on the validation set; cycles of a clip; bytes of the whole program."""

Verdict = Literal["complete", "refused", "stopped", "failed", "running", "queued"]


@dataclass(frozen=True)
class Row:
    """
    A trial.

    Attributes:
        number: Of the trial.
        verdict: What became of it.  ``"refused"``: it does not fit the chip.  ``"stopped"``: trained in part, it was
            not promising.  ``"failed"``: training it is not possible, or it killed its workers.
        values: Raw values by key.
        accuracy: Of the validation set, 0..1; None: not measured.
        cycles, flash, ram: As `hil.experiment.sweep.trial.Measured` has them; None: not measured.
        reason: Why it was refused, stopped, or failed.
        worker: Machine and process.
        folder: Where it was trained, on that machine.
        seconds: From start to end.
        retry_of: Trial that it repeats because its worker ended in the middle; None: none.
        artefact_sha256: Of the model; empty: none.
        test_accuracy: On the test set, if that was asked for; decides nothing.
    """

    number: int
    verdict: Verdict
    values: dict[str, Raw]
    accuracy: float | None = None
    cycles: float | None = None
    flash: int | None = None
    ram: int | None = None
    reason: str = ""
    worker: str = ""
    folder: str = ""
    seconds: float | None = None
    retry_of: int | None = None
    artefact_sha256: str = ""
    test_accuracy: float | None = None


@dataclass(frozen=True)
class SweepOutcome:
    """
    A sweep, finished or not.

    Attributes:
        study, model: Names.
        space: ``--param`` by key.
        objectives: In order of display.
        trials: How many were to be completed.
        sampler, seed: How values are chosen.
        rig, tier, chip, compiler: Where trials are measured.
        steps: Time steps of a clip, where all trials have the same; else 0.
        rows: By number, without what was given up in favour of another worker's.
        taken_over: Trials whose worker ended in the middle, and which were begun again.
    """

    study: str
    model: str
    space: dict[str, str]
    objectives: tuple[str, ...]
    trials: int
    sampler: str
    seed: int
    rig: str
    tier: str
    chip: str
    compiler: str
    steps: int
    rows: tuple[Row, ...]
    taken_over: int = 0

    @property
    def complete(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.verdict == "complete")

    @property
    def front(self) -> tuple[Row, ...]:
        """Complete trials that no other is better than; best first by the first objective."""
        return front(self.complete, self.objectives)

    def to_json(self) -> str:
        table = {**dataclasses.asdict(self), "front": [row.number for row in self.front]}
        return json.dumps(table, indent=1, sort_keys=True) + "\n"


def parse_objectives(text: str) -> tuple[str, ...]:
    """
    ``accuracy,cycles`` and the like.

    Raises:
        UsageError: Unknown (the nearest is suggested), or named twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise UsageError(f"--objective {name!r}: is none of {', '.join(OBJECTIVES)}{suggest(name, OBJECTIVES)}")
    if len(set(names)) < len(names):
        raise UsageError(f"--objective {text}: names one twice")
    return names


def front(rows: Sequence[Row], objectives: Sequence[str]) -> tuple[Row, ...]:
    """
    Rows than which no other is at least as good in all objectives and better in one.

    Args:
        rows: Complete trials.
        objectives: Of `OBJECTIVES`.

    Returns:
        Best first by the first objective, then the next; of equals all.
    """
    costs = [tuple(cost(row, name) for name in objectives) for row in rows]
    kept = [
        (mine, row)
        for mine, row in zip(costs, rows, strict=True)
        if not any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in costs)
    ]
    return tuple(row for _, row in sorted(kept, key=lambda pair: (pair[0], pair[1].number)))


def cost(row: Row, objective: str) -> float:
    """The value of an objective, turned so that less is better."""
    value: Any = getattr(row, objective)
    return -float(value) if OBJECTIVES[objective] == "maximize" else float(value)
