"""How the weights of a layer lie in flash for ``firmware/kernels/rows.c``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.fixed import Int

ROWS_BLOCK = 4
"""Rows that the kernel takes at a time; ``ROWS_BLOCK`` of firmware/kernels/rows.h."""


def padded(rows: int) -> int:
    """``rows`` rounded up to whole blocks."""
    return -(-rows // ROWS_BLOCK) * ROWS_BLOCK


def pack_blocks(weight_q2: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """
    Row-major weights in the order in which the kernel reads them.

    Args:
        weight_q2: [R, U] int8.

    Returns:
        [ceil(R / 4), U, 4] int8: blocks of four rows, column by column; rows of zeros fill the last block.
    """
    outputs, inputs = weight_q2.shape
    filled = np.zeros((padded(outputs), inputs), np.int8)
    filled[:outputs] = weight_q2
    return np.ascontiguousarray(filled.reshape(-1, ROWS_BLOCK, inputs).transpose(0, 2, 1))


def pack_bias(bias_q17: Int) -> npt.NDArray[np.int32]:
    """[R] int32 to [4 ceil(R / 4)] with zeros behind."""
    return np.pad(bias_q17, (0, padded(bias_q17.size) - bias_q17.size)).astype(np.int32)


def pack_shift(shift: Int) -> npt.NDArray[np.uint8]:
    """[R] uint8."""
    return shift.astype(np.uint8)
