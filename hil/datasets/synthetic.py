"""
The data set ``synthetic-keywords``: words spoken by espeak-ng in many voices, with noise.

A voice is an accent and a variant.  The variants are split before the voices are made,
so a test clip's timbre is in no training clip whatever the accent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.clip import Clip, Dataset
from hil.datasets.espeak import ACCENTS, Utterance, check_word, speak, variants
from hil.datasets.noise import KINDS, noise
from hil.errors import UsageError
from hil.recipe import DataRecipe

UNKNOWN, SILENCE = "unknown", "silence"
"""The last two labels."""

PARTS = ("train", "validation", "test")
MIN_RATE_HZ = 4000
TEST_FRACTION = VALIDATION_FRACTION = 1 / 8
"""Of the clips."""
TEST_VARIANTS, VALIDATION_VARIANTS = 0.16, 0.12
"""Of the variants: a larger share than of the clips, so that a test set has more speakers."""

WORDS_PER_MINUTE = (135, 185)
FASTER, MAX_WORDS_PER_MINUTE = 1.3, 300
"""A word longer than its clip is spoken faster by its excess times this (an echo keeps its length), up to a limit."""
PITCH = (30, 70)
PITCH_RANGE = (30, 70)
LEVEL_DB = (-26.0, -14.0)
"""Root mean square of the speech, relative to full scale."""
SNR_DB = (16.0, 42.0)
TILT_DB = (-3.0, 3.0)
"""Of the top of the spectrum against its bottom: microphones differ."""
PEAK = 0.98
TRIM = 0.01
"""Samples before the first and after the last above this fraction of the peak are cut off."""


@dataclass(frozen=True)
class _Plan:
    """One clip before it is spoken; ``utterance`` is None for silence."""

    name: str
    label: int
    speaker: str
    utterance: Utterance | None
    rng: np.random.Generator


def load_synthetic(recipe: DataRecipe, rate_hz: int, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """
    Speak, mix and split.  The same recipe and rate give the same samples.

    A word that a slow voice cannot say within the clip is spoken faster.

    Args:
        recipe: What to speak.
        rate_hz: Sampling rate of the clips, at least 4000.
        progress: Called with the number of utterances done and to do.

    Raises:
        UsageError: The recipe cannot be spoken, or espeakng-loader or soxr is not installed.
        ToolError: espeak-ng failed.
    """
    labels = (*recipe.keywords, UNKNOWN, SILENCE)
    _check(recipe, rate_hz, labels)
    plans = [_plans(recipe, labels, part, count) for part, count in enumerate(split_sizes(recipe.clips))]
    utterances = [plan.utterance for part in plans for plan in part if plan.utterance]
    with closing(speak(utterances, progress)) as spoken:
        clips = [tuple(_clip(recipe, plan, rate_hz, spoken) for plan in part) for part in plans]
    return Dataset(labels, *clips)


def split_sizes(clips: int) -> tuple[int, int, int]:
    """Number of training, validation and test clips."""
    validation, test = round(clips * VALIDATION_FRACTION), round(clips * TEST_FRACTION)
    return clips - validation - test, validation, test


def split_variants(names: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Disjoint variants for training, validation and test, shuffled by the seed."""
    shuffled = [names[int(i)] for i in np.random.default_rng([seed, len(PARTS)]).permutation(len(names))]
    test = max(1, round(len(names) * TEST_VARIANTS))
    validation = max(1, round(len(names) * VALIDATION_VARIANTS))
    return tuple(shuffled[test + validation :]), tuple(shuffled[test : test + validation]), tuple(shuffled[:test])


def _check(recipe: DataRecipe, rate_hz: int, labels: Sequence[str]) -> None:
    if rate_hz < MIN_RATE_HZ:
        raise UsageError(f"features.rate_hz = {rate_hz}: speech needs at least {MIN_RATE_HZ}")
    if not recipe.unknown_words:
        raise UsageError(f"data.unknown_words is empty: name the words that make up {UNKNOWN!r}")
    for name, words in (("data.keywords", recipe.keywords), ("data.unknown_words", recipe.unknown_words)):
        for word in words:
            check_word(word, name)
    for word in (UNKNOWN, SILENCE, *recipe.unknown_words):
        if word in recipe.keywords:
            raise UsageError(f"data.keywords has {word!r}, which is also {_other_use(word)}: leave it out of one")
    if min(split_sizes(recipe.clips)) < len(labels):
        needed = next(n for n in range(recipe.clips, 100_000) if min(split_sizes(n)) >= len(labels))
        raise UsageError(f"data.clips = {recipe.clips}: {len(labels)} labels need at least {needed}")


def _other_use(word: str) -> str:
    return "a label of its own" if word in (UNKNOWN, SILENCE) else "in data.unknown_words"


def _plans(recipe: DataRecipe, labels: Sequence[str], part: int, count: int) -> list[_Plan]:
    """Clips of one part; labels take turns, so their counts differ by one at most."""
    names = split_variants(variants(), recipe.seed)[part]
    return [_plan(recipe, labels, names, part, i) for i in range(count)]


def _plan(recipe: DataRecipe, labels: Sequence[str], names: Sequence[str], part: int, index: int) -> _Plan:
    rng = np.random.default_rng([recipe.seed, part, index])
    label = index % len(labels)
    name = f"{PARTS[part]}-{index:05d}-{labels[label]}"
    if labels[label] == SILENCE:
        return _Plan(name, label, f"noise-{PARTS[part]}", None, rng)
    voice = f"{_one_of(ACCENTS, rng)}+{_one_of(names, rng)}"
    unknown = labels[label] == UNKNOWN
    word = _one_of(recipe.unknown_words, rng) if unknown else labels[label]
    speed, pitch, pitch_range = (int(rng.integers(*limits)) for limits in (WORDS_PER_MINUTE, PITCH, PITCH_RANGE))
    return _Plan(name, label, voice, Utterance(voice, word, speed, pitch, pitch_range), rng)


def _one_of(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _clip(recipe: DataRecipe, plan: _Plan, rate_hz: int, spoken: Iterator[tuple[npt.NDArray[np.int16], int]]) -> Clip:
    window = np.zeros(round(recipe.seconds * rate_hz))
    level = 10 ** (plan.rng.uniform(*LEVEL_DB) / 20)
    if plan.utterance:
        speech = _fitted(_trimmed(*next(spoken), rate_hz, plan.utterance), plan.utterance, window.size, rate_hz)
        start = int(plan.rng.integers(window.size - speech.size + 1))
        window[start : start + speech.size] = level * speech / np.sqrt(np.mean(speech**2))
    kind = _one_of(KINDS, plan.rng)
    noise_level = level * 10 ** (-plan.rng.uniform(*SNR_DB) / 20)
    mixed = _tilted(window + noise_level * noise(kind, window.size, rate_hz, plan.rng), plan.rng)
    mixed *= min(1.0, PEAK / np.abs(mixed).max())
    return Clip(np.rint(mixed * 32767).astype(np.int16), rate_hz, plan.label, plan.speaker, plan.name)


def _at_rate(samples: npt.NDArray[np.int16], from_hz: int, rate_hz: int) -> npt.NDArray[np.float64]:
    try:
        import soxr
    except ImportError:
        raise UsageError(
            "soxr, which changes sampling rates, is not installed: "
            "`python3 -m pip install soxr`, or install this package with its extra 'train'"
        ) from None
    resampled: npt.NDArray[np.float64] = soxr.resample(samples / 32768.0, from_hz, rate_hz, quality="HQ")
    return resampled


def _trimmed(
    samples: npt.NDArray[np.int16], from_hz: int, rate_hz: int, utterance: Utterance
) -> npt.NDArray[np.float64]:
    speech = _at_rate(samples, from_hz, rate_hz)
    peak = np.abs(speech).max(initial=0.0)
    loud = np.flatnonzero(np.abs(speech) > TRIM * peak)
    if peak < 1e-3 or not loud.size:
        raise UsageError(f"{utterance.text!r} cannot be spoken: {utterance.voice!r} is silent on it; use another word")
    return speech[loud[0] : loud[-1] + 1]


def _fitted(
    speech: npt.NDArray[np.float64], utterance: Utterance, window: int, rate_hz: int
) -> npt.NDArray[np.float64]:
    """The speech, or the same word spoken faster where a slow voice takes longer than the clip."""
    if speech.size <= window:
        return speech
    words_per_minute = math.ceil(FASTER * utterance.words_per_minute * speech.size / window)
    faster = dataclasses.replace(utterance, words_per_minute=min(words_per_minute, MAX_WORDS_PER_MINUTE))
    with closing(speak([faster])) as spoken:
        again = _trimmed(*next(spoken), rate_hz, faster)
    if again.size > window:
        raise UsageError(
            f"{faster.text!r} takes {again.size / rate_hz:.2f} s by {faster.voice!r} at "
            f"{faster.words_per_minute} words a minute, longer than data.seconds = {window / rate_hz:g}: "
            "use a shorter word or longer clips"
        )
    return again


def _tilted(wave: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A straight line in decibels over frequency, 0 dB in its middle."""
    spectrum = np.fft.rfft(wave)
    tilt_db = rng.uniform(*TILT_DB) * np.linspace(-0.5, 0.5, spectrum.size)
    return np.fft.irfft(spectrum * 10 ** (tilt_db / 20), wave.size)
