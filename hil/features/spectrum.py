"""
Waveform to raw features, before offset and gain, in integers alone.

    s[n]    int16, sample n of the frame; W samples, zeros after the end of the clip
    N       FFT points: the smallest power of two not below W
    shift   the largest with max |s[n]| << shift <= PEAK, at most 15; 15 for a frame of zeros

    magnitude (Amoh and Odame 2019, section 4: no window function, no logarithm)
    u[n]    s[n] << shift
    p[k]    |U[k] / N|**2, by the fixed-point FFT below
    raw[k]  (round(sqrt(p[k])) + half) >> shift, half = 2**shift / 2, saturated to int16; Q15

    log-mel
    w[n]    round(32767 * (1 - cos(2 pi n / W)) / 2): Hann, Q15
    u[n]    (s[n] * w[n] + half) >> (15 - shift)
    p[k]    as above
    up[k]   p[k] * rise[k] >> 16, the share of the band that rises at bin k;  down[k] = (p[k] >> 1) - up[k]
    e[b]    sum of up over segment b and of down over segment b + 1 (`hil.features.tables.MelBands`)
    floor   max(1, 2**(2 shift - 9)): of the power of noise of one step, so that silence has a logarithm
    raw[b]  log2(e[b] + floor) - (7 + 2 shift), Q10, by table; one step is 0.003 dB; -16384 for silence

Everything fits int32 (p and e: uint32); the bounds stand in firmware/frontend/fft.h.

Twin:
    ``firmware/frontend/fft.c``, ``frontend.c`` and ``log2.c``.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from hil.features.tables import LOG_STEPS, fft_points, hann_q15, log2_q16, mel_bands, twiddles_q14
from hil.fixed import saturate_int16

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

PEAK = 65_000
"""Largest magnitude that goes into the FFT: below 2**16 by what its roundings can add."""
MAX_SHIFT = 15
LOG_ZERO = 7
"""Octaves that are subtracted, with twice the shift: raw is then the same for a frame whatever its shift."""
FLOOR_SHIFT = 9
_TWIDDLE_HALF, _TWIDDLE_SHIFT = 1 << 13, 14


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
    return np.lib.stride_tricks.sliding_window_view(padded(samples, window, hop, frames), window)[::hop]


def padded(samples: npt.NDArray[np.int16], window: int, hop: int, frames: int) -> npt.NDArray[np.int16]:
    """The samples that T frames take, ``(T - 1) * hop + window``: zeros follow the end of a clip, the rest is cut."""
    needed = (frames - 1) * hop + window
    whole = np.zeros(needed, np.int16)
    whole[: samples.size] = samples[:needed]
    return whole


def magnitude(frames: npt.NDArray[np.int16], bands: int) -> tuple[npt.NDArray[np.int16], int]:
    """
    FFT magnitudes as the paper's.

    Args:
        frames: [T, W] int16.
        bands: F, bins counted from 0 Hz.

    Returns:
        [T, F] int16, Q15, and how many had to be clipped (a constant -1.0 only).
    """
    shift = _shifts(frames)[:, None]
    power = real_power(_padded_frames(frames.astype(np.int32) << shift))[:, :bands]
    return saturate_int16((_sqrt(power) + ((1 << shift) >> 1)) >> shift)


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
    shift = _shifts(frames)[:, None]
    down = MAX_SHIFT - shift
    shaped = (frames.astype(np.int32) * hann_q15(window) + ((1 << down) >> 1)) >> down
    power = real_power(_padded_frames(shaped.astype(np.int32)))
    mel = mel_bands(bands, points, rate_hz, low_hz, high_hz)
    first, last = int(mel.edge[0]), int(mel.edge[-1])
    power = power[:, first:last]
    rising = (power * mel.rise_q15) >> 16
    energy = _segment_sums(rising, mel.edge)[:, :-1] + _segment_sums((power >> 1) - rising, mel.edge)[:, 1:]
    floor = np.maximum(1, (np.int64(1) << (2 * shift)) >> FLOOR_SHIFT)
    return (log2_q10(energy + floor) - ((LOG_ZERO + 2 * shift) << 10)).astype(np.int16)


def log2_q10(values: Int64) -> Int64:
    """
    Base-2 logarithm of integers from 1 to 2**32 - 1, Q10: a table of 32 intervals, linear in between.

    Twin:
        ``log2_q10`` of firmware/frontend/log2.c.
    """
    table = log2_q16().astype(np.int64)
    whole = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1  # exact: values are below 2**53
    mantissa = values << (31 - whole)
    i, f = (mantissa >> 26) & (LOG_STEPS - 1), (mantissa >> 10) & 0xFFFF
    y_q16 = table[i] + (((table[i + 1] - table[i]) * f + (1 << 15)) >> 16)
    result: Int64 = (whole << 10) + ((y_q16 + (1 << 5)) >> 6)
    return result


def real_power(u: Int32) -> Int64:
    """
    ``|U[k] / N|**2`` of real sequences: a complex FFT of half the length that halves in each of its stages.

    Args:
        u: [T, N] int32, magnitudes at most `PEAK`; N a power of two, at least 2.

    Returns:
        [T, N / 2 + 1] int64, below 2**32.

    Twin:
        ``fft_real_power`` of firmware/frontend/fft.c.
    """
    half_points = u.shape[1] // 2
    order = _bit_reversed(half_points)
    re, im = u[:, 0::2][:, order], u[:, 1::2][:, order]
    twiddles = twiddles_q14(u.shape[1])
    half = 1
    while half < half_points:
        re, im = _stage(re, im, half, twiddles[:: half_points // half])
        half *= 2
    return _split(re, im, twiddles)


def _stage(re: Int32, im: Int32, half: int, twiddles: Int32) -> tuple[Int32, Int32]:
    shape = (re.shape[0], -1, 2, half)
    re, im = re.reshape(shape), im.reshape(shape)
    t_re, t_im = _turned(re[:, :, 1], im[:, :, 1], twiddles)
    a_re, a_im = re[:, :, 0] + 1, im[:, :, 0] + 1
    out_re = np.stack([(a_re + t_re) >> 1, (a_re - t_re) >> 1], axis=2)
    out_im = np.stack([(a_im + t_im) >> 1, (a_im - t_im) >> 1], axis=2)
    return out_re.reshape(shape[0], -1), out_im.reshape(shape[0], -1)


def _split(re: Int32, im: Int32, twiddles: Int32) -> Int64:
    """The spectrum of the N real values out of that of the N / 2 complex ones, squared."""
    points = re.shape[1]
    k = np.arange(1, points // 2 + 1)
    a_re, a_im = re[:, k] + re[:, points - k], im[:, k] - im[:, points - k]
    t_re, t_im = _turned(im[:, k] + im[:, points - k], re[:, points - k] - re[:, k], twiddles[k])
    power = np.zeros((re.shape[0], points + 1), np.int64)
    power[:, 0] = _squares((re[:, 0] + im[:, 0] + 1) >> 1, 0)
    power[:, points] = _squares((re[:, 0] - im[:, 0] + 1) >> 1, 0)
    power[:, k] = _squares((a_re + t_re + 2) >> 2, (a_im + t_im + 2) >> 2)
    power[:, points - k] = _squares((a_re - t_re + 2) >> 2, (t_im - a_im + 2) >> 2)
    return power


def _turned(re: Int32, im: Int32, twiddles: Int32) -> tuple[Int32, Int32]:
    w_re, w_im = twiddles[: re.shape[-1], 0], twiddles[: re.shape[-1], 1]
    turned_re = (re * w_re - im * w_im + _TWIDDLE_HALF) >> _TWIDDLE_SHIFT
    turned_im = (re * w_im + im * w_re + _TWIDDLE_HALF) >> _TWIDDLE_SHIFT
    return turned_re, turned_im


def _squares(re: Int32, im: Int32 | int) -> Int64:
    wide = np.asarray(im, np.int64)
    return re.astype(np.int64) ** 2 + wide**2


@functools.lru_cache(maxsize=8)
def _bit_reversed(count: int) -> npt.NDArray[np.int64]:
    order = np.zeros(1, np.int64)
    while order.size < count:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def _shifts(frames: npt.NDArray[np.int16]) -> Int32:
    """[T] the left shift of each frame."""
    peak = np.abs(frames.astype(np.int32)).max(axis=1)
    steps = np.arange(1, MAX_SHIFT + 1)
    shifts: Int32 = ((peak[:, None] << steps) <= PEAK).sum(axis=1).astype(np.int32)
    return shifts


def _padded_frames(u: Int32) -> Int32:
    out = np.zeros((u.shape[0], fft_points(u.shape[1])), np.int32)
    out[:, : u.shape[1]] = u
    return out


def _sqrt(power: Int64) -> Int64:
    """Square roots of integers below 2**32, rounded to nearest."""
    root = np.sqrt(power.astype(np.float64)).astype(np.int64)  # exact floor: 32 bits are far below 53
    return root + (power - root * root > root)


def _segment_sums(values: Int64, edge: npt.NDArray[np.int32]) -> Int64:
    """[T, F + 1] sums over each segment; an empty one is 0."""
    total = np.concatenate([np.zeros((values.shape[0], 1), np.int64), np.cumsum(values, axis=1)], axis=1)
    return np.diff(total[:, edge - edge[0]], axis=1)
