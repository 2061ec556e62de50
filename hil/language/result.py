"""What a grid of language models gave: perplexity, activity and products by weight sparsity and activity."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TypeVar

from hil.config import from_table
from hil.errors import UsageError
from hil.language.recipe import Cell

T = TypeVar("T")
TIER = "host"
"""Of every number here (`hil.trace.Tier`): these networks are not on a device."""


@dataclass(frozen=True)
class MatrixCost:
    """
    What a matrix costs a word.

    Attributes:
        name: ``"layer.0.input"``, ``"layer.0.recurrent"``, ..., ``"readout"``.
        weights: All.
        nonzero: Those that are not 0.
        density: Mean share of its input vector that is not 0.
        products: Nonzero weights that meet a nonzero input, counted column by column, mean over words.
    """

    name: str
    weights: int
    nonzero: int
    density: float
    products: float

    @property
    def rule(self) -> float:
        """Nonzero weights x density: what ``products`` would be if pruning and speaking knew nothing of each other."""
        return self.nonzero * self.density


@dataclass(frozen=True)
class GridCell:
    """
    One network of the grid.

    Attributes:
        cell: ``"event_gru"`` or ``"lstm"``.
        target: Of activity; 1: left as it comes, and so for an LSTM.
        level: Share of zeros that was asked for.
        seed: Of training.
        units: Of each layer.
        epochs: Passes over the training text, trunk and branch together.
        valid_nats, test_nats: Mean negative logarithm of the probability of each word.
        activity: Mean share of units that speak at a word of the test text, by layer; 1 for an LSTM.
        matrices: Of the recurrent layers, on the test text.
        readout: Word vectors as readout, on the test text.
    """

    cell: Cell
    target: float
    level: float
    seed: int
    units: tuple[int, ...]
    epochs: float
    valid_nats: float
    test_nats: float
    activity: tuple[float, ...]
    matrices: tuple[MatrixCost, ...]
    readout: MatrixCost

    @property
    def valid_perplexity(self) -> float:
        return math.exp(self.valid_nats)

    @property
    def test_perplexity(self) -> float:
        return math.exp(self.test_nats)

    @property
    def weights(self) -> int:
        """Of the recurrent layers' matrices: the products of a word if nothing is left out."""
        return sum(matrix.weights for matrix in self.matrices)

    @property
    def nonzero(self) -> int:
        return sum(matrix.nonzero for matrix in self.matrices)

    @property
    def products(self) -> float:
        """Effective products of a word in the recurrent layers."""
        return sum(matrix.products for matrix in self.matrices)

    @property
    def share(self) -> float:
        """Products over those of the same network with nothing left out."""
        return self.products / self.weights

    @property
    def row(self) -> str:
        """Name of the grid's row."""
        return row_name(self.cell, self.target)


def row_name(cell: Cell, target: float) -> str:
    """``"lstm"``, ``"egru"``, or ``"egru-10"`` for a target of 10 % activity."""
    if cell == "lstm":
        return "lstm"
    return "egru" if target == 1 else f"egru-{100 * target:g}"


@dataclass(frozen=True)
class Combined:
    """
    A cell of the grid against the two savings alone, means over seeds.

    Attributes:
        row, level: The cell.
        activity_alone: Share of the dense network's products that its row leaves without zeros.
        weights_alone: Share that its zeros leave: that of its weights which are not 0.
        both: Share that both leave.
        activity_nats: Validation loss of its row without zeros, less that of the free row without zeros.
        weights_nats: Validation loss of the free row at its level, less the same.
        both_nats: Validation loss of the cell, less the same.
    """

    row: str
    level: float
    activity_alone: float
    weights_alone: float
    both: float
    activity_nats: float
    weights_nats: float
    both_nats: float

    @property
    def product(self) -> float:
        """What both would save if savings multiplied."""
        return self.activity_alone * self.weights_alone

    @property
    def ratio(self) -> float:
        """What is left over what multiplying would leave; 1: the savings multiply, above 1: they do less."""
        return self.both / self.product


@dataclass(frozen=True)
class Grid:
    """
    All networks of a recipe.

    Attributes:
        model: Name of the recipe.
        command: For the reader.
        words: Size of the vocabulary.
        lengths: Words of the training, validation and test text.
        cells: In the order of rows, levels, seeds.
        hashes: Of recipe, data, code; and the commit.
        versions: Of packages.
        seconds: Of training, by row and seed, on whatever else the machine did.
    """

    model: str
    command: str
    words: int
    lengths: tuple[int, ...]
    cells: tuple[GridCell, ...]
    hashes: dict[str, str]
    versions: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    tier: str = TIER

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(sorted({cell.level for cell in self.cells}))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({cell.seed for cell in self.cells}))

    def at(self, row: str, level: float) -> tuple[GridCell, ...]:
        """All seeds of a place in the grid."""
        return tuple(cell for cell in self.cells if cell.row == row and cell.level == level)

    def combined(self) -> tuple[Combined, ...]:
        """Every EGRU cell with zeros, against each saving alone; none without the row of free activity."""
        free = row_name("event_gru", 1)
        places = [(row, level) for row in self.rows if row != "lstm" for level in self.levels if level]
        return tuple(
            self._combine(free, row, level)
            for row, level in places
            if all(self.at(*place) for place in ((free, 0.0), (row, 0.0), (free, level), (row, level)))
        )

    def _combine(self, free: str, row: str, level: float) -> Combined:
        cells = self.at(row, level)
        start = self._nats(free, 0.0)
        return Combined(
            row,
            level,
            activity_alone=mean(cell.share for cell in self.at(row, 0.0)),
            weights_alone=mean(cell.nonzero / cell.weights for cell in cells),
            both=mean(cell.share for cell in cells),
            activity_nats=self._nats(row, 0.0) - start,
            weights_nats=self._nats(free, level) - start,
            both_nats=self._nats(row, level) - start,
        )

    def _nats(self, row: str, level: float) -> float:
        return mean(cell.valid_nats for cell in self.at(row, level))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def grid_from_json(text: str, where: Path | str = "grid.json") -> Grid:
    """Read what `Grid.to_json` wrote.  Raises `UsageError` naming what is wrong."""
    return _read(text, Grid, where)


def cell_to_json(cell: GridCell) -> str:
    return json.dumps(dataclasses.asdict(cell), indent=1) + "\n"


def cell_from_json(text: str, where: Path | str) -> GridCell:
    """Read what `cell_to_json` wrote.  Raises `UsageError` naming what is wrong."""
    return _read(text, GridCell, where)


def _read(text: str, into: type[T], where: Path | str) -> T:
    try:
        return from_table(json.loads(text), into, str(where))
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{where}: is no result of a language model or is corrupt ({error}). "
            "Make it again: `hil language grid MODEL`"
        ) from error
