"""One decision for a clip that was cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.clip import Clip


def clip_name(window: Clip) -> str:
    """The name of the clip that a window was cut from (its own, if it is a whole clip)."""
    return window.name.rsplit("#", 1)[0]


def vote(
    windows: Sequence[Clip], logits: npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """
    Each window votes for the label with its largest logit; of equal votes the larger sum of logits wins.

    Args:
        windows: N windows of clips.
        logits: [N, L], of a float model or of the device.

    Returns:
        Clip names in order of first appearance; [C] int64, the clips' labels; [C] int64, the labels voted for.
    """
    if len(windows) != len(logits):
        raise ValueError(f"{len(windows)} windows, {len(logits)} rows of logits")
    members: dict[str, list[int]] = {}
    for index, window in enumerate(windows):
        members.setdefault(clip_name(window), []).append(index)
    labels = [windows[rows[0]].label for rows in members.values()]
    voted = [_winner(logits[rows]) for rows in members.values()]
    return tuple(members), np.array(labels, np.int64), np.array(voted, np.int64)


def _winner(logits: npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]) -> int:
    votes = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
    sums = logits.sum(axis=0, dtype=np.float64)
    return int(np.where(votes == votes.max(), sums, -np.inf).argmax())
