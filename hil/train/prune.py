"""Weights that become 0 while a network trains, and stay so."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hil.cells import Network
from hil.cells.network import parameters_by_name
from hil.prune_recipe import PruneRecipe


class Pruning:
    """
    The zeros of a network's matrices.

    What is exactly 0 when it begins counts as pruned: so an earlier stage, or a checkpoint, hands its mask on in the
    weights themselves.  (A weight that was not pruned is drawn at random, and no update takes it to 0.0 exactly.)

    Args:
        network: Its matrices are pruned in place.
        recipe: How many, and when; None: what is 0 stays 0, and that is all.
    """

    def __init__(self, network: Network, recipe: PruneRecipe | None):
        self._network, self._recipe = network, recipe
        matrices = {name: p for name, p in parameters_by_name(network).items() if p.dim() == 2}
        self._chosen = [p for name, p in matrices.items() if recipe and name.split(".")[0] in recipe.layers]
        self._pruned: dict[int, Tensor] = {}
        self.read()

    def read(self) -> None:
        """Take what is 0 now as pruned."""
        found = {i: p.detach() == 0 for i, p in enumerate(self._network.parameters()) if p.dim() == 2}
        self._pruned = {i: zeros for i, zeros in found.items() if zeros.any()}

    @torch.no_grad()
    def advance(self, done: float) -> None:
        """
        Prune as many weights as the schedule wants.

        Args:
            done: Share of the stage that is over, 0 to 1.
        """
        if not self._recipe or not (share := self._recipe.share(done)):
            return
        count = round(share * sum(p.numel() for p in self._chosen))
        choose = smallest_weights if self._recipe.structure == "weights" else _smallest_columns
        for parameter, zeros in zip(self._chosen, choose(self._chosen, count), strict=True):
            parameter.masked_fill_(zeros, 0.0)
        self.read()

    @torch.no_grad()
    def keep(self, values: Sequence[Tensor]) -> None:
        """
        Put pruned weights back to 0.

        Args:
            values: Parameters of the network in its order, or what is shaped so.
        """
        for i, zeros in self._pruned.items():
            values[i].masked_fill_(zeros, 0.0)


def smallest_weights(matrices: Sequence[nn.Parameter], count: int) -> list[Tensor]:
    """Masks shaped as the matrices, of the ``count`` smallest magnitudes of all; of equal ones the first."""
    magnitudes = torch.cat([matrix.abs().flatten() for matrix in matrices])
    zeros = torch.zeros(len(magnitudes), dtype=torch.bool)
    zeros[magnitudes.argsort(stable=True)[:count]] = True
    parts = zeros.split([matrix.numel() for matrix in matrices])
    return [part.view_as(matrix) for part, matrix in zip(parts, matrices, strict=True)]


def _smallest_columns(matrices: Sequence[nn.Parameter], count: int) -> list[Tensor]:
    """Masks of whole columns with at most ``count`` weights in all, smallest root mean square first."""
    sizes = torch.cat([torch.full((matrix.shape[1],), matrix.shape[0]) for matrix in matrices])
    means = torch.cat([matrix.square().mean(dim=0) for matrix in matrices])
    order = means.argsort(stable=True)
    zeros = torch.zeros(len(means), dtype=torch.bool)
    zeros[order[sizes[order].cumsum(0) <= count]] = True
    parts = zeros.split([matrix.shape[1] for matrix in matrices])
    return [part.expand_as(matrix) for part, matrix in zip(parts, matrices, strict=True)]
