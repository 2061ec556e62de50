"""What a trained language model is worth and what a word costs it, counted weight by weight and event by event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hil.cells import EventGRU
from hil.datasets.text import END, Corpus
from hil.language.result import GridCell, MatrixCost
from hil.train.language import Plan, in_columns, make_model, stretches
from hil.train.language_file import load_snapshot
from hil.train.language_model import LanguageModel, State, full_loss
from hil.train.loop import deterministic

STRETCH = 100
COLUMNS = 16
"""Places at which a text is read at once; each begins with states of zeros, as the text itself."""
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """
    On one text.

    Attributes:
        nats: Mean negative logarithm of the probability of each word.
        activity: Mean share of nonzero outputs, by layer.
        matrices: Of the recurrent layers.
        readout: Word vectors as readout.
    """

    nats: float
    activity: tuple[float, ...]
    matrices: tuple[MatrixCost, ...]
    readout: MatrixCost


@torch.no_grad()
def score(model: LanguageModel, text: Tensor, end: int, columns: int = COLUMNS, tell: Tell | None = None) -> Score:
    """
    Every word of a text once, dropout off, states running on.

    Args:
        model: Trained.
        text: [T] numbers of words.
        end: Number of the end of a line, which the first word of the text follows.
        columns: See `COLUMNS`.
        tell: Called with steps done and steps in all.
    """
    whole = torch.cat([torch.tensor([end]), text])
    columns = min(columns, len(text))
    rest = whole[len(text) // columns * columns :]  # behind the last column, whose last word it begins with
    model.eval()
    with deterministic():
        counts = _Counts(model)
        counts.read(in_columns(whole, columns), tell)
        if len(rest) > 1:
            counts.read_rest(rest)
    return counts.score()


def score_model(plan: Plan, corpus: Corpus, file: Path, tell: Tell | None = None) -> GridCell:
    """
    The cell of the grid that a branch is.

    Args:
        plan: Of the branch.
        corpus: Its texts.
        file: The trained network.
        tell: As for `score`, of both texts together.
    """
    recipe, row = plan.recipe, plan.row
    model = make_model(recipe, row, corpus)
    model.load_state_dict(load_snapshot(file).parameters)
    end, texts = corpus.words.index(END), (corpus.validation, corpus.test)
    total, scores = sum(len(text) // COLUMNS for text in texts), []
    for text, before in zip(texts, (0, len(corpus.validation) // COLUMNS), strict=True):

        def shifted(done: int, _: int, before: int = before) -> None:
            if tell:
                tell(before + done, total)

        scores.append(score(model, torch.from_numpy(text), end, COLUMNS, shifted))
    valid, test = scores
    return GridCell(
        cell=row.cell,
        target=row.target,
        level=plan.level or 0.0,
        seed=row.seed,
        units=tuple(layer.hidden_size for layer in model.layers),
        epochs=recipe.train.epochs + plan.epochs,
        valid_nats=valid.nats,
        test_nats=test.nats,
        activity=test.activity,
        matrices=test.matrices,
        readout=test.readout,
    )


class _Counts:
    """Sums over words: loss, and how often each unit spoke."""

    def __init__(self, model: LanguageModel):
        self._model, self._nats, self._words = model, 0.0, 0
        self._states: tuple[State, ...] | None = None
        self._spoke = [torch.zeros(layer.hidden_size, dtype=torch.float64) for layer in model.layers]

    def read(self, text: Tensor, tell: Tell | None = None) -> None:
        """[T, N]: all but the first row is predicted."""
        done = 0
        for words, targets in stretches(text, STRETCH):
            run = self._model.run(words, self._states)
            self._states = run.states
            loss = full_loss(self._model, run.hidden.flatten(0, 1), targets.flatten())
            self._nats += float(loss) * targets.numel()
            self._words += targets.numel()
            for count, events in zip(self._spoke, run.events, strict=False):
                count += events.sum((0, 1))
            done += len(words)
            if tell:
                tell(done, len(text) - 1)

    def read_rest(self, text: Tensor) -> None:
        """[T]: where the last column ends."""
        self._states = tuple((a[..., -1:, :], b[..., -1:, :]) for a, b in self._states or ())
        self.read(text[:, None])

    def score(self) -> Score:
        units = [
            count / self._words if isinstance(layer, EventGRU) else torch.ones_like(count)
            for layer, count in zip(self._model.layers, self._spoke, strict=True)
        ]
        vectors = self._model.vectors
        inputs = [torch.ones(vectors.shape[1], dtype=torch.float64), *units]
        matrices = tuple(
            _cost(name, matrix, inputs[i // 2 + i % 2]) for i, (name, matrix) in enumerate(self._model.matrices())
        )
        readout = _cost("readout", vectors, units[-1])
        return Score(self._nats / self._words, tuple(float(rate.mean()) for rate in units), matrices, readout)


def _cost(name: str, matrix: Tensor, rates: Tensor) -> MatrixCost:
    """Of a matrix whose inputs are nonzero at these rates, [columns]."""
    columns = (matrix != 0).sum(0)
    products = float((columns * rates).sum())
    return MatrixCost(name, matrix.numel(), int(columns.sum()), float(rates.mean()), products)
