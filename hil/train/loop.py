"""The training loop: Adam along a cosine, class-balanced loss, the best epoch kept; equal seeds give equal bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hil.cells import Network
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.fixed import Q15_ONE
from hil.float_model import Epoch
from hil.prune_recipe import PruneRecipe
from hil.train.augment import Augmentation
from hil.train.events import EventTarget
from hil.train.prune import Pruning

Progress = Callable[[int, int, str], None]
"""Called with updates done, updates in all, and a line of text."""

EVALUATION_BATCH = 256
GRADIENT_NORM = 1.0
"""Gradients of all parameters together are scaled down to this norm: at the learning rates of
the recipes one rare large gradient would undo an epoch."""


@dataclass(frozen=True)
class Plan:
    """
    One stage of training.

    Attributes:
        name: For the progress line.
        epochs: Passes over the training set.
        batch: Clips per update.
        learning_rate: Of the first update; falls to 0 along a cosine.
        seed: Of order and augmentation.
        logit_scale, label_smoothing, dropout, average, patience, keep: As in `TrainRecipe`.
        refit_epochs: As in `QuantizeRecipe`; 0: there are no row scales.
        events: What event layers are held to.
        prune: Which weights are pruned; None: none, but what is 0 stays so.
    """

    name: str
    epochs: int
    batch: int
    learning_rate: float
    seed: int
    logit_scale: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    average: float = 0.0
    patience: int = 0
    keep: Literal["best", "last"] = "best"
    refit_epochs: int = 0
    events: EventTarget | None = None
    prune: PruneRecipe | None = None

    @property
    def first_kept(self) -> int:
        """The first epoch whose row scales and zeros are the final ones."""
        return max(self.refit_epochs, self.prune.final_epoch(self.epochs) if self.prune else 0)


@dataclass(frozen=True)
class State:
    """
    Everything that one epoch hands to the next; what a checkpoint holds.

    Attributes:
        tensors: By name.  ``parameter.N``, ``averaged.N`` (their running mean), ``first.N`` and ``second.N`` (Adam's
            moments), ``kept.N`` (of the best epoch), ``exponent.LAYER`` (row scales) and ``generator`` (its state).
        curve: Learning curve so far.
        best: Validation accuracy and negative loss of the best epoch.
        best_epoch: Its number; 0: none yet.
    """

    tensors: Mapping[str, Tensor]
    curve: tuple[Epoch, ...]
    best: tuple[float, float]
    best_epoch: int


Observer = Callable[[State, float], None]
"""Called after each epoch with the state and the validation loss."""


@contextmanager
def deterministic() -> Iterator[None]:
    """
    One thread and deterministic algorithms, so that sums have one order whatever the load.

    The process's own settings come back afterwards.
    """
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)
        torch.utils.deterministic.fill_uninitialized_memory = filling


def inputs_of(features: FeatureSet) -> Tensor:
    """[N, T, F] float32, features divided by 2**15."""
    return torch.tensor(features.x, dtype=torch.float32) / Q15_ONE


def class_weights(y: np.ndarray[tuple[int], np.dtype[np.int64]], outputs: int) -> Tensor:
    """[O] float64, inversely proportional to how often a class occurs, 1 on average over clips."""
    counts = np.bincount(y, minlength=outputs)
    if (counts == 0).any():
        raise UsageError(f"the training set has no clip of class {int(np.argmin(counts))}")
    return torch.from_numpy(len(y) / (outputs * counts))


def lengths_of(features: FeatureSet) -> Tensor | None:
    """[N] steps of each clip; None: all have as many."""
    return None if features.lengths is None else torch.tensor(features.lengths)


@torch.no_grad()
def outputs_of(network: Network, features: FeatureSet) -> Tensor:
    """[N, O] logits."""
    x, lengths = inputs_of(features), lengths_of(features)
    parts = [
        network(x[part], None if lengths is None else lengths[part])
        for part in torch.arange(len(x)).split(EVALUATION_BATCH)
    ]
    return torch.cat(parts) if parts else torch.empty(0, network.outputs)


def score(network: Network, features: FeatureSet, weights: Tensor, logit_scale: float) -> tuple[float, float]:
    """Accuracy in 0..1 and class-balanced loss."""
    logits, y = outputs_of(network, features), torch.tensor(features.y)
    loss = torch.nn.functional.cross_entropy(logits * logit_scale, y, weights.to(logits.dtype))
    return float((logits.argmax(1) == y).double().mean()), float(loss)


class Training:
    """
    A network on its way through one stage.

    Args:
        network: Trained in place.
        plan: Of the stage.
        train: Clips to learn from.
        augmentation: Of these clips.
        refit: Fits the network's row scales to its weights; used if the plan has refit_epochs.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        train: FeatureSet,
        augmentation: Augmentation,
        refit: Callable[[], None] | None = None,
    ):
        self.network, self.plan, self._augmentation, self._refit = network, plan, augmentation, refit
        self._x, self._y, self._lengths = inputs_of(train), torch.tensor(train.y), lengths_of(train)
        self.weights = class_weights(train.y, network.outputs)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate, fused=False, foreach=True)
        self._updates = math.ceil(len(self._y) / plan.batch)
        self._pruning = Pruning(network, plan.prune)
        self._averaged = _parameters(network)
        self._kept = _parameters(network)
        self._best, self._best_epoch = (-1.0, 0.0), 0
        self._resumed = 0
        self.curve: tuple[Epoch, ...] = ()

    def run(
        self, validation: FeatureSet, progress: Progress | None = None, observers: Sequence[Observer] = ()
    ) -> tuple[Epoch, ...]:
        """
        All epochs that are left; the network then has the parameters of the one that the plan keeps.

        Best is the highest validation accuracy, of equal ones the lowest validation loss,
        then the earliest epoch.

        Returns:
            The learning curve; accuracy on the training set is that of the updates
            themselves, augmentation included.

        Raises:
            UsageError: The loss is not finite.
        """
        while len(self.curve) < self.plan.epochs and not self._patience_is_over():
            validation_loss = self._epoch(validation, progress)
            for observe in observers:
                observe(self.state(), validation_loss)
        _restore(self.network, self._kept)
        return self.curve

    def state(self) -> State:
        """A copy of everything that the next epoch depends on."""
        optimizer = self._optimizer.state
        lists = {
            "parameter": _parameters(self.network),
            "averaged": self._averaged,
            "kept": self._kept,
            "first": [optimizer[p]["exp_avg"] for p in self.network.parameters()],
            "second": [optimizer[p]["exp_avg_sq"] for p in self.network.parameters()],
        }
        tensors = {f"{name}.{i}": t.detach().clone() for name, ts in lists.items() for i, t in enumerate(ts)}
        tensors |= {f"exponent.{layer}": f.exponent for layer, f in self.network.formats().items()}
        return State({**tensors, "generator": self._generator.get_state()}, self.curve, self._best, self._best_epoch)

    def restore(self, state: State) -> None:
        """Go on from there: what follows has the bits that it would have had without a pause."""
        numbers = range(len(self._kept))
        listed = {
            name: [state.tensors[f"{name}.{i}"].clone() for i in numbers]
            for name in ("parameter", "averaged", "kept", "first", "second")
        }
        _restore(self.network, listed["parameter"])
        self._pruning.read()
        self._averaged, self._kept = listed["averaged"], listed["kept"]
        step = float(len(state.curve) * self._updates)
        moments = zip(self.network.parameters(), listed["first"], listed["second"], strict=True)
        for parameter, first, second in moments:
            self._optimizer.state[parameter] = {"step": torch.tensor(step), "exp_avg": first, "exp_avg_sq": second}
        if formats := self.network.formats():
            exponents = {layer: state.tensors[f"exponent.{layer}"] for layer in formats}
            self.network.quantize_({layer: replace(f, exponent=exponents[layer]) for layer, f in formats.items()})
        self._generator.set_state(state.tensors["generator"])
        self._resumed = len(state.curve)
        self.curve, self._best, self._best_epoch = state.curve, state.best, state.best_epoch

    def _epoch(self, validation: FeatureSet, progress: Progress | None) -> float:
        """One pass, and the validation after it; returns the validation loss."""
        epoch = len(self.curve) + 1
        if self._refit and 1 < epoch <= self.plan.refit_epochs:
            self._refit()
        loss_sum = correct = 0.0
        order = torch.randperm(len(self._y), generator=self._generator)
        for update, chosen in enumerate(order.split(self.plan.batch)):
            loss, right = self._update((epoch - 1) * self._updates + update, chosen)
            loss_sum += loss * len(chosen)
            correct += right
            if progress:
                done = (epoch - 1) * self._updates + update + 1
                progress(done, self.plan.epochs * self._updates, self._line(epoch))
        candidate = self._averaged if self.plan.average else _parameters(self.network)
        accuracy, validation_loss = self._score(candidate, validation)
        self.curve = (*self.curve, Epoch(epoch, loss_sum / len(self._y), correct / len(self._y), accuracy))
        better = self.plan.keep == "last" or (accuracy, -validation_loss) > self._best
        if epoch >= self.plan.first_kept and better:
            self._best, self._best_epoch = (accuracy, -validation_loss), epoch
            self._kept = [t.clone() for t in candidate]
        return validation_loss

    def _update(self, number: int, chosen: Tensor) -> tuple[float, int]:
        """One step of Adam; returns the loss and how many clips were right."""
        plan, network, y = self.plan, self.network, self._y[chosen]
        over = number / (plan.epochs * self._updates)
        _set_rate(self._optimizer, plan.learning_rate * _cosine(over))
        self._pruning.advance((number + 1) / (plan.epochs * self._updates))
        lengths = None if self._lengths is None else self._lengths[chosen]
        x = self._augmentation(self._x[chosen], self._generator, lengths)
        logits, rates = network.run(x, self._dropped(len(y)), lengths)
        loss = torch.nn.functional.cross_entropy(
            logits * plan.logit_scale, y, self.weights.to(logits.dtype), label_smoothing=plan.label_smoothing
        )
        if rates and plan.events:
            loss = loss + plan.events.penalty(rates, over)
        if not math.isfinite(value := float(loss.detach())):
            epoch = number // self._updates + 1
            raise UsageError(f"{plan.name}: the loss is {value} in epoch {epoch}: lower the learning rate")
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        self._optimizer.step()
        network.clamp_()
        self._pruning.keep(list(network.parameters()))
        if plan.average:
            with torch.no_grad():
                for mean, parameter in zip(self._averaged, network.parameters(), strict=True):
                    mean.lerp_(parameter, 1 - plan.average)
            self._pruning.keep(self._averaged)
        return value, int((logits.detach().argmax(1) == y).sum())

    def _dropped(self, count: int) -> Tensor | None:
        """[N, H] factors 0 and 1 / (1 - p) for the readout; None without dropout."""
        p = self.plan.dropout
        if not p:
            return None
        drawn = torch.rand(count, self.network.hidden[-1], generator=self._generator)
        return (drawn >= p).to(torch.float32) / (1 - p)

    def _score(self, candidate: list[Tensor], validation: FeatureSet) -> tuple[float, float]:
        """Validation accuracy and loss with these parameters; the network keeps its own."""
        own = _parameters(self.network)
        _restore(self.network, candidate)
        try:
            return score(self.network, validation, self.weights, self.plan.logit_scale)
        finally:
            _restore(self.network, own)

    def _line(self, epoch: int) -> str:
        head = f"{self.plan.name}, epoch {epoch} of {self.plan.epochs}"
        if self._resumed:
            head += f" (continued after {self._resumed})"
        return f"{head}, validation {self.curve[-1].validation_accuracy:.1%}" if self.curve else head

    def _patience_is_over(self) -> bool:
        return 0 < self.plan.patience <= len(self.curve) - max(self._best_epoch, self.plan.first_kept)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _parameters(network: Network) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def _restore(network: Network, kept: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), kept, strict=True):
            parameter.copy_(value)
