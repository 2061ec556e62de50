"""Rows of weights as the device will hold them, with straight-through gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hil.arithmetic import BIAS_LIMIT, BIAS_STEP, ZeroRule, bias_levels_q17, weight_levels_q2

FLOAT32_FAN_IN = ((1 << 24) - (1 << 20) - (1 << 14)) >> 17
"""
Largest fan-in whose sums float32 holds exactly, as integers up to 2**24: terms of at
most 2**17, a bias of at most 2**20 (16 bits in Q12), a rounding constant of at most 2**14.
"""


@dataclass(frozen=True)
class RowFormat:
    """
    How the rows of one layer are rounded.

    Attributes:
        exponent: [R] int8, row scales ``2**e``.
        zero_threshold: Rule of the smallest weights.
        bias_bits: 16 or 3.
    """

    exponent: Tensor
    zero_threshold: ZeroRule
    bias_bits: Literal[3, 16]


@dataclass(frozen=True)
class QuantizedRows:
    """
    One layer's rows, in real units and in integers held by floats.

    Attributes:
        weight: [R, U], real units with the row's scale; its gradient goes to the latent weight.
        bias: [R], the same.
        weight_q2: [R, U], integers in {0, +-1, +-2, +-4}; float32 where that keeps every
            sum exact (`FLOAT32_FAN_IN`), else float64.
        bias_half_q17: [R], bias plus the rounding constant, integers.
        scale: [R], ``2**-shift``.
    """

    weight: Tensor
    bias: Tensor
    weight_q2: Tensor
    bias_half_q17: Tensor
    scale: Tensor


class _StraightThrough(torch.autograd.Function):
    """The second value forward, the first one's gradient backward."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, exact: Tensor) -> Tensor:
        return exact.to(real.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(real: Tensor, exact: Tensor) -> Tensor:
    """``exact``, in the dtype of ``real`` and with its gradient."""
    result: Tensor = _StraightThrough.apply(real, exact)
    return result


def fake_quantize(weight: Tensor, bias: Tensor, row_format: RowFormat) -> QuantizedRows:
    """
    Round latent weights and biases as `hil.quant.quantize` will.

    Args:
        weight: [R, U] latent weights.
        bias: [R] latent biases, within `bias_range`.
        row_format: Of this layer.

    Raises:
        UsageError: A bias is out of range.
    """
    e = row_format.exponent.to(torch.float64)
    up, down = torch.exp2(e), torch.exp2(-e)
    rule = row_format.zero_threshold
    weight_q2 = torch.from_numpy(weight_levels_q2((weight.detach() * down[:, None]).numpy(), rule))
    bias_q17 = torch.from_numpy(bias_levels_q17((bias.detach() * down).numpy(), row_format.bias_bits, rule))
    dtype = torch.float32 if weight.shape[1] <= FLOAT32_FAN_IN else torch.float64
    shift = 2 - row_format.exponent.long()
    return QuantizedRows(
        weight=straight_through(weight, weight_q2 * up[:, None] / 4),
        bias=straight_through(bias, bias_q17 * up / (1 << 17)),
        weight_q2=weight_q2.to(dtype),
        bias_half_q17=(bias_q17 + ((1 << shift) >> 1)).to(dtype),
        scale=torch.exp2(-shift.to(dtype)),
    )


def bias_range(row_format: RowFormat) -> tuple[Tensor, Tensor]:
    """[R] smallest and largest latent bias that 16 bits hold at each row's scale."""
    up = torch.exp2(row_format.exponent.to(torch.float32))
    return -BIAS_LIMIT * up, (BIAS_LIMIT - BIAS_STEP) * up
