"""Training of a language model: a trunk, and branches that prune it; each goes on after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hil.datasets.text import Corpus
from hil.errors import UsageError
from hil.language.recipe import Cell, LanguageRecipe
from hil.train.language_file import Snapshot, load_snapshot, save_snapshot
from hil.train.language_model import LanguageModel, State, full_loss, sampled_loss
from hil.train.loop import deterministic
from hil.train.prune import smallest_weights

Progress = Callable[[int, int, str], None]
"""Called with updates done, updates in all, and a line of text."""


@dataclass(frozen=True)
class Row:
    """A network of the grid before it is pruned: cell, target of activity (1: none) and seed."""

    cell: Cell
    target: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """
    A piece of training.

    Attributes:
        recipe, row: What is trained.
        level: Share of zeros at its end; None: the trunk.
    """

    recipe: LanguageRecipe
    row: Row
    level: float | None

    @property
    def epochs(self) -> float:
        """Passes over the text."""
        return self.recipe.train.epochs if self.level is None else self.recipe.prune.epochs

    def rate(self, done: float) -> float:
        """Learning rate when ``done`` of it, 0 to 1, is over."""
        if self.level is None:
            return self.recipe.train.learning_rate
        return self.recipe.prune.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def strength(self, done: float) -> float:
        """Weight of activity above the target."""
        activity = self.recipe.activity
        if self.row.cell != "event_gru" or self.row.target == 1:
            return 0.0
        ramped = self.level is None and activity.ramp > 0
        return activity.strength * (min(1.0, done / activity.ramp) if ramped else 1.0)

    @property
    def seed(self) -> int:
        """Another one for the trunk and for each branch."""
        return self.row.seed * 1000 + (0 if self.level is None else 1 + round(100 * self.level))


def make_model(recipe: LanguageRecipe, row: Row, corpus: Corpus) -> LanguageModel:
    """Untrained; the same row gives the same weights."""
    generator = torch.Generator().manual_seed(row.seed)
    counts = torch.bincount(torch.from_numpy(corpus.train), minlength=len(corpus.words)).double()
    return LanguageModel(counts, recipe.network, row.cell, recipe.train, generator)


def train(plan: Plan, corpus: Corpus, start: Path | None, out: Path, checkpoint: Path, progress: Progress) -> None:
    """
    Carry a plan out.

    Args:
        plan: What to train.
        corpus: Its texts.
        start: Snapshot of the trunk, for a branch.
        out: Where the trained network goes.
        checkpoint: The state after each pass; if it is there and of the same plan, training goes on from it.
        progress: Told about every update.

    Raises:
        UsageError: The loss is not finite, or a file is damaged.
    """
    model = make_model(plan.recipe, plan.row, corpus)
    if start is not None:
        model.load_state_dict(load_snapshot(start).parameters)
    with deterministic():
        training = _Training(plan, model, corpus)
        found = load_snapshot(checkpoint) if checkpoint.is_file() else None
        if found is not None and found.plan == training.identity:
            training.restore(found)
        while training.updates < training.total:
            training.run_epoch(progress)
            if training.updates < training.total:
                save_snapshot(training.snapshot(), checkpoint)
    save_snapshot(Snapshot(training.identity, training.updates, dict(model.state_dict()), {}), out)


class _Training:
    """
    A network on its way through a plan.

    Attributes:
        identity: Everything that decides its bits.
        updates: That are done.
        total: Updates of the plan.
    """

    def __init__(self, plan: Plan, model: LanguageModel, corpus: Corpus):
        self.plan, self.model, self.updates = plan, model, 0
        self.identity = f"{plan!r} {corpus.sha256()} torch {torch.__version__}"
        train = plan.recipe.train
        self._text = in_columns(torch.from_numpy(corpus.train), train.batch)
        self._pass = math.ceil((len(self._text) - 1) / train.stretch)
        self.total = max(1, round(plan.epochs * self._pass))
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for p in self._trained.values() if p.dim() == 2], "weight_decay": train.weight_decay},
            {"params": [p for p in self._trained.values() if p.dim() == 1], "weight_decay": 0.0},
        ]
        first, second = train.betas
        self._optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, betas=(first, second), foreach=True)
        self._matrices = [matrix for _, matrix in model.matrices()]

    def run_epoch(self, progress: Progress) -> None:
        """
        One pass, or what is left of the plan.

        Dropout and drawing depend on seed and pass alone, so that no generator need be kept.
        """
        plan, states, loss = self.plan, None, math.nan
        self.model.train()
        torch.manual_seed(plan.seed * 1000 + self.updates // self._pass)
        head = f"pass {self.updates // self._pass + 1} of {plan.epochs:g}, training perplexity"
        for words, targets in stretches(self._text, plan.recipe.train.stretch):
            if self.updates == self.total:
                break
            value, states = self._update(self.updates / self.total, words, targets, states)
            if not math.isfinite(value):
                raise UsageError(f"the loss is {value} after {self.updates} updates: lower the learning rate")
            loss = value if math.isnan(loss) else 0.99 * loss + 0.01 * value
            self.updates += 1
            if plan.level and (self.updates % plan.recipe.prune.every == 0 or self.updates == self.total):
                self._prune(plan.level, self.updates / self.total)
            progress(self.updates, self.total, f"{head} {math.exp(loss):.0f}")

    def _update(
        self, done: float, words: Tensor, targets: Tensor, states: Sequence[State] | None
    ) -> tuple[float, tuple[State, ...]]:
        """One step of AdamW; returns the loss and the states to go on from."""
        train = self.plan.recipe.train
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate(done)
        run = self.model.run(words, states)
        hidden = run.hidden.flatten(0, 1)
        if train.drawn:
            loss = sampled_loss(self.model, hidden, targets.flatten(), train.frequent, train.drawn)
        else:
            loss = full_loss(self.model, hidden, targets.flatten())
        value = float(loss.detach())
        if strength := self.plan.strength(done):
            above = [torch.relu(events.mean() - self.plan.row.target) for events in run.events]
            loss = loss + strength * torch.stack(above).sum()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained.values(), train.clip)
        zeros = [matrix.detach() == 0 for matrix in self._matrices]
        self._optimizer.step()
        with torch.no_grad():
            for matrix, mask in zip(self._matrices, zeros, strict=True):
                matrix.masked_fill_(mask, 0.0)
        return value, tuple((a.detach(), b.detach()) for a, b in run.states)

    @torch.no_grad()
    def _prune(self, level: float, done: float) -> None:
        count = round(self.plan.recipe.prune.share(level, done) * sum(m.numel() for m in self._matrices))
        for matrix, zeros in zip(self._matrices, smallest_weights(self._matrices, count), strict=True):
            matrix.masked_fill_(zeros, 0.0)

    def snapshot(self) -> Snapshot:
        """Everything that the next pass depends on."""
        moments = {
            f"{name}.{kind}": self._optimizer.state[p][kind]
            for name, p in self._trained.items()
            for kind in ("exp_avg", "exp_avg_sq")
        }
        return Snapshot(self.identity, self.updates, dict(self.model.state_dict()), moments)

    def restore(self, found: Snapshot) -> None:
        """Go on from there: what follows has the bits that it would have had without a pause."""
        self.model.load_state_dict(found.parameters)
        self.updates = found.updates
        step = torch.tensor(float(self.updates))
        for name, p in self._trained.items():
            kept = {kind: found.moments[f"{name}.{kind}"] for kind in ("exp_avg", "exp_avg_sq")}
            self._optimizer.state[p] = {"step": step.clone(), **kept}


def in_columns(text: Tensor, columns: int) -> Tensor:
    """
    [T, N]: the text in N successive parts side by side, each with the first word of the next as its last.

    Raises:
        UsageError: The text is shorter than that.
    """
    steps = (len(text) - 1) // columns
    if steps < 1:
        raise UsageError(f"a text of {len(text)} words cannot be read at {columns} places at once: lower the batch")
    return text.unfold(0, steps + 1, steps)[:columns].T


def stretches(text: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Words and the words after them, each [T, N] with T at most ``length``."""
    for at in range(0, len(text) - 1, length):
        end = min(at + length, len(text) - 1)
        yield text[at:end], text[at + 1 : end + 1]
