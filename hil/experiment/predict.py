"""What the cycle model says about a program that has run on a board: the same ELF, the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.experiment.progress import Progress
from hil.firmware import Firmware
from hil.rig import Rig, connect, predictor_of
from hil.trace import Trace


@dataclass(frozen=True)
class Prediction:
    """
    Steps of which both sides have a clean window, in order.

    Attributes:
        measured, predicted: Cycles.
    """

    measured: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()


def predict_run(
    rig: Rig, firmware: Firmware, inputs: Sequence[npt.NDArray[np.int16]], got: Sequence[Trace], progress: Progress
) -> Prediction:
    """
    Run the sequences of a board on its model as well.

    Args:
        rig: Where ``got`` comes from; of anything but a board nothing is predicted.
        firmware, inputs: What ran.
        got: The board's traces, as many as inputs.
        progress: Where to show it.

    Raises:
        HilError: The model failed.
    """
    model = predictor_of(rig)
    if model is None:
        return Prediction()
    measured: list[int] = []
    predicted: list[int] = []
    with model, progress.task(f"what the cycle model predicts for {rig.name}") as update:
        model.flash(firmware)
        device = connect(model, firmware).device
        for i, (x, trace) in enumerate(zip(inputs, got, strict=True)):
            said = device.run_sequence(x)
            clean = _clean(trace) & _clean(said)
            measured += _cycles(trace)[clean].tolist()
            predicted += _cycles(said)[clean].tolist()
            update(i + 1, len(got))
    return Prediction(tuple(measured), tuple(predicted))


def predict_bench(
    rig: Rig, firmware: Firmware, kernels: int, repeats: int, progress: Progress
) -> list[tuple[int, ...]]:
    """Cycles of each kernel's calls on the model of a board; empty where there is no board."""
    model = predictor_of(rig)
    if model is None:
        return []
    with model, progress.task(f"what the cycle model predicts for {rig.name}") as update:
        model.flash(firmware)
        device = connect(model, firmware).device
        said = []
        for i in range(kernels):
            said.append(device.bench(i, repeats).cycles)
            update(i + 1, kernels)
    return said


def error_percent(measured: float, predicted: float) -> float:
    """Of the prediction; positive: the model says more."""
    return 100 * (predicted - measured) / measured if measured else 0.0


def _cycles(trace: Trace) -> npt.NDArray[np.int64]:
    assert trace.cycles is not None
    return trace.cycles


def _clean(trace: Trace) -> npt.NDArray[np.bool_]:
    assert trace.interrupts is not None
    return np.asarray(trace.interrupts == 0)
