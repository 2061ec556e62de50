"""A small folder of sounds that a small network can tell apart: buzzes, hisses and whistles, by five speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE_HZ = 16000
SECONDS = 0.4
SPEAKERS = ("ann", "bob", "cleo", "dan", "eve")
TAKES = 4


def make_sounds(folder: Path, *, seed: int = 1) -> Path:
    """``LABEL/SPEAKER_TAKE.{wav,flac,ogg}``: three labels, 60 files, 16 kHz; each speaker has a pitch of their own."""
    import soundfile

    rng = np.random.default_rng(seed)
    suffixes = (".wav", ".flac", ".ogg", ".wav")
    for label, make in (("buzz", _buzz), ("hiss", _hiss), ("whistle", _whistle)):
        (folder / label).mkdir(parents=True)
        for number, speaker in enumerate(SPEAKERS):
            for take in range(TAKES):
                wave = 0.5 * make(200 * 1.2**number, rng) + rng.normal(0, 0.003, round(RATE_HZ * SECONDS))
                soundfile.write(folder / label / f"{speaker}_{take}{suffixes[take]}", wave, RATE_HZ)
    return folder


def _time(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.arange(round(RATE_HZ * SECONDS)) / RATE_HZ + rng.uniform(0, 1)


def _buzz(pitch_hz: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.sign(np.sin(2 * np.pi * pitch_hz * _time(rng))) * 0.5


def _hiss(pitch_hz: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.normal(0, 0.25, round(RATE_HZ * SECONDS))


def _whistle(pitch_hz: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * (2000 + 2 * pitch_hz) * _time(rng))
