"""The training loop: Adam along a cosine, class-balanced loss, the best epoch kept; equal seeds give equal bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hil.cells import Network
from hil.errors import UsageError
from hil.features import FeatureSet
from hil.fixed import INT16_MAX, INT16_MIN, Q15_ONE
from hil.float_model import Epoch
from hil.train.events import EventTarget

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
        noise: Standard deviation of Gaussian noise added to features, 1.0 = full scale.
        time_shift: Clips are shifted by up to this many frames either way.
        seed: Of order, noise and shifts.
        events: What event layers are held to.
    """

    name: str
    epochs: int
    batch: int
    learning_rate: float
    noise: float
    time_shift: int
    seed: int
    events: EventTarget | None = None


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


def run_plan(
    network: Network, plan: Plan, train: FeatureSet, validation: FeatureSet, progress: Progress | None
) -> tuple[Epoch, ...]:
    """
    Train a network in place and leave it with the parameters of its best epoch.

    Best is the highest validation accuracy, of equal ones the lowest validation loss,
    then the earliest epoch.

    Returns:
        The learning curve; accuracy on the training set is that of the updates
        themselves, augmentation included.

    Raises:
        UsageError: The loss is not finite.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    x, y = inputs_of(train), torch.tensor(train.y)
    weights = class_weights(train.y, network.outputs)
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate, fused=False, foreach=True)
    updates = math.ceil(len(y) / plan.batch)
    curve: list[Epoch] = []
    best: tuple[float, float] = (-1.0, 0.0)
    kept = _parameters(network)
    for epoch in range(1, plan.epochs + 1):
        loss_sum = correct = 0.0
        for update, chosen in enumerate(torch.randperm(len(y), generator=generator).split(plan.batch)):
            done = (epoch - 1) * updates + update
            _set_rate(optimizer, plan.learning_rate * _cosine(done / (plan.epochs * updates)))
            logits, rates = network.run(augment(x[chosen], plan, generator))
            loss = torch.nn.functional.cross_entropy(logits, y[chosen], weights.to(logits.dtype))
            if rates and plan.events:
                loss = loss + plan.events.penalty(rates, done / (plan.epochs * updates))
            if not math.isfinite(value := float(loss.detach())):
                raise UsageError(f"{plan.name}: the loss is {value} in epoch {epoch}: lower the learning rate")
            _update(network, optimizer, loss)
            loss_sum += value * len(chosen)
            correct += int((logits.detach().argmax(1) == y[chosen]).sum())
            if progress:
                progress(done + 1, plan.epochs * updates, _line(plan, epoch, curve))
        accuracy, validation_loss = score(network, validation, weights)
        curve.append(Epoch(epoch, loss_sum / len(y), correct / len(y), accuracy))
        if (accuracy, -validation_loss) > best:
            best, kept = (accuracy, -validation_loss), _parameters(network)
    _restore(network, kept)
    return tuple(curve)


def inputs_of(features: FeatureSet) -> Tensor:
    """[N, T, F] float32, features divided by 2**15."""
    return torch.tensor(features.x, dtype=torch.float32) / Q15_ONE


def class_weights(y: np.ndarray[tuple[int], np.dtype[np.int64]], outputs: int) -> Tensor:
    """[O] float64, inversely proportional to how often a class occurs, 1 on average over clips."""
    counts = np.bincount(y, minlength=outputs)
    if (counts == 0).any():
        raise UsageError(f"the training set has no clip of class {int(np.argmin(counts))}")
    return torch.from_numpy(len(y) / (outputs * counts))


def augment(x: Tensor, plan: Plan, generator: torch.Generator) -> Tensor:
    """
    Shift clips in time, repeating the edge frames, and add noise; the result is on the Q15 grid.

    Args:
        x: [N, T, F].
        plan: Amounts.
        generator: Of shifts and noise.
    """
    count, steps, _ = x.shape
    if plan.time_shift:
        shift = torch.randint(-plan.time_shift, plan.time_shift + 1, (count, 1), generator=generator)
        source = (torch.arange(steps) - shift).clamp(0, steps - 1)
        x = x[torch.arange(count)[:, None], source]
    if plan.noise:
        noise = torch.randn(x.shape, generator=generator)
        x = ((x + plan.noise * noise) * Q15_ONE).round_().clamp_(INT16_MIN, INT16_MAX) / Q15_ONE
    return x


@torch.no_grad()
def outputs_of(network: Network, x: Tensor) -> Tensor:
    """[N, O] logits of [N, T, F]."""
    parts = [network(part) for part in x.split(EVALUATION_BATCH)]
    return torch.cat(parts) if parts else torch.empty(0, network.outputs)


def score(network: Network, features: FeatureSet, weights: Tensor) -> tuple[float, float]:
    """Accuracy in 0..1 and class-balanced loss."""
    logits, y = outputs_of(network, inputs_of(features)), torch.tensor(features.y)
    loss = torch.nn.functional.cross_entropy(logits, y, weights.to(logits.dtype))
    return float((logits.argmax(1) == y).double().mean()), float(loss)


def _update(network: Network, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
    optimizer.step()
    network.clamp_()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _line(plan: Plan, epoch: int, curve: list[Epoch]) -> str:
    head = f"{plan.name}, epoch {epoch} of {plan.epochs}"
    return f"{head}, validation {curve[-1].validation_accuracy:.1%}" if curve else head


def _parameters(network: Network) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def _restore(network: Network, kept: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), kept, strict=True):
            parameter.copy_(value)
