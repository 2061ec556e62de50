"""C of an event eGRU layer: on the reference, or with its weights as instructions visited by events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.artefact import EventEmbeddedGruLayer
from hil.codegen.c_text import buffer, constant
from hil.codegen.event_rows import EventKernel, event_sum
from hil.codegen.parts import Part

_LAYER = """\
static const struct event_embedded_gru {name} = {{
    .sum = {name}_sum,
    .where = {name}_where,
    .start_q17 = (int32_t *)(uintptr_t){name}_bias_q17,
    .shift = {name}_shift,
    .threshold_q15 = {name}_threshold_q15,
    .inputs = {inputs},
    .units = {units},
}};
static const struct event_embedded_gru_state {name}_state = {{
    .list = {name}_list,
    .spoken = &{name}_spoken,
    .acc_q17 = {name}_acc_q17,
    .h_q15 = {name}_h_q15,
    .y_q15 = {name}_y_q15,
}};
"""


_DELTAS = """\
static void {name}_step(const int16_t *x_q15)
{{
    struct event *end = events_append_changes({name}_changes, x_q15, {name}_sent_q15, {inputs}, {name}_where, 0);
    *end = (struct event){{0, {name}_where[{columns}]}};
    *{name}_spoken = (struct event){{0, {name}_where[{columns} + 1]}};
    {name}_sum({name}_list, {name}_kept_q17, {name}_acc_q17, {name}_changes);
    event_embedded_gru_update(&{name}, &{name}_state);
}}
static void {name}_reset(void)
{{
    event_embedded_gru_reset(&{name}, &{name}_state);
    for (unsigned i = 0; i < {rows}; i++) {{
        {name}_kept_q17[i] = {name}_bias_q17[i];
    }}
    for (unsigned i = 0; i < {inputs}; i++) {{
        {name}_sent_q15[i] = 0;
    }}
}}
"""


def event_embedded_gru_part(
    name: str, layer: EventEmbeddedGruLayer, x: str, kernel: EventKernel = "events", *, deltas: bool = False
) -> Part:
    """
    An event eGRU layer on ``firmware/kernels/event_embedded_gru.c``.

    Args:
        name: Prefix of identifiers and files.
        layer: The layer.
        x: The expression of its input.
        kernel: Whose sums.
        deltas: Of the input only columns whose value has changed are visited: their exact sums are kept.
    """
    inputs, units = layer.inputs, layer.units
    sums, files = event_sum(name, layer.rows.weight_q2, kernel, deltas=deltas)
    definitions = (
        f"/* {name}: event eGRU, D = {inputs}, H = {units} */\n"
        + sums
        + constant(f"{name}_bias_q17", layer.rows.bias_q17, "[2H] z rows, then g rows")
        + constant(f"{name}_shift", _pairs(layer.rows.shift), "[H][2] z, g: Q17 to Q15 with the row's scale")
        + constant(f"{name}_threshold_q15", layer.threshold_q15, "[H]")
        + buffer("struct event", f"{name}_list", inputs + units + 1, "[D + H + 1] outputs, inputs, end")
        + f"static struct event *{name}_spoken = {name}_list;\n"
        + buffer("int32_t", f"{name}_acc_q17", 2 * units, "[2H] sums of the last step")
        + buffer("int16_t", f"{name}_h_q15", units, "[H] state")
        + buffer("int16_t", f"{name}_y_q15", units, "[H] outputs of the last step")
        + _LAYER.format(name=name, inputs=inputs, units=units)
        + (_changes(name, inputs, units) if deltas else "")
    )
    inner = f"{name}_acc_q17, {name}_shift, {name}_h_q15, NULL, &inner_event_embedded_gru, &{name}_state"
    return Part(
        definitions,
        run=f"{name}_step({x});" if deltas else f"event_embedded_gru_step(&{name}, {x}, &{name}_state);",
        result=f"{name}_y_q15",
        reset=f"{name}_reset();" if deltas else f"event_embedded_gru_reset(&{name}, &{name}_state);",
        inspect=f"{{{inputs}, {units}, {inner}}}",
        files=files,
    )


def _changes(name: str, inputs: int, units: int) -> str:
    """A step that is told of changes of the input, and its reset."""
    return (
        buffer("int32_t", f"{name}_kept_q17", 2 * units, "[2H] bias and the sums of the inputs sent")
        + buffer("int16_t", f"{name}_sent_q15", inputs, "[D] inputs sent")
        + buffer("struct event", f"{name}_changes", inputs + 1, "[D + 1] changes of the input, and the end")
        + _DELTAS.format(name=name, inputs=inputs, columns=inputs + units, rows=2 * units)
    )


def _pairs(shift: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """[2H] to [H, 2]."""
    return np.ascontiguousarray(shift.reshape(2, -1).T).astype(np.uint8)
