"""The eGRU layer for training: a whole sequence as one differentiable operation, real or in exact integers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from hil.arithmetic import softsign_q15
from hil.cells.packed import at_ends, run_packed
from hil.cells.rows import QuantizedRows, RowFormat, fake_quantize
from hil.fixed import ACC_LIMIT_Q15, Q15_ONE


class EmbeddedGRU(nn.Module):
    """
    One eGRU layer over a sequence, called as `torch.nn.GRU`.

        z  = (softsign(W_z [x; h] + b_z) + 1) / 2
        g  =  softsign(W_g [x; h] + b_g)
        h' = h + z (g - h)

    Args:
        input_size: D.
        hidden_size: H.
        batch_first: Sequences are [N, T, ...] rather than [T, N, ...].
        z_bias: Initial bias of the gate; negative makes slow units.
        generator: Of the Glorot-normal weights.

    Attributes:
        weight: [2H, D + H], z rows then g rows; columns inputs, then state.
        bias: [2H].
        format: Row scales and rounding; set, the layer runs in the integers of its twin.

    Source:
        Amoh and Odame 2019, equations of the eGRU cell.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        z_bias: float = -2.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size + hidden_size))
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size))
        self.format: RowFormat | None = None
        with torch.no_grad():
            for gate in self.weight.split(hidden_size):
                nn.init.xavier_normal_(gate, generator=generator)
            self.bias[:hidden_size] = z_bias

    def forward(self, x: Tensor | PackedSequence, h_0: Tensor | None = None) -> tuple[Tensor | PackedSequence, Tensor]:
        """
        Run a sequence, or a packed batch of sequences.

        Args:
            x: [T, N, D], or [N, T, D] with ``batch_first``, or packed.  Real units; with a `format`
                multiples of 2**-15 within [-1, 1).
            h_0: [N, H], zeros if omitted.

        Returns:
            States after each step, [T, N, H] or [N, T, H] or packed, and the last one of each sequence, [N, H].
        """
        if isinstance(x, PackedSequence):
            return run_packed(x, self.batch_first, lambda padded, lengths: self._outputs(padded, h_0, lengths))
        return self._outputs(x, h_0, None)

    def _outputs(self, x: Tensor, h_0: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.batch_first:
            x = x.transpose(0, 1)
        if h_0 is None:
            h_0 = x.new_zeros(x.shape[1], self.hidden_size)
        if self.format is None:
            states = _Sequence.apply(x, h_0, self.weight, self.bias, None)
        else:
            rows = fake_quantize(self.weight, self.bias, self.format)
            states = _Sequence.apply(x, h_0, rows.weight, rows.bias, rows)
        last = at_ends(states, lengths)
        return (states.transpose(0, 1) if self.batch_first else states), last


class _Sequence(torch.autograd.Function):
    """
    States [T, N, H] of inputs [T, N, D], with an analytic backward pass.

    With quantized rows the forward pass is that of the twin, and the backward pass
    treats every rounding as the identity and softsign as the real function.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h_0: Tensor, weight: Tensor, bias: Tensor, rows: QuantizedRows | None) -> Tensor:
        x = x.contiguous()
        s, states = _run_real(x, h_0, weight, bias) if rows is None else _run_integer(x, h_0, rows)
        ctx.save_for_backward(x, h_0, weight, s, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, h_0, weight, s, states = ctx.saved_tensors
        steps, batch, width = x.shape
        units = states.shape[2]
        before = torch.cat([h_0[None], states[:-1]])
        W_x, W_h = weight[:, :width].contiguous(), weight[:, width:].contiguous()
        slope = (1 - s.abs()).square_()  # softsign'(a) = (1 - |softsign(a)|)**2
        z, g = (s[..., :units] + 1) / 2, s[..., units:]
        # d h' / d pre-activations, [T, N, 2, H], and d h' / d h along the direct path
        through = torch.stack([(g - before) * slope[..., :units] / 2, z * slope[..., units:]], dim=2)
        keep = 1 - z
        d_pre = torch.empty_like(through)
        d_h = torch.zeros_like(h_0)
        parts = zip(gradients[0].unbind(0), through.unbind(0), keep.unbind(0), d_pre.unbind(0), strict=True)
        for gradient, through_t, keep_t, d_pre_t in reversed(list(parts)):
            d_h = d_h + gradient
            torch.mul(d_h[:, None], through_t, out=d_pre_t)
            d_h = torch.addmm(d_h.mul_(keep_t), d_pre_t.view(batch, 2 * units), W_h)
        flat = d_pre.view(steps * batch, 2 * units)
        d_x = (flat @ W_x).view_as(x) if ctx.needs_input_grad[0] else None
        d_weight = torch.cat([flat.T @ x.view(-1, width), flat.T @ before.view(-1, units)], dim=1)
        return d_x, d_h, d_weight, flat.sum(0), None


def _run_real(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Softsign values [T, N, 2H] and states [T, N, H]."""
    steps, batch, width = x.shape
    units = h.shape[1]
    W_h = weight[:, width:].T
    s = torch.addmm(bias, x.view(-1, width), weight[:, :width].T).view(steps, batch, 2 * units)
    states = x.new_empty(steps, batch, units)
    for s_t, state in zip(s.unbind(0), states.unbind(0), strict=True):
        s_t.addmm_(h, W_h)
        s_t.div_(s_t.abs().add_(1))
        h = torch.lerp(h, s_t[:, units:], s_t[:, :units].add(1).mul_(0.5), out=state)
    return s, states


def _run_integer(x: Tensor, h_0: Tensor, rows: QuantizedRows) -> tuple[Tensor, Tensor]:
    """
    Softsign values [T, N, 2H] and states [T, N, H], both Q15 divided by 2**15.

    Sums run in floats wide enough to be exact (`QuantizedRows.weight_q2`), the rest in int32.

    Twin:
        `hil.quant.embedded_gru_step`.
    """
    steps, batch, width = x.shape
    units = h_0.shape[1]
    W_q2 = rows.weight_q2
    sums = torch.addmm(rows.bias_half_q17, (x * Q15_ONE).to(W_q2.dtype).view(-1, width), W_q2[:, :width].T)
    W_h, table = W_q2[:, width:].T, softsign_table()
    s = torch.empty(steps, batch, 2 * units, dtype=torch.int32)
    states = torch.empty(steps, batch, units, dtype=torch.int32)
    h = (h_0 * Q15_ONE).to(torch.int32)
    parts = zip(sums.view(steps, batch, 2 * units).unbind(0), s.unbind(0), states.unbind(0), strict=True)
    for sum_t, s_t, state in parts:
        pre = torch.addmm(sum_t, h.to(W_q2.dtype), W_h).mul_(rows.scale).floor_()
        index = pre.clamp_(-ACC_LIMIT_Q15, ACC_LIMIT_Q15).add_(ACC_LIMIT_Q15).long()
        torch.take(table, index, out=s_t)
        z = (s_t[:, :units] + Q15_ONE) >> 1
        step = (s_t[:, units:] - h).mul_(z).add_(1 << 14) >> 15
        h = torch.add(h, step, out=state)
    return (s / Q15_ONE).to(x.dtype), (states / Q15_ONE).to(x.dtype)


@lru_cache(maxsize=1)
def softsign_table() -> Tensor:
    """`softsign_q15` of every Q15 integer within +-64.0, so that it is defined once: [2**22 + 1] int32."""
    return torch.from_numpy(softsign_q15(np.arange(-ACC_LIMIT_Q15, ACC_LIMIT_Q15 + 1)).astype(np.int32))
