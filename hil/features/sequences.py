"""Sequences of vectors to features: one center and one scale for each value, fitted on the training set."""

from __future__ import annotations

import numpy as np

from hil.artefact import SequenceInput
from hil.clip import SequenceSet
from hil.errors import UsageError
from hil.features.feature_set import FeatureSet
from hil.fixed import INT16_MAX, Q15_ONE, saturate_int16
from hil.recipe import FeatureRecipe

DEVIATION_Q15 = Q15_ONE // 4
"""What a standard deviation becomes: values up to four of them from their mean fit."""


def fit_sequences(recipe: FeatureRecipe, train: SequenceSet) -> SequenceInput:
    """
    Fix center and scale on a training set.

    Args:
        recipe: Whose `normalize` says how.  A value that never changes gets a scale of 1.
        train: The training set.

    Raises:
        UsageError: It is empty.
    """
    if not len(train):
        raise UsageError("a scale cannot be fitted to an empty training set")
    values = train.values.astype(np.float64)
    if recipe.normalize == "range":
        center, spread, full = np.zeros(values.shape[1]), np.full(values.shape[1], np.abs(values).max()), INT16_MAX
    else:
        center, spread, full = values.mean(axis=0), values.std(axis=0), DEVIATION_Q15
    scale = np.divide(full, spread, out=np.ones_like(spread), where=spread > 0)
    return SequenceInput(int(train.lengths.max()), center.astype(np.float32), scale.astype(np.float32))


def scale_set(part: SequenceSet, given: SequenceInput) -> FeatureSet:
    """
    Features of sequences; each is padded with zeros to the longest of the set and of training.

    Raises:
        UsageError: The vectors have another number of values than the scale.
    """
    width = part.values.shape[1]
    if width != given.features:
        raise UsageError(f"vectors have {width} values, the scale was fitted for {given.features}")
    real = (part.values.astype(np.float64) - given.center) * given.scale.astype(np.float64)
    x, saturated = saturate_int16(np.rint(real).astype(np.int64))
    steps = max([given.frames, *part.lengths.tolist()])
    names, y = part.names, part.y
    if (part.lengths == steps).all():
        return FeatureSet(x.reshape(len(part), steps, width), y, names, saturated)
    padded = np.zeros((len(part), steps, width), np.int16)
    padded[np.arange(steps) < part.lengths[:, None]] = x
    return FeatureSet(padded, y, names, saturated, part.lengths)
