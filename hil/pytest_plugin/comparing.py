"""A device's trace against its twin, or against a reference within so many steps; differences have names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError
from hil.experiment.compare import UNKNOWN, compare, locate, place
from hil.trace import Trace

if TYPE_CHECKING:
    from hil.pytest_plugin.bench import BenchRig, Model


class NotBitExact(AssertionError):
    """A trace differs from its twin."""


class NotClose(AssertionError):
    """A trace is further from its reference than allowed."""


@dataclass(frozen=True)
class Origin:
    """
    Where a trace came from.

    Attributes:
        model: The model.
        rig: Where it ran.
        features: [T, D] int16, what went in.
        sequence: Counted from 0 within the test.
        nodeid: Of the test.
    """

    model: Model
    rig: BenchRig
    features: npt.NDArray[np.int16]
    sequence: int
    nodeid: str


@dataclass(frozen=True)
class DeviceTrace(Trace):
    """
    A trace that knows where it came from.

    Attributes:
        origin: What it takes to name a difference.
    """

    origin: Origin | None = None


def assert_bit_exact(trace: Trace, twin: Trace) -> None:
    """
    Every state of every step, every output and the count of clipped sums equal the twin's.

    A trace of the fixture `stream` is run again up to the first difference, to name layer, unit and operation; a long
    one has a running hash in place of its states, whose first wrong value is the first wrong step.

    Args:
        trace: From a device.
        twin: From `hil.quant.run_twin`.

    Raises:
        NotBitExact: With model, sequence, step, layer, unit and operation of the first difference, expected and got,
            how many values differ, and the command that repeats it.
        UsageError: They are not of the same sequence.
    """
    origin = trace.origin if isinstance(trace, DeviceTrace) else None
    widths = [layer.units for layer in origin.model.artefact.recurrent] if origin else [twin.states_q15.shape[1]]
    comparison = compare(twin, trace, widths, origin.sequence if origin else 0)
    first = comparison.first
    if first is None:
        return
    notes = [f"{comparison.steps_exact} of {comparison.steps} steps are equal"]
    if origin is not None and first.step >= 0:
        located = locate(origin.rig.device, origin.model.artefact, origin.features, first)
        if located is None:
            notes.append("when the sequence was repeated up to that step, everything was right")
        first = located or first
    if first.layer == UNKNOWN and first.step >= 0:
        text = f"step {first.step}: the states differ from the twin's, and perhaps those after it"
    else:
        text = str(first)
    raise NotBitExact("\n".join([_whose(origin) + text, "; ".join(notes), _repeat(origin)]).strip())


def assert_close(trace: Trace, reference: Trace, *, lsb: int) -> None:
    """
    States and outputs are at most ``lsb`` steps of Q15 from a reference's.

    Args:
        trace: From a device, with states.
        reference: Whatever it is held to.
        lsb: Steps of 2**-15.

    Raises:
        NotClose: Names the worst value, and how many are too far.
        UsageError: They are not of the same sequence, or the trace has hashes in place of states.
    """
    if trace.hashes is not None:
        raise UsageError("a trace with hashes cannot be compared within steps: stream(x, detail=Detail.STATES)")
    origin = trace.origin if isinstance(trace, DeviceTrace) else None
    for name in ("states_q15", "logits"):
        mine, theirs = getattr(reference, name), getattr(trace, name)
        if mine.shape != theirs.shape:
            raise UsageError(f"cannot compare {name} of shape {list(theirs.shape)} with {list(mine.shape)}")
        distance = np.abs(mine.astype(np.int64) - theirs.astype(np.int64))
        if not distance.size or distance.max() <= lsb:
            continue
        index = np.unravel_index(int(distance.argmax()), distance.shape)
        where = f"output {index[0]}"
        if name == "states_q15":
            widths = [r.units for r in origin.model.artefact.recurrent] if origin else [mine.shape[1]]
            layer, unit = place(int(index[1]), widths)
            where = f"step {index[0]}, layer {layer}, unit {unit}"
        raise NotClose(
            f"{_whose(origin)}{where}: {int(theirs[index])} is {int(distance.max())} steps from {int(mine[index])}, "
            f"allowed are {lsb} ({int((distance > lsb).sum())} of {distance.size} values are too far)\n"
            f"{_repeat(origin)}"
        )


def _whose(origin: Origin | None) -> str:
    return f"{origin.model.name} on {origin.rig.name} ({origin.rig.tier.value}): " if origin else ""


def _repeat(origin: Origin | None) -> str:
    return f"repeat: pytest '{origin.nodeid}' --rig {origin.rig.asked}" if origin else ""
