"""C of the gated layers with 8-bit weights."""

from __future__ import annotations

from hil.artefact import ByteRows, DenseLayer, Gru8Layer
from hil.codegen.byte_rows import byte_rows_constants, byte_rows_initializer
from hil.codegen.c_text import buffer
from hil.codegen.layers import Part
from hil.codegen.layout import padded
from hil.layer_build import LayerBuild


def gru8_part(name: str, layer: Gru8Layer, x: str, choice: LayerBuild) -> Part:
    """An int8 GRU layer on ``firmware/kernels/gru8.c``; ``x`` is the expression of its input."""
    inputs, units = layer.inputs, layer.units
    definitions = (
        f"/* {name}: GRU, 8-bit weights, D = {inputs}, H = {units} */\n"
        + _matrices(name, layer)
        + buffer("int32_t", f"{name}_acc_q22", sums(layer), "sums of the last step: r and z, p, q")
        + buffer("int16_t", f"{name}_h_q15", units, "[H] state")
        + buffer("int16_t", f"{name}_h_before_q15", units, "[H] state before the last step")
        + f"static const struct gru8 {name} = {_initializer(name, layer)};\n"
        f"static const struct gru8_state {name}_state = {{\n"
        f"    .acc_q22 = {name}_acc_q22,\n    .h_q15 = {name}_h_q15,\n    .h_before_q15 = {name}_h_before_q15,\n}};\n"
    )
    return Part(
        definitions,
        run=f"gru8_step(&{name}, {x}, &{name}_state);",
        result=f"{name}_h_q15",
        reset=f"gru8_reset(&{name}, &{name}_state);",
        inspect=f"{{{inputs}, {units}, {name}_acc_q22, NULL, {name}_h_q15, {name}_h_before_q15, &inner_gru8, &{name}}}",
    )


def byte_dense_part(name: str, layer: DenseLayer, u: str, acc: str, logits: str, choice: LayerBuild) -> Part:
    """A dense layer of 8-bit weights on ``firmware/kernels/byte_dense.c``; arguments as for `dense_part`."""
    rows = layer.rows
    assert isinstance(rows, ByteRows)
    linear = layer.activation == "linear"
    result = logits if linear else f"{name}_y_q15"
    definitions = (
        f"/* {name}: {layer.activation}, 8-bit weights, I = {rows.inputs}, O = {rows.outputs} */\n"
        + byte_rows_constants(name, rows, rows.inputs, "")
        + ("" if linear else buffer("int16_t", result, rows.outputs, "[O]"))
        + f"static const struct byte_rows {name} = {byte_rows_initializer(name, rows)};\n"
    )
    return Part(definitions, f"byte_dense_{layer.activation}(&{name}, {u}, {rows.inputs}, {acc}, {result});", result)


def sums(layer: Gru8Layer) -> int:
    """Sums of one step, with those of filled-up blocks."""
    return padded(layer.gates.outputs) + 2 * padded(layer.units)


def _parts(layer: Gru8Layer) -> tuple[tuple[str, ByteRows, int, str], ...]:
    """Suffix, rows, columns of the input, and what the rows are."""
    return (
        ("gates", layer.gates, layer.inputs, "r rows, then z rows"),
        ("p", layer.candidate_x, layer.inputs, "candidate, of the input"),
        ("q", layer.candidate_h, layer.units, "candidate, of the state"),
    )


def _matrices(name: str, layer: Gru8Layer) -> str:
    return "".join(
        byte_rows_constants(f"{name}_{part}", rows, inputs, order) for part, rows, inputs, order in _parts(layer)
    )


def _initializer(name: str, layer: Gru8Layer) -> str:
    rows = ",\n    ".join(byte_rows_initializer(f"{name}_{part}", rows) for part, rows, _, _ in _parts(layer))
    return f"{{\n    {rows},\n    {layer.inputs},\n    {layer.units},\n}}"
