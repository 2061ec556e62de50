"""Fixed-point formats shared by the host and the firmware: rounding and saturation, written once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError

Int = npt.NDArray[Any]
"""An array of any integer dtype."""

Q15_ONE = 1 << 15
"""1.0 in Q15.  Not itself representable: the largest value is Q15_ONE - 1."""

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1

WEIGHT_LEVELS_Q2 = (-4, -2, -1, 0, 1, 2, 4)
"""4 times each of the seven weights {0, +-1/4, +-1/2, +-1} of the eGRU."""

ACC_LIMIT_Q15 = 64 * Q15_ONE
"""Pre-activations are clipped to +-64.0 before softsign (Amoh and Odame 2019, section 4)."""

BIAS_LIMIT_Q17 = 1 << 29
"""Bound on the magnitude of a bias, exclusive."""

MAX_FAN_IN = (INT32_MAX - BIAS_LIMIT_Q17 - (1 << 15)) // (1 << 17)
"""
Largest number of inputs of one row whose sum cannot leave int32.

Each product of a weight (at most 4 in Q2) and an activation (at most 2**15 in
magnitude) is at most 2**17; the bias is below 2**29 and the rounding constant of
the row's shift is at most 2**14.
"""


def to_q15(values: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """
    Round real numbers to the nearest Q15 integer.

    Args:
        values: Any shape, each in [-1, 1).

    Returns:
        Same shape, ``int16``; one step is 2**-15.

    Raises:
        UsageError: A value is outside [-1, 1) or is not a number.  Nothing is
            clipped: choose a scale first.
    """
    real = np.asarray(values, dtype=np.float64)
    scaled = np.rint(real * Q15_ONE)
    bad = ~((scaled >= INT16_MIN) & (scaled <= INT16_MAX))
    if bad.any():
        raise UsageError(f"{bad.sum()} of {bad.size} values do not fit Q15; first is {real[bad].flat[0]!r}")
    return scaled.astype(np.int16)


def shift_round(acc: Int, shift: Int | int) -> Int:
    """
    ``(acc + half) >> shift`` with ``half = 2**(shift - 1)``, or 0 for a shift of 0.

    Rounds to nearest, ties towards plus infinity.  This is the one rounding of a
    pre-activation: Q17 sum to Q15 and the row's power-of-two scale in a single shift.

    Args:
        acc: Any shape, integers.
        shift: Broadcasts against ``acc``; 0 to 15.

    Returns:
        int64, the shape of the broadcast.
    """
    acc64, shift64 = np.asarray(acc, np.int64), np.asarray(shift, np.int64)
    return np.asarray((acc64 + ((np.int64(1) << shift64) >> 1)) >> shift64)


def saturate_int16(values: Int) -> tuple[npt.NDArray[np.int16], int]:
    """Clip to int16; returns the clipped array and how many values were changed."""
    clipped = np.clip(values, INT16_MIN, INT16_MAX)
    return clipped.astype(np.int16), int(np.count_nonzero(clipped != values))
