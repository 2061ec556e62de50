"""Intervals of paired differences: against closed forms, and that they cover what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hil.experiment.paired import bootstrap_interval, mean_difference, t_interval


def crossed(rng, seeds, clips, mean, seed_spread):
    """Differences -1, 0, 1 whose expectation is ``mean``, moved by each seed."""
    shift = mean + rng.normal(0, seed_spread, (seeds, 1))
    return (rng.random((seeds, clips)) < 0.1 + shift).astype(np.int8) - (rng.random((seeds, clips)) < 0.1).astype(
        np.int8
    )


def test_the_mean_counts_every_fold_once():
    """Whatever the number of its clips."""
    folds = [np.array([[1, 1]], np.int8), np.array([[0, 0, 0, -1]], np.int8)]
    assert mean_difference(folds) == (1 - 0.25) / 2


def test_equal_models_have_an_interval_of_nothing():
    """No clip is decided otherwise: no doubt about these clips."""
    assert bootstrap_interval([np.zeros((3, 50), np.int8)]) == (0.0, 0.0)


def test_equal_arguments_give_equal_numbers():
    """The bootstrap draws with a seed of its own."""
    folds = [crossed(np.random.default_rng(1), 3, 200, 0.02, 0.01)]
    assert bootstrap_interval(folds) == bootstrap_interval(folds)
    assert bootstrap_interval(folds) != bootstrap_interval(folds, seed=2)


def test_one_seed_gives_the_interval_of_a_mean_over_clips():
    """Within 10 % of the normal one, 1.96 standard errors either way."""
    fold = crossed(np.random.default_rng(2), 1, 2000, 0.05, 0.0)
    low, high = bootstrap_interval([fold])
    half = 1.96 * fold.std() / math.sqrt(fold.size)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (low + high) / 2 == pytest.approx(fold.mean(), abs=0.1 * half)


def test_seeds_that_differ_widen_the_interval():
    """A bootstrap over clips alone would not see it."""
    calm = np.zeros((4, 400), np.int8)
    calm[:, :20] = 1
    wild = calm.copy()
    wild[0, 20:100] = 1
    wild[1, 300:360] = -1
    narrow, wide = (np.ptp(bootstrap_interval([fold])) for fold in (calm, wild))
    assert wide > 2 * narrow


def test_ninety_five_percent_of_intervals_hold_the_truth():
    """Of 200 experiments with five trainings that differ; at least 90 % for the noise of 200."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval([crossed(rng, 5, 300, 0.03, 0.005)], replicates=400)
        hits += low <= 0.03 <= high
    assert hits >= 180


def test_students_interval_is_the_tabled_one():
    """Three values: 4.303 standard errors; fewer than two: none; beyond the table its last row."""
    low, high = t_interval([1.0, 2.0, 3.0])
    assert high - 2 == pytest.approx(4.303 / math.sqrt(3), rel=1e-4)
    assert 2 - low == pytest.approx(high - 2)
    assert t_interval([1.0]) is None
    many = t_interval([0.0, 1.0] * 40)
    assert many[1] - 0.5 == pytest.approx(2.042 * np.std([0.0, 1.0] * 40, ddof=1) / math.sqrt(80))
