"""Rows of 8-bit weights as the device will hold them, with straight-through gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hil.cells.rows import QuantizedRows, straight_through

WEIGHT_LIMIT = 127


@dataclass(frozen=True)
class ByteFormat:
    """
    How the rows of one layer are rounded to 8 bits.

    Attributes:
        exponent: [R] int8, row scales ``2**e``.
        unscaled_shift: Right shift of a sum in Q22 without a row scale: 10 for gates, 7 for dense layers.
    """

    exponent: Tensor
    unscaled_shift: int

    def split(self, *rows: int) -> tuple[ByteFormat, ...]:
        """Formats of so many rows each, in their order."""
        return tuple(ByteFormat(part, self.unscaled_shift) for part in self.exponent.split(rows))


def fake_quantize_bytes(weight: Tensor, bias: Tensor, row_format: ByteFormat) -> QuantizedRows:
    """
    Round latent weights and biases as `hil.quant.quantize_bytes.byte_rows` will.

    Args:
        weight: [R, U] latent weights.
        bias: [R] latent biases.
        row_format: Of these rows.

    Returns:
        Rows whose integers are weight_q7 and, with half of the last place that is shifted out, bias_q22; float64,
        which holds every sum exactly.
    """
    e = row_format.exponent.double()
    weight_q7 = (weight.detach().double() * torch.exp2(7 - e)[:, None]).round_().clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    bias_q22 = (bias.detach().double() * torch.exp2(22 - e)).round_()
    shift = row_format.unscaled_shift - row_format.exponent.long()
    return QuantizedRows(
        weight=straight_through(weight, weight_q7 * torch.exp2(e - 7)[:, None]),
        bias=straight_through(bias, bias_q22 * torch.exp2(e - 22)),
        weight_q2=weight_q7,
        bias_half_q17=bias_q22 + ((1 << shift) >> 1),
        scale=torch.exp2(-shift.double()),
    )
