"""What a network has to do: weights that are not 0, how often their inputs are, and the products that are left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, RecurrentLayer
from hil.quant import taken_inputs
from hil.trace import Trace


@dataclass(frozen=True)
class Matrix:
    """
    The weights that one kind of input meets in one layer.

    Attributes:
        name: Such as ``"recurrent.0, inputs"``, ``"recurrent.0, state"`` or ``"dense.1"``.
        weights, nonzero: Number of weights, and of those that are not 0.
        density: Mean share of its inputs that are not 0; of inputs that are held (`Artefact.hold_q15`) the share that
            changed, which is all that kernel ``deltas`` visits.  Of a state: that of the layer's outputs.  Of a dense
            layer 1: it runs once a sequence, and no kernel of it leaves inputs out.
        per: ``"step"``, or ``"output"``: once a sequence.
    """

    name: str
    weights: int
    nonzero: int
    density: float
    per: str = "step"

    @property
    def macs(self) -> float:
        """Effective multiply-accumulates: nonzero weights times the density of their inputs."""
        return self.nonzero * self.density


def matrices_of(
    artefact: Artefact,
    x: npt.NDArray[np.int16],
    traces: Sequence[Trace],
    lengths: npt.NDArray[np.int64] | None = None,
) -> tuple[Matrix, ...]:
    """
    The matrices of a model in order of computation.

    Args:
        artefact: The model.
        x: [N, T, D] inputs.
        traces: What the twin gave for them; their `activity` counts.
        lengths: [N] steps of each; None: all T.
    """
    activity = np.mean([trace.activity for trace in traces], axis=0)
    if artefact.hold_q15:
        x = np.diff(taken_inputs(artefact, x), axis=1, prepend=np.int16(0))
    if lengths is not None:
        x = x[np.arange(x.shape[1]) < lengths[:, None]]
    density = float(np.count_nonzero(x) / x.size)
    found = []
    for i, layer in enumerate(artefact.recurrent):
        for part, columns, share in zip(("inputs", "state"), _columns(layer), (density, activity[i]), strict=True):
            found.append(_matrix(f"recurrent.{i}, {part}", columns, float(share)))
        density = float(activity[i])
    dense = [_matrix(f"dense.{i}", [layer.rows.weight], 1.0, "output") for i, layer in enumerate(artefact.dense)]
    return (*found, *dense)


def step_macs(matrices: Sequence[Matrix]) -> float:
    """Effective multiply-accumulates of a step of all recurrent layers."""
    return sum(matrix.macs for matrix in matrices if matrix.per == "step")


def step_weights(matrices: Sequence[Matrix]) -> int:
    """Weights of all recurrent layers: what a dense step multiplies with."""
    return sum(matrix.weights for matrix in matrices if matrix.per == "step")


def zero_share(matrices: Sequence[Matrix]) -> float:
    """Share of all weights that are 0, dense layers included."""
    return 1 - sum(matrix.nonzero for matrix in matrices) / sum(matrix.weights for matrix in matrices)


def _matrix(name: str, parts: Sequence[npt.NDArray[np.int8]], density: float, per: str = "step") -> Matrix:
    return Matrix(name, sum(p.size for p in parts), sum(int(np.count_nonzero(p)) for p in parts), density, per)


def _columns(layer: RecurrentLayer) -> Iterator[list[npt.NDArray[np.int8]]]:
    """The weights of a layer's inputs, then those of its state, whatever matrices the cell keeps them in."""
    inputs, state = [], []
    for name, rows in layer.matrices("").items():
        if name.endswith("candidate_x"):
            inputs.append(rows.weight)
        elif name.endswith("candidate_h"):
            state.append(rows.weight)
        else:
            inputs.append(rows.weight[:, : layer.inputs])
            state.append(rows.weight[:, layer.inputs :])
    yield inputs
    yield state
