"""The event eGRU layer for training: eGRU arithmetic, units that speak only when they cross their threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from hil.cells.embedded_gru import softsign_table
from hil.cells.packed import at_ends, run_packed
from hil.cells.rows import QuantizedRows, RowFormat, fake_quantize, straight_through
from hil.cells.surrogate import Surrogate
from hil.fixed import ACC_LIMIT_Q15, INT16_MAX, Q15_ONE

THRESHOLD_LEAST, THRESHOLD_MOST = 1 / Q15_ONE, INT16_MAX / Q15_ONE
"""Thresholds are int16, Q15, and positive."""


@dataclass(frozen=True)
class EventSequence:
    """
    A layer's run over a sequence.

    Attributes:
        y: Graded events, shaped as the layer's output; 0 where a unit is silent.
        events: The same shape: 1 where a unit fired, 0 elsewhere; gradients go through the surrogate.
        state: h and y after the last step, each [N, H].
    """

    y: Tensor
    events: Tensor
    state: tuple[Tensor, Tensor]


class EventEmbeddedGRU(nn.Module):
    """
    One event eGRU layer over a sequence, called as `torch.nn.LSTM`.

        z  = (softsign(W_z [x; y] + b_z) + 1) / 2      c = (1 - z) h + z g
        g  =  softsign(W_g [x; y] + b_g)               o = H(c - theta),  H(0) = 0
                                                       y' = o c
                                                       h' = c - o theta

    Args:
        input_size: D.
        hidden_size: H.
        batch_first: Sequences are [N, T, ...] rather than [T, N, ...].
        z_bias: Initial bias of the gate; negative makes slow units.
        threshold: Initial theta of every unit, in (0, 1).
        surrogate: Derivative that training uses for H.
        generator: Of the Glorot-normal weights.

    Attributes:
        weight: [2H, D + H], z rows then g rows; columns inputs, then events.
        bias: [2H].
        threshold: [H] theta, kept within (0, 1) by `clamp_`.
        format: Row scales and rounding; set, the layer runs in the integers of its twin.

    Source:
        Subramoney and others 2023 (EGRU), its events on the cell of Amoh and Odame 2019 (eGRU).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        z_bias: float = -1.0,
        threshold: float = 0.05,
        surrogate: Surrogate | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.surrogate = surrogate or Surrogate()
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size + hidden_size))
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size))
        self.threshold = nn.Parameter(torch.full((hidden_size,), float(threshold)))
        self.format: RowFormat | None = None
        with torch.no_grad():
            for gate in self.weight.split(hidden_size):
                nn.init.xavier_normal_(gate, generator=generator)
            self.bias[:hidden_size] = z_bias

    def forward(
        self, x: Tensor | PackedSequence, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """
        Run a sequence, or a packed batch of sequences.

        Args:
            x: [T, N, D], or [N, T, D] with ``batch_first``, or packed.  Real units; with a `format`
                multiples of 2**-15 within [-1, 1).
            state: h and y before the first step, each [N, H]; zeros if omitted.

        Returns:
            Events after each step, [T, N, H] or [N, T, H] or packed, and h and y after the last of each sequence,
            each [N, H].
        """
        if isinstance(x, PackedSequence):
            return run_packed(x, self.batch_first, lambda padded, lengths: self._outputs(padded, state, lengths))
        return self._outputs(x, state, None)

    def _outputs(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        run = self.run(x, state, lengths)
        return run.y, run.state

    def run(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None
    ) -> EventSequence:
        """As `forward`, with who fired; of padded sequences, [N] steps of each, what is behind them means nothing."""
        if self.batch_first:
            x = x.transpose(0, 1)
        h_0, y_0 = state or (x.new_zeros(x.shape[1], self.hidden_size),) * 2
        if self.format is None:
            weight, bias, theta, rows = self.weight, self.bias, self.threshold, None
        else:
            rows = fake_quantize(self.weight, self.bias, self.format)
            weight, bias, theta = rows.weight, rows.bias, quantized_threshold(self.threshold)
        ends = torch.full((x.shape[1],), x.shape[0]) if lengths is None else lengths
        y, o, h_last = _Sequence.apply(x, h_0, y_0, weight, bias, theta, rows, self.surrogate, ends)
        last = (h_last, at_ends(y, lengths))
        return (
            EventSequence(y.transpose(0, 1), o.transpose(0, 1), last) if self.batch_first else EventSequence(y, o, last)
        )

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put thresholds back into the range that int16 holds."""
        self.threshold.clamp_(THRESHOLD_LEAST, THRESHOLD_MOST)


def quantized_threshold(theta: Tensor) -> Tensor:
    """Thresholds on the Q15 grid, as `hil.quant.quantize` rounds them; the gradient passes through."""
    exact = (theta.detach().double() * Q15_ONE).round_().clamp_(1, INT16_MAX) / Q15_ONE
    return straight_through(theta, exact)


class _Sequence(torch.autograd.Function):
    """
    Events y and o [T, N, H], and h [N, H] after the last step of each sequence, of inputs [T, N, D], with an analytic
    backward pass.

    With quantized rows the forward pass is that of the twin, and the backward pass
    treats every rounding as the identity and softsign as the real function.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h_0: Tensor,
        y_0: Tensor,
        weight: Tensor,
        bias: Tensor,
        theta: Tensor,
        rows: QuantizedRows | None,
        surrogate: Surrogate,
        ends: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous()
        if rows is None:
            s, c, o, y = _run_real(x, h_0, y_0, weight, bias, theta)
        else:
            s, c, o, y = _run_integer(x, h_0, y_0, rows, theta)
        ctx.save_for_backward(x, h_0, y_0, weight, theta, s, c, o, y)
        ctx.surrogate, ctx.ends = surrogate, ends
        return y, o, at_ends(c, ends) - at_ends(o, ends) * theta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """
        Per step, from the last: dy and dh arrive, psi is the surrogate at c - theta,

            dO = do + c dy - theta dh         dc = o dy + psi dO + dh
            dtheta -= psi dO + o dh           dh <- (1 - z) dc
        """
        x, h_0, y_0, weight, theta, s, c, o, y = ctx.saved_tensors
        g_y, g_o, g_h = gradients
        steps, batch, width = x.shape
        units = c.shape[2]
        before = torch.cat([h_0[None], (c - o * theta)[:-1]])
        heard = torch.cat([y_0[None], y[:-1]])
        W_x, W_y = weight[:, :width].contiguous(), weight[:, width:].contiguous()
        slope = (1 - s.abs()).square_()  # softsign'(a) = (1 - |softsign(a)|)**2
        z, g = (s[..., :units] + 1) / 2, s[..., units:]
        # d c / d pre-activations, [T, N, 2, H]; d c / d h along the direct path
        through = torch.stack([(g - before) * slope[..., :units] / 2, z * slope[..., units:]], dim=2)
        keep = 1 - z
        psi = ctx.surrogate(c - theta)
        of_y, of_h, of_o = o + psi * c, 1 - psi * theta, psi * g_o
        d_pre, d_y, d_h = torch.empty_like(through), torch.empty_like(c), torch.empty_like(c)
        d_y[-1], d_h[-1] = g_y[-1], 0
        ending = {int(end) - 1: (ctx.ends == end).to(c.device) for end in ctx.ends.unique()}
        for t in range(steps - 1, -1, -1):
            if t in ending:
                d_h[t][ending[t]] += g_h[ending[t]]
            d_c = torch.addcmul(of_o[t], of_y[t], d_y[t]).addcmul_(of_h[t], d_h[t])
            torch.mul(d_c[:, None], through[t], out=d_pre[t])
            flat_t = d_pre[t].view(batch, 2 * units)
            if t:
                torch.mul(d_c, keep[t], out=d_h[t - 1])
                torch.addmm(g_y[t - 1], flat_t, W_y, out=d_y[t - 1])
            else:
                d_h_0, d_y_0 = d_c * keep[0], flat_t @ W_y
        d_theta = -(psi * (g_o + c * d_y - theta * d_h) + o * d_h).sum((0, 1))
        flat = d_pre.view(steps * batch, 2 * units)
        d_x = (flat @ W_x).view_as(x) if ctx.needs_input_grad[0] else None
        d_weight = torch.cat([flat.T @ x.view(-1, width), flat.T @ heard.view(-1, units)], dim=1)
        return d_x, d_h_0, d_y_0, d_weight, flat.sum(0), d_theta, None, None, None


_Run = tuple[Tensor, Tensor, Tensor, Tensor]
"""Softsign values [T, N, 2H]; c, o and y [T, N, H]."""


def _run_real(x: Tensor, h: Tensor, y: Tensor, weight: Tensor, bias: Tensor, theta: Tensor) -> _Run:
    steps, batch, width = x.shape
    units = h.shape[1]
    W_y = weight[:, width:].T
    s = torch.addmm(bias, x.view(-1, width), weight[:, :width].T).view(steps, batch, 2 * units)
    c, o, ys = (x.new_empty(steps, batch, units) for _ in range(3))
    for s_t, c_t, o_t, y_t in zip(s.unbind(0), c.unbind(0), o.unbind(0), ys.unbind(0), strict=True):
        s_t.addmm_(y, W_y)
        s_t.div_(s_t.abs().add_(1))
        torch.lerp(h, s_t[:, units:], s_t[:, :units].add(1).mul_(0.5), out=c_t)
        torch.gt(c_t, theta, out=o_t)
        y = torch.mul(c_t, o_t, out=y_t)
        h = torch.addcmul(c_t, o_t, theta, value=-1)
    return s, c, o, ys


def _run_integer(x: Tensor, h_0: Tensor, y_0: Tensor, rows: QuantizedRows, theta: Tensor) -> _Run:
    """
    All values Q15 divided by 2**15.

    Sums run in floats wide enough to be exact (`QuantizedRows.weight_q2`), the rest in int32.

    Twin:
        `hil.quant.event_embedded_gru_step`.
    """
    steps, batch, width = x.shape
    units = h_0.shape[1]
    W_q2 = rows.weight_q2
    sums = torch.addmm(rows.bias_half_q17, (x * Q15_ONE).to(W_q2.dtype).view(-1, width), W_q2[:, :width].T)
    W_y, table = W_q2[:, width:].T, softsign_table()
    theta_q15 = (theta * Q15_ONE).to(torch.int32)
    s = torch.empty(steps, batch, 2 * units, dtype=torch.int32)
    c, o = (torch.empty(steps, batch, units, dtype=torch.int32) for _ in range(2))
    h, y = ((part * Q15_ONE).to(torch.int32) for part in (h_0, y_0))
    parts = zip(sums.view(steps, batch, 2 * units).unbind(0), s.unbind(0), c.unbind(0), o.unbind(0), strict=True)
    for sum_t, s_t, c_t, o_t in parts:
        pre = torch.addmm(sum_t, y.to(W_q2.dtype), W_y).mul_(rows.scale).floor_()
        index = pre.clamp_(-ACC_LIMIT_Q15, ACC_LIMIT_Q15).add_(ACC_LIMIT_Q15).long()
        torch.take(table, index, out=s_t)
        z = (s_t[:, :units] + Q15_ONE) >> 1
        torch.add(h, (s_t[:, units:] - h).mul_(z).add_(1 << 14) >> 15, out=c_t)
        torch.gt(c_t, theta_q15, out=o_t)
        y = c_t * o_t
        h = torch.addcmul(c_t, o_t, theta_q15, value=-1)
    real_c, real_o = (c / Q15_ONE).to(x.dtype), o.to(x.dtype)
    return (s / Q15_ONE).to(x.dtype), real_c, real_o, real_c * real_o
