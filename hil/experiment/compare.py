"""A device against its twin: every state of every step, every output, and a name for the first difference."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact
from hil.errors import UsageError
from hil.experiment.result import Difference
from hil.link.device import Device
from hil.quant import run_twin
from hil.trace import Trace

OUTPUT = -1
"""Step and layer of the output layers in a `Difference`."""
UNKNOWN = -1
"""Layer and unit of a difference that a hash has shown."""


@dataclass(frozen=True)
class Comparison:
    """
    One sequence compared.

    Attributes:
        steps, steps_exact: Time steps, and those whose states are equal in every bit.
        output_exact: The logits are equal.
        first: The first difference in time, or None.
    """

    steps: int
    steps_exact: int
    output_exact: bool
    first: Difference | None


def compare(expected: Trace, got: Trace, widths: Sequence[int], sequence: int = 0) -> Comparison:
    """
    Compare every state of every step and every output.

    Args:
        expected: From the twin.
        got: From a device, with states, or with their running hash: then layer and unit of the first difference are
            `UNKNOWN` until `locate` has found them, every step after it counts as differing, and the number of
            differing values is that of the steps.
        widths: Units of each recurrent layer; the states of a step are these side by side.
        sequence: Index for the `Difference`.

    Raises:
        UsageError: The traces are not of the same sequence: their shapes differ.
    """
    if got.hashes is not None:
        return _compare_hashes(expected, got, sequence)
    for name in ("states_q15", "logits"):
        mine, theirs = getattr(expected, name), getattr(got, name)
        if mine.shape != theirs.shape:
            raise UsageError(f"cannot compare {name} of shape {list(theirs.shape)} with {list(mine.shape)} of the twin")
    wrong = expected.states_q15 != got.states_q15
    wrong_logits = expected.logits != got.logits
    saturated = int(expected.saturated != got.saturated)
    differing = int(wrong.sum() + wrong_logits.sum()) + saturated
    return Comparison(
        steps=len(wrong),
        steps_exact=int((~wrong.any(axis=1)).sum()),
        output_exact=not (wrong_logits.any() or saturated),
        first=_first(expected, got, widths, sequence, differing) if differing else None,
    )


def _first(expected: Trace, got: Trace, widths: Sequence[int], sequence: int, differing: int) -> Difference:
    compared = expected.states_q15.size + expected.logits.size + 1
    wrong = expected.states_q15 != got.states_q15
    if wrong.any():
        step, column = (int(i) for i in np.argwhere(wrong)[0])
        layer, unit = place(column, widths)
        values = int(expected.states_q15[step, column]), int(got.states_q15[step, column])
        return Difference(sequence, step, layer, unit, "state", *values, differing, compared)
    wrong_logits = np.flatnonzero(expected.logits != got.logits)
    if wrong_logits.size:
        unit = int(wrong_logits[0])
        values = int(expected.logits[unit]), int(got.logits[unit])
        return Difference(sequence, OUTPUT, OUTPUT, unit, "output", *values, differing, compared)
    return Difference(
        sequence, OUTPUT, OUTPUT, 0, "saturation count", expected.saturated, got.saturated, differing, compared
    )


def running_hashes(states_q15: npt.NDArray[np.int16]) -> npt.NDArray[np.uint32]:
    """[T] CRC-32 after each step of all states so far, as `hil.trace.Trace.hashes`.  Twin: ``put_detail`` of run.c."""
    crc, hashes = 0, np.zeros(len(states_q15), np.uint32)
    for step, states in enumerate(states_q15.astype("<i2")):
        crc = zlib.crc32(states.tobytes(), crc)
        hashes[step] = crc
    return hashes


def _compare_hashes(expected: Trace, got: Trace, sequence: int) -> Comparison:
    assert got.hashes is not None
    steps = len(expected.states_q15)
    if len(got.hashes) != steps or got.logits.shape != expected.logits.shape:
        raise UsageError(f"cannot compare {len(got.hashes)} steps with {steps} of the twin")
    hashes = running_hashes(expected.states_q15)
    wrong = np.flatnonzero(hashes != got.hashes)
    exact = int(wrong[0]) if wrong.size else steps
    output = np.array_equal(expected.logits, got.logits) and expected.saturated == got.saturated
    first = None
    if exact < steps:
        values = int(hashes[exact]), int(got.hashes[exact])
        first = Difference(sequence, exact, UNKNOWN, UNKNOWN, "hash of the states", *values, steps - exact, steps)
    elif not output:
        first = compare(expected, replace(got, states_q15=expected.states_q15, hashes=None), (), sequence).first
    return Comparison(steps, exact, output, first)


def place(column: int, widths: Sequence[int]) -> tuple[int, int]:
    """Layer and unit of a column of the states.  Raises `UsageError` beyond the last."""
    for layer, width in enumerate(widths):
        if column < width:
            return layer, column
        column -= width
    raise UsageError(f"no layer has that state: {column} beyond the last of {list(widths)}")


def locate(
    device: Device, artefact: Artefact, features: npt.NDArray[np.int16], difference: Difference
) -> Difference | None:
    """
    Run a sequence again up to a differing step, and name the operation that went wrong first.

    Args:
        device: Open, running the artefact's firmware.
        artefact: The model.
        features: [T, D] int16, the sequence.
        difference: Its first difference.

    Returns:
        The difference with ``operation`` accumulator, gate, candidate, event (a unit fired or did not), output (it
        fired with another value) or state, and that operation's layer, unit and values; unchanged if it is in the
        output layers; None if everything is right the second time.
    """
    if difference.step < 0:
        return difference
    until = features[: difference.step + 1]
    expected = run_twin(artefact, until, detail=True).layers
    device.replay(until)
    for layer, mine in enumerate(expected):
        theirs = device.inspect(layer)
        for operation, name, _, _ in mine.INNER:
            want, got = getattr(mine, name)[-1], getattr(theirs, name)[-1]
            wrong = np.flatnonzero(want != got)
            if wrong.size:
                unit = int(wrong[0])
                if operation == "event" and want[unit] and got[unit]:
                    operation = "output"
                return replace(
                    difference,
                    layer=layer,
                    unit=unit % mine.h_q15.shape[1],
                    operation=operation,
                    expected=int(want[unit]),
                    got=int(got[unit]),
                )
    return None
