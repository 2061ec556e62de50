"""Which weights become 0 for good, and when.  Table [prune]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hil.errors import UsageError

PARTS = ("recurrent", "dense")


@dataclass(frozen=True)
class PruneRecipe:
    """
    Iterative magnitude pruning, global over the layers named; biases and thresholds stay.

    A pruned weight is exactly 0 from then on, in every later stage as well.

    Attributes:
        sparsity: Share of the weights of these layers that is pruned in the end; 0: none.  3-bit weights have zeros
            of their own besides, so the artefact has more.
        structure: ``"weights"``: the smallest ones.  ``"columns"``: whole columns of a matrix (everything that one
            input or unit adds to a layer), those of the smallest root mean square.
        layers: ``"recurrent"``, ``"dense"`` or both.
        stage: Of training in which weights are pruned: ``"float"`` or ``"quantized"``.
        begin, end: Shares of that stage: the pruned share grows from 0 to `sparsity` between them, along a cubic that
            is steep at first; what is left of the stage trains with all zeros fixed.

    Source:
        Zhu and Gupta 2017, "To prune, or not to prune", equation 1, with weights that are pruned in every update.
    """

    sparsity: float = 0.0
    structure: Literal["weights", "columns"] = "weights"
    layers: tuple[str, ...] = PARTS
    stage: Literal["float", "quantized"] = "quantized"
    begin: float = 0.0
    end: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise UsageError(f"prune.sparsity = {self.sparsity}: must be at least 0 and below 1")
        if not 0 <= self.begin < self.end <= 1:
            raise UsageError(f"prune: need 0 <= begin < end <= 1, got {self.begin} and {self.end}")
        if not self.layers or set(self.layers) - set(PARTS):
            raise UsageError(f"prune.layers = {list(self.layers)}: name {' or '.join(map(repr, PARTS))}, or both")

    def share(self, done: float) -> float:
        """Pruned share when ``done`` of the stage, 0 to 1, is over."""
        left = 1 - min(1.0, max(0.0, (done - self.begin) / (self.end - self.begin)))
        return self.sparsity * (1 - left**3)

    def final_epoch(self, epochs: int) -> int:
        """The first epoch, counted from 1, at whose end everything is pruned; 0 without pruning."""
        return max(1, math.ceil(self.end * epochs)) if self.sparsity else 0
