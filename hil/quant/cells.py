"""Layers of any cell, one time step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.artefact import EmbeddedGruLayer, EventEmbeddedGruLayer, EventGruLayer, Gru8Layer, RecurrentLayer
from hil.fixed import Int
from hil.quant.gates import event_gru_step, gru8_step
from hil.quant.kernels import embedded_gru_step, event_embedded_gru_step
from hil.trace import AnyLayerTrace, EventGruTrace, EventLayerTrace, GruTrace, LayerTrace

Int16 = npt.NDArray[np.int16]

TRACES: Mapping[str, type[AnyLayerTrace]] = {
    EmbeddedGruLayer.cell: LayerTrace,
    Gru8Layer.cell: GruTrace,
    EventGruLayer.cell: EventGruTrace,
    EventEmbeddedGruLayer.cell: EventLayerTrace,
}


@dataclass(frozen=True)
class LayerState:
    """
    A layer after a step.

    Attributes:
        h_q15: [N, H] int16, state.
        output_q15: [N, H] int16, what the next layer and the readout see.
        values: What the cell's trace (`TRACES`) is made of, in its order.
    """

    h_q15: Int16
    output_q15: Int16
    values: tuple[Int, ...] = ()


def start_layer(layer: RecurrentLayer, count: int) -> LayerState:
    """The start of ``count`` sequences: zeros."""
    zeros = np.zeros((count, layer.units), np.int16)
    return LayerState(zeros, zeros)


def step_layer(layer: RecurrentLayer, x: Int16, state: LayerState) -> LayerState:
    """Advance by one step of inputs [N, D] int16, Q15."""
    if isinstance(layer, EmbeddedGruLayer):
        acc, z, g, h = embedded_gru_step(x, state.h_q15, layer.rows)
        return LayerState(h, h, (acc, z, g, h))
    if isinstance(layer, EventEmbeddedGruLayer):
        args = (x, state.h_q15, state.output_q15, layer.rows, layer.threshold_q15)
        acc, z, g, h, y = event_embedded_gru_step(*args)
        return LayerState(h, y, (acc, z, g, y, h))
    if isinstance(layer, EventGruLayer):
        s = event_gru_step(x, state.output_q15, state.h_q15, layer)
        return LayerState(s.h_q15, s.y_q15, (s.acc_q22, s.r_q15, s.z_q15, s.g_q15, s.y_q15, s.h_q15))
    s = gru8_step(x, state.h_q15, layer)
    return LayerState(s.h_q15, s.h_q15, (s.acc_q22, s.r_q15, s.z_q15, s.g_q15, s.h_q15))
