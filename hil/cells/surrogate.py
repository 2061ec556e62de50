"""What stands for the derivative of a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Surrogate:
    """
    What stands for the derivative of the step H at ``v = c - theta``: ``damping * max(0, 1 - support |v|)``.

    Attributes:
        damping: Height at the threshold.
        support: One over half the width of the triangle.
    """

    damping: float = 0.5
    support: float = 2.0

    def __call__(self, v: Tensor) -> Tensor:
        return (1 - self.support * v.abs()).clamp_(min=0).mul_(self.damping)
