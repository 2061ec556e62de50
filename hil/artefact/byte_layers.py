"""Layers with weights of one byte: the int8 GRU and the event-based GRU (docs/artefact.md, "Byte rows")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hil.fixed import INT16_MAX, INT32_MAX, Q15_ONE

MAX_SHIFT = 15
BIAS_BITS, SHIFT_BITS = 32, 4
WEIGHT_LIMIT = 127
"""Weights are within +-127, so that a scale fits both signs alike."""
SUM_LIMIT = INT32_MAX - (1 << 14)
"""A sum and the rounding constant of its shift fit int32."""

Array = npt.NDArray[Any]
Take = Callable[[str, type[np.generic]], Array]
"""Gives the array of a name and dtype; raises `ValueError` if it has another dtype."""


@dataclass(frozen=True)
class ByteRows:
    """
    A matrix of 8-bit weights with a bias and a shift per row.

    A row's pre-activation is ``(weight_q7 @ u + bias_q22 + half) >> shift`` with
    ``half = 2**(shift - 1)`` (0 for a shift of 0).  A row scale of ``2**e`` makes the shift
    ``10 - e`` for gates (to Q12) and ``7 - e`` for dense layers (to Q15); weights and bias are
    divided by it.

    Attributes:
        weight_q7: [R, U] int8, within +-127, 128 times the weight.
        bias_q22: [R] int32.  In each row ``2**15 * sum(|weight_q7|) + |bias_q22| + 2**14`` is
            below 2**31, so no sum can leave int32, whatever the values and the order.
        shift: [R] int8, 0 to 15.
    """

    weight_q7: npt.NDArray[np.int8]
    bias_q22: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int8]

    _DTYPES: ClassVar[Mapping[str, type[np.generic]]] = {
        "weight_q7": np.int8,
        "bias_q22": np.int32,
        "shift": np.int8,
    }

    @property
    def weight(self) -> npt.NDArray[np.int8]:
        """The integers that values are multiplied by."""
        return self.weight_q7

    @property
    def bias(self) -> npt.NDArray[np.int32]:
        """The integers that are added to the sums."""
        return self.bias_q22

    @property
    def outputs(self) -> int:
        return int(self.weight_q7.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weight_q7.shape[1])

    @classmethod
    def take(cls, prefix: str, take: Take) -> ByteRows:
        """From the arrays of a file."""
        return cls(*(take(f"{prefix}.{name}", dtype) for name, dtype in cls._DTYPES.items()))

    def arrays(self, prefix: str) -> dict[str, Array]:
        """By name in the file."""
        return {f"{prefix}.{name}": getattr(self, name) for name in self._DTYPES}

    def bits(self, bias_bits: int) -> int:
        """Packed without gaps: weights of 8, biases of 32 whatever `bias_bits` says, shifts of 4."""
        return 8 * self.weight_q7.size + (BIAS_BITS + SHIFT_BITS) * self.outputs

    def problems(self, prefix: str, bias_bits: int) -> Iterator[str]:
        """Each broken rule as a sentence."""
        weight, bias, shift = self.weight_q7, self.bias_q22, self.shift
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or shift.shape != weight.shape[:1] or not weight.size:
            yield f"{prefix}: shapes {weight.shape}, {bias.shape}, {shift.shape} do not fit together"
            return
        for name, dtype in self._DTYPES.items():
            array = getattr(self, name)
            if array.dtype != dtype:
                yield f"{prefix}.{name} is {array.dtype}, expected {np.dtype(dtype)}"
        if (np.abs(weight.astype(np.int64)) > WEIGHT_LIMIT).any():
            yield f"{prefix}.weight_q7 is outside +-{WEIGHT_LIMIT}"
        if (largest_sums(weight, bias) > SUM_LIMIT).any():
            yield f"{prefix}: a row could overflow the 32-bit sum; its weights and bias are too large together"
        if ((shift < 0) | (shift > MAX_SHIFT)).any():
            yield f"{prefix}.shift is outside 0 to {MAX_SHIFT}"


def largest_sums(weight: Array, bias: Array) -> npt.NDArray[np.int64]:
    """[R] the largest magnitude that each row's sum can have, for values of int16."""
    total = np.abs(weight.astype(np.int64)).sum(axis=-1)
    return np.asarray(total * Q15_ONE + np.abs(bias.astype(np.int64)))


@dataclass(frozen=True)
class Gru8Layer:
    """
    One GRU layer as `torch.nn.GRU` has it, reset after the product, in 8-bit weights.

    Attributes:
        gates: [2H, D + H], r rows then z rows; columns are the inputs, then the state.
        candidate_x: [H, D], the inputs' part of the candidate.
        candidate_h: [H, H], the state's part, which r scales.
    """

    gates: ByteRows
    candidate_x: ByteRows
    candidate_h: ByteRows

    cell: ClassVar[str] = "gru8"
    """Its name in the file."""

    @property
    def units(self) -> int:
        """H."""
        return self.candidate_h.outputs

    @property
    def inputs(self) -> int:
        """D."""
        return self.candidate_x.inputs

    @classmethod
    def take(cls, prefix: str, take: Take) -> Gru8Layer:
        """From the arrays of a file."""
        return cls(*(ByteRows.take(f"{prefix}.{name}", take) for name in MATRICES))

    def matrices(self, prefix: str) -> dict[str, ByteRows]:
        """Its rows of weights by name in the file."""
        return {f"{prefix}.{name}": getattr(self, name) for name in MATRICES}

    def vectors(self, prefix: str) -> dict[str, Array]:
        """Its other arrays by name in the file."""
        return {}

    def problems(self, prefix: str) -> Iterator[str]:
        """Each broken rule of shape as a sentence; rows are checked by themselves."""
        D, H = self.inputs, self.units
        expected = ((2 * H, D + H), (H, D), (H, H))
        got = tuple(getattr(self, name).weight_q7.shape for name in MATRICES)
        if got != expected:
            yield f"{prefix}: gates and candidates are {got}, expected {expected}"


MATRICES = ("gates", "candidate_x", "candidate_h")


@dataclass(frozen=True)
class EventGruLayer(Gru8Layer):
    """
    One layer of the event-based GRU (EGRU): a GRU whose units send their state only when it is above a threshold.

    Attributes:
        gates, candidate_x, candidate_h: As for the GRU; the columns of the state are those of the last events.
        threshold_q15: [H] int16, 1 to 32767.
    """

    threshold_q15: npt.NDArray[np.int16]

    cell: ClassVar[str] = "event_gru"

    @classmethod
    def take(cls, prefix: str, take: Take) -> EventGruLayer:
        gates, x, h = (ByteRows.take(f"{prefix}.{name}", take) for name in MATRICES)
        return cls(gates, x, h, take(f"{prefix}.threshold_q15", np.int16))

    def vectors(self, prefix: str) -> dict[str, Array]:
        return {f"{prefix}.threshold_q15": self.threshold_q15}

    def problems(self, prefix: str) -> Iterator[str]:
        yield from super().problems(prefix)
        threshold = self.threshold_q15
        if threshold.dtype != np.int16 or threshold.shape != (self.units,):
            yield f"{prefix}.threshold_q15 is {threshold.dtype} {threshold.shape}, expected int16 {(self.units,)}"
        elif not ((threshold >= 1) & (threshold <= INT16_MAX)).all():
            yield f"{prefix}.threshold_q15 is outside 1 to {INT16_MAX}"
