"""Rows of 3-bit weights, summed over events: what is not 0, or what has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from hil.artefact import Rows
from hil.codegen.c_text import buffer, constant
from hil.codegen.event_code import event_code
from hil.codegen.parts import RowSums
from hil.layer_build import LayerBuild

EventKernel = Literal["events", "reference"]
"""Generated code for the Cortex-M0+ (the reference elsewhere), or the reference everywhere."""

_REFERENCE = """\
static const struct event_weights {name}_weights = {{{name}_weight_q2, {rows}, {columns}}};
static void {name}_sum(const struct event *list, int32_t *start_q17, int32_t *acc_q17, const struct event *deltas)
{{
    {call}
}}
"""
_EVENTS = """\
static void {name}_visit(const int16_t *x_q15, const int16_t *h_q15, int32_t *acc_q17)
{{
    struct event *end = events_append({name}_list, x_q15, {inputs}, {name}_where);
    end = events_append(end, h_q15, {states}, {name}_where + {inputs});
    *end = (struct event){{0, {name}_where[{columns}]}};
    {name}_sum({name}_list, (int32_t *)(uintptr_t){name}_bias_q17, acc_q17, NULL);
}}
"""
_DELTAS = """\
static void {name}_visit(const int16_t *x_q15, const int16_t *h_q15, int32_t *acc_q17)
{{
    struct event *end = events_append_changes({name}_changes, x_q15, {name}_sent_q15, {inputs}, {name}_where, 0);
    *end = (struct event){{0, {name}_where[{columns}]}};
    end = events_append({name}_list, h_q15, {states}, {name}_where + {inputs});
    *end = (struct event){{0, {name}_where[{columns} + 1]}};
    {name}_sum({name}_list, {name}_kept_q17, acc_q17, {name}_changes);
}}
static void {name}_forget(void)
{{
    for (unsigned i = 0; i < {rows}; i++) {{
        {name}_kept_q17[i] = {name}_bias_q17[i];
    }}
    for (unsigned i = 0; i < {inputs}; i++) {{
        {name}_sent_q15[i] = 0;
    }}
}}
"""


def event_rows(name: str, rows: Rows, inputs: int, choice: LayerBuild) -> RowSums:
    """Weights as instructions; only columns whose value is not 0 are visited."""
    columns, states = rows.inputs, rows.inputs - inputs
    sums, files = event_sum(name, rows.weight_q2, "events")
    definitions = (
        sums
        + constant(f"{name}_bias_q17", rows.bias_q17, "[R]")
        + buffer("struct event", f"{name}_list", columns + 1, "[C + 1] what is not 0, and the end")
        + _EVENTS.format(name=name, inputs=inputs, states=states, columns=columns)
    )
    return RowSums(definitions, _call(name), files)


def delta_rows(name: str, rows: Rows, inputs: int, choice: LayerBuild) -> RowSums:
    """The same, and of the input only columns whose value has changed: their exact sums are kept."""
    columns, states = rows.inputs, rows.inputs - inputs
    sums, files = event_sum(name, rows.weight_q2, "events", deltas=True)
    definitions = (
        sums
        + constant(f"{name}_bias_q17", rows.bias_q17, "[R]")
        + buffer("int32_t", f"{name}_kept_q17", rows.outputs, "[R] bias and the sums of the inputs sent")
        + buffer("int16_t", f"{name}_sent_q15", inputs, "[D] inputs sent")
        + buffer("struct event", f"{name}_changes", inputs + 1, "[D + 1] changes of the input, and the end")
        + buffer("struct event", f"{name}_list", states + 1, "[E + 1] states that are not 0, and the end")
        + _DELTAS.format(name=name, inputs=inputs, states=states, columns=columns, rows=rows.outputs)
    )
    return RowSums(definitions, _call(name), files, reset=f"{name}_forget();")


def _call(name: str) -> Callable[[str, str, str], str]:
    return lambda x, h, acc: f"{name}_visit({x}, {h}, {acc});"


def event_sum(
    name: str, weight_q2: npt.NDArray[np.int8], kernel: EventKernel, *, deltas: bool = False
) -> tuple[str, dict[str, str]]:
    """
    The function ``NAME_sum`` and the table ``NAME_where`` of a matrix.

    Args:
        name: Prefix of identifiers and files.
        weight_q2: [R, C].
        kernel: Whose code; a program of the host always gets the reference.
        deltas: With a list of changes (firmware/kernels/events.h).

    Returns:
        C, and generated assembly by file name.
    """
    rows, columns = weight_q2.shape
    arguments = f"&{name}_weights, list, start_q17, acc_q17"
    call = f"events_sum_deltas({arguments}, deltas);" if deltas else f"(void)deltas;\n    events_sum({arguments});"
    ends = "the last two end a list of changes, a list" if deltas else "the last one ends a list"
    index = np.arange(columns + 1 + deltas, dtype=np.uint16)
    reference = (
        constant(f"{name}_weight_q2", np.ascontiguousarray(weight_q2.T), f"[{columns}][{rows}] by column")
        + _REFERENCE.format(name=name, rows=rows, columns=columns, call=call)
        + constant(f"{name}_where", index, f"[{index.size}] the column itself; {ends}")
    )
    if kernel == "reference":
        return reference, {}
    code = event_code(f"{name}_sum", weight_q2, deltas=deltas)
    where = f"[{index.size}] bytes from a block's first slot to the column's ({name}.S); {ends}"
    generated = f"events_sum_function {name}_sum;\n" + constant(f"{name}_where", code.where, where)
    return f"#if defined(__ARM_ARCH_6M__)\n{generated}#else\n{reference}#endif\n", {f"{name}.S": code.text}
