"""
Layers of integers: each knows its arrays, how many bits they take, and the rules of its arithmetic.

A new cell is a class beside `EmbeddedGruLayer`, named in `CELLS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hil.artefact.byte_layers import MAX_SHIFT, SHIFT_BITS, Array, ByteRows, EventGruLayer, Gru8Layer, Take
from hil.artefact.sequence_input import SequenceInput
from hil.fixed import BIAS_LIMIT_Q17, MAX_FAN_IN, WEIGHT_LEVELS_Q2, Int

MAX_MEAN_SHIFT = 12
BIAS16_LSB_Q17 = 1 << 5
"""16-bit biases are int16 in Q12, so every bias in Q17 is a multiple of 2**5 within +-8."""
BIAS3_LEVELS_Q17 = tuple(level << 15 for level in WEIGHT_LEVELS_Q2)


@dataclass(frozen=True)
class FrontEnd:
    """
    Waveform to features: ``x = saturate((raw - offset) << gain_shift)``.

    Attributes:
        kind: ``"log-mel"`` (raw: log2 of the band's energy, Q10) or ``"magnitude"``
            (raw: magnitude of the bin, Q15).
        rate_hz, window, hop, low_hz, high_hz: As in the recipe.
        frames: Feature vectors of one clip; shorter clips are padded, longer ones cut.
        gain_shift: Power of two, 0 to 15.
        offset: [F] int16, subtracted before the gain.
        mean_shift: Not 0 (log-mel): what is subtracted follows the band's mean with a time
            constant of ``2**mean_shift`` frames and begins at ``offset`` with each clip or stream.
    """

    kind: Literal["log-mel", "magnitude"]
    rate_hz: int
    window: int
    hop: int
    low_hz: float
    high_hz: float
    frames: int
    gain_shift: int
    offset: npt.NDArray[np.int16]
    mean_shift: int = 0

    @property
    def features(self) -> int:
        """F, values of one feature vector."""
        return int(self.offset.size)

    def manifest(self) -> dict[str, Any]:
        """What the file says about it besides its arrays."""
        names = ("kind", "rate_hz", "window", "hop", "low_hz", "high_hz", "frames", "gain_shift")
        running = {"mean_shift": self.mean_shift} if self.mean_shift else {}
        return {name: getattr(self, name) for name in names} | running

    def arrays(self) -> dict[str, Array]:
        """By name in the file."""
        return {"frontend.offset": self.offset}

    @classmethod
    def take(cls, manifest: Mapping[str, Any], take: Take) -> FrontEnd:
        """From a file's manifest and arrays."""
        return cls(**manifest, offset=take("frontend.offset", np.int16))

    def problems(self) -> Iterator[str]:
        """Each broken rule as a sentence."""
        if self.kind not in ("log-mel", "magnitude"):
            yield f"front end {self.kind!r} is not known"
        if self.offset.dtype != np.int16 or self.offset.ndim != 1 or not self.offset.size:
            yield "frontend.offset is not a vector of int16"
        for name in ("rate_hz", "window", "hop", "frames", "gain_shift"):
            value = getattr(self, name)
            if type(value) is not int or not (0 if name == "gain_shift" else 1) <= value < 1 << 20:
                yield f"frontend.{name} is {value!r}"
        if type(self.gain_shift) is int and self.gain_shift > MAX_SHIFT:
            yield f"frontend.gain_shift is {self.gain_shift}, at most {MAX_SHIFT}"
        if type(self.mean_shift) is not int or not 0 <= self.mean_shift <= MAX_MEAN_SHIFT:
            yield f"frontend.mean_shift is {self.mean_shift!r}, must be within 0 and {MAX_MEAN_SHIFT}"
        elif self.mean_shift and self.kind != "log-mel":
            yield f"frontend.mean_shift is {self.mean_shift}, it is for log-mel only"


AnyInput = FrontEnd | SequenceInput
"""How a model's inputs are made."""


def take_input(manifest: Mapping[str, Any], take: Take) -> AnyInput:
    """The front end of a file, or what stands in its place."""
    return (SequenceInput if manifest["kind"] == SequenceInput.kind else FrontEnd).take(manifest, take)


@dataclass(frozen=True)
class Rows:
    """
    A matrix of 3-bit power-of-two weights with a bias and a shift per row.

    A row's pre-activation is ``(weight_q2 @ u + bias_q17 + half) >> shift`` with
    ``half = 2**(shift - 1)`` (0 for a shift of 0): Q17 to Q15 is a shift of 2, and a
    row scale of ``2**e`` makes it ``2 - e``.  The bias is scaled with its row.

    Attributes:
        weight_q2: [R, U] int8, 4 times the weight, in {0, +-1, +-2, +-4}.
        bias_q17: [R] int32, magnitude below 2**29.
        shift: [R] int8, 0 to 15.
    """

    weight_q2: npt.NDArray[np.int8]
    bias_q17: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int8]

    @property
    def weight(self) -> npt.NDArray[np.int8]:
        """The integers that values are multiplied by."""
        return self.weight_q2

    @property
    def bias(self) -> npt.NDArray[np.int32]:
        """The integers that are added to the sums."""
        return self.bias_q17

    @property
    def outputs(self) -> int:
        return int(self.weight_q2.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weight_q2.shape[1])

    @classmethod
    def take(cls, prefix: str, take: Take) -> Rows:
        """From the arrays of a file."""
        arrays = (take(f"{prefix}.{name}", dtype) for name, dtype in cls._DTYPES.items())
        return cls(*arrays)

    _DTYPES: ClassVar[Mapping[str, type[np.generic]]] = {
        "weight_q2": np.int8,
        "bias_q17": np.int32,
        "shift": np.int8,
    }

    def arrays(self, prefix: str) -> dict[str, Array]:
        """By name in the file."""
        return {f"{prefix}.{name}": getattr(self, name) for name in self._DTYPES}

    def bits(self, bias_bits: int) -> int:
        """Packed without gaps: weights of 3, shifts of 4."""
        return 3 * self.weight_q2.size + (bias_bits + SHIFT_BITS) * self.outputs

    def problems(self, prefix: str, bias_bits: int) -> Iterator[str]:
        """Each broken rule as a sentence."""
        weight, bias, shift = self.weight_q2, self.bias_q17, self.shift
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or shift.shape != weight.shape[:1] or not weight.size:
            yield f"{prefix}: shapes {weight.shape}, {bias.shape}, {shift.shape} do not fit together"
            return
        for name, dtype in self._DTYPES.items():
            array = getattr(self, name)
            if array.dtype != dtype:
                yield f"{prefix}.{name} is {array.dtype}, expected {np.dtype(dtype)}"
        if not np.isin(weight, WEIGHT_LEVELS_Q2).all():
            yield f"{prefix}.weight_q2 has values outside {WEIGHT_LEVELS_Q2}"
        if self.inputs > MAX_FAN_IN:
            yield f"{prefix}: {self.inputs} inputs could overflow the 32-bit sum; at most {MAX_FAN_IN}"
        if (np.abs(bias.astype(np.int64)) >= BIAS_LIMIT_Q17).any():
            yield f"{prefix}.bias_q17 reaches 2**29"
        if not _bias_fits(bias, bias_bits):
            yield f"{prefix}.bias_q17 does not fit {bias_bits} bits"
        if ((shift < 0) | (shift > MAX_SHIFT)).any():
            yield f"{prefix}.shift is outside 0 to {MAX_SHIFT}"


AnyRows = Rows | ByteRows
"""Rows of any width of weight."""


def _bias_fits(bias_q17: Int, bits: int) -> bool:
    if bits == 3:
        return bool(np.isin(bias_q17, BIAS3_LEVELS_Q17).all())
    quotient = bias_q17.astype(np.int64) // BIAS16_LSB_Q17
    return bool((quotient * BIAS16_LSB_Q17 == bias_q17).all() and (np.abs(quotient + 0.5) < 1 << 15).all())


@dataclass(frozen=True)
class EmbeddedGruLayer:
    """
    One recurrent layer (eGRU).

    Attributes:
        rows: [2H, D + H], z rows then g rows; columns are the inputs, then the state.
    """

    rows: Rows

    cell: ClassVar[str] = "embedded_gru"
    """Its name in the file."""

    @property
    def units(self) -> int:
        """H."""
        return self.rows.outputs // 2

    @property
    def inputs(self) -> int:
        """D."""
        return self.rows.inputs - self.units

    @classmethod
    def take(cls, prefix: str, take: Take) -> EmbeddedGruLayer:
        """From the arrays of a file."""
        return cls(Rows.take(prefix, take))

    def matrices(self, prefix: str) -> dict[str, Rows]:
        """Its rows of weights by name in the file."""
        return {prefix: self.rows}

    def vectors(self, prefix: str) -> dict[str, Array]:
        """Its other arrays by name in the file."""
        return {}

    def problems(self, prefix: str) -> Iterator[str]:
        """Each broken rule of shape as a sentence; rows are checked by themselves."""
        if self.rows.outputs % 2:
            yield f"{prefix} has an odd number of rows"


@dataclass(frozen=True)
class EventEmbeddedGruLayer:
    """
    One recurrent layer (event eGRU): a unit whose candidate state is above its threshold gives it as its output and
    keeps what is above the threshold; the others give 0.

    Attributes:
        rows: [2H, D + H], z rows then g rows; columns are the inputs, then the outputs of the step before.
        threshold_q15: [H] int16, 1 to 32767.
    """

    rows: Rows
    threshold_q15: npt.NDArray[np.int16]

    cell: ClassVar[str] = "event_embedded_gru"
    """Its name in the file."""

    @property
    def units(self) -> int:
        """H."""
        return self.rows.outputs // 2

    @property
    def inputs(self) -> int:
        """D."""
        return self.rows.inputs - self.units

    @classmethod
    def take(cls, prefix: str, take: Take) -> EventEmbeddedGruLayer:
        """From the arrays of a file."""
        return cls(Rows.take(prefix, take), take(f"{prefix}.threshold_q15", np.int16))

    def matrices(self, prefix: str) -> dict[str, Rows]:
        """Its rows of weights by name in the file."""
        return {prefix: self.rows}

    def vectors(self, prefix: str) -> dict[str, Array]:
        """Its other arrays by name in the file."""
        return {f"{prefix}.threshold_q15": self.threshold_q15}

    def problems(self, prefix: str) -> Iterator[str]:
        """Each broken rule of shape as a sentence; rows are checked by themselves."""
        if self.rows.outputs % 2:
            yield f"{prefix} has an odd number of rows"
        theta = self.threshold_q15
        if theta.dtype != np.int16 or theta.shape != (self.units,):
            yield f"{prefix}.threshold_q15 is {theta.dtype} {theta.shape}, expected int16 ({self.units},)"
        elif (theta < 1).any():
            yield f"{prefix}.threshold_q15 has values below 1"


RecurrentLayer = EmbeddedGruLayer | EventEmbeddedGruLayer | Gru8Layer | EventGruLayer
"""A layer of any cell."""

CELLS: Mapping[str, type[RecurrentLayer]] = {
    layer.cell: layer for layer in (EmbeddedGruLayer, EventEmbeddedGruLayer, Gru8Layer, EventGruLayer)
}


@dataclass(frozen=True)
class DenseLayer:
    """
    One dense layer.

    Attributes:
        rows: [O, I].
        activation: ``"relu"``: clipped to [0, 32767], int16, Q15.  ``"linear"``: int32, Q15, not clipped.
    """

    rows: AnyRows
    activation: Literal["relu", "linear"]
