"""The features of a set of clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FeatureSet:
    """
    The features of a set of clips.

    Attributes:
        x: [N, T, F] int16, Q15.
        y: [N] int64, labels.
        names: [N] names of the clips.
        saturated: Values of ``x`` that had to be clipped.
        lengths: [N] int64, steps of each clip, 1 to T; what is behind them is 0 and means nothing.
            None: all clips have T steps.
    """

    x: npt.NDArray[np.int16]
    y: npt.NDArray[np.int64]
    names: tuple[str, ...]
    saturated: int
    lengths: npt.NDArray[np.int64] | None = None

    def sequence(self, i: int) -> npt.NDArray[np.int16]:
        """[T, F] int16, features of one clip."""
        return self.x[i] if self.lengths is None else self.x[i, : int(self.lengths[i])]

    @property
    def steps(self) -> npt.NDArray[np.int16]:
        """[M, F] int16, the vectors of all clips, one after the other, without what is behind their ends."""
        if self.lengths is None:
            return self.x.reshape(-1, self.x.shape[2])
        return self.x[np.arange(self.x.shape[1]) < self.lengths[:, None]]

    def chosen(self, rows: npt.NDArray[np.int64]) -> FeatureSet:
        """The clips of these indices; nothing of them counts as clipped."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return FeatureSet(self.x[rows], self.y[rows], tuple(self.names[i] for i in rows), 0, lengths)
