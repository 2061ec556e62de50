"""The paper's own integer forms, for comparison only: no kernel implements them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.fixed import ACC_LIMIT_Q15, Q15_ONE, Int


def softsign_division_q15(v: Int) -> npt.NDArray[np.int16]:
    """
    Softsign with a division: ``(v << 10) / ((|v| + 32768) >> 5)``, truncated towards zero.

    The paper prints ``<< 5``, a misprint: with it, 1.0 gives 0.0005.

    Args:
        v: Any shape, Q15, clipped to just inside +-64.0 so that ``v << 10`` fits int32.

    Returns:
        The shape of ``v``, int16, Q15.

    Source:
        Amoh and Odame 2019, Listing 1.
    """
    v64 = np.clip(np.asarray(v, np.int64), 1 - ACC_LIMIT_Q15, ACC_LIMIT_Q15 - 1)
    magnitude = (np.abs(v64) << 10) // ((np.abs(v64) + Q15_ONE) >> 5)
    return (np.sign(v64) * magnitude).astype(np.int16)


def truncated_dot_q15(u: Int, weight_q2: Int) -> npt.NDArray[np.int32]:
    """
    Product of weights and inputs where every term is shifted, and so truncated, before it is summed.

    A term is ``u >> s`` for a weight of ``2**-s``, negated afterwards for a negative weight.

    Args:
        u: [..., U] int16, Q15.
        weight_q2: [R, U] int8, 4 times the weight.

    Returns:
        [..., R] int32, Q15.

    Source:
        Amoh and Odame 2019, Algorithm 1.
    """
    weight, u64 = weight_q2.astype(np.int64), np.asarray(u, np.int64)[..., None, :]
    shift = np.select([np.abs(weight) == 4, np.abs(weight) == 2], [0, 1], 2)
    terms = np.sign(weight) * (u64 >> shift)
    return np.asarray(terms.sum(axis=-1), np.int32)
