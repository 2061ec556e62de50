"""Packed batches of sequences, for layers that run padded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

S = TypeVar("S")


def run_packed(
    x: PackedSequence, batch_first: bool, run: Callable[[Tensor, Tensor], tuple[Tensor, S]]
) -> tuple[PackedSequence, S]:
    """
    Run a layer on a packed batch; what is behind a sequence's end is computed too, and dropped.

    Args:
        x: Inputs.
        batch_first: Of the layer.
        run: From padded inputs and lengths [N] to outputs and the state at each sequence's end.

    Returns:
        Packed outputs, and the state.
    """
    padded, lengths = pad_packed_sequence(x, batch_first=batch_first)
    y, state = run(padded, lengths)
    return pack_padded_sequence(y, lengths, batch_first, enforce_sorted=False), state


def at_ends(states: Tensor, lengths: Tensor | None) -> Tensor:
    """[N, ...] of states [T, N, ...] after the last step of each sequence."""
    if lengths is None:
        return states[-1]
    return states[lengths.to(states.device) - 1, torch.arange(states.shape[1], device=states.device)]
