"""A language model of recurrent layers, read out by its own word vectors, and what a word costs it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hil.cells import EventGRU, Surrogate
from hil.language.recipe import Cell, LanguageNetworkRecipe, LanguageTrainRecipe

State = tuple[Tensor, Tensor]
"""What a layer keeps: h and y of an EGRU [N, H], h and c of an LSTM [1, N, H]."""
START_RANGE = 0.1
"""Word vectors begin uniform within plus and minus this."""
READOUT_ROWS = 256
"""Outputs whose words are summed over at once: few enough for a cache, enough for a matrix product."""


@dataclass(frozen=True)
class Pass:
    """
    A run over a stretch of text.

    Attributes:
        hidden: [T, N, E] outputs of the last layer, which the word vectors read out.
        events: Of each event layer, [T, N, H]: 1 where a unit spoke; none for an LSTM.
        states: Of each layer, after the last word.
    """

    hidden: Tensor
    events: tuple[Tensor, ...]
    states: tuple[State, ...]


class LanguageModel(nn.Module):
    """
    Word vectors, recurrent layers, ``logits = E y + bias`` with the same word vectors E.

    Args:
        words: [V] how often each occurs in the training text: the bias begins as the logarithm of its share, so that
            training begins where counting words ends.
        network: Sizes; of an LSTM all but the last layer's are those of `lstm_layers`.
        cell: Which layers.
        train: Its dropouts.
        generator: Of all weights and thresholds.

    Attributes:
        vectors: [V, E].
        bias: [V].
        layers: `EventGRU` or `torch.nn.LSTM`.

    Source:
        Subramoney and others 2023, section on language modelling, for EGRU layers with tied vectors; Merity and
        others 2018 for the dropouts; Press and Wolf 2017 for tying.
    """

    def __init__(
        self,
        words: Tensor,
        network: LanguageNetworkRecipe,
        cell: Cell,
        train: LanguageTrainRecipe,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.drop = train
        self.vectors = nn.Parameter(torch.empty(len(words), network.embedding))
        self.bias = nn.Parameter((words / words.sum()).log().to(self.vectors.dtype))
        nn.init.uniform_(self.vectors, -START_RANGE, START_RANGE, generator=generator)
        layers = network.layers if cell == "event_gru" else lstm_layers(network)
        sizes = (network.embedding, *layers)
        self.layers = nn.ModuleList(
            _event_layer(network, D, H, train.drop_connect, generator)
            if cell == "event_gru"
            else _lstm_layer(D, H, generator)
            for D, H in pairwise(sizes)
        )

    def run(self, words: Tensor, states: Sequence[State] | None = None) -> Pass:
        """
        Read a stretch.

        Args:
            words: [T, N] numbers.
            states: Before the first word; zeros if omitted.
        """
        drop, inputs = self.drop, self._vectors_of(words)
        events, ends = [], []
        for i, layer in enumerate(self.layers):
            x = _locked_dropout(inputs, drop.drop_between if i else drop.drop_input, self.training)
            state = states[i] if states else None
            if isinstance(layer, EventGRU):
                run = layer.run(x, state)
                inputs, end = run.y, run.state
                events.append(run.events)
            else:
                inputs, end = self._run_lstm(layer, x, state)
            ends.append(end)
        return Pass(_locked_dropout(inputs, drop.drop_output, self.training), tuple(events), tuple(ends))

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, V] of [M, E]."""
        return nn.functional.linear(hidden, self.vectors, self.bias)

    def matrices(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Weights of the recurrent layers: ``layer.0.input``, ``layer.0.recurrent``, ``layer.1.input``, ..."""
        for i, layer in enumerate(self.layers):
            event = isinstance(layer, EventGRU)
            yield f"layer.{i}.input", layer.weight_ih if event else layer.weight_ih_l0
            yield f"layer.{i}.recurrent", layer.weight_hh if event else layer.weight_hh_l0

    def thresholds(self) -> list[nn.Parameter]:
        """Of event layers."""
        return [layer.threshold for layer in self.layers if isinstance(layer, EventGRU)]

    def _vectors_of(self, words: Tensor) -> Tensor:
        """[T, N, E]; while training some words of the vocabulary have no vector for this stretch."""
        p = self.drop.drop_words
        if not (self.training and p):
            return nn.functional.embedding(words, self.vectors)
        kept = (torch.rand(len(self.vectors), 1) >= p).to(self.vectors.dtype) / (1 - p)
        return nn.functional.embedding(words, self.vectors) * kept[words]

    def _run_lstm(self, layer: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        p = self.drop.drop_connect
        if not (self.training and p):
            return layer(x, state)
        dropped = {"weight_hh_l0": nn.functional.dropout(layer.weight_hh_l0, p)}
        return torch.func.functional_call(layer, dropped, (x, state))


def lstm_layers(network: LanguageNetworkRecipe) -> tuple[int, ...]:
    """Units of an LSTM's layers such that its layers' parameters are as near as can be to the EGRU's in number."""
    wanted = recurrent_parameters("event_gru", network.embedding, network.layers)
    *inner, last = network.layers

    def scaled(units: int) -> tuple[int, ...]:
        return (*(max(1, round(size * units / inner[0])) for size in inner), last)

    return min(
        (scaled(units) for units in range(1, inner[0] + 1)),
        key=lambda layers: abs(recurrent_parameters("lstm", network.embedding, layers) - wanted),
    )


def recurrent_parameters(cell: Cell, embedding: int, layers: Sequence[int]) -> int:
    """Weights and biases of all layers; thresholds, which are not trained, left out."""
    gates = 3 if cell == "event_gru" else 4
    sizes = (embedding, *layers)
    return sum(gates * H * (D + H + 2) for D, H in pairwise(sizes))


def full_loss(model: LanguageModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """
    Mean cross-entropy over all words.

    Args:
        model: Its word vectors.
        hidden: [M, E].
        targets: [M].
    """
    return readout_loss(hidden, model.vectors, model.bias, targets)


def sampled_loss(model: LanguageModel, hidden: Tensor, targets: Tensor, frequent: int, drawn: int) -> Tensor:
    """
    Mean cross-entropy with an estimate of its sum over all words.

    The sum takes every frequent word, every target, and ``drawn`` of the others without replacement, each of which
    stands for its share of them: the estimate of the sum has no bias, and its logarithm little.

    Args:
        model: Its word vectors, most frequent words first.
        hidden: [M, E].
        targets: [M].
        frequent: Words that are always in the sum.
        drawn: Others, anew in each call.
    """
    V = len(model.vectors)
    always = torch.zeros(V, dtype=torch.bool)
    always[:frequent] = True
    always[targets] = True
    others = (~always).nonzero()[:, 0]
    if len(others) <= drawn:
        return full_loss(model, hidden, targets)
    chosen = torch.cat([always.nonzero()[:, 0], others[torch.randperm(len(others))[:drawn]]])
    share = torch.zeros(len(chosen))
    share[-drawn:] = math.log(len(others) / drawn)
    place = torch.empty(V, dtype=torch.long)
    place[chosen] = torch.arange(len(chosen))
    return readout_loss(hidden, model.vectors[chosen], model.bias[chosen] + share, place[targets])


class _ReadoutLoss(torch.autograd.Function):
    """Mean cross-entropy of ``hidden W^T + bias``; gradients are made with it, block by block, so that none is kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, W: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        M, loss = len(hidden), 0.0
        d_hidden, d_W, d_bias = torch.empty_like(hidden), torch.zeros_like(W), torch.zeros_like(bias)
        for first in range(0, M, READOUT_ROWS):
            at = slice(first, first + READOUT_ROWS)
            own = targets[at, None]
            logits, log_sum, nats = _block(hidden[at], W, bias, own)
            loss += nats
            d_logits = logits.sub_(log_sum).exp_()
            d_logits.scatter_add_(1, own, -torch.ones_like(log_sum))
            torch.mm(d_logits, W, out=d_hidden[at])
            d_W.addmm_(d_logits.t(), hidden[at])
            d_bias += d_logits.sum(0)
        ctx.save_for_backward(d_hidden.div_(M), d_W.div_(M), d_bias.div_(M))
        return hidden.new_tensor(loss / M)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        d_hidden, d_W, d_bias = ctx.saved_tensors
        return gradients[0] * d_hidden, gradients[0] * d_W, gradients[0] * d_bias, None


def _block(hidden: Tensor, W: Tensor, bias: Tensor, own: Tensor) -> tuple[Tensor, Tensor, float]:
    """Logits [m, K], the logarithm of the sum of their exponentials [m, 1], and the sum of the m losses."""
    logits = torch.addmm(bias, hidden, W.t())
    log_sum = logits.logsumexp(1, keepdim=True)
    return logits, log_sum, float((log_sum - logits.gather(1, own)).sum(dtype=torch.float64))


def readout_loss(hidden: Tensor, W: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """
    Mean cross-entropy of ``softmax(hidden W^T + bias)``.

    Args:
        hidden: [M, E].
        W: [K, E].
        bias: [K].
        targets: [M], numbers of rows of W.
    """
    if torch.is_grad_enabled():
        loss: Tensor = _ReadoutLoss.apply(hidden, W, bias, targets)
        return loss
    blocks = (slice(first, first + READOUT_ROWS) for first in range(0, len(hidden), READOUT_ROWS))
    return hidden.new_tensor(sum(_block(hidden[at], W, bias, targets[at, None])[2] for at in blocks) / len(hidden))


def _event_layer(
    network: LanguageNetworkRecipe, D: int, H: int, drop_connect: float, generator: torch.Generator | None
) -> EventGRU:
    layer = EventGRU(
        D,
        H,
        threshold_mean=network.threshold,
        surrogate=Surrogate(network.damping, network.support),
        dropconnect=drop_connect,
        generator=generator,
    )
    layer.threshold.requires_grad_(False)
    return layer


def _lstm_layer(D: int, H: int, generator: torch.Generator | None) -> nn.LSTM:
    """Weights as an EGRU layer's: Glorot-normal, gate by gate; biases 0."""
    layer = nn.LSTM(D, H)
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0):
            for gate in weight.split(H):
                nn.init.xavier_normal_(gate, generator=generator)
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
            bias.zero_()
    return layer


def _locked_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """[T, N, F]: features are left out for a whole stretch at one place in the text."""
    if not (training and p):
        return x
    return x * ((torch.rand(1, *x.shape[1:]) >= p).to(x.dtype) / (1 - p))
