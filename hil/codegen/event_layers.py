"""C of an event eGRU layer: on the reference, or with its weights as instructions visited by events."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from hil.artefact import EventEmbeddedGruLayer
from hil.codegen.c_text import buffer, constant
from hil.codegen.event_code import event_code
from hil.codegen.layers import Part

EventKernel = Literal["events", "reference"]
"""Generated code for the Cortex-M0+ (the reference elsewhere), or the reference everywhere."""

_ON_CHIP = "#if defined(__ARM_ARCH_6M__)\n"
_SUM = """\
static const struct event_weights {name}_weights = {{{name}_weight_q2, {rows}, {columns}}};
static void {name}_sum(const struct event *list, int32_t *start_q17, int32_t *acc_q17, const struct event *deltas)
{{
    (void)deltas;
    events_sum(&{name}_weights, list, start_q17, acc_q17);
}}
"""
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
        + f"static struct event *{name}_spoken;\n"
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


def event_sum(name: str, weight_q2: npt.NDArray[np.int8], kernel: EventKernel) -> tuple[str, dict[str, str]]:
    """
    The function ``NAME_sum`` and the table ``NAME_where`` of a matrix.

    Args:
        name: Prefix of identifiers and files.
        weight_q2: [R, C].
        kernel: Whose code; a program of the host always gets the reference.

    Returns:
        C, and generated assembly by file name.
    """
    rows, columns = weight_q2.shape
    index = np.arange(columns + 1, dtype=np.uint16)
    reference = (
        constant(f"{name}_weight_q2", np.ascontiguousarray(weight_q2.T), f"[{columns}][{rows}] by column")
        + _SUM.format(name=name, rows=rows, columns=columns)
        + constant(f"{name}_where", index, f"[{columns + 1}] the column itself; the last one ends a list")
    )
    if kernel == "reference":
        return reference, {}
    code = event_code(f"{name}_sum", weight_q2)
    where = f"[{columns + 1}] bytes from a block's first slot to the column's ({name}.S); the last one ends a list"
    generated = f"events_sum_function {name}_sum;\n" + constant(f"{name}_where", code.where, where)
    return f"{_ON_CHIP}{generated}#else\n{reference}#endif\n", {f"{name}.S": code.text}
