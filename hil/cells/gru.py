"""The baseline's GRU layer: a whole sequence as one differentiable operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from hil.cells.packed import at_ends, run_packed


class GRU(nn.Module):
    """
    One GRU layer over a sequence, with the parameters and the formula of `torch.nn.GRU`.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z likewise
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))
        h' = (1 - z) n + z h

    It computes the same and trains in about three quarters of the time: its backward pass is analytic.

    Args:
        input_size: D.
        hidden_size: H.
        batch_first: Sequences are [N, T, ...] rather than [T, N, ...].
        generator: Of the initial parameters, uniform within +-1/sqrt(H) as torch's.

    Attributes:
        weight_ih: [3H, D], rows r, z, n.
        weight_hh: [3H, H].
        bias_ih, bias_hh: [3H].

    Source:
        Cho et al. 2014, with the reset after the product as in cuDNN and torch.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, batch_first: bool = True, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-(hidden_size**-0.5), hidden_size**-0.5, generator=generator)

    def forward(self, x: Tensor | PackedSequence, h_0: Tensor | None = None) -> tuple[Tensor | PackedSequence, Tensor]:
        """
        Run a sequence, or a packed batch of sequences.

        Args:
            x: [N, T, D], or [T, N, D] without ``batch_first``, or packed.
            h_0: [N, H], zeros if omitted.

        Returns:
            States after each step, [N, T, H] or [T, N, H] or packed, and the last one of each sequence, [N, H].
        """
        if isinstance(x, PackedSequence):
            return run_packed(x, self.batch_first, lambda padded, lengths: self._outputs(padded, h_0, lengths))
        return self._outputs(x, h_0, None)

    def _outputs(self, x: Tensor, h_0: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.batch_first:
            x = x.transpose(0, 1)
        if h_0 is None:
            h_0 = x.new_zeros(x.shape[1], self.hidden_size)
        states = _Sequence.apply(x, h_0, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        last = at_ends(states, lengths)
        return (states.transpose(0, 1) if self.batch_first else states), last


class _Sequence(torch.autograd.Function):
    """States [T, N, H] of inputs [T, N, D]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h_0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> Tensor:
        x = x.contiguous()
        steps, batch, width = x.shape
        units = weight_hh.shape[1]
        gates = 2 * units
        bias = torch.cat([bias_ih[:gates] + bias_hh[:gates], bias_ih[gates:]])
        pre = torch.addmm(bias, x.view(-1, width), weight_ih.T).view(steps, batch, 3 * units)
        inner = x.new_empty(steps, batch, units)  # W_hn h + b_hn
        states = x.new_empty(steps, batch, units)
        h, gates_T, inner_T = h_0, weight_hh[:gates].T, weight_hh[gates:].T
        for pre_t, inner_t, state in zip(pre.unbind(0), inner.unbind(0), states.unbind(0), strict=True):
            rz = pre_t[:, :gates].addmm_(h, gates_T).sigmoid_()
            torch.addmm(bias_hh[gates:], h, inner_T, out=inner_t)
            n = pre_t[:, gates:].addcmul_(rz[:, :units], inner_t).tanh_()
            h = torch.lerp(n, h, rz[:, units:], out=state)
        ctx.save_for_backward(x, h_0, weight_ih, weight_hh, pre, inner, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, h_0, weight_ih, weight_hh, pre, inner, states = ctx.saved_tensors
        steps, batch, units = states.shape
        before = torch.cat([h_0[None], states[:-1]])
        r, z, n = pre.split(units, dim=2)
        d_n = (1 - z) * (1 - n * n)
        # d h' / d pre-activations as the inputs see them, [T, N, 3, H]; the state's n is scaled by r
        through = torch.stack([d_n * inner * r * (1 - r), (before - n) * z * (1 - z), d_n], dim=2)
        d_pre = torch.empty_like(through)
        d_state = torch.empty_like(through)
        d_h = torch.zeros_like(states[0])
        parts = zip(gradients[0], through, r, z, d_pre, d_state, strict=True)
        for gradient, through_t, r_t, z_t, d_pre_t, d_state_t in reversed(list(parts)):
            d_h = d_h + gradient
            torch.mul(d_h[:, None], through_t, out=d_pre_t)
            d_state_t.copy_(d_pre_t)
            d_state_t[:, 2].mul_(r_t)
            d_h = torch.addmm(d_h.mul_(z_t), d_state_t.view(batch, 3 * units), weight_hh)
        flat, flat_state = (d.view(steps * batch, 3 * units) for d in (d_pre, d_state))
        d_x = (flat @ weight_ih).view_as(x) if ctx.needs_input_grad[0] else None
        d_ih, d_hh = flat.T @ x.view(-1, x.shape[2]), flat_state.T @ before.view(-1, units)
        return d_x, d_h, d_ih, d_hh, flat.sum(0), flat_state.sum(0)
