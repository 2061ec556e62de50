"""Additive noise of unit power."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

KINDS = ("white", "pink", "brown", "hum", "crackle")
"""Of equal probability."""


def noise(kind: str, count: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """
    Noise with a mean square of 1.

    Args:
        kind: One of `KINDS`.  Pink and brown: power falls as 1/f and 1/f**2 above 20 Hz.
            Hum: mains at 50 or 60 Hz with harmonics, on weak white noise.  Crackle: short
            decaying clicks on weak white noise.
        count: Samples, at least 1.
        rate_hz: Sampling rate.
        rng: Source of randomness.

    Returns:
        [count] float64.
    """
    if kind == "hum":
        wave = _hum(count, rate_hz, rng) + 0.2 * rng.standard_normal(count)
    elif kind == "crackle":
        wave = _crackle(count, rate_hz, rng) + 0.2 * rng.standard_normal(count)
    else:
        wave = _coloured({"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], count, rate_hz, rng)
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-9)


def _coloured(exponent: float, count: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Gaussian noise whose amplitude falls as f**-exponent above 20 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency_hz = np.fft.rfftfreq(count, 1 / rate_hz)
    return np.fft.irfft(spectrum * np.maximum(frequency_hz, 20.0) ** -exponent, count)


def _hum(count: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    mains_hz = float(rng.choice([50.0, 60.0])) * rng.uniform(0.995, 1.005)
    seconds = np.arange(count) / rate_hz
    wave = np.zeros(count)
    for harmonic in range(1, 16):
        if harmonic * mains_hz < rate_hz / 2:
            amplitude = rng.exponential() / harmonic
            wave += amplitude * np.sin(2 * np.pi * (harmonic * mains_hz * seconds + rng.uniform()))
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-9)


def _crackle(count: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    clicks = np.where(rng.uniform(size=count) < 40 / rate_hz, rng.standard_normal(count), 0.0)
    decay = np.exp(-np.arange(rate_hz // 100 + 1) / (rate_hz * 0.002))
    ringing = decay * np.cos(2 * np.pi * rng.uniform(0.05, 0.4) * np.arange(decay.size))
    wave = np.convolve(clicks, ringing)[:count]
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-3)
