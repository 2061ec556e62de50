"""Integer functions that the twin and the training share: softsign, and real numbers to 3-bit weights and biases."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError
from hil.fixed import ACC_LIMIT_Q15, INT16_MAX, INT16_MIN, Q15_ONE, Int

Real = npt.NDArray[np.floating[Any]]
"""An array of any floating dtype."""

ZeroRule = Literal["code", "paper"]

FINE_LIMIT_Q15 = 4 * Q15_ONE
"""Below 4.0 softsign is read from the fine table (steps of 1/64), above from the coarse one (steps of 1/4)."""
FINE_BITS, COARSE_BITS = 9, 13
_COARSE_START = FINE_LIMIT_Q15 >> COARSE_BITS

_ROUNDING_STEPS = tuple(float(np.float32(2.0**power)) for power in (-2.5, -1.5, -0.5))
"""
Where ``2**round(log2 |w|)`` changes, as numbers that float32 holds, so that float32
and float64 decide alike.
"""

BIAS_STEP = 2.0**-12
"""One step of a 16-bit bias, which is Q12."""
BIAS_LIMIT = -INT16_MIN * BIAS_STEP
"""A 16-bit bias is at least ``-BIAS_LIMIT`` and at most ``BIAS_LIMIT - BIAS_STEP``, times its row's scale."""


def softsign_tables() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """
    The two tables of ``table-257-241``.

    Returns:
        T0 [257] int16, Q15: softsign at 0, 1/64, ... 4.
        T1 [242] int16, Q15: softsign at 4, 4 1/4, ... 64; the last entry repeats the one before.

    Source:
        docs/artefact.md, "Softsign".
    """
    fine = np.arange(257) / 64
    coarse = 4 + np.append(np.arange(241), 240) / 4
    t0, t1 = (np.rint(Q15_ONE * a / (1 + a)).astype(np.int16) for a in (fine, coarse))
    return t0, t1


_T0, _T1 = (table.astype(np.int64) for table in softsign_tables())


def softsign_q15(v: Int) -> npt.NDArray[np.int16]:
    """
    ``v / (1 + |v|)`` by table and linear interpolation, odd, without a division.

    Interpolation rounds to nearest, ties up in magnitude.

    Args:
        v: Any shape, integers, Q15; magnitudes above 64.0 count as 64.0.

    Returns:
        The shape of ``v``, Q15, within 2**-12 of the real function where ``|v|`` is at most 64.0.

    Source:
        Amoh and Odame 2019, section 4, for the clipping to 64; docs/artefact.md, "Softsign".

    Twin:
        ``softsign_q15`` in firmware/kernels/softsign.c.
    """
    v64 = np.asarray(v, np.int64)
    a = np.minimum(np.abs(v64), ACC_LIMIT_Q15)
    fine = a < FINE_LIMIT_Q15
    y = np.where(
        fine,
        _interpolate(_T0, np.where(fine, a, 0), FINE_BITS, 0),
        _interpolate(_T1, np.where(fine, FINE_LIMIT_Q15, a), COARSE_BITS, _COARSE_START),
    )
    return np.where(v64 < 0, -y, y).astype(np.int16)


def _interpolate(table: npt.NDArray[np.int64], a: npt.NDArray[np.int64], bits: int, start: int) -> Int:
    i, f = (a >> bits) - start, a & ((1 << bits) - 1)
    low = table[i]
    return np.asarray(low + (((table[i + 1] - low) * f + (1 << (bits - 1))) >> bits))


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
