"""A sound file for an emulated microphone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError


def read_for_microphone(path: Path, rate: int) -> tuple[npt.NDArray[np.int16], str]:
    """
    The samples of a file at the rate that a microphone is sampled at, and a note for people.

    Args:
        path: WAV, FLAC and whatever else libsndfile reads.
        rate: Samples a second.

    Returns:
        [N] int16, and what was done to get there.

    Raises:
        UsageError: It is missing, no sound, or empty.
    """
    from hil.datasets.audio import read_sounds

    if not path.is_file():
        raise UsageError(f"{path}: no such file; the microphone was to hear it")
    notes: list[str] = []
    (samples,) = read_sounds([path], path.parent, rate, skip_bad=False, notes=notes)
    if samples is None or samples.size == 0:
        raise UsageError(f"{path}: no sound in it for the microphone to hear")
    changed = f" ({'; '.join(notes)})" if notes else ""
    return samples, f"its microphone hears {path}, {samples.size / rate:.3f} s at {rate:,} Hz{changed}"
