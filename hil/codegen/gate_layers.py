"""C of the gated layers with 8-bit weights."""

from __future__ import annotations

import numpy as np

from hil.artefact import ByteRows, DenseLayer, EventGruLayer, Gru8Layer
from hil.codegen.byte_rows import byte_rows_constants, byte_rows_initializer
from hil.codegen.c_text import buffer, constant
from hil.codegen.layout import padded
from hil.codegen.parts import Part
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


def event_gru_part(name: str, layer: EventGruLayer, x: str, choice: LayerBuild) -> Part:
    """An EGRU layer on ``firmware/kernels/event_gru.c``; ``x`` is the expression of its input."""
    inputs, units = layer.inputs, layer.units
    where = 4 * np.arange(max(inputs, units), dtype=np.uint16)
    definitions = (
        f"/* {name}: EGRU, 8-bit weights, D = {inputs}, H = {units} */\n"
        + _matrices(name, layer)
        + constant(f"{name}_threshold_q15", layer.threshold_q15, "[H]")
        + constant(f"{name}_where", where, "[max(D, H)] 4 times the column")
        + buffer("struct event", f"{name}_x_list", inputs + 1, "[D + 1] inputs that are not 0")
        + buffer("struct event", f"{name}_y_list", units + 1, "[H + 1] events of the last step")
        + f"static struct event *{name}_y_end = {name}_y_list;\n"
        + buffer("int32_t", f"{name}_acc_q22", sums(layer), "sums of the last step: r and z, p, q")
        + buffer("int16_t", f"{name}_h_q15", units, "[H] state")
        + buffer("int16_t", f"{name}_h_before_q15", units, "[H] state before the last step")
        + buffer("int16_t", f"{name}_y_q15", units, "[H] events of the last step, 0 where a unit was silent")
        + f"static const struct event_gru {name} = {{\n"
        f"    .gru = {_initializer(name, layer)},\n"
        f"    .threshold_q15 = {name}_threshold_q15,\n    .where = {name}_where,\n}};\n"
        f"static const struct event_gru_state {name}_state = {{\n"
        f"    .x_list = {name}_x_list,\n    .y_list = {name}_y_list,\n    .y_end = &{name}_y_end,\n"
        f"    .acc_q22 = {name}_acc_q22,\n    .h_q15 = {name}_h_q15,\n    .h_before_q15 = {name}_h_before_q15,\n"
        f"    .y_q15 = {name}_y_q15,\n}};\n"
    )
    return Part(
        definitions,
        run=f"event_gru_step(&{name}, {x}, &{name}_state);",
        result=f"{name}_y_q15",
        reset=f"event_gru_reset(&{name}, &{name}_state);",
        inspect=f"{{{inputs}, {units}, {name}_acc_q22, NULL, {name}_h_q15, {name}_h_before_q15, &inner_event_gru, "
        f"&(const struct inner_event_gru_cell){{&{name}, &{name}_state}}}}",
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
