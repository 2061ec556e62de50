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


def event_embedded_gru_part(name: str, layer: EventEmbeddedGruLayer, x: str, kernel: EventKernel = "events") -> Part:
    """An event eGRU layer on ``firmware/kernels/event_embedded_gru.c``; ``x`` is the expression of its input."""
    inputs, units = layer.inputs, layer.units
    sums, files = event_sum(name, layer.rows.weight_q2, kernel)
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
    )
    inner = f"{name}_acc_q17, {name}_shift, {name}_h_q15, NULL, &inner_event_embedded_gru, &{name}_state"
    return Part(
        definitions,
        run=f"event_embedded_gru_step(&{name}, {x}, &{name}_state);",
        result=f"{name}_y_q15",
        reset=f"event_embedded_gru_reset(&{name}, &{name}_state);",
        inspect=f"{{{inputs}, {units}, {inner}}}",
        files=files,
    )


def _pairs(shift: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """[2H] to [H, 2]."""
    return np.ascontiguousarray(shift.reshape(2, -1).T).astype(np.uint8)
