"""
Differences between models on the same clips, with 95 % intervals.

Two intervals, because two things vary:

* Clips and seeds.  A bootstrap over both: each replicate draws, within every fold, clips with replacement and seeds
  with replacement, and averages the differences of the pairs drawn.  Clips and trainings are crossed (every training
  meets every clip), so both are drawn independently (Owen 2007, "The pigeonhole bootstrap"); for crossed factors this
  is conservative.  The folds stay as they are: the interval is about these speakers.
* Folds.  Student's t over the folds' mean differences: what another speaker (or another part of the recordings) may
  do.  Where there are no folds, over the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hil.experiment.outcome import Difference

Differences = npt.NDArray[np.int8]
"""[S, C]: correct (1) minus correct (1) of two models, by seed and clip: -1, 0 or 1."""

REPLICATES = 10_000
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Quantiles of Student's t at 0.975 for 1 to 30 degrees of freedom; beyond, the 30th is a little too wide."""


def mean_difference(folds: Sequence[Differences]) -> float:
    """Mean over folds of the mean over seeds and clips."""
    return float(np.mean([fold.mean() for fold in folds]))


def bootstrap_interval(
    folds: Sequence[Differences], seed: int = 1, replicates: int = REPLICATES
) -> tuple[float, float]:
    """95 % interval of `mean_difference` over clips and seeds (see above); equal arguments give equal numbers."""
    rng = np.random.default_rng(seed)
    total = np.zeros(replicates)
    for fold in folds:
        seeds, clips = fold.shape
        drawn_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), replicates)
        drawn_clips = rng.multinomial(clips, np.full(clips, 1 / clips), replicates)
        total += ((drawn_seeds @ fold.astype(np.float64)) * drawn_clips).sum(axis=1) / fold.size
    low, high = np.quantile(total / len(folds), (0.025, 0.975))
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of at least two values by Student's t; None for fewer."""
    if len(values) < 2:
        return None
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = _T_975[min(len(values) - 2, len(_T_975) - 1)] * spread / math.sqrt(len(values))
    return mean - half, mean + half


def difference_of(model: str, folds: Sequence[Differences]) -> Difference:
    """The mean difference of a model with both intervals; ``folds`` as for `mean_difference`."""
    low, high = bootstrap_interval(folds)
    spread = "folds" if len(folds) > 1 else "seeds"
    values = [float(fold.mean()) for fold in folds] if len(folds) > 1 else [float(v) for v in folds[0].mean(axis=1)]
    interval = t_interval(values)
    if interval is None:
        return Difference(model, mean_difference(folds), low, high)
    return Difference(model, mean_difference(folds), low, high, spread, *interval)
