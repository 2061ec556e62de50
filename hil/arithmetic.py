"""Integer functions that twin and training share: softsign, tanh, real numbers to 3-bit weights and biases."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError
from hil.fixed import ACC_LIMIT_Q15, INT16_MAX, INT16_MIN, Q15_ONE, Int

Real = npt.NDArray[np.floating[Any]]
"""An array of any floating dtype."""

ZeroRule = Literal["code", "paper"]

NEAR_LIMIT_Q15 = 8 * Q15_ONE
"""Within +-8.0 softsign has lines for both signs, beyond for the magnitude only."""
NEAR_LINES, FAR_FIRST, FAR_END = 256, 16, 128
"""Lines of 1/32 up to 8.0, on either side; lines of 1/2 by number, from 8.0 to 64.0."""
NEAR_BITS, FAR_BITS = 10, 8
"""Shifts from a value to the number of its line; beyond 8.0 a value has steps of 2**-9 (`FAR_SHIFT`)."""
FAR_SHIFT = 6
LINE_BITS = 8
"""Lines are Q15 times 2**8."""

_ROUNDING_STEPS = tuple(float(np.float32(2.0**power)) for power in (-2.5, -1.5, -0.5))
"""
Where ``2**round(log2 |w|)`` changes, as numbers that float32 holds, so that float32
and float64 decide alike.
"""

BIAS_STEP = 2.0**-12
"""One step of a 16-bit bias, which is Q12."""
BIAS_LIMIT = -INT16_MIN * BIAS_STEP
"""A 16-bit bias is at least ``-BIAS_LIMIT`` and at most ``BIAS_LIMIT - BIAS_STEP``, times its row's scale."""


def softsign_lines() -> npt.NDArray[np.int32]:
    """
    The lines of ``lines-512-112``: slope ``d`` and value at 0 ``c`` in one word, ``(c << 8) + d``.

    Returns:
        [624] int32: 512 from -8 in steps of 1/32, then 112 from 8 in steps of 1/2.

    Source:
        docs/artefact.md, "Softsign".
    """
    near, end = _lines(range(NEAR_LINES), 1 / 32, NEAR_BITS, 1 << (LINE_BITS - 1))
    far, _ = _lines(range(FAR_FIRST, FAR_END), 1 / 2, FAR_BITS, end)
    mirrored = [(255 - c, d) for c, d in reversed(near)]
    return np.array([(c << 8) + d for c, d in (*mirrored, *near, *far)], np.int32)


def _lines(numbers: range, step: float, bits: int, y: int) -> tuple[list[tuple[int, int]], int]:
    """
    Each begins where the one before ends, at first ``y``, and ends as near to its goal as its slope can.

    The goal is softsign and half of what a chord falls short of it in the middle, ``step**2 / (8 (1 + a)**3)``.
    """
    lines: list[tuple[int, int]] = []
    for i in numbers:
        a = (i + 1) * step
        goal = (Q15_ONE << LINE_BITS) * (a / (1 + a) + step**2 / (8 * (1 + a) ** 3)) + (1 << (LINE_BITS - 1))
        d = round((goal - y) / (1 << bits))
        lines.append((y - (d * i << bits), d))
        y += d << bits
    return lines, y


_NEAR, _FAR = (part.astype(np.int64) for part in np.split(softsign_lines(), [2 * NEAR_LINES]))


def softsign_q15(v: Int) -> npt.NDArray[np.int16]:
    """
    ``v / (1 + |v|)`` by straight lines, without a division; odd, and never falling.

    Args:
        v: Any shape, integers, Q15; magnitudes above 64.0 count as 64.0.

    Returns:
        The shape of ``v``, Q15, within 7 steps (less than 2**-12) of the real function where ``|v|`` is at most 64.0.

    Source:
        Amoh and Odame 2019, section 4, for the clipping to 64; docs/artefact.md, "Softsign".

    Twin:
        ``softsign_q15`` in firmware/kernels/softsign.c.
    """
    v64 = np.asarray(v, np.int64)
    near = (v64 >= -NEAR_LIMIT_Q15) & (v64 < NEAR_LIMIT_Q15)
    inside = np.where(near, v64, 0)
    beyond = np.where(near, NEAR_LIMIT_Q15, np.minimum(np.abs(v64), ACC_LIMIT_Q15 - 1)) >> FAR_SHIFT
    y = _on_line(_NEAR[(inside >> NEAR_BITS) + NEAR_LINES], inside)
    magnitude = _on_line(_FAR[(beyond >> FAR_BITS) - FAR_FIRST], beyond)
    return np.where(near, y, np.where(v64 < 0, -magnitude, magnitude)).astype(np.int16)


def _on_line(line: Int, value: Int) -> Int:
    return np.asarray(((line >> 8) + (line & 255) * value) >> LINE_BITS)


def weight_levels_q2(weight: Real, rule: ZeroRule = "code") -> npt.NDArray[np.int8]:
    """
    4 times the 3-bit level of each weight: ``sgn(w) 2**round(log2 |w|)``, small ones 0, large ones +-1.

    Args:
        weight: Any shape, divided by its row's scale.
        rule: ``"code"`` zeroes below 2**-2.5, ``"paper"`` up to and including 1/4.

    Returns:
        The shape of ``weight``, in {0, +-1, +-2, +-4}.

    Source:
        Amoh and Odame 2019, section 3.3 (``"paper"``) and their ``expquantize`` (``"code"``).
    """
    magnitude = np.abs(weight)
    level = sum(np.where(magnitude >= step, gain, 0) for step, gain in zip(_ROUNDING_STEPS, (1, 1, 2), strict=True))
    if rule == "paper":
        level = np.where(magnitude <= 0.25, 0, level)
    return np.asarray(np.sign(weight) * level).astype(np.int8)


def bias_levels_q17(bias: Real, bits: Literal[3, 16], rule: ZeroRule = "code") -> npt.NDArray[np.int32]:
    """
    The nearest bias that ``bits`` can hold.

    Args:
        bias: Any shape, divided by its row's scale.
        bits: 16: Q12, rounded to nearest, ties to even.  3: a weight's levels.
        rule: For 3 bits, as for weights.

    Returns:
        The shape of ``bias``, int32, Q17.

    Raises:
        UsageError: 16 bits and a value outside +-8.0, or not a number.
    """
    if bits == 3:
        return weight_levels_q2(bias, rule).astype(np.int32) << 15
    steps = np.rint(np.asarray(bias, np.float64) / BIAS_STEP)
    bad = ~((steps >= INT16_MIN) & (steps <= INT16_MAX))
    if bad.any():
        raise UsageError(f"{bad.sum()} of {bad.size} biases do not fit 16 bits; first is {bias[bad].flat[0]}")
    return steps.astype(np.int32) << 5


PRE_LIMIT_Q12 = 16 << 12
"""Pre-activations are clipped to +-16.0: a product with a gate, and the sum of two, fit int32."""
TANH_LIMIT_Q13 = 6 << 13
"""From 6.0 on tanh is the largest number of Q15: the real one is less than a step from it."""
TANH_BITS = 7
"""Steps of 1/64 in Q13."""


def tanh_table() -> npt.NDArray[np.uint16]:
    """[386] Q15: tanh at 0, 1/64, ... 6, at most 32767; the last one again.  Form ``table-385`` of docs/artefact.md."""
    steps = TANH_LIMIT_Q13 >> TANH_BITS
    exact = np.rint(Q15_ONE * np.tanh(np.append(np.arange(steps + 1), steps) / 64))
    return np.asarray(np.minimum(exact, INT16_MAX), np.uint16)


_TABLE = tanh_table().astype(np.int64)


def tanh_q15(v_q13: Int) -> npt.NDArray[np.int16]:
    """
    tanh by table and linear interpolation, odd; rounds to nearest, ties up in magnitude.

    Args:
        v_q13: Any shape, integers, Q13 (one is 8192); magnitudes above 6.0 count as 6.0.

    Returns:
        The shape of ``v_q13``, Q15, within 2**-14 of the real function.

    Twin:
        ``gates_tanh_q15`` in firmware/kernels/gates.h.
    """
    v = np.asarray(v_q13, np.int64)
    a = np.minimum(np.abs(v), TANH_LIMIT_Q13)
    i, f = a >> TANH_BITS, a & ((1 << TANH_BITS) - 1)
    y = _TABLE[i] + (((_TABLE[i + 1] - _TABLE[i]) * f + (1 << (TANH_BITS - 1))) >> TANH_BITS)
    return np.asarray(np.where(v < 0, -y, y), np.int16)
