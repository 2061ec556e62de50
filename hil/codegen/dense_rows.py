"""Dense rows of 3-bit weights: their C by each kernel that sums all columns."""

from __future__ import annotations

from hil.artefact import Rows
from hil.codegen.c_text import constant
from hil.codegen.layout import COMPACT_COLUMNS, ROWS_BLOCK, pack_bias, pack_bias16, pack_codes, pack_compact, padded
from hil.codegen.parts import RowSums
from hil.codegen.straight import TILE_ROWS, straight_code
from hil.layer_build import LayerBuild

_STRAIGHT = """\
#if defined(__ARM_ARCH_6M__)
{start}void {name}_sums(const int16_t *x_q15, const int16_t *h_q15, int32_t *acc_q17, const int32_t *start_q17);
#else
{reference}static const int32_t *const {name}_start_q17 = 0;
static void {name}_sums(const int16_t *x_q15, const int16_t *h_q15, int32_t *acc_q17, const int32_t *start_q17)
{{
    (void)start_q17;
    {call}
}}
#endif
"""


def packed4(name: str, rows: Rows, inputs: int, choice: LayerBuild) -> RowSums:
    """Four rows in a word: ``firmware/kernels/rows.c``."""
    blocks, states = padded(rows.outputs) // ROWS_BLOCK, rows.inputs - inputs
    state = f", then [{blocks}][{states}] of the state" if states else ""
    codes = f"[{blocks}][{inputs}] of the input{state}: four rows in a word, row 0 lowest, 4 w + 4"
    definitions = (
        constant(f"{name}_codes", pack_codes(rows.weight_q2, inputs), codes)
        + constant(f"{name}_bias_q17", pack_bias(rows.bias_q17), f"[{blocks}][4]")
        + f"static const struct rows {name}_rows = {{{name}_codes, {name}_bias_q17, {rows.outputs}}};\n"
    )

    def call(x: str, h: str, acc: str) -> str:
        return f"rows_sum(&{name}_rows, {x}, {inputs}, {h}, {states}, {acc});"

    return RowSums(definitions, call)


def compact(name: str, rows: Rows, inputs: int, choice: LayerBuild) -> RowSums:
    """Ten columns in a word: ``firmware/kernels/compact.c``."""
    groups, states = -(-rows.inputs // COMPACT_COLUMNS), rows.inputs - inputs
    shape = f"[{groups}][{rows.outputs}]: ten columns in a word, the first one lowest"
    definitions = (
        constant(f"{name}_codes", pack_compact(rows.weight_q2), shape)
        + constant(f"{name}_bias_q12", pack_bias16(rows.bias_q17), f"[{rows.outputs}]")
        + f"static const struct compact {name}_rows = {{{name}_codes, {name}_bias_q12, {rows.outputs}}};\n"
    )

    def call(x: str, h: str, acc: str) -> str:
        return f"compact_sum(&{name}_rows, {x}, {inputs}, {h}, {states}, {acc});"

    return RowSums(definitions, call)


def straight(name: str, rows: Rows, inputs: int, choice: LayerBuild) -> RowSums:
    """Weights as instructions (`hil.codegen.straight`); other machines than the Cortex-M0+ get `packed4`."""
    code = straight_code(
        f"{name}_sums",
        rows.weight_q2,
        rows.bias_q17,
        inputs,
        tile_rows=choice.rows or TILE_ROWS,
        ram_bytes=choice.ram_bytes,
    )
    reference = packed4(name, rows, inputs, choice)
    definitions = _STRAIGHT.format(
        name=name,
        start=constant(f"{name}_start_q17", code.start, f"[{rows.outputs}] bias, negated where its sum is"),
        reference=reference.definitions,
        call=reference.call("x_q15", "h_q15", "acc_q17"),
    )

    def call(x: str, h: str, acc: str) -> str:
        return f"{name}_sums({x}, {h}, {acc}, {name}_start_q17);"

    return RowSums(definitions, call, {f"{name}_sums.S": code.text})
