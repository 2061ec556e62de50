"""The EGRU in 8-bit weights while it trains: the twin's integers forward, an analytic pass backward."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hil.arithmetic import PRE_LIMIT_Q12, TANH_LIMIT_Q13, tanh_q15
from hil.cells.byte_rows import ByteFormat, fake_quantize_bytes
from hil.cells.event_embedded_gru import THRESHOLD_LEAST, THRESHOLD_MOST, quantized_threshold
from hil.cells.event_gru import EventGRU, EventGruSequence, State
from hil.cells.rows import QuantizedRows
from hil.cells.surrogate import Surrogate
from hil.errors import UsageError
from hil.fixed import Q15_ONE


class ByteEventGRU(EventGRU):
    """
    `EventGRU` of form ``"threshold"`` that can run in the integers of its twin.

    Attributes:
        format: Rounding of its rows: [4H] those of both gates, of the candidate's inputs, of the candidate's state.
            Set, the layer runs as `hil.quant.gates.event_gru_step`; inputs are multiples of 2**-15 within [-1, 1).
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        if self.form != "threshold":
            raise UsageError(f"form = {self.form!r}: 8-bit weights take form 'threshold'")
        self.format: ByteFormat | None = None

    def run(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None, *, traced: bool = True
    ) -> EventGruSequence:
        """As `EventGRU.run`; in integers without a state to begin with, and never with a trace."""
        if self.format is None:
            return super().run(x, state, lengths, traced=traced)
        if state is not None or lengths is not None:
            raise UsageError("an EGRU in integers begins at zero and runs all its steps")
        H = self.hidden_size
        formats = self.format.split(2 * H, H, H)
        rows = [
            fake_quantize_bytes(weight, bias, row_format)
            for (weight, bias), row_format in zip(self.matrices(), formats, strict=True)
        ]
        real = [part for one in rows for part in (one.weight, one.bias)]
        theta = quantized_threshold(self.threshold)
        sequence = x.transpose(0, 1) if self.batch_first else x
        y, o, c = _Sequence.apply(sequence, theta, rows, self.surrogate, *real)
        end = (c[-1] - o[-1] * theta, y[-1])
        y, o, c = (part.transpose(0, 1) if self.batch_first else part for part in (y, o, c))
        return EventGruSequence(y, o, c, y, end)

    def matrices(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Weights and biases of the rows of both gates, of the candidate's inputs and of the candidate's state."""
        gates, W, R, b, d = 2 * self.hidden_size, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return (
            (torch.cat([W[:gates], R[:gates]], dim=1), b[:gates] + d[:gates]),
            (W[gates:], b[gates:]),
            (R[gates:], d[gates:]),
        )

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put thresholds back into the range that int16 holds."""
        self.threshold.clamp_(THRESHOLD_LEAST, THRESHOLD_MOST)


class _Sequence(torch.autograd.Function):
    """
    Events y and o and compared states c, [T, N, H], of inputs [T, N, D] from a state of zeros.

    Backward every rounding is the identity, sigmoid and tanh are the real functions.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, theta: Tensor, rows: list[QuantizedRows], surrogate: Surrogate, *real: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous()
        r, z, q, g, c, o = _run_integer(x, theta, *rows)
        y = c * o
        ctx.save_for_backward(x, theta, r, z, q, g, c, o, y, *real[::2])
        ctx.surrogate = surrogate
        ctx.mark_non_differentiable(c)
        return y, o, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """
        Per step, from the last: dy and dh arrive, psi is the surrogate at c - theta,

            dO = do + c dy - theta dh         dc = o dy + psi dO + dh         dh <- z dc
            dtheta -= psi dO + o dh           dz = dc (h - g),  dg = dc (1 - z),  dr = dg (1 - g^2) q
        """
        x, theta, r, z, q, g, c, o, y, gates, candidate_x, candidate_h = ctx.saved_tensors
        g_y, g_o, _ = gradients
        steps, batch, width = x.shape
        units = c.shape[2]
        zeros = torch.zeros_like(c[:1])
        before, heard = torch.cat([zeros, (c - o * theta)[:-1]]), torch.cat([zeros, y[:-1]])
        d_g = (1 - z) * (1 - g * g)
        # d c / d pre-activations, [T, N, 4, H]: r, z, the candidate's inputs, the candidate's state
        through = torch.stack([d_g * q * r * (1 - r), (before - g) * z * (1 - z), d_g, d_g * r], dim=2)
        psi = ctx.surrogate(c - theta)
        of_y, of_h, of_o = o + psi * c, 1 - psi * theta, psi * g_o
        d_pre, d_y, d_h = torch.empty_like(through), torch.empty_like(c), torch.empty_like(c)
        d_y[-1], d_h[-1] = g_y[-1], 0.0
        by_state = torch.cat([gates[:, width:], torch.zeros_like(candidate_h), candidate_h])
        for t in range(steps - 1, -1, -1):
            d_c = torch.addcmul(of_o[t], of_y[t], d_y[t]).addcmul_(of_h[t], d_h[t])
            torch.mul(d_c[:, None], through[t], out=d_pre[t])
            if t:
                torch.mul(d_c, z[t], out=d_h[t - 1])
                torch.addmm(g_y[t - 1], d_pre[t].view(batch, 4 * units), by_state, out=d_y[t - 1])
        d_theta = -(psi * (g_o + c * d_y - theta * d_h) + o * d_h).sum((0, 1))
        flat = d_pre.view(steps * batch, 4 * units)
        of_gates, of_x, of_state = flat.split([2 * units, units, units], dim=1)
        inputs, events = x.view(-1, width), heard.view(-1, units)
        d_x = of_gates @ gates[:, :width] + of_x @ candidate_x if ctx.needs_input_grad[0] else None
        d_real = (
            (of_gates.T @ torch.cat([inputs, events], dim=1), of_gates.sum(0)),
            (of_x.T @ inputs, of_x.sum(0)),
            (of_state.T @ events, of_state.sum(0)),
        )
        d_x = None if d_x is None else d_x.view_as(x)
        return d_x, d_theta, None, None, *(part for pair in d_real for part in pair)


def _run_integer(
    x: Tensor, theta: Tensor, gates: QuantizedRows, candidate_x: QuantizedRows, candidate_h: QuantizedRows
) -> tuple[Tensor, ...]:
    """
    r, z, q, g, c and o, [T, N, H] each, in real units.

    Twin:
        `hil.quant.gates.event_gru_step`.
    """
    steps, batch, width = x.shape
    units = theta.shape[0]
    x_q15 = (x.detach().double() * Q15_ONE).view(-1, width)
    of_gates = torch.addmm(gates.bias_half_q17, x_q15, gates.weight_q2[:, :width].T).view(steps, batch, 2 * units)
    of_x = _pre(torch.addmm(candidate_x.bias_half_q17, x_q15, candidate_x.weight_q2.T), candidate_x.scale)
    R, R_g = gates.weight_q2[:, width:].T, candidate_h.weight_q2.T
    theta_q15 = (theta.detach() * Q15_ONE).to(torch.int32)
    values = torch.empty(6, steps, batch, units, dtype=torch.int32)
    h, y = (torch.zeros(batch, units, dtype=torch.int32) for _ in range(2))
    for t, (p, gate_t) in enumerate(zip(of_x.view(steps, batch, units), of_gates, strict=True)):
        heard = y.double()
        rz = (_tanh(_pre(torch.addmm(gate_t, heard, R), gates.scale)) + Q15_ONE) >> 1
        r, z = rz[:, :units], rz[:, units:]
        q = _pre(torch.addmm(candidate_h.bias_half_q17, heard, R_g), candidate_h.scale)
        g = _tanh(2 * (p + ((r * q + (1 << 14)) >> 15)))
        c = g + ((z * (h - g) + (1 << 14)) >> 15)
        o = (c > theta_q15).to(torch.int32)
        y, h = c * o, c - o * theta_q15
        for place, value in enumerate((r, z, q, g, c, o)):
            values[place, t] = value
    r, z, q, g, c, o = values.to(x.dtype).unbind(0)
    return r / Q15_ONE, z / Q15_ONE, q / (1 << 12), g / Q15_ONE, c / Q15_ONE, o


def _pre(sums: Tensor, scale: Tensor) -> Tensor:
    """Sums with half of their last place to Q12, int32."""
    return (sums * scale).floor_().clamp_(-PRE_LIMIT_Q12, PRE_LIMIT_Q12).to(torch.int32)


def _tanh(v_q13: Tensor) -> Tensor:
    """Q15, int32."""
    return torch.take(_tanh_values(), v_q13.clamp(-TANH_LIMIT_Q13, TANH_LIMIT_Q13).add_(TANH_LIMIT_Q13).long())


@lru_cache(maxsize=1)
def _tanh_values() -> Tensor:
    """`tanh_q15` of every integer within its limit, so that it is defined once: [2 * 6 * 2**13 + 1] int32."""
    return torch.from_numpy(tanh_q15(np.arange(-TANH_LIMIT_Q13, TANH_LIMIT_Q13 + 1)).astype(np.int32))
