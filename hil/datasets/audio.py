"""Sound files to int16 clips: read, mixed down, resampled, cut; what cannot be used is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.errors import UsageError

Samples = npt.NDArray[np.int16]
Progress = Callable[[int, int], None]

EXTENSIONS = (".wav", ".flac", ".ogg")
READERS = 4
"""Threads: reading waits for the disk, decoding does not hold the interpreter."""


@dataclass(frozen=True)
class Sound:
    """
    A file that was read.

    Attributes:
        samples: [N] int16, mono, at the rate asked for.
        rate_hz: The file's own rate.
        channels: The file's own channels.
        limited: Samples beyond full scale (after decoding, mixing or resampling) were limited to it.
    """

    samples: Samples
    rate_hz: int
    channels: int
    limited: bool


def read_sounds(
    paths: Sequence[Path],
    root: Path,
    rate_hz: int,
    *,
    skip_bad: bool,
    notes: list[str],
    progress: Progress | None = None,
) -> list[Samples | None]:
    """
    Read files, in order.

    Args:
        paths: The files.
        root: Names in messages are relative to it.
        rate_hz: Every clip is brought to this rate.
        skip_bad: None for a file that cannot be used, rather than an error.
        notes: Gets one line for each thing that was done to files, with their number.
        progress: Called with the number of files done and to do.

    Raises:
        UsageError: Files have zero length, hold NaN or infinity, or cannot be read: all of
            them, by name.  Or soundfile or soxr is not installed.
    """
    found = _read_all(paths, rate_hz, progress)
    bad = [
        f"{path.relative_to(root)}: {item}" for path, item in zip(paths, found, strict=True) if isinstance(item, str)
    ]
    _report_bad(bad, len(paths), root, skip_bad, notes)
    sounds = [item for item in found if isinstance(item, Sound)]
    notes += [f"{root}: {line}" for line in _summary(sounds, rate_hz)]
    return [None if isinstance(item, str) else item.samples for item in found]


def sound_rate(path: Path) -> int:
    """
    Samples a second of a sound file.

    Raises:
        UsageError: It is no sound, or soundfile is not installed.
    """
    soundfile = _soundfile()
    try:
        return int(soundfile.info(str(path)).samplerate)
    except (RuntimeError, OSError) as error:
        raise UsageError(f"{path}: cannot be read as sound ({error})") from error


def sound_files(root: Path) -> list[Path]:
    """
    Sound files anywhere below a folder, sorted; hidden ones are left out.

    Raises:
        UsageError: There is none.
    """
    found = [path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file()]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if not found:
        raise UsageError(f"{root}: has no {', '.join(e[1:] for e in EXTENSIONS)} file in it")
    return sorted(found)


def inspect_sounds(paths: Sequence[Path], *, progress: Progress | None = None) -> list[Sound | str]:
    """
    Each file at its own rate, or why it cannot be used.

    Raises:
        UsageError: soundfile or soxr is not installed.
    """
    return _read_all(paths, None, progress)


def loudest_window(samples: Samples, count: int) -> Samples:
    """The ``count`` successive samples with the most energy; zeros are appended to fewer samples."""
    if samples.size <= count:
        return np.pad(samples, (0, count - samples.size))
    energy = np.concatenate([[0], np.cumsum(samples.astype(np.int64) ** 2)])
    start = int(np.argmax(energy[count:] - energy[:-count]))
    return samples[start : start + count]


def loud_windows(samples: Samples, count: int, hop: int, quiet_db: float) -> list[tuple[int, Samples]]:
    """
    Windows on a grid, without the quiet ones.

    The level is absolute, so that a device that hears a stream could apply it.

    Args:
        samples: [N]; zeros are appended to fewer than ``count``.
        count: Samples of a window.
        hop: Samples from one window's start to the next.  What remains at the end is not used.
        quiet_db: Level below which a window is left out, unless it is the loudest (the first of equals).

    Returns:
        (index on the grid, window), in order; at least one.
    """
    samples = np.pad(samples, (0, max(0, count - samples.size)))
    windows = [samples[start : start + count] for start in range(0, samples.size - count + 1, hop)]
    levels = [level_db(window) for window in windows]
    loudest = levels.index(max(levels))
    return [(i, window) for i, window in enumerate(windows) if levels[i] >= quiet_db or i == loudest]


def level_db(samples: Samples) -> float:
    """Mean square in dB of full scale; -200 for digital silence."""
    return float(10 * np.log10(np.mean((samples / 32768.0) ** 2) + 1e-20))


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UsageError(_missing("soundfile", "reads sound files", error)) from None
    return soundfile  # type: ignore[no-any-return]


def _resample() -> Callable[..., Any]:
    try:
        import soxr
    except ImportError as error:
        raise UsageError(_missing("soxr", "changes sampling rates", error)) from None
    return soxr.resample  # type: ignore[no-any-return]


def _missing(library: str, does: str, error: Exception) -> str:
    return (
        f"{library}, which {does}, cannot be imported ({error}): "
        f"`python3 -m pip install {library}`, or install this package with its extra 'train'"
    )


def _read_all(paths: Sequence[Path], rate_hz: int | None, progress: Progress | None) -> list[Sound | str]:
    soundfile, resample = _soundfile(), _resample()
    found: list[Sound | str] = []
    with ThreadPoolExecutor(READERS) as pool:
        for item in pool.map(lambda path: _read(path, rate_hz, soundfile, resample), paths):
            found.append(item)
            if progress:
                progress(len(found), len(paths))
    return found


def _read(path: Path, rate_hz: int | None, soundfile: ModuleType, resample: Callable[..., Any]) -> Sound | str:
    """The sound (at its own rate if none is asked for), or why it cannot be used."""
    try:
        if path.stat().st_size == 0:
            return "zero length"
        with soundfile.SoundFile(path) as file:
            plain = file.subtype == "PCM_16" and file.channels == 1 and rate_hz in (None, file.samplerate)
            raw = file.read(dtype="int16" if plain else "float64", always_2d=not plain)
            from_hz, channels = int(file.samplerate), int(file.channels)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        return f"cannot be read ({error})"
    if not raw.size:
        return "zero length"
    if plain:
        return Sound(raw, from_hz, channels, False)
    if not np.isfinite(raw).all():
        return "holds NaN or infinity"
    wave = raw.mean(axis=1)
    if rate_hz not in (None, from_hz):
        wave = resample(wave, from_hz, rate_hz, quality="HQ")
    return _sound(wave, from_hz, channels)


def _sound(wave: npt.NDArray[np.float64], from_hz: int, channels: int) -> Sound:
    if not wave.size:
        return Sound(np.zeros(1, np.int16), from_hz, channels, False)
    scaled = np.rint(wave * 32768.0)
    limited = np.clip(scaled, -32768, 32767)
    # Full scale itself (+1.0 in a float file) is one step above int16's range: no news.
    beyond = bool(np.abs(scaled - limited).max() > 1)
    return Sound(limited.astype(np.int16), from_hz, channels, beyond)


def _report_bad(bad: list[str], total: int, root: Path, skip_bad: bool, notes: list[str]) -> None:
    if not bad:
        return
    listed = "\n  ".join(bad)
    if not skip_bad:
        raise UsageError(
            f"{root}: {len(bad)} of {total} files cannot be used:\n  {listed}\n"
            "Mend or remove them, or leave them out with --skip-bad (data.skip_bad = true)."
        )
    notes.append(f"{root}: left out {len(bad)} of {total} files that cannot be used:\n  {listed}")


def _summary(sounds: Sequence[Sound], rate_hz: int) -> list[str]:
    lines = [
        f"resampled {_files(count)} from {from_hz} Hz to {rate_hz} Hz"
        for from_hz, count in sorted(Counter(s.rate_hz for s in sounds).items())
        if from_hz != rate_hz
    ]
    mixed = sum(s.channels > 1 for s in sounds)
    limited = sum(s.limited for s in sounds)
    if mixed:
        lines.append(f"mixed {_files(mixed)} of more than one channel down to mono")
    if limited:
        lines.append(f"limited {_files(limited)} whose samples went beyond full scale")
    return lines


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
