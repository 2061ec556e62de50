"""How the weights of a layer lie in flash for ``firmware/kernels/rows.c``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.fixed import Int

ROWS_BLOCK = 4
"""Rows that the kernel takes at a time; ``ROWS_BLOCK`` of firmware/kernels/rows.h."""


CODE_OF_ZERO = 4
"""A code is the weight's ``weight_q2`` plus this, so that none is negative."""


def padded(rows: int) -> int:
    """``rows`` rounded up to whole blocks."""
    return -(-rows // ROWS_BLOCK) * ROWS_BLOCK


def pack_codes(weight_q2: npt.NDArray[np.int8], inputs: int) -> npt.NDArray[np.uint32]:
    """
    Weights as the words that the kernel reads: the codes ``4 w + 4`` of four rows in one column, row 0 lowest.

    Args:
        weight_q2: [R, U] int8; rows of zeros fill the last block.
        inputs: D of the U columns belong to the input and come first, for all blocks; the state's follow.

    Returns:
        [ceil(R / 4) * U] uint32: [B, D] words, then [B, U - D].
    """
    outputs, columns = weight_q2.shape
    codes = np.full((padded(outputs), columns), CODE_OF_ZERO, np.uint32)
    codes[:outputs] += weight_q2.astype(np.uint32)
    shifts = 8 * np.arange(ROWS_BLOCK, dtype=np.uint32)
    words = (codes.reshape(-1, ROWS_BLOCK, columns) << shifts[:, None]).sum(axis=1, dtype=np.uint32)
    return np.concatenate([words[:, :inputs].ravel(), words[:, inputs:].ravel()])


COMPACT_COLUMNS = 10
"""Columns in a word of ``firmware/kernels/compact.c``."""
_COMPACT_CODES = {0: 0, 1: 1, 2: 2, 4: 3, -1: 5, -2: 6, -4: 7}


def pack_compact(weight_q2: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """
    Weights as 3-bit codes, ten columns of a row in a word, the first one lowest; zeros fill up the last word.

    Returns:
        [ceil(U / 10), R] uint32.
    """
    outputs, columns = weight_q2.shape
    groups = -(-columns // COMPACT_COLUMNS)
    codes = np.zeros((outputs, groups * COMPACT_COLUMNS), np.uint32)
    for weight, code in _COMPACT_CODES.items():
        codes[:, :columns][weight_q2 == weight] = code
    shifts = 3 * np.arange(COMPACT_COLUMNS, dtype=np.uint32)
    words = (codes.reshape(outputs, groups, COMPACT_COLUMNS) << shifts).sum(axis=2, dtype=np.uint32)
    return np.ascontiguousarray(words.T)


def pack_bias(bias_q17: Int) -> npt.NDArray[np.int32]:
    """[R] int32 to [4 ceil(R / 4)] with zeros behind."""
    return np.pad(bias_q17, (0, padded(bias_q17.size) - bias_q17.size)).astype(np.int32)


def pack_bias16(bias_q17: Int) -> npt.NDArray[np.int16]:
    """Biases of 3-bit rows, which are whole steps of Q12 in 16 bits (`hil.artefact`)."""
    steps = np.asarray(bias_q17 >> 5)
    assert (steps << 5 == bias_q17).all()
    return steps.astype(np.int16)


def pack_shift(shift: Int) -> npt.NDArray[np.uint8]:
    """[R] uint8."""
    return shift.astype(np.uint8)


def pair_shift(shift: Int) -> npt.NDArray[np.uint8]:
    """[2H], z rows then g rows, to [H, 2]: a unit's two side by side."""
    return pack_shift(shift.reshape(2, -1).T)
