"""What holds event layers to a rate: a hinge above the target, and a pull on units that hardly ever speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hil.recipe import EventRecipe


@dataclass(frozen=True)
class EventTarget:
    """
    The regularizer of one stage of training.

    Attributes:
        recipe: Target, weights and ramp.
        ramped: The weights grow from 0; otherwise they are whole from the start.
    """

    recipe: EventRecipe
    ramped: bool

    def penalty(self, rates: Sequence[Tensor], done: float) -> Tensor:
        """
        What to add to the loss.

        Args:
            rates: [H] of each event layer, share of steps in which each unit fired.
            done: Share of the stage that is over, 0 to 1.
        """
        r = self.recipe
        grown = min(1.0, done / r.ramp) if self.ramped and r.ramp > 0 else 1.0
        terms = [
            r.strength * torch.relu(rate.mean() - r.activity)
            + r.least_strength * torch.relu(r.least_rate - rate).mean()
            for rate in rates
        ]
        return grown * torch.stack(terms).sum()
