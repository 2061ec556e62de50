"""Comparing a device with its twin, and naming the first difference by operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import serial
from conftest import make_artefact
from fake_device import FakeDevice

from hil.artefact import Artefact
from hil.errors import UsageError
from hil.experiment.compare import compare, locate, place
from hil.link.device import Device
from hil.quant import run_twin
from hil.trace import Trace

ARTEFACT = make_artefact(seed=3)
WIDTHS = (4, 3)
FEATURES = np.random.default_rng(5).integers(-(1 << 15), 1 << 15, (9, 5)).astype(np.int16)
EXPECTED = run_twin(ARTEFACT, FEATURES)


def changed(trace: Trace, step: int, column: int, by: int = 1) -> Trace:
    states = trace.states_q15.copy()
    states[step, column] += by
    return replace(trace, states_q15=states)


def test_equal_traces_have_no_difference() -> None:
    """Every step and the output count as exact."""
    result = compare(EXPECTED, EXPECTED, WIDTHS)
    assert (result.steps, result.steps_exact, result.output_exact, result.first) == (9, 9, True, None)


@pytest.mark.parametrize(("column", "layer", "unit"), [(0, 0, 0), (3, 0, 3), (4, 1, 0), (6, 1, 2)])
def test_one_changed_bit_is_found_and_placed(column: int, layer: int, unit: int) -> None:
    """Step, layer, unit, expected and got of a state that is off by one."""
    result = compare(EXPECTED, changed(EXPECTED, 5, column), WIDTHS, sequence=7)
    first = result.first
    assert first is not None
    assert (first.sequence, first.step, first.layer, first.unit, first.operation) == (7, 5, layer, unit, "state")
    assert first.got == first.expected + 1 == int(EXPECTED.states_q15[5, column]) + 1
    assert (first.differing, first.compared) == (1, 9 * 7 + 3 + 1)
    assert (result.steps_exact, result.output_exact) == (8, True)


def test_the_earliest_step_comes_first() -> None:
    """Of many differences the first in time is named, then the first unit; all are counted."""
    got = changed(changed(changed(EXPECTED, 8, 0), 2, 5), 2, 6)
    first = compare(EXPECTED, got, WIDTHS).first
    assert first is not None
    assert (first.step, first.layer, first.unit, first.differing) == (2, 1, 1, 3)


def test_a_wrong_logit_is_an_output_difference() -> None:
    """All states right, one output wrong."""
    logits = EXPECTED.logits.copy()
    logits[2] -= 1
    result = compare(EXPECTED, replace(EXPECTED, logits=logits), WIDTHS)
    assert result.first is not None
    assert (result.first.step, result.first.unit, result.first.operation) == (-1, 2, "output")
    assert (result.steps_exact, result.output_exact) == (9, False)
    assert "output 2, output: expected" in str(result.first)


def test_a_wrong_saturation_count_is_a_difference() -> None:
    """The device must count what it clipped as the twin does."""
    result = compare(EXPECTED, replace(EXPECTED, saturated=EXPECTED.saturated + 1), WIDTHS)
    assert result.first is not None
    assert result.first.operation == "saturation count"
    assert not result.output_exact


def test_traces_of_other_shapes_are_refused() -> None:
    """A run without states, or of another length, is not compared."""
    with pytest.raises(UsageError, match=r"states_q15 of shape \[9, 0\] with \[9, 7\]"):
        compare(EXPECTED, replace(EXPECTED, states_q15=EXPECTED.states_q15[:, :0]), WIDTHS)


def test_a_column_beyond_the_last_layer_is_refused() -> None:
    """There is no such state."""
    with pytest.raises(UsageError, match="beyond the last"):
        place(7, WIDTHS)


class Twin:
    """
    The twin as a machine for `FakeDevice`, with a fault.

    Attributes:
        fault: Operation, layer, unit and step that come out one too large; what follows from it is carried on.
    """

    def __init__(self, artefact: Artefact, fault: tuple[str, int, int, int] | None) -> None:
        self.artefact, self.fault = artefact, fault
        self.inputs, self.states, self.outputs = artefact.inputs, artefact.state_units, len(artefact.labels)
        self.layers = len(artefact.recurrent)
        self.runs = 0

    def reset(self) -> None:
        self.x: list[Any] = []
        self.runs += 1

    def step(self, x: np.ndarray) -> np.ndarray:
        self.x.append(x)
        trace = run_twin(self.artefact, np.array(self.x), detail=True)
        self.now = [replace(layer) for layer in trace.layers]
        if self.fault and len(self.x) - 1 == self.fault[3]:
            operation, layer, unit, _ = self.fault
            for name in ("acc_q17", "z_q15", "g_q15", "h_q15"):
                # The state is wrong whatever caused it, or the host would not look.
                if name == operation or name == "h_q15":
                    values = getattr(self.now[layer], name).copy()
                    values[-1, unit] += 1
                    self.now[layer] = replace(self.now[layer], **{name: values})
        return np.concatenate([layer.h_q15[-1] for layer in self.now])

    def output(self) -> tuple[np.ndarray, int]:
        trace = run_twin(self.artefact, np.array(self.x))
        return trace.logits, trace.saturated

    def inner(self, layer: int) -> tuple[Any, ...]:
        it = self.now[layer]
        return it.acc_q17[-1], it.z_q15[-1], it.g_q15[-1], it.h_q15[-1]


@pytest.mark.parametrize(
    ("array", "operation"),
    [("acc_q17", "accumulator"), ("z_q15", "gate"), ("g_q15", "candidate"), ("h_q15", "state")],
)
@pytest.mark.parametrize(("layer", "unit", "step"), [(0, 3, 0), (1, 2, 8), (0, 0, 5)])
def test_the_operation_that_went_wrong_first_is_named(
    array: str, operation: str, layer: int, unit: int, step: int
) -> None:
    """The host runs up to the step again, reads the inner values, and names the earliest wrong one."""
    machine = Twin(ARTEFACT, (array, layer, unit, step))
    with FakeDevice(machine=machine) as fake:
        device = Device(serial.Serial(fake.port), "fake")
        first = compare(EXPECTED, device.run_sequence(FEATURES), WIDTHS, 4).first
        assert first is not None
        found = locate(device, ARTEFACT, FEATURES, first)
        device.close()
    assert found is not None
    assert (found.sequence, found.step, found.layer, found.unit) == (4, step, layer, unit)
    assert found.operation == operation
    assert found.got == found.expected + 1
    assert found.expected == int(getattr(run_twin(ARTEFACT, FEATURES, detail=True).layers[layer], array)[step, unit])


def test_a_difference_that_does_not_happen_again_is_told() -> None:
    """A device that is right the second time gives None, not a wrong name."""
    machine = Twin(ARTEFACT, ("h_q15", 0, 1, 2))
    with FakeDevice(machine=machine) as fake:
        device = Device(serial.Serial(fake.port), "fake")
        first = compare(EXPECTED, device.run_sequence(FEATURES), WIDTHS).first
        machine.fault = None
        assert first is not None
        assert locate(device, ARTEFACT, FEATURES, first) is None
        device.close()


def test_a_difference_in_the_outputs_stays_as_it_is() -> None:
    """There are no inner values of the output layers to read."""
    first = compare(EXPECTED, replace(EXPECTED, logits=EXPECTED.logits + 1), WIDTHS).first
    assert first is not None
    with FakeDevice(machine=Twin(ARTEFACT, None)) as fake:
        device = Device(serial.Serial(fake.port), "fake")
        assert locate(device, ARTEFACT, FEATURES, first) is first
        device.close()
