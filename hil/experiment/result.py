"""What an experiment leaves behind, as plain data that goes to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.config import from_table
from hil.errors import UsageError
from hil.experiment.work import Matrix
from hil.float_model import Epoch as Epoch
from hil.trace import Tier


@dataclass(frozen=True)
class Difference:
    """
    The first place where a device and its twin differ.

    Attributes:
        sequence: Index of the test sequence.
        step: Time step, or -1 for the output layers.
        layer: Recurrent layer, or -1 for the output layers.
        unit: Unit of that layer, or index of the logit.
        operation: ``accumulator``, ``gate``, ``candidate``, ``event``, ``state``, ``output`` or ``saturation count``.
        expected, got: Integers in the operation's format.
        differing, compared: How many values differ, of how many, in this sequence.
    """

    sequence: int
    step: int
    layer: int
    unit: int
    operation: str
    expected: int
    got: int
    differing: int
    compared: int

    def __str__(self) -> str:
        place = f"step {self.step}, layer {self.layer}, unit {self.unit}" if self.step >= 0 else f"output {self.unit}"
        return (
            f"sequence {self.sequence}, {place}, {self.operation}: expected {self.expected}, got {self.got} "
            f"(first of {self.differing} differences in {self.compared} values)"
        )


@dataclass(frozen=True)
class Trajectory:
    """
    One unit over one sequence, device against twin, for the plot.

    Attributes:
        label: What is shown, such as ``"layer 1, unit 3"``.
        device_q15, twin_q15: [T] Q15.
    """

    label: str
    device_q15: tuple[int, ...]
    twin_q15: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """
    One run of one model on one rig.

    Attributes:
        model: Name.
        rig: Name of the rig that ran, and ``rig_reason`` why it and not another.
        tier: What the cycles are worth.
        compiler: Name and version.
        clock_hz: CPU clock.
        hashes: SHA-256 of ``recipe``, ``data``, ``artefact``, ``elf``, ``rig``, of the device's ``outputs`` (all
            states and logits), and the ``commit``.
        labels: Class names.
        accuracy: Fraction correct on the same test clips, by model in order of display:
            ``float GRU``, ``float eGRU`` (or ``float event eGRU``), ``int8 GRU``, ``quantized eGRU``, ``device``.
        steps, steps_exact: Time steps compared with the twin, and those equal bit for bit.
        outputs, outputs_exact: The same for logit vectors.
        first_difference: None if there is none.
        cycles: Of every step, in order of execution; only windows without interrupts.
        output_cycles: Of every output window.
        void_windows: Windows with an interrupt in them, left out above.
        overhead_cycles: Of an empty window, already subtracted.
        parameter_bytes: Weights, biases and shifts of the quantized model, packed.
        float_parameter_bytes: Of the float GRU of the same shape.
        flash_bytes, ram_bytes: Of the program; RAM without the stack.
        stack_bytes: High-water mark.
        curves: Learning curves by model.
        confusion: [O][O], rows are true classes, of the device.
        trajectories: For the plot.
        repetitions: Requests sent more than once.
        seconds: Wall time by stage (host, not comparable between machines).
        notes: Anything the reader must know: saturated values, skipped stages.
        bench: Cycles of each call by kernel name, such as ``embedded_gru_step`` and ``float_gru_step``.
        bench_shape: Inputs and units of the benched cells.
        predicted_cycles: Of a board: what the cycle model says about each step of ``predicted_for``, same ELF and
            inputs.
        predicted_for: The board's cycles of the same steps.
        activity: Share of outputs of each recurrent layer that are not 0, on the test clips.
        matrices: Weights that are not 0 and the density of their inputs, on the test clips.
    """

    model: str
    rig: str
    rig_reason: str
    tier: Tier
    compiler: str
    clock_hz: int
    hashes: dict[str, str]
    labels: tuple[str, ...]
    accuracy: dict[str, float]
    steps: int
    steps_exact: int
    outputs: int
    outputs_exact: int
    cycles: tuple[int, ...]
    output_cycles: tuple[int, ...]
    void_windows: int
    overhead_cycles: int
    parameter_bytes: int
    float_parameter_bytes: int
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    first_difference: Difference | None = None
    curves: dict[str, tuple[Epoch, ...]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
    repetitions: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bench: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bench_shape: tuple[int, ...] = ()
    predicted_cycles: tuple[int, ...] = ()
    predicted_for: tuple[int, ...] = ()
    activity: tuple[float, ...] = ()
    matrices: tuple[Matrix, ...] = ()

    @property
    def bit_exact(self) -> bool:
        return self.steps_exact == self.steps and self.outputs_exact == self.outputs

    def to_json(self) -> str:
        table = dataclasses.asdict(self)
        if self.first_difference is None:
            del table["first_difference"]
        return json.dumps(table, indent=1) + "\n"


def result_from_json(text: str, where: Path | str = "result.json") -> Result:
    """Read what `Result.to_json` wrote.  Raises `UsageError` naming what is wrong."""
    try:
        table: Mapping[str, Any] = json.loads(text)
        return from_table({**table, "tier": Tier(table["tier"])}, Result, str(where))
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where}: is no result or is corrupt ({error}). Make it again: `hil run MODEL`") from error
