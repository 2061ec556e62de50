"""The gated cells with 8-bit weights, to be measured."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from hil.artefact import ByteRows, EventGruLayer, Gru8Layer
from hil.codegen.bench_kernel import STEPS, BenchKernel, Maker, choose, on_q15, uniform
from hil.codegen.gate_layers import event_gru_part, gru8_part
from hil.fixed import to_q15
from hil.layer_build import LayerBuild
from hil.quant.gates import gru8_step

ACTIVE = 0.1
"""Of the event-driven kernel: share of its inputs that are not 0, and about that of the units that speak."""


def _gru8(inputs: int, units: int, rng: random.Random) -> BenchKernel:
    part = gru8_part("bench_gru8", random_gru8_layer(inputs, units, rng), "gru8_step_x", LayerBuild())
    return on_q15("gru8_step", "kernels/gru8.h", inputs, part, rng)


def random_gru8_layer(inputs: int, units: int, rng: random.Random) -> Gru8Layer:
    """Weights over the whole range of a byte."""
    H = units
    return Gru8Layer(*(_byte_rows(rng, *shape) for shape in ((2 * H, inputs + H), (H, inputs), (H, H))))


def _byte_rows(rng: random.Random, outputs: int, inputs: int) -> ByteRows:
    return ByteRows(
        weight_q7=choose(rng, range(-127, 128), (outputs, inputs)).astype(np.int8),
        bias_q22=uniform(rng, outputs, 1 << 20).astype(np.int32),
        shift=choose(rng, (10, 11, 12), (outputs,)).astype(np.int8),
    )


def _event_gru(inputs: int, units: int, rng: random.Random) -> BenchKernel:
    """A share of `ACTIVE` of the inputs is not 0; thresholds are such that about as many units speak."""
    gru = random_gru8_layer(inputs, units, rng)
    x, silent = sparse_inputs(inputs, rng), np.zeros(units, np.int16)
    states = np.array([gru8_step(u, silent, gru).h_q15 for u in x])
    threshold = np.full(units, max(1, int(np.quantile(states, 1 - ACTIVE))), np.int16)
    layer = EventGruLayer(gru.gates, gru.candidate_x, gru.candidate_h, threshold)
    part = event_gru_part("bench_event_gru", layer, "event_gru_step_x", LayerBuild())
    return on_q15("event_gru_step", "kernels/event_gru.h", inputs, part, rng, x)


def sparse_inputs(inputs: int, rng: random.Random) -> npt.NDArray[np.int16]:
    """[STEPS, D] Q15, a share of `ACTIVE` of each not 0."""
    x = np.zeros((STEPS, inputs), np.int16)
    for row in x:
        kept = sorted(range(inputs), key=lambda column: rng.random())[: max(1, round(ACTIVE * inputs))]
        row[kept] = to_q15(uniform(rng, len(kept), 0.99))
    return x


GATE_KERNELS: dict[str, Maker] = {"gru8_step": _gru8, "event_gru_step": _event_gru}
"""Kernels for BENCH, each named after its C function."""
