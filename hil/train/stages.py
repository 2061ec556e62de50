"""The two stages of training: in float, then with the device's integers in the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hil.artefact import AnyInput
from hil.cells import (
    Network,
    Surrogate,
    arrays_of,
    event_readout_shift_for,
    network_from,
    readout_shift_for,
    row_formats,
)
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.fixed import Q15_ONE
from hil.float_model import CELL_NAMES, EVENT_KINDS, Epoch, FloatModel, Kind
from hil.prune_recipe import PruneRecipe
from hil.quant import fit_exponents, quantization_settings
from hil.quant.quantize_bytes import event_gru_exponents
from hil.recipe import Recipe
from hil.train.augment import augmentation_for
from hil.train.board import Board
from hil.train.checkpoint import Checkpoint, fingerprint
from hil.train.events import EventTarget
from hil.train.loop import Observer, Plan, Progress, Training, deterministic

_QUANTIZED_SEED = 1 << 32
"""Added to the recipe's seed, so that the second stage does not repeat the order of the first."""


@dataclass(frozen=True)
class Session:
    """
    What surrounds a training; nothing of it changes a bit of the result, except what `augmentation` needs.

    Attributes:
        frontend, labels: Of the features; some items of augmentation need them.
        progress: Called after every update.
        checkpoint: File that keeps the state after every epoch.  A training that finds it, with everything else
            equal, goes on from there and ends with the bits of one that was never interrupted; at the end it is gone.
        tensorboard: Folder for learning curves; None: none are written.
    """

    frontend: AnyInput | None = None
    labels: tuple[str, ...] = ()
    progress: Progress | None = None
    checkpoint: Path | None = None
    tensorboard: Path | None = None


def fit(
    recipe: Recipe,
    train: FeatureSet,
    validation: FeatureSet,
    *,
    kind: Kind = "embedded_gru",
    session: Session | None = None,
) -> FloatModel:
    """
    Train a network in float.

    Equal arguments give equal bits on one machine, whatever its load.  The GRU trains for
    as many epochs as the eGRU does in both of its stages together.

    Args:
        recipe: Cell, training, and the number of quantized epochs (for the GRU).
        train: Clips to learn from.
        validation: Clips that choose the epoch that is kept.
        kind: ``"embedded_gru"``, ``"event_embedded_gru"``, ``"event_gru"``, or ``"gru"`` for the baseline of the
            same shape.
        session: Progress, checkpoint and the like.

    Raises:
        UsageError: The sets do not fit together, a class has no clip, or training diverges.
    """
    outputs = _check(train, validation)
    _, steps, features = train.x.shape
    plan = _float_plan(recipe, kind)
    with deterministic():
        network = Network(
            kind,
            features,
            recipe.cell.hidden,
            recipe.cell.dense,
            outputs,
            _readout_shift(recipe, kind, steps),
            hold_q15=_hold_q15(recipe, kind),
            z_bias=recipe.train.z_bias,
            threshold=recipe.events.threshold,
            surrogate=Surrogate(recipe.events.damping, recipe.events.support),
            generator=torch.Generator().manual_seed(recipe.train.seed),
        )
        curve = _run(network, plan, recipe, train, validation, session or Session())
    return FloatModel(
        kind=kind,
        inputs=features,
        hidden=recipe.cell.hidden,
        dense=recipe.cell.dense,
        outputs=outputs,
        readout_shift=network.readout_shift,
        arrays=arrays_of(network),
        curve=curve,
        provenance=_provenance(plan, curve),
        hold_q15=network.hold_q15,
    )


def fit_quantized(
    recipe: Recipe,
    float_model: FloatModel,
    train: FeatureSet,
    validation: FeatureSet,
    *,
    session: Session | None = None,
) -> FloatModel:
    """
    Train on with 3-bit weights (EGRU: 8-bit) and Q15 states in the forward pass (straight-through gradients).

    Row scales are fitted to the float weights, as often as the recipe says, then frozen.  There
    is no batch norm, so there are no batch statistics to freeze.  The result keeps latent weights
    and row scales; `hil.quant.quantize` rounds them to exactly the network that was trained,
    and its twin gives exactly the outputs seen here.

    Args:
        recipe: Training and quantization; 0 epochs only fits the row scales.
        float_model: An eGRU from `fit`.
        train, validation: As for `fit`.
        session: As for `fit`.

    Raises:
        UsageError: As `fit`; or the model is a GRU.
    """
    outputs = _check(train, validation)
    if (float_model.inputs, float_model.outputs) != (train.x.shape[2], outputs):
        raise UsageError(
            f"the float model has {float_model.inputs} inputs and {float_model.outputs} outputs, "
            f"the training set {train.x.shape[2]} and {outputs}: train it again"
        )
    if float_model.kind == "gru":
        raise UsageError(f"a {float_model.kind!r} cannot be quantized, only an eGRU")
    settings = quantization_settings(recipe.quantize, float_model.kind)
    plan = _quantized_plan(recipe, float_model.kind)
    with deterministic():
        network = network_from(float_model, Surrogate(recipe.events.damping, recipe.events.support))

        def refit() -> None:
            network.quantize_(row_formats(_fitted_exponents(recipe, network), settings))

        refit()
        curve = _run(network, plan, recipe, train, validation, session or Session(), refit)
    return FloatModel(
        kind=float_model.kind,
        inputs=float_model.inputs,
        hidden=float_model.hidden,
        dense=float_model.dense,
        outputs=float_model.outputs,
        readout_shift=float_model.readout_shift,
        arrays=arrays_of(network),
        exponents={layer: row_format.exponent.numpy() for layer, row_format in network.formats().items()},
        quantization=settings,
        curve=curve,
        provenance={**_provenance(plan, curve), "float_model": float_model.sha256()},
        hold_q15=network.hold_q15,
    )


def _run(
    network: Network,
    plan: Plan,
    recipe: Recipe,
    train: FeatureSet,
    validation: FeatureSet,
    session: Session,
    refit: Callable[[], None] | None = None,
) -> tuple[Epoch, ...]:
    """Train the network in place; returns the learning curve."""
    augment = recipe.train.augment
    augmentation = augmentation_for(augment, train, session.frontend, session.labels, recipe.train.seed)
    training = Training(network, plan, train, augmentation, refit)
    observers: list[Observer] = []
    with ExitStack() as stack:
        if session.checkpoint:
            settings = repr((augment, recipe.quantize, session.labels, augmentation.octave))
            parameters = list(network.parameters())
            identity = fingerprint(plan, parameters, train, validation, settings)
            checkpoint = Checkpoint(session.checkpoint, identity)
            if earlier := checkpoint.load():
                training.restore(earlier)
            observers.append(lambda state, loss: checkpoint.save(state))
        if session.tensorboard:
            observers.append(stack.enter_context(closing(Board(session.tensorboard))))
        curve = training.run(validation, session.progress, observers)
    if session.checkpoint:
        checkpoint.remove()
    return curve


def _float_plan(recipe: Recipe, kind: Kind) -> Plan:
    t = recipe.train
    gru = kind == "gru"
    return Plan(
        name=f"float {CELL_NAMES[kind]}",
        epochs=t.epochs + (recipe.quantize.epochs if gru else 0),
        batch=t.batch,
        learning_rate=t.gru_learning_rate if gru else t.learning_rate,
        seed=t.seed,
        logit_scale=t.logit_scale,
        label_smoothing=t.label_smoothing,
        dropout=t.dropout,
        average=t.average,
        patience=t.patience,
        keep=t.keep,
        events=EventTarget(recipe.events, ramped=True),
        prune=None if gru else _prune(recipe, "float"),
    )


def _prune(recipe: Recipe, stage: str) -> PruneRecipe | None:
    """What of pruning belongs to a stage."""
    wanted = recipe.prune
    if not wanted.sparsity or wanted.stage != stage:
        return None
    if stage == "quantized" and not recipe.quantize.epochs:
        raise UsageError("prune: with quantize.epochs = 0 there is no epoch to prune in: set prune.stage = 'float'")
    return wanted


def _readout_shift(recipe: Recipe, kind: Kind, steps: int) -> int:
    if kind in EVENT_KINDS:
        return event_readout_shift_for(steps, recipe.events.activity)
    return readout_shift_for(steps)


def _hold_q15(recipe: Recipe, kind: Kind) -> int:
    """The float GRU is a baseline of everything that the eGRU does, so it takes its inputs as they are."""
    return 0 if kind == "gru" else round(recipe.cell.hold * Q15_ONE)


def _quantized_plan(recipe: Recipe, kind: Kind) -> Plan:
    t, q = recipe.train, recipe.quantize
    return Plan(
        name=f"quantized {CELL_NAMES[kind]}",
        epochs=q.epochs,
        batch=t.batch,
        learning_rate=q.learning_rate,
        seed=t.seed + _QUANTIZED_SEED,
        logit_scale=t.logit_scale,
        label_smoothing=t.label_smoothing,
        dropout=t.dropout,
        average=t.average,
        patience=t.patience,
        keep=t.keep,
        refit_epochs=q.refit_epochs,
        events=EventTarget(recipe.events, ramped=False),
        prune=_prune(recipe, "quantized"),
    )


def _fitted_exponents(recipe: Recipe, network: Network) -> dict[str, np.ndarray[Any, np.dtype[np.int8]]]:
    arrays = arrays_of(network)
    if network.kind == "event_gru":
        return event_gru_exponents(arrays)
    layers = [name.removesuffix(".weight") for name in arrays if name.endswith(".weight")]
    return {
        layer: fit_exponents(arrays[f"{layer}.weight"], arrays[f"{layer}.bias"], recipe.quantize) for layer in layers
    }


def _check(train: FeatureSet, validation: FeatureSet) -> int:
    """Number of classes; raises `UsageError` if the sets cannot be trained on together."""
    for name, features in (("training", train), ("validation", validation)):
        if features.x.ndim != 3 or features.x.dtype != np.int16 or features.y.shape != features.x.shape[:1]:
            raise UsageError(
                f"the {name} set is {features.x.dtype} {features.x.shape} with labels {features.y.shape}, "
                "expected int16 [N, T, F] with labels [N]"
            )
        if not len(features.y):
            raise UsageError(f"the {name} set is empty")
        if features.y.min() < 0:
            raise UsageError(f"the {name} set has a negative label")
    same = slice(1 if train.lengths is None else 2, None)
    if train.x.shape[same] != validation.x.shape[same]:
        raise UsageError(f"clips are {train.x.shape[1:]} in training, {validation.x.shape[1:]} in validation")
    return int(max(train.y.max(), validation.y.max())) + 1


def _provenance(plan: Plan, curve: tuple[Epoch, ...]) -> dict[str, Any]:
    return {
        "stage": plan.name,
        "epochs": plan.epochs,
        "learning_rate": plan.learning_rate,
        "seed": plan.seed,
        "torch": torch.__version__.split("+")[0],
        "validation_accuracy": max((epoch.validation_accuracy for epoch in curve), default=None),
    }
