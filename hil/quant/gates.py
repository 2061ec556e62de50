"""Twins of the gated cells with 8-bit weights: sigmoid, the int8 GRU, the event-based GRU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.arithmetic import PRE_LIMIT_Q12, tanh_q15
from hil.artefact.byte_layers import ByteRows, EventGruLayer, Gru8Layer
from hil.fixed import Q15_ONE, Int, shift_round
from hil.quant.kernels import Int16, Int32, byte_sums_q22


def sigmoid_q15(v_q12: Int) -> Int16:
    """
    ``sigmoid(v) = (tanh(v / 2) + 1) / 2``: Q12 read as Q13 is half of it; floors.

    Returns:
        The shape of ``v_q12``, Q15, 0 to 32767, within 2**-14 of the real function.
    """
    return ((tanh_q15(v_q12).astype(np.int32) + Q15_ONE) >> 1).astype(np.int16)


def pre_q12(acc_q22: Int, rows: ByteRows) -> Int32:
    """The one rounding of a pre-activation, to Q12 (`hil.fixed.shift_round`), clipped to `PRE_LIMIT_Q12`."""
    return np.clip(shift_round(acc_q22, rows.shift), -PRE_LIMIT_Q12, PRE_LIMIT_Q12).astype(np.int32)


@dataclass(frozen=True)
class GruStep:
    """
    What a step of a GRU or an EGRU computes.

    Attributes:
        acc_q22: [..., 4H] int32, sums: r, z, candidate of the inputs, candidate of the state.
        r_q15, z_q15, g_q15: [..., H] int16, gates and candidate.
        c_q15: [..., H] int16, state before events are taken from it; of a GRU the state itself.
        y_q15: [..., H] int16, what other units see: events, or the state of a GRU.
        h_q15: [..., H] int16, state after the step.
    """

    acc_q22: Int32
    r_q15: Int16
    z_q15: Int16
    g_q15: Int16
    c_q15: Int16
    y_q15: Int16
    h_q15: Int16


def gru8_step(x: Int16, h: Int16, layer: Gru8Layer) -> GruStep:
    """
    Advance a GRU layer by one time step, in integers.

        r  = sigmoid(W_r x + R_r h + b_r)        z = sigmoid(W_z x + R_z h + b_z)
        g  = tanh(p + r q)                       p = W_g x + b_g,  q = R_g h + b_q, both Q12
        h' = (1 - z) g + z h                     g + ((z (h - g) + 2**14) >> 15)

    ``r q`` is ``(r q + 2**14) >> 15``.

    Args:
        x: [..., D] int16, Q15.
        h: [..., H] int16, Q15, state before the step.
        layer: Its weights.

    Source:
        Cho and others 2014 with the reset gate after the product, as `torch.nn.GRU`.

    Twin:
        ``gru8_step`` in firmware/kernels/gru8.c.
    """
    return _gates(x, h, h, layer)


def event_gru_step(x: Int16, y: Int16, h: Int16, layer: EventGruLayer) -> GruStep:
    """
    Advance a layer of event-based GRU by one time step, in integers.

    Gates and candidate as `gru8_step` with the events ``y`` for the state in the products, then

        c = (1 - z) g + z h,  fired where c > theta:
        y' = c, h' = c - theta where fired;  y' = 0, h' = c elsewhere

    ``theta`` is at least one step, so ``h'`` needs no saturation.

    Args:
        x: [..., D] int16, Q15.
        y: [..., H] int16, Q15, events of the last step.
        h: [..., H] int16, Q15, state before the step.
        layer: Its weights and thresholds.

    Source:
        Subramoney and others 2023, with the reset gate after the product and the threshold
        taken from the state at once (docs/cells.md, "EGRU").

    Twin:
        ``event_gru_step`` in firmware/kernels/event_gru.c.
    """
    step = _gates(x, y, h, layer)
    fired = step.c_q15 > layer.threshold_q15
    y_after = np.where(fired, step.c_q15, 0).astype(np.int16)
    h_after = (step.c_q15 - np.where(fired, layer.threshold_q15, 0)).astype(np.int16)
    return GruStep(step.acc_q22, step.r_q15, step.z_q15, step.g_q15, step.c_q15, y_after, h_after)


def _gates(x: Int16, y: Int16, h: Int16, layer: Gru8Layer) -> GruStep:
    H = layer.units
    gates = byte_sums_q22(np.concatenate([x, y], axis=-1), layer.gates)
    acc_x, acc_h = byte_sums_q22(x, layer.candidate_x), byte_sums_q22(y, layer.candidate_h)
    rz = sigmoid_q15(pre_q12(gates, layer.gates))
    r, z = rz[..., :H], rz[..., H:]
    p, q = pre_q12(acc_x, layer.candidate_x), pre_q12(acc_h, layer.candidate_h)
    g = tanh_q15(2 * (p + ((r * q + (1 << 14)) >> 15)))
    g32 = g.astype(np.int32)
    c = (g32 + ((z * (h - g32) + (1 << 14)) >> 15)).astype(np.int16)
    return GruStep(np.concatenate([gates, acc_x, acc_h], axis=-1), r, z, g, c, c, c)
