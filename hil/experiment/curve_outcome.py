"""What a recipe along one of its values gave, as plain data that goes to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from hil.config import from_table
from hil.errors import UsageError
from hil.experiment.outcome import Difference
from hil.trace import Tier


@dataclass(frozen=True)
class CurveRun:
    """
    One training of one point.

    Attributes:
        fold, seed: Which.
        clips: Test clips.
        accuracy: Of the quantized network, 0..1; its outputs are those of its integer twin.
        activity: Share of outputs of each recurrent layer that are not 0, on the test clips.
        zeros: Share of all weights that are 0.
        macs: Effective multiply-accumulates of a step (`hil.experiment.work`).
        weights: Weights of the recurrent layers.
        parameter_bytes: Packed.
        artefact_sha256: Of the network.
        rig, tier, compiler: Where cycles come from; empty and ``host`` without a rig.
        cycles: Mean of a step; 0 without a rig.
        flash_bytes: Of the whole program.
        device_steps, device_steps_exact: Steps compared with the twin, and those equal in every bit.
    """

    fold: str
    seed: int
    clips: int
    accuracy: float
    activity: tuple[float, ...]
    zeros: float
    macs: float
    weights: int
    parameter_bytes: int
    artefact_sha256: str
    rig: str
    tier: Tier
    compiler: str
    cycles: float
    flash_bytes: int
    device_steps: int
    device_steps_exact: int


@dataclass(frozen=True)
class CurvePoint:
    """
    All trainings of one value.

    Attributes:
        value: As it was written; ``"own"``: the recipe as it stands.
        runs: Every seed on every fold.
        difference: To the model's own quantized network, on the same clips and seeds.
    """

    value: str
    runs: tuple[CurveRun, ...]
    difference: Difference


@dataclass(frozen=True)
class Curve:
    """
    The whole table.

    Attributes:
        model: Name of the model.
        recipe: Name of the recipe of the points.
        command: What makes it.
        varied: What varies, such as ``"prune.sparsity"``; empty: nothing.
        hidden: Units of the points' recurrent layers.
        epochs: Of every training, all its stages together.
        seeds, folds: As `hil.experiment.outcome.Outcome`.
        dense: The model's own quantized network, every seed on every fold, with the build of the points.
        points: In the order in which they were asked for.
        hashes: ``recipe``, ``other`` (the recipe of the points), ``code``, ``commit``, and of each fold's data.
        versions: Of torch and numpy.
    """

    model: str
    recipe: str
    command: str
    varied: str
    hidden: tuple[int, ...]
    epochs: int
    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    dense: tuple[CurveRun, ...]
    points: tuple[CurvePoint, ...]
    hashes: dict[str, str]
    versions: dict[str, str]

    @property
    def device_exact(self) -> bool:
        """Whether every step that ran on a rig was equal to the twin's."""
        runs = [*self.dense, *(run for point in self.points for run in point.runs)]
        return all(run.device_steps == run.device_steps_exact for run in runs)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def averaged(runs: Sequence[CurveRun], name: str) -> float:
    """Mean over the folds of the mean over the seeds of a number of each run."""
    folds = dict.fromkeys(run.fold for run in runs)
    return mean(mean(float(getattr(run, name)) for run in runs if run.fold == fold) for fold in folds)


def layer_activity(runs: Sequence[CurveRun]) -> tuple[float, ...]:
    """Mean activity of each layer."""
    return tuple(mean(values) for values in zip(*(run.activity for run in runs), strict=True))


def curve_from_json(text: str, where: Path | str = "curve.json") -> Curve:
    """Read what `Curve.to_json` wrote.  Raises `UsageError` naming what is wrong."""
    try:
        table = json.loads(text)
        for run in [*table["dense"], *(run for point in table["points"] for run in point["runs"])]:
            run["tier"] = Tier(run["tier"])
        return from_table(table, Curve, str(where))
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where}: is no curve or is corrupt ({error}). Make it again: `hil curve MODEL`") from error
