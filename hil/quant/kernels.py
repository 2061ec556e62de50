"""Integer reference of the kernels; the C must match it bit for bit (docs/design.md, "Arithmetic")."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from hil.arithmetic import softsign_q15
from hil.artefact import AnyRows, ByteRows, Rows
from hil.fixed import INT16_MAX, Q15_ONE, Int, saturate_int16, shift_round

Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]


def row_sums_q17(u: Int, rows: Rows) -> Int32:
    """
    ``weight_q2 @ u + bias_q17`` for each row.

    The product runs in float64, where every sum is an exact integer: at most
    ``MAX_FAN_IN`` terms of at most 2**17 stay below 2**31, so neither float64 nor
    int32 can lose a bit, whatever the order.

    Args:
        u: [..., U] int16, Q15.
        rows: [R, U].

    Returns:
        [..., R] int32, Q17.
    """
    product = u.astype(np.float64) @ rows.weight_q2.astype(np.float64).T
    return np.asarray(product + rows.bias_q17, np.int32)


def byte_sums_q22(u: Int, rows: ByteRows) -> Int32:
    """
    ``weight_q7 @ u + bias_q22``, exact (`hil.artefact.ByteRows.bias_q22` says why it fits).

    Args:
        u: [..., U] int16, Q15.
        rows: [R, U].

    Returns:
        [..., R] int32, Q22 with the row's scale.
    """
    product = u.astype(np.float64) @ rows.weight_q7.astype(np.float64).T
    return np.asarray(product + rows.bias_q22, np.int32)


def pre_activations_q15(acc_q17: Int, rows: Rows) -> npt.NDArray[np.int64]:
    """
    The one rounding of a pre-activation: ``(acc + half) >> shift`` of each row.

    Args:
        acc_q17: [..., R].
        rows: Whose shifts are used.

    Returns:
        [..., R] int64, Q15, within int32.
    """
    return np.asarray(shift_round(acc_q17, rows.shift), np.int64)


def embedded_gru_step(x: Int16, h: Int16, rows: Rows) -> tuple[Int32, Int16, Int16, Int16]:
    """
    Advance an eGRU layer by one time step, in integers.

        z  = (softsign(W_z [x; h] + b_z) + 1) / 2      z = (s + 32768) >> 1
        g  =  softsign(W_g [x; h] + b_g)
        h' = h + z (g - h)                             h + ((z (g - h) + 2**14) >> 15)

    The state stays between its old value and the candidate, so it needs no
    saturation; ``z (g - h)`` is below 2**31 in magnitude.

    Args:
        x: [..., D] int16, Q15.  Features of this step.
        h: [..., H] int16, Q15.  State before the step; not modified.
        rows: [2H, D + H], z rows then g rows; columns inputs, then state.

    Returns:
        acc_q17: [..., 2H] int32, sums with bias, before rounding.
        z_q15: [..., H] int16, gates.
        g_q15: [..., H] int16, candidates.
        h_q15: [..., H] int16, states after the step.

    Source:
        Amoh and Odame 2019, equations of the eGRU cell.

    Twin:
        ``embedded_gru_step`` in firmware/kernels/embedded_gru.c.
    """
    acc_q17 = row_sums_q17(np.concatenate([x, h], axis=-1), rows)
    s = softsign_q15(pre_activations_q15(acc_q17, rows)).astype(np.int32)
    units = h.shape[-1]
    z, g = (s[..., :units] + Q15_ONE) >> 1, s[..., units:]
    h32 = h.astype(np.int32)
    after = h32 + ((z * (g - h32) + (1 << 14)) >> 15)
    return acc_q17, z.astype(np.int16), g.astype(np.int16), after.astype(np.int16)


def event_embedded_gru_step(
    x: Int16, h: Int16, y: Int16, rows: Rows, threshold_q15: Int16
) -> tuple[Int32, Int16, Int16, Int16, Int16]:
    """
    Advance an event eGRU layer by one time step, in integers.

        z, g of [x; y] as in `embedded_gru_step`
        c  = h + z (g - h)          h + ((z (g - h) + 2**14) >> 15)
        o  = c > theta
        y' = c if o else 0          h' = c - theta if o else c

    As there nothing can leave int16: c lies between h and g, and a state that loses its threshold stays positive.

    Args:
        x: [..., D] int16, Q15.  Features of this step, or outputs of the layer before.
        h: [..., H] int16, Q15.  State before the step; not modified.
        y: [..., H] int16, Q15.  Outputs of the step before.
        rows: [2H, D + H], z rows then g rows; columns inputs, then outputs.
        threshold_q15: [H] int16, positive.

    Returns:
        acc_q17, z_q15, g_q15 as `embedded_gru_step`; h_q15 and y_q15 [..., H] int16 after the step.

    Source:
        Subramoney and others 2023, events with soft reset, on the cell of Amoh and Odame 2019.

    Twin:
        ``event_embedded_gru_step`` in firmware/kernels/event_embedded_gru.c.
    """
    acc_q17 = row_sums_q17(np.concatenate([x, y], axis=-1), rows)
    s = softsign_q15(pre_activations_q15(acc_q17, rows)).astype(np.int32)
    units = h.shape[-1]
    z, g = (s[..., :units] + Q15_ONE) >> 1, s[..., units:]
    h32 = h.astype(np.int32)
    c = h32 + ((z * (g - h32) + (1 << 14)) >> 15)
    fired = c > threshold_q15
    after, output = np.where(fired, c - threshold_q15, c), np.where(fired, c, 0)
    return acc_q17, z.astype(np.int16), g.astype(np.int16), after.astype(np.int16), output.astype(np.int16)


def readout_sum(sums: Int, shift: int) -> tuple[Int16, int]:
    """
    Summed states to the input of the dense layers: ``saturate16((sums + half) >> shift)``.

    Args:
        sums: [..., H] int32, Q15, states summed over time.
        shift: 0 to 15.

    Returns:
        [..., H] int16, Q15, and how many values had to be clipped.

    Twin:
        ``readout_sum_add`` and ``readout_sum_read`` in firmware/kernels/readout_sum.c.
    """
    return saturate_int16(shift_round(sums, shift))


def dense(u: Int16, rows: AnyRows, activation: Literal["relu", "linear"]) -> Int16 | Int32:
    """
    One dense layer.

    Args:
        u: [..., I] int16, Q15.
        rows: [O, I], of 3-bit or 8-bit weights.
        activation: ``"relu"`` clips to [0, 32767]; ``"linear"`` does not clip.

    Returns:
        [..., O], Q15: int16 for ``"relu"``, int32 for ``"linear"``.

    Twin:
        ``dense_relu`` and ``dense_linear`` in firmware/kernels/dense.c.
    """
    sums = row_sums_q17(u, rows) if isinstance(rows, Rows) else byte_sums_q22(u, rows)
    pre = shift_round(sums, rows.shift)
    if activation == "relu":
        return np.clip(pre, 0, INT16_MAX).astype(np.int16)
    return pre.astype(np.int32)


def sent_inputs(x: Int16, least_q15: int) -> Int16:
    """
    Inputs as a receiver sees them that is told of changes only: what moved by more than ``least_q15`` since it was
    last sent is sent, everything else is unchanged, not 0.

    Args:
        x: [..., T, D] int16, Q15.
        least_q15: At least 0, which sends every change.

    Returns:
        The shape of ``x``; a layer that is told of changes equals the dense layer on these.

    Twin:
        ``events_append_changes`` in firmware/kernels/events.c; ``hold`` in the generated model.c.
    """
    sent = np.zeros_like(x)
    held = np.zeros_like(x[..., 0, :])
    for t in range(x.shape[-2]):
        held = hold_inputs(x[..., t, :], held, least_q15)
        sent[..., t, :] = held
    return sent


def hold_inputs(x: Int16, held: Int16, least_q15: int) -> Int16:
    """One step of `sent_inputs`: x and held [..., D], what was sent last."""
    return np.where(np.abs(x.astype(np.int32) - held) > least_q15, x, held)
