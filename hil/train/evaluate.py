"""What a trained model says about a set."""

from __future__ import annotations

from typing import Any

import numpy as np

from hil.cells import network_from
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.float_model import FloatModel
from hil.train.loop import deterministic, outputs_of


def predict(model: FloatModel, features: FeatureSet) -> np.ndarray[Any, np.dtype[np.float64]]:
    """
    Logits of every clip.

    A model trained with quantization runs in its integers: the logits are those of its
    artefact's twin divided by 2**15.

    Returns:
        [N, O] float64.

    Raises:
        UsageError: The features do not fit the model.
    """
    if features.x.ndim != 3 or features.x.shape[2] != model.inputs:
        raise UsageError(f"features of shape {features.x.shape}, the model takes [N, T, {model.inputs}]")
    with deterministic():
        return outputs_of(network_from(model), features).double().numpy()


def evaluate(model: FloatModel, features: FeatureSet) -> np.ndarray[Any, np.dtype[np.int64]]:
    """
    Classes that the model gives: [N] int64, the first one on a tie.

    Raises:
        UsageError: The features do not fit the model.
    """
    return predict(model, features).argmax(axis=1)
