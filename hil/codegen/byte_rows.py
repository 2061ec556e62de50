"""C of rows of 8-bit weights: the arrays of a ``struct byte_rows`` and its initializer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.artefact import ByteRows
from hil.codegen.c_text import constant
from hil.codegen.layout import ROWS_BLOCK, pack_bias, pack_shift, padded

BYTE_CODE_OF_ZERO = 128
"""A code is the weight's ``weight_q7`` plus this, so that none is negative."""


def pack_byte_codes(weight_q7: npt.NDArray[np.int8], inputs: int) -> npt.NDArray[np.uint32]:
    """
    Weights as the words that the kernel reads: the codes ``w + 128`` of four rows in one column, row 0 lowest.

    Args:
        weight_q7: [R, U]; rows of zeros fill the last block.
        inputs: D of the U columns belong to the input and come first, for all blocks; the state's follow.

    Returns:
        [ceil(R / 4) * U] uint32: [B, D] words, then [B, U - D].
    """
    outputs, columns = weight_q7.shape
    codes = np.full((padded(outputs), columns), BYTE_CODE_OF_ZERO, np.int64)
    codes[:outputs] += weight_q7
    words = (codes.reshape(-1, ROWS_BLOCK, columns) << 8 * np.arange(ROWS_BLOCK)[:, None]).sum(axis=1)
    return np.concatenate([words[:, :inputs].ravel(), words[:, inputs:].ravel()]).astype(np.uint32)


def byte_rows_constants(name: str, rows: ByteRows, inputs: int, order: str) -> str:
    """
    Arrays named after ``name``.

    Args:
        name: Prefix of their identifiers.
        rows: The rows.
        inputs: How many of the columns belong to the input; the others to the state.
        order: What the rows are, for the comments, or ``""``.
    """
    blocks, states, suffix = padded(rows.outputs) // ROWS_BLOCK, rows.inputs - inputs, f"; {order}" if order else ""
    state = f", then [{blocks}][{states}] of the state" if states else ""
    codes = f"[{blocks}][{inputs}] of the input{state}: four rows in a word, row 0 lowest, w + 128{suffix}"
    return (
        constant(f"{name}_codes", pack_byte_codes(rows.weight_q7, inputs), codes)
        + constant(f"{name}_bias_q22", pack_bias(rows.bias_q22), f"[{blocks}][4]{suffix}")
        + constant(f"{name}_shift", pack_shift(rows.shift), f"[{rows.outputs}] of each row's sum{suffix}")
    )


def byte_rows_initializer(name: str, rows: ByteRows) -> str:
    """Of a ``struct byte_rows`` whose arrays `byte_rows_constants` wrote."""
    return f"{{{name}_codes, {name}_bias_q22, {name}_shift, {rows.outputs}}}"
