"""
Constants of the front ends: computed here once, compiled into the firmware by `hil.codegen`.

No constant depends on a sample, so the host's floating point decides nothing on the device.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError

Number = TypeVar("Number", bound=np.generic)

TWIDDLE_ONE = 1 << 14
"""1.0 in Q14: exact, so that a factor of 1 or -j changes nothing."""
LOG_STEPS = 32
"""Intervals of the table of log2(1 + f), 0 <= f < 1: linear in between, at most 1.8e-4 from the real function."""
WEIGHT_ONE = 1 << 15


def fft_points(window: int) -> int:
    """The smallest power of two that is not below ``window``."""
    return 1 << (window - 1).bit_length()


@functools.lru_cache(maxsize=8)
def hann_q15(window: int) -> npt.NDArray[np.int32]:
    """[W] int32, a Hann window of period W in Q15."""
    return _frozen(_round(32767 * (1 - np.cos(2 * np.pi * np.arange(window) / window)) / 2).astype(np.int32))


@functools.lru_cache(maxsize=8)
def twiddles_q14(points: int) -> npt.NDArray[np.int32]:
    """[N / 2, 2] int32, ``exp(-2 pi i k / N)`` as real and imaginary part in Q14; as long as the FFT needs."""
    angles = 2 * np.pi * np.arange(points // 2) / points
    return _frozen(_round(TWIDDLE_ONE * np.stack([np.cos(angles), -np.sin(angles)], axis=1)).astype(np.int32))


@functools.lru_cache(maxsize=1)
def log2_q16() -> npt.NDArray[np.int32]:
    """[33] int32, ``log2(1 + k / 32)`` in Q16."""
    return _frozen(_round((1 << 16) * np.log2(1 + np.arange(LOG_STEPS + 1) / LOG_STEPS)).astype(np.int32))


@dataclass(frozen=True)
class MelBands:
    """
    Triangles that share their corners: where band ``b`` rises, band ``b - 1`` falls by the same weight.

    Attributes:
        edge: [F + 2] int32; segment ``s`` is the bins ``edge[s]`` to ``edge[s + 1] - 1``, between corners s and s + 1.
        rise_q15: [edge[F + 1] - edge[0]] int32, weight of each bin in the band that rises there; 2**15 at its centre.
    """

    edge: npt.NDArray[np.int32]
    rise_q15: npt.NDArray[np.int32]


@functools.lru_cache(maxsize=8)
def mel_bands(bands: int, points: int, rate_hz: int, low_hz: float, high_hz: float) -> MelBands:
    """
    Corners equally spaced on the mel scale, ``mel = 2595 log10(1 + f / 700)`` (O'Shaughnessy 1987).

    Raises:
        UsageError: A band lies between two bins of the FFT.
    """
    low_mel, high_mel = (2595 * np.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    corners_hz = 700 * (10 ** (np.linspace(low_mel, high_mel, bands + 2) / 2595) - 1)
    bins_hz = np.arange(points // 2 + 1) * rate_hz / points
    edge = np.searchsorted(bins_hz, corners_hz, side="right").astype(np.int32)
    inside = np.arange(edge[0], edge[-1])
    segment = np.searchsorted(edge, inside, side="right") - 1
    start, width = corners_hz[segment], np.diff(corners_hz)[segment]
    rise = np.clip(_round(WEIGHT_ONE * (bins_hz[inside] - start) / width), 0, WEIGHT_ONE).astype(np.int32)
    _require_bins(edge, rise, corners_hz, rate_hz / points, points)
    return MelBands(_frozen(edge), _frozen(rise))


def mel_weights_q15(bands: int, points: int, rate_hz: int, low_hz: float, high_hz: float) -> npt.NDArray[np.int32]:
    """[F, N / 2 + 1] int32, the triangles of `mel_bands` as a matrix.  Raises as `mel_bands`."""
    mel = mel_bands(bands, points, rate_hz, low_hz, high_hz)
    weights = np.zeros((bands, points // 2 + 1), np.int32)
    for s in range(bands + 1):
        bins = slice(int(mel.edge[s]), int(mel.edge[s + 1]))
        rise = mel.rise_q15[bins.start - mel.edge[0] : bins.stop - mel.edge[0]]
        if s < bands:
            weights[s, bins] = rise
        if s > 0:
            weights[s - 1, bins] = WEIGHT_ONE - rise
    return weights


def _require_bins(
    edge: npt.NDArray[np.int32],
    rise: npt.NDArray[np.int32],
    corners_hz: npt.NDArray[np.float64],
    step_hz: float,
    points: int,
) -> None:
    for band in range(edge.size - 2):
        first, centre, last = (int(edge[band + i] - edge[0]) for i in range(3))
        if rise[first:centre].any() or (rise[centre:last] < WEIGHT_ONE).any():
            continue
        raise UsageError(
            f"features: mel band {band} ({corners_hz[band]:.0f} to {corners_hz[band + 2]:.0f} Hz) lies between the "
            f"bins of a {points}-point FFT, which are {step_hz:g} Hz apart: use fewer bands or a longer window"
        )


def _round(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rounded: npt.NDArray[np.float64] = np.floor(values + 0.5)
    return rounded


def _frozen(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    array.flags.writeable = False
    return array
