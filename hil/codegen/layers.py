"""
C of one layer: its arrays, its buffers and the statement that runs it.

`ROWS_KERNELS` names the ways to sum a matrix of 3-bit weights; `hil.codegen.kernels` the ways to run a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hil.artefact import DenseLayer, EmbeddedGruLayer, Rows
from hil.codegen.c_text import buffer, constant
from hil.codegen.dense_rows import compact, packed4, straight
from hil.codegen.event_rows import delta_rows, event_rows
from hil.codegen.layout import pack_shift, padded, pair_shift
from hil.codegen.parts import Part, RowsKernel
from hil.errors import UsageError, suggest
from hil.layer_build import LayerBuild

ROWS_KERNELS: dict[str, RowsKernel] = {
    "packed4": packed4,
    "straight": straight,
    "compact": compact,
    "events": event_rows,
}
"""Kernels of `Rows`: of eGRU and dense layers."""

EGRU_KERNELS: dict[str, RowsKernel] = {**ROWS_KERNELS, "deltas": delta_rows}
"""Those of eGRU layers, which may keep sums from step to step."""


def embedded_gru_part(name: str, layer: EmbeddedGruLayer, x: str, choice: LayerBuild) -> Part:
    """An eGRU layer: the sums of `choice`'s kernel, then ``firmware/kernels/embedded_gru.c``; ``x`` is its input."""
    inputs, units = layer.inputs, layer.units
    sums = pick(EGRU_KERNELS, name, choice)(name, layer.rows, inputs, choice)
    definitions = (
        f"/* {name}: eGRU, D = {inputs}, H = {units}; rows: z, then g */\n"
        + sums.definitions
        + constant(f"{name}_shift", pair_shift(layer.rows.shift), "[H][2] z, g: Q17 to Q15 with the row's scale")
        + buffer("int32_t", f"{name}_acc_q17", padded(2 * units), "[4B] sums of the last step")
        + buffer("int16_t", f"{name}_h_q15", units, "[H] state")
        + buffer("int16_t", f"{name}_h_before_q15", units, "[H] state before the last step")
        + f"static const struct embedded_gru {name} = {{{name}_shift, {inputs}, {units}}};\n"
        f"static const struct embedded_gru_state {name}_state = {{\n"
        f"    .acc_q17 = {name}_acc_q17,\n    .h_q15 = {name}_h_q15,\n    .h_before_q15 = {name}_h_before_q15,\n}};\n"
    )
    return Part(
        definitions,
        run=f"{sums.call(x, f'{name}_h_q15', f'{name}_acc_q17')}\n    embedded_gru_update(&{name}, &{name}_state);",
        result=f"{name}_h_q15",
        reset=f"embedded_gru_reset(&{name}, &{name}_state);" + (f"\n    {sums.reset}" if sums.reset else ""),
        inspect=f"{{{inputs}, {units}, {name}_acc_q17, {name}_shift, {name}_h_q15, {name}_h_before_q15, "
        "&inner_embedded_gru, NULL}",
        files=sums.files,
    )


def dense_part(name: str, layer: DenseLayer, u: str, acc: str, logits: str, choice: LayerBuild) -> Part:
    """
    A dense layer: the sums of `choice`'s kernel, then ``firmware/kernels/dense.c``.

    Args:
        name: Prefix of its identifiers.
        layer: The layer.
        u: Expression of its input.
        acc: Scratch buffer of at least ``padded(O)`` sums.
        logits: Where a linear layer writes.
        choice: Its kernel.

    Raises:
        UsageError: There is no such kernel.
    """
    rows = layer.rows
    assert isinstance(rows, Rows)
    result = logits if layer.activation == "linear" else f"{name}_y_q15"
    sums = pick(ROWS_KERNELS, name, choice)(name, rows, rows.inputs, choice)
    definitions = (
        f"/* {name}: {layer.activation}, I = {rows.inputs}, O = {rows.outputs} */\n"
        + sums.definitions
        + constant(f"{name}_shift", pack_shift(rows.shift), "[O] Q17 to Q15 with the row's scale")
        + ("" if layer.activation == "linear" else buffer("int16_t", result, rows.outputs, "[O]"))
    )
    finish = f"dense_{layer.activation}({acc}, {name}_shift, {rows.outputs}, {result});"
    return Part(definitions, f"{sums.call(u, '0', acc)}\n    {finish}", result, files=sums.files)


def pick(kernels: Mapping[str, Any], name: str, choice: LayerBuild) -> Any:
    """The kernel that is chosen for a layer of that name.  Raises `UsageError` if it has no such kernel."""
    kernel = choice.kernel or next(iter(kernels))
    if kernel not in kernels:
        raise UsageError(
            f"{name}: no kernel {choice.kernel!r}{suggest(choice.kernel, kernels)}. It has {', '.join(kernels)}"
        )
    return kernels[kernel]
