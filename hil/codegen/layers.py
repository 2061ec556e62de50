"""
C of one layer: its arrays, its buffers and the statement that runs it.

Another kernel for the same layer is another function that returns a `Part`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hil.artefact import DenseLayer, EmbeddedGruLayer, Rows
from hil.codegen.c_text import buffer, constant
from hil.codegen.layout import ROWS_BLOCK, pack_bias, pack_codes, pack_shift, padded


@dataclass(frozen=True)
class Part:
    """
    The C of one layer.

    Attributes:
        definitions: Arrays, buffers and structures at file scope.
        run: Statement that computes it.
        result: Expression of its output, the input of the next layer.
        reset: Statement that starts a sequence, or ``""``.
        inspect: Initializer of its ``struct model_layer``, or ``""``.
        files: Further sources by name, such as generated assembly.
    """

    definitions: str
    run: str
    result: str
    reset: str = ""
    inspect: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def embedded_gru_part(name: str, layer: EmbeddedGruLayer, x: str) -> Part:
    """An eGRU layer on ``firmware/kernels/embedded_gru.c``; ``x`` is the expression of its input."""
    inputs, units = layer.inputs, layer.units
    definitions = (
        f"/* {name}: eGRU, D = {inputs}, H = {units} */\n"
        + _rows_constants(name, layer.rows, inputs, "z rows, then g rows")
        + buffer("int32_t", f"{name}_acc_q17", padded(2 * units), "[4B] sums of the last step")
        + buffer("int16_t", f"{name}_h_q15", units, "[H] state")
        + buffer("int16_t", f"{name}_h_before_q15", units, "[H] state before the last step")
        + f"static const struct embedded_gru {name} = {{\n"
        f"    .rows = {_rows_initializer(name, layer.rows)},\n    .inputs = {inputs},\n    .units = {units},\n}};\n"
        f"static const struct embedded_gru_state {name}_state = {{\n"
        f"    .acc_q17 = {name}_acc_q17,\n    .h_q15 = {name}_h_q15,\n    .h_before_q15 = {name}_h_before_q15,\n}};\n"
    )
    return Part(
        definitions,
        run=f"embedded_gru_step(&{name}, {x}, &{name}_state);",
        result=f"{name}_h_q15",
        reset=f"embedded_gru_reset(&{name}, &{name}_state);",
        inspect=f"{{{inputs}, {units}, {name}_acc_q17, {name}_shift, {name}_h_q15, {name}_h_before_q15, "
        "&inner_embedded_gru, NULL}",
    )


def dense_part(name: str, layer: DenseLayer, u: str, acc: str, logits: str) -> Part:
    """
    A dense layer on ``firmware/kernels/dense.c``.

    Args:
        name: Prefix of its identifiers.
        layer: The layer.
        u: Expression of its input.
        acc: Scratch buffer of at least ``padded(O)`` sums.
        logits: Where a linear layer writes.
    """
    rows = layer.rows
    assert isinstance(rows, Rows)
    linear = layer.activation == "linear"
    result = logits if linear else f"{name}_y_q15"
    definitions = (
        f"/* {name}: {layer.activation}, I = {rows.inputs}, O = {rows.outputs} */\n"
        + _rows_constants(name, rows, rows.inputs, "")
        + ("" if linear else buffer("int16_t", result, rows.outputs, "[O]"))
        + f"static const struct rows {name} = {_rows_initializer(name, rows)};\n"
    )
    return Part(definitions, f"dense_{layer.activation}(&{name}, {u}, {rows.inputs}, {acc}, {result});", result)


def _rows_constants(name: str, rows: Rows, inputs: int, order: str) -> str:
    blocks, states, suffix = padded(rows.outputs) // ROWS_BLOCK, rows.inputs - inputs, f"; {order}" if order else ""
    state = f", then [{blocks}][{states}] of the state" if states else ""
    codes = f"[{blocks}][{inputs}] of the input{state}: four rows in a word, row 0 lowest, 4 w + 4{suffix}"
    return (
        constant(f"{name}_codes", pack_codes(rows.weight_q2, inputs), codes)
        + constant(f"{name}_bias_q17", pack_bias(rows.bias_q17), f"[{blocks}][4]{suffix}")
        + constant(f"{name}_shift", pack_shift(rows.shift), f"[{rows.outputs}] Q17 to Q15 with the row's scale{suffix}")
    )


def _rows_initializer(name: str, rows: Rows) -> str:
    return f"{{{name}_codes, {name}_bias_q17, {name}_shift, {rows.outputs}}}"
