"""
Clips to features: a raw spectrum (`hil.features.spectrum`), an offset per band, a gain.

``x = saturate((raw - offset) << gain_shift)``, int16 Q15.  Offsets and gain come from
the training set once and travel in the artefact; no clip is normalized by itself, which
a streaming device could not do.  With ``mean_shift`` the offset is a running mean (`centred`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hil.artefact import MAX_SHIFT, FrontEnd
from hil.clip import Clip
from hil.errors import UsageError
from hil.features.feature_set import FeatureSet
from hil.features.sequences import fit_sequences, scale_set
from hil.features.spectrum import frames_of, log_mel, magnitude
from hil.features.tables import fft_points, mel_bands
from hil.fixed import INT16_MAX, INT16_MIN, saturate_int16
from hil.recipe import FeatureRecipe

__all__ = [
    "FeatureSet",
    "FeatureStream",
    "centred",
    "extract",
    "extract_set",
    "fit_frontend",
    "fit_sequences",
    "frame_count",
    "scale_set",
]

Progress = Callable[[int, int], None]

MEAN_BITS = 8
"""Of a running mean, below one step of raw."""
SATURATED_PER_MILLE = 1
"""A fitted gain saturates at most this many of a thousand training values."""


def frame_count(recipe: FeatureRecipe, seconds: float) -> int:
    """
    Frames of a clip: one starts at each whole hop, the last ones reach into the padding.

    62 for 1 s at 8 kHz and a hop of 128.
    """
    return max(1, round(seconds * recipe.rate_hz) // recipe.hop)


def fit_frontend(
    recipe: FeatureRecipe, clips: Sequence[Clip], frames: int, *, progress: Progress | None = None
) -> FrontEnd:
    """
    Fix offset and gain on a training set.

    The offset is the mean of each band.  The gain is the recipe's, or the largest power
    of two with which at most 0.1 % of the values of ``clips`` saturate.

    Args:
        recipe: Kind and sizes.
        clips: The training set.
        frames: Feature vectors of a clip (`frame_count`).
        progress: Called with the number of clips done and to do.

    Raises:
        UsageError: The kind is no front end, no clips, a clip of another rate, more bins than the FFT has, or a mel
            band between two bins.
    """
    if recipe.kind == "sequence":
        raise UsageError("features of kind 'sequence' are not made of sound")
    if not clips:
        raise UsageError("a front end cannot be fitted to an empty training set")
    _check(recipe)
    plain = FrontEnd(
        kind=recipe.kind,
        rate_hz=recipe.rate_hz,
        window=recipe.window,
        hop=recipe.hop,
        low_hz=recipe.low_hz,
        high_hz=recipe.high_hz,
        frames=frames,
        gain_shift=0,
        offset=np.zeros(recipe.bands, np.int16),
    )
    raw = extract_set(clips, plain, progress=progress).x
    offset = np.rint(raw.mean(axis=(0, 1), dtype=np.float64)).astype(np.int16)
    fitted = replace(plain, offset=offset, mean_shift=recipe.running)
    gain_shift = _fitted_gain(centred(raw, fitted)) if recipe.gain_shift is None else recipe.gain_shift
    return replace(fitted, gain_shift=gain_shift)


def extract(samples: npt.NDArray[np.int16], frontend: FrontEnd) -> tuple[npt.NDArray[np.int16], int]:
    """
    Features of one recording.

    Args:
        samples: [N] int16 at ``frontend.rate_hz``; padded with zeros, or cut, to its frames.
        frontend: The fitted front end.

    Returns:
        [T, F] int16, Q15, and how many values had to be clipped.

    Raises:
        UsageError: The samples are not a vector of int16.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise UsageError(f"samples are {samples.ndim}-dimensional {samples.dtype}, expected a vector of int16")
    frames = frames_of(samples, frontend.window, frontend.hop, frontend.frames)
    raw, clipped = _raw(frames, frontend)
    x, saturated = saturate_int16(centred(raw, frontend).astype(np.int64) << frontend.gain_shift)
    return x, clipped + saturated


def centred(raw: npt.NDArray[np.int16], frontend: FrontEnd) -> npt.NDArray[np.int32]:
    """
    Raw features without their offset.

    With a ``mean_shift`` k the offset of a band is its mean so far, which every frame moves after it has been used:
    ``mean_q18 = offset << 8`` before the first frame; then ``offset = (mean_q18 + 2**7) >> 8`` and
    ``mean_q18 += ((raw << 8) - mean_q18 + 2**(k - 1)) >> k``.

    Args:
        raw: [..., T, F] int16; each [T, F] begins anew.
        frontend: Its offset and mean_shift.

    Returns:
        [..., T, F], below 2**17.

    Twin:
        ``centre`` of firmware/frontend/frontend.c.
    """
    if frontend.mean_shift == 0:
        return raw.astype(np.int32) - frontend.offset
    return _centred_from(raw, frontend.mean_shift, _first_mean(frontend, raw[..., 0, :].shape))


def _first_mean(frontend: FrontEnd, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    means: npt.NDArray[np.int32] = np.broadcast_to(frontend.offset.astype(np.int32) << MEAN_BITS, shape).copy()
    return means


def _centred_from(raw: npt.NDArray[np.int16], k: int, mean_q18: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """[..., T, F] against running means [..., F], which are moved along."""
    wide = raw.astype(np.int32)
    out = np.empty_like(wide)
    for t in range(wide.shape[-2]):
        out[..., t, :] = wide[..., t, :] - ((mean_q18 + (1 << MEAN_BITS >> 1)) >> MEAN_BITS)
        mean_q18 += ((wide[..., t, :] << MEAN_BITS) - mean_q18 + (1 << (k - 1))) >> k
    return out


class FeatureStream:
    """
    `extract` for sound that comes in pieces, from LISTEN on: the same vectors, whatever the pieces.

    Attributes:
        vectors: Made so far.
    """

    def __init__(self, frontend: FrontEnd) -> None:
        self.vectors = 0
        self._frontend = frontend
        self._rest = np.zeros(0, np.int16)
        self._skip = 0  # samples between two frames, where the hop is longer than the window
        self._mean_q18 = _first_mean(frontend, frontend.offset.shape)

    def feed(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """
        The vectors that these samples complete.

        Args:
            samples: [N] int16, those that follow the ones before.

        Returns:
            [n, F] int16, Q15.

        Twin:
            ``take_samples`` of firmware/app/audio.c.
        """
        fe = self._frontend
        skipped = min(self._skip, samples.size)
        self._skip -= skipped
        rest = np.concatenate([self._rest, samples[skipped:]])
        count = (rest.size - fe.window) // fe.hop + 1 if rest.size >= fe.window else 0
        if count == 0:
            self._rest = rest
            return np.zeros((0, fe.features), np.int16)
        raw, _ = _raw(np.lib.stride_tricks.sliding_window_view(rest, fe.window)[:: fe.hop][:count], fe)
        self._skip = max(0, count * fe.hop - rest.size)
        self._rest = rest[count * fe.hop :]
        self.vectors += count
        k = fe.mean_shift
        wide = _centred_from(raw, k, self._mean_q18) if k else raw.astype(np.int32) - fe.offset
        return saturate_int16(wide.astype(np.int64) << fe.gain_shift)[0]


def extract_set(clips: Sequence[Clip], frontend: FrontEnd, *, progress: Progress | None = None) -> FeatureSet:
    """
    Features of many clips.

    Raises:
        UsageError: A clip has another sampling rate than the front end.
    """
    x = np.zeros((len(clips), frontend.frames, frontend.features), np.int16)
    saturated = 0
    for i, clip in enumerate(clips):
        if clip.rate_hz != frontend.rate_hz:
            raise UsageError(f"clip {clip.name!r} has {clip.rate_hz} Hz, the front end takes {frontend.rate_hz} Hz")
        x[i], clipped = extract(clip.samples, frontend)
        saturated += clipped
        if progress:
            progress(i + 1, len(clips))
    return FeatureSet(x, np.array([c.label for c in clips], np.int64), tuple(c.name for c in clips), saturated)


def _check(recipe: FeatureRecipe) -> None:
    points = fft_points(recipe.window)
    if recipe.kind == "log-mel":
        mel_bands(recipe.bands, points, recipe.rate_hz, recipe.low_hz, recipe.high_hz)
    elif recipe.bands > points // 2 + 1:
        raise UsageError(f"features.bands = {recipe.bands}: a {points}-point FFT has {points // 2 + 1} bins")


def _raw(frames: npt.NDArray[np.int16], frontend: FrontEnd) -> tuple[npt.NDArray[np.int16], int]:
    if frontend.kind == "magnitude":
        return magnitude(frames, frontend.features)
    return log_mel(frames, frontend.features, frontend.rate_hz, frontend.low_hz, frontend.high_hz), 0


def _fitted_gain(values: npt.NDArray[np.int32]) -> int:
    allowed = values.size * SATURATED_PER_MILLE // 1000
    for shift in range(MAX_SHIFT, 0, -1):
        over = np.count_nonzero((values > INT16_MAX >> shift) | (values < INT16_MIN >> shift))
        if over <= allowed:
            return shift
    return 0
