"""What training a model with several seeds on all folds gave, as plain data that goes to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from hil.config import from_table
from hil.errors import UsageError
from hil.trace import Tier

REFERENCE = "float GRU"


@dataclass(frozen=True)
class RunScore:
    """
    One seed on one fold.

    Attributes:
        fold: Name; empty without folds.
        seed: Of training.
        clips: Test clips.
        accuracy: By model, 0..1, on the same clips.
        artefact_sha256: Of the quantized model.
        device_clips: Sequences that were run on the rig.
        device_steps, device_steps_exact: Time steps compared with the twin, and those equal in every bit.
        device_outputs_exact: Sequences whose outputs are equal.
    """

    fold: str
    seed: int
    clips: int
    accuracy: dict[str, float]
    artefact_sha256: str
    device_clips: int = 0
    device_steps: int = 0
    device_steps_exact: int = 0
    device_outputs_exact: int = 0

    @property
    def device_exact(self) -> bool:
        return self.device_steps == self.device_steps_exact and self.device_clips == self.device_outputs_exact


@dataclass(frozen=True)
class Difference:
    """
    A model minus the float GRU, on the same clips, mean over seeds and folds.

    Attributes:
        model: The one compared.
        mean: Of the differences of accuracy, 0.01 is a point.
        low, high: 95 % bootstrap over clips and seeds (`hil.experiment.paired`).
        spread: What the t interval is over: ``"folds"`` or ``"seeds"``; empty: fewer than two.
        t_low, t_high: 95 % t interval.
    """

    model: str
    mean: float
    low: float
    high: float
    spread: str = ""
    t_low: float = 0.0
    t_high: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """
    The whole table of one model.

    Attributes:
        model: Name.
        command: What makes it.
        voted: Accuracy is by clips whose windows vote.
        seeds: Of training.
        folds: Names; one empty name without folds.
        runs: Every seed on every fold.
        differences: Each model against the float GRU.
        parameter_bytes: By model: float32 of the floats, packed bits of the quantized ones.
        epochs: By model, of all its stages together.
        rig, tier: Where device steps ran.
        hashes: ``recipe``, ``code``, ``commit``, and of each fold's data.
        versions: Of torch and numpy.
        notes: Anything the reader must know.
    """

    model: str
    command: str
    voted: bool
    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    runs: tuple[RunScore, ...]
    differences: tuple[Difference, ...]
    parameter_bytes: dict[str, int]
    epochs: dict[str, int]
    rig: str
    tier: Tier
    hashes: dict[str, str]
    versions: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    @property
    def models(self) -> tuple[str, ...]:
        """In order of display."""
        return tuple(self.runs[0].accuracy)

    def accuracy(self, model: str, fold: str | None = None) -> float:
        """Mean over the folds of the mean over the seeds; of one fold if it is named."""
        folds = self.folds if fold is None else (fold,)
        return mean(mean(run.accuracy[model] for run in self.runs if run.fold == name) for name in folds)

    def seed_accuracies(self, model: str) -> tuple[float, ...]:
        """Mean over the folds, by seed."""
        return tuple(mean(run.accuracy[model] for run in self.runs if run.seed == seed) for seed in self.seeds)

    @property
    def quantized(self) -> str:
        """The model that is the artefact: the last one."""
        return self.models[-1]

    @property
    def ratio(self) -> float:
        """Bytes of the float GRU's parameters over the quantized model's."""
        return self.parameter_bytes[REFERENCE] / self.parameter_bytes[self.quantized]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def outcome_from_json(text: str, where: Path | str = "results.json") -> Outcome:
    """Read what `Outcome.to_json` wrote.  Raises `UsageError` naming what is wrong."""
    try:
        table = json.loads(text)
        return from_table({**table, "tier": Tier(table["tier"])}, Outcome, str(where))
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{where}: are no results or are corrupt ({error}). Make them again: `hil results MODEL`"
        ) from error
