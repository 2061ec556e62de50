"""
Waveform to raw features, before offset and gain.

Every named value is an integer, so that a front end on the chip can follow:

    s[n]    int16, sample n of the frame; W samples, zeros after the end of the clip
    N       FFT points: the smallest power of two not below W

    magnitude (Amoh and Odame 2019, section 4: no window function, no logarithm)
    re, im  round(X[k] / N), X the DFT of s padded with zeros: what a Q15 FFT gives that halves in each stage
    raw[k]  round(sqrt(re**2 + im**2)), k = 0 ... F-1, saturated to int16; Q15

    log-mel
    w[n]    round(32767 * (1 - cos(2 pi n / W)) / 2): Hann, Q15
    u[n]    (s[n] * w[n] + 2**14) >> 15
    re, im  round(16 * X[k] / N), X the DFT of u padded with zeros: four bits more than Q15
    p[k]    re**2 + im**2, at most 2**38 summed over k
    m[b, k] round(2**15 * triangle), corners equally spaced on the mel scale from low_hz to high_hz
    e[b]    sum over k of m[b, k] * p[k], below 2**53
    raw[b]  round(1024 * (log2(e[b] + 2**15) - 31)); Q10, one step is 0.003 dB; -16384 for silence

``round`` is to nearest, ties up.
"""

from __future__ import annotations

import functools
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError
from hil.fixed import saturate_int16

Number = TypeVar("Number", bound=np.generic)

FRACTION = 16
"""Extra resolution of the log-mel spectrum: at -40 dB a bin of speech is a few Q15 steps."""
LOG_FLOOR = 1 << 15
"""Added to the energy: the logarithm of silence is finite."""
LOG_UNIT = 1 << 10
"""Q10."""
LOG_ZERO = 31
"""Octaves subtracted, which keeps the logarithm of every energy below 2**53 within int16."""
TIE_SLACK = 2.0**-24
"""Added before rounding: a tie goes up even if a floating-point FFT ends just below it."""


def fft_points(window: int) -> int:
    """The smallest power of two that is not below ``window``."""
    return 1 << (window - 1).bit_length()


def frames_of(samples: npt.NDArray[np.int16], window: int, hop: int, frames: int) -> npt.NDArray[np.int16]:
    """
    Cut a clip into frames; zeros follow its end, what is over is left out.

    Args:
        samples: [N] int16.
        window, hop: Samples.
        frames: T.

    Returns:
        [T, window] int16.
    """
    needed = (frames - 1) * hop + window
    padded = np.zeros(needed, np.int16)
    padded[: samples.size] = samples[:needed]
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def magnitude(frames: npt.NDArray[np.int16], bands: int) -> tuple[npt.NDArray[np.int16], int]:
    """
    FFT magnitudes as the paper's.

    Args:
        frames: [T, W] int16.
        bands: F, bins counted from 0 Hz.

    Returns:
        [T, F] int16, Q15, and how many had to be clipped (a constant -1.0 only).
    """
    points = fft_points(frames.shape[1])
    re, im = _spectrum(frames, points, 1)
    return saturate_int16(_round(np.sqrt(re[:, :bands] ** 2 + im[:, :bands] ** 2)).astype(np.int64))


def log_mel(
    frames: npt.NDArray[np.int16], bands: int, rate_hz: int, low_hz: float, high_hz: float
) -> npt.NDArray[np.int16]:
    """
    Logarithm of the energy in mel bands.

    Args:
        frames: [T, W] int16.
        bands: F.
        rate_hz, low_hz, high_hz: Of the samples and of the bands.

    Returns:
        [T, F] int16, log2 in Q10.
    """
    window = frames.shape[1]
    points = fft_points(window)
    shaped = (frames.astype(np.int32) * hann_q15(window) + (1 << 14)) >> 15
    re, im = _spectrum(shaped, points, FRACTION)
    energy = (re**2 + im**2) @ mel_weights_q15(bands, points, rate_hz, low_hz, high_hz).T
    return _round(LOG_UNIT * (np.log2(energy + LOG_FLOOR) - LOG_ZERO)).astype(np.int16)


@functools.lru_cache(maxsize=8)
def hann_q15(window: int) -> npt.NDArray[np.int32]:
    """[W] int32, a Hann window of period W in Q15."""
    return _frozen(_round(32767 * (1 - np.cos(2 * np.pi * np.arange(window) / window)) / 2).astype(np.int32))


@functools.lru_cache(maxsize=8)
def mel_weights_q15(bands: int, points: int, rate_hz: int, low_hz: float, high_hz: float) -> npt.NDArray[np.float64]:
    """
    Triangles on the mel scale, ``mel = 2595 log10(1 + f / 700)`` (O'Shaughnessy 1987).

    Returns:
        [F, points / 2 + 1] float64 holding integers, Q15.

    Raises:
        UsageError: A band lies between two bins of the FFT.
    """
    low_mel, high_mel = (2595 * np.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    corners_hz = 700 * (10 ** (np.linspace(low_mel, high_mel, bands + 2) / 2595) - 1)
    bins_hz = np.arange(points // 2 + 1) * rate_hz / points
    left, centre, right = (corners_hz[i : bands + i, None] for i in range(3))
    rising, falling = (bins_hz - left) / (centre - left), (right - bins_hz) / (right - centre)
    weights = _round(32768 * np.clip(np.minimum(rising, falling), 0, 1))
    empty = np.flatnonzero(weights.sum(axis=1) == 0)
    if empty.size:
        band = int(empty[0])
        raise UsageError(
            f"features: mel band {band} ({left[band, 0]:.0f} to {right[band, 0]:.0f} Hz) lies between the bins of a "
            f"{points}-point FFT, which are {rate_hz / points:g} Hz apart: use fewer bands or a longer window"
        )
    return _frozen(weights)


def _spectrum(
    frames: npt.NDArray[np.int16] | npt.NDArray[np.int32], points: int, fraction: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Real and imaginary part of ``round(fraction * X / points)``, [T, points / 2 + 1], integers."""
    spectrum = np.fft.rfft(frames.astype(np.float64), points) * (fraction / points)
    return _round(spectrum.real), _round(spectrum.imag)


def _round(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rounded: npt.NDArray[np.float64] = np.floor(values + (0.5 + TIE_SLACK))
    return rounded


def _frozen(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    array.flags.writeable = False
    return array
