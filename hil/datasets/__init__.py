"""Labelled clips: made or read, split by speaker."""

from __future__ import annotations

from collections.abc import Callable

from hil.clip import Dataset
from hil.datasets.store import load_saved_dataset, save_dataset
from hil.datasets.synthetic import load_synthetic
from hil.recipe import DataRecipe

__all__ = ["load_dataset", "load_saved_dataset", "save_dataset"]


def load_dataset(recipe: DataRecipe, rate_hz: int, *, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """
    Three disjoint sets of clips; the same recipe and rate give the same samples.

    Args:
        recipe: The source and its settings.
        rate_hz: Sampling rate of the clips.
        progress: Called with the number of clips done and to do.

    Raises:
        UsageError: The recipe cannot be carried out, or a library is missing (which one is said).
        ToolError: The speech synthesizer failed.
    """
    return {"synthetic-keywords": load_synthetic}[recipe.source](recipe, rate_hz, progress)
