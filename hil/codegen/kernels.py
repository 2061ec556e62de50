"""
Which kernels a layer may be run by, and the choice of one for each layer of a model.

A new kernel is a function that returns a `Part` and a line in `RECURRENT` or `DENSE`, or, if it only sums rows of
3-bit weights, a line in `hil.codegen.layers.ROWS_KERNELS`.  `hil.layer_build.LayerBuild` chooses; no choice changes a
number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hil.artefact import (
    AnyRows,
    Artefact,
    ByteRows,
    DenseLayer,
    EmbeddedGruLayer,
    EventEmbeddedGruLayer,
    EventGruLayer,
    Gru8Layer,
    RecurrentLayer,
    Rows,
)
from hil.codegen.event_layers import event_embedded_gru_part
from hil.codegen.event_rows import EventKernel
from hil.codegen.gate_layers import byte_dense_part, event_gru_part, gru8_part
from hil.codegen.layers import EGRU_KERNELS, ROWS_KERNELS, dense_part, embedded_gru_part, pick
from hil.codegen.parts import Part
from hil.errors import UsageError, suggest
from hil.layer_build import Build, LayerBuild

RecurrentKernel = Callable[[str, Any, str, LayerBuild], Part]
"""Of a name prefix, the layer, the expression of its input, and the choice."""

DenseKernel = Callable[[str, DenseLayer, str, str, str, LayerBuild], Part]
"""Of a name prefix, the layer, the expressions of its input, of the scratch for sums and of the logits, the choice."""


def _event_part(name: str, layer: EventEmbeddedGruLayer, x: str, choice: LayerBuild) -> Part:
    kernel: EventKernel = "reference" if choice.kernel == "reference" else "events"
    return event_embedded_gru_part(name, layer, x, kernel, deltas=choice.kernel == "deltas")


RECURRENT: dict[type[RecurrentLayer], dict[str, RecurrentKernel]] = {
    EmbeddedGruLayer: dict.fromkeys(EGRU_KERNELS, embedded_gru_part),
    EventEmbeddedGruLayer: dict.fromkeys(("events", "deltas", "reference"), _event_part),
    Gru8Layer: {"packed4": gru8_part},
    EventGruLayer: {"events": event_gru_part},
}
"""Kernels by name of each kind of recurrent layer, its own default first."""

DENSE: dict[type[AnyRows], dict[str, DenseKernel]] = {
    Rows: dict.fromkeys(ROWS_KERNELS, dense_part),
    ByteRows: {"packed4": byte_dense_part},
}
"""Kernels by name of each kind of a dense layer's rows, its own default first."""

Layer = RecurrentLayer | DenseLayer


def kernels_of(layer: Layer) -> tuple[str, ...]:
    """Names of the kernels that a layer has, its own default first."""
    return tuple(DENSE[type(layer.rows)] if isinstance(layer, DenseLayer) else RECURRENT[type(layer)])


def layers_of(artefact: Artefact) -> dict[str, Layer]:
    """Layers by the name that a build gives them."""
    recurrent = {f"recurrent.{i}": layer for i, layer in enumerate(artefact.recurrent)}
    return recurrent | {f"dense.{i}": layer for i, layer in enumerate(artefact.dense)}


def complete_build(artefact: Artefact, kernel: str, layers: Build) -> dict[str, LayerBuild]:
    """
    A choice for every layer.

    Args:
        artefact: Whose own choices hold where ``layers`` has none.
        kernel: Of the layers that have it and for which there is no choice.
        layers: By layer.

    Raises:
        UsageError: There is no such kernel or layer.
    """
    known = layers_of(artefact)
    names = {name for layer in known.values() for name in kernels_of(layer)}
    if kernel and kernel not in names:
        raise UsageError(f"no layer has a kernel {kernel!r}{suggest(kernel, names)}. Known: {', '.join(sorted(names))}")
    for name in layers:
        if name not in known:
            raise UsageError(f"no layer {name!r}{suggest(name, known)}. The model has {', '.join(known)}")
    wide = {name: LayerBuild(kernel if kernel in kernels_of(layer) else "") for name, layer in known.items()}
    return {**wide, **{name: choice for name, choice in artefact.build.items() if name in known}, **layers}


def recurrent_part(name: str, layer: RecurrentLayer, x: str, choice: LayerBuild) -> Part:
    """A recurrent layer of any cell by the kernel chosen; ``x`` is its input.  Raises `UsageError` if it has none."""
    kernel: RecurrentKernel = pick(RECURRENT[type(layer)], name, choice)
    return kernel(name, layer, x, choice)


def dense_layer_part(name: str, layer: DenseLayer, u: str, acc: str, logits: str, choice: LayerBuild) -> Part:
    """A dense layer of any weights by the kernel chosen; arguments as `dense_part`.  Raises `UsageError` as above."""
    kernel: DenseKernel = pick(DENSE[type(layer.rows)], name, choice)
    return kernel(name, layer, u, acc, logits, choice)
