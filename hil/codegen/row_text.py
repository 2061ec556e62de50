"""C of rows of weights: the arrays of a ``struct rows`` and its initializer."""

from __future__ import annotations

from hil.artefact import AnyRows, ByteRows
from hil.codegen.c_text import constant
from hil.codegen.layout import ROWS_BLOCK, code_of_zero, pack_bias, pack_codes, pack_shift, padded


def rows_constants(name: str, rows: AnyRows, inputs: int, order: str) -> str:
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
    code, sums, shift = ("w + 128", "q22", "Q22") if isinstance(rows, ByteRows) else ("4 w + 4", "q17", "Q17 to Q15")
    codes = f"[{blocks}][{inputs}] of the input{state}: four rows in a word, row 0 lowest, {code}{suffix}"
    return (
        constant(f"{name}_codes", pack_codes(rows.weight, inputs, code_of_zero(rows)), codes)
        + constant(f"{name}_bias_{sums}", pack_bias(rows.bias), f"[{blocks}][4]{suffix}")
        + constant(f"{name}_shift", pack_shift(rows.shift), f"[{rows.outputs}] {shift} with the row's scale{suffix}")
    )


def rows_initializer(name: str, rows: AnyRows) -> str:
    """Of a ``struct rows`` whose arrays `rows_constants` wrote."""
    sums = "q22" if isinstance(rows, ByteRows) else "q17"
    return f"{{{name}_codes, {name}_bias_{sums}, {name}_shift, {rows.outputs}, {code_of_zero(rows)}}}"
