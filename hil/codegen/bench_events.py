"""Steps visited by events, to be measured."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from hil.artefact import EmbeddedGruLayer, EventEmbeddedGruLayer, Rows
from hil.codegen.bench_gates import ACTIVE, sparse_inputs
from hil.codegen.bench_kernel import BenchKernel, Maker, choose, on_q15, uniform
from hil.codegen.event_layers import event_embedded_gru_part
from hil.codegen.layers import embedded_gru_part
from hil.fixed import WEIGHT_LEVELS_Q2
from hil.layer_build import LayerBuild
from hil.quant import embedded_gru_step


def _rows(inputs: int, units: int, rng: random.Random) -> Rows:
    return Rows(
        weight_q2=choose(rng, WEIGHT_LEVELS_Q2, (2 * units, inputs + units)).astype(np.int8),
        bias_q17=uniform(rng, 2 * units, 1 << 15).astype(np.int32) << 1,
        shift=choose(rng, (2, 3, 4), (2 * units,)).astype(np.int8),
    )


def _event_embedded_gru(inputs: int, units: int, rng: random.Random) -> BenchKernel:
    """A share of `ACTIVE` of the inputs is not 0; thresholds are such that about as many units speak."""
    rows, x = _rows(inputs, units, rng), sparse_inputs(inputs, rng)
    silent = np.zeros(units, np.int16)
    states = np.array([embedded_gru_step(u, silent, rows)[3] for u in x])
    threshold = np.full(units, max(1, int(np.quantile(states, 1 - ACTIVE))), np.int16)
    layer = EventEmbeddedGruLayer(rows, threshold)
    part = event_embedded_gru_part("bench_event_egru", layer, "event_embedded_gru_step_x")
    kernel = on_q15("event_embedded_gru_step", "kernels/event_embedded_gru.h", inputs, part, rng, x)
    return replace(kernel, files=part.files)


def _embedded_gru_events(inputs: int, units: int, rng: random.Random) -> BenchKernel:
    """An eGRU whose columns are all in the list: what visiting costs where nothing is silent."""
    name, layer = "embedded_gru_events", EmbeddedGruLayer(_rows(inputs, units, rng))
    part = embedded_gru_part("bench_egru_events", layer, f"{name}_x", LayerBuild("events"))
    kernel = on_q15(name, "kernels/events.h", inputs, part, rng)
    return replace(kernel, definitions='#include "kernels/embedded_gru.h"\n' + kernel.definitions, files=part.files)


EVENT_KERNELS: dict[str, Maker] = {
    "event_embedded_gru_step": _event_embedded_gru,
    "embedded_gru_events": _embedded_gru_events,
}
"""Kernels for BENCH that have code of their own for each weight; measured when they are named."""
