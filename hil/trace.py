"""What a run leaves behind: states, outputs and cycles, each number with what it is worth."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt


class Tier(str, enum.Enum):
    """What a cycle count is worth.  Tiers are never mixed in one statistic, baseline or verdict."""

    SILICON = "silicon"
    """Measured on a chip."""
    CYCLE_MODEL = "cycle-model"
    """Counted by the built-in emulator's model of the core and its flash."""
    TRACE_PRICED = "trace-priced"
    """Executed instructions priced with the core's timing table, without flash effects."""
    INSTRUCTION_COUNT = "instruction-count"
    """Executed instructions (Renode)."""
    HOST = "host"
    """No device: the integer twin on the host."""


Inner = tuple[tuple[str, str, str, int], ...]
"""Of each array of a layer in order of computation: operation, attribute, dtype on the line, values of a unit."""


@dataclass(frozen=True)
class LayerTrace:
    """
    The inner values of one recurrent layer, for naming a difference by operation.

    Attributes:
        acc_q17: [T, 2H] int32, sums of weights times inputs plus bias, z rows then g rows.
        z_q15: [T, H] int16, gates.
        g_q15: [T, H] int16, candidates.
        h_q15: [T, H] int16, states after the step.
    """

    acc_q17: npt.NDArray[np.int32]
    z_q15: npt.NDArray[np.int16]
    g_q15: npt.NDArray[np.int16]
    h_q15: npt.NDArray[np.int16]

    INNER: ClassVar[Inner] = (
        ("accumulator", "acc_q17", "<i4", 2),
        ("gate", "z_q15", "<i2", 1),
        ("candidate", "g_q15", "<i2", 1),
        ("state", "h_q15", "<i2", 1),
    )

    @property
    def output_q15(self) -> npt.NDArray[np.int16]:
        """[T, H] int16, what the next layer and the readout see."""
        return self.h_q15


@dataclass(frozen=True)
class GruTrace:
    """
    The same of a GRU layer.

    Attributes:
        acc_q22: [T, 4H] int32, sums: r, z, candidate of the inputs, candidate of the state.
        r_q15, z_q15, g_q15: [T, H] int16, gates and candidates.
        h_q15: [T, H] int16, states after the step.
    """

    acc_q22: npt.NDArray[np.int32]
    r_q15: npt.NDArray[np.int16]
    z_q15: npt.NDArray[np.int16]
    g_q15: npt.NDArray[np.int16]
    h_q15: npt.NDArray[np.int16]

    INNER: ClassVar[Inner] = (
        ("accumulator", "acc_q22", "<i4", 4),
        ("reset gate", "r_q15", "<i2", 1),
        ("gate", "z_q15", "<i2", 1),
        ("candidate", "g_q15", "<i2", 1),
        ("state", "h_q15", "<i2", 1),
    )

    @property
    def output_q15(self) -> npt.NDArray[np.int16]:
        """[T, H] int16, what the next layer and the readout see."""
        return self.h_q15


@dataclass(frozen=True)
class EventGruTrace:
    """
    The same of a layer of event-based GRU.

    Attributes:
        acc_q22, r_q15, z_q15, g_q15: As of a GRU.
        y_q15: [T, H] int16, events: 0 where a unit is silent.
        h_q15: [T, H] int16, states after the step, the threshold taken away where a unit fired.
    """

    acc_q22: npt.NDArray[np.int32]
    r_q15: npt.NDArray[np.int16]
    z_q15: npt.NDArray[np.int16]
    g_q15: npt.NDArray[np.int16]
    y_q15: npt.NDArray[np.int16]
    h_q15: npt.NDArray[np.int16]

    INNER: ClassVar[Inner] = (
        *GruTrace.INNER[:-1],
        ("event", "y_q15", "<i2", 1),
        ("state", "h_q15", "<i2", 1),
    )

    @property
    def output_q15(self) -> npt.NDArray[np.int16]:
        """[T, H] int16, what the next layer and the readout see."""
        return self.y_q15


@dataclass(frozen=True)
class EventLayerTrace:
    """
    The same of a layer of event eGRU.

    Attributes:
        acc_q17, z_q15, g_q15: As of an eGRU.
        y_q15: [T, H] int16, events: 0 where a unit is silent.
        h_q15: [T, H] int16, states after the step, the threshold taken away where a unit fired.
    """

    acc_q17: npt.NDArray[np.int32]
    z_q15: npt.NDArray[np.int16]
    g_q15: npt.NDArray[np.int16]
    y_q15: npt.NDArray[np.int16]
    h_q15: npt.NDArray[np.int16]

    INNER: ClassVar[Inner] = (
        *LayerTrace.INNER[:-1],
        ("event", "y_q15", "<i2", 1),
        ("state", "h_q15", "<i2", 1),
    )

    @property
    def output_q15(self) -> npt.NDArray[np.int16]:
        """[T, H] int16, what the next layer and the readout see."""
        return self.y_q15


AnyLayerTrace = LayerTrace | GruTrace | EventGruTrace | EventLayerTrace
INNER_CELLS: tuple[type[AnyLayerTrace], ...] = (LayerTrace, GruTrace, EventGruTrace, EventLayerTrace)
"""By the number of the cell in an INNER frame."""


@dataclass(frozen=True)
class Trace:
    """
    One sequence, run somewhere.

    Attributes:
        tier: Where it ran.
        states_q15: [T, S] int16, Q15, states after each step, the layers side by side.
        logits: [O] int32, Q15, outputs after the last step.
        saturated: Readout sums that had to be clipped.
        cycles: [T] int64, cycles of each step, or None (twin).
        output_cycles: Cycles of readout and output layers, or None (twin).
        interrupts: [T] int64, interrupts taken inside each measured window, or None.
            A window with an interrupt in it is not a measurement.
        layers: Inner values, when asked for.
        activity: Share of outputs of each recurrent layer that are not 0; empty from a device, which does not tell.
        hashes: [T] uint32, after each step the CRC-32 of all states so far (int16, little-endian), in place of the
            states themselves; None if they are there.
    """

    tier: Tier
    states_q15: npt.NDArray[np.int16]
    logits: npt.NDArray[np.int32]
    saturated: int = 0
    cycles: npt.NDArray[np.int64] | None = None
    output_cycles: int | None = None
    interrupts: npt.NDArray[np.int64] | None = None
    layers: tuple[AnyLayerTrace, ...] = field(default=())
    activity: tuple[float, ...] = ()
    hashes: npt.NDArray[np.uint32] | None = None

    @property
    def decision(self) -> int:
        """Index of the largest logit; the first one on a tie."""
        return int(np.argmax(self.logits))


@dataclass(frozen=True)
class Listening:
    """
    How a stream of sound is decided about (docs/frontend.md, "Streams").

    Attributes:
        frames: Feature vectors of a window.
        hop: Feature vectors from one decision to the next.
        carry: States run on from window to window; otherwise each window begins at zero.
        smooth: Decisions whose outputs are averaged: 1, 2, 4 or 8.
        hold: Decisions without a trigger after one.
        margin_q15: Least lead of the best average over the second best for a trigger.
        quiet: Outputs that never trigger.
    """

    frames: int
    hop: int
    carry: bool = False
    smooth: int = 1
    hold: int = 0
    margin_q15: int = 0
    quiet: tuple[int, ...] = ()


@dataclass(frozen=True)
class Decision:
    """
    What the device says about one window of a stream.

    Attributes:
        index: Counted from 0.
        frame: Index of the last feature vector of the window.
        label: Output with the best average.
        triggered: A detection.
        margin_q15: Lead of the best average over the second best.
        logits: [O] Q15, of this window alone.
    """

    index: int
    frame: int
    label: int
    triggered: bool
    margin_q15: int
    logits: tuple[int, ...]
