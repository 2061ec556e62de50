"""Words spoken by espeak-ng, each utterance a pure function of its request."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from hil.errors import ToolError, UsageError

ACCENTS = (
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-us",
    "en-us-nyc",
)
"""English accents; ``en`` is British English, called ``en-gb`` elsewhere."""

_PROCESS = Path(__file__).with_name("_espeak_process.py")
_FAILURES = {-1: "has no such voice", -2: "could not synthesize it", -3: "died while speaking"}
_WORKERS = 2
_SPEAKABLE = re.compile(r"[A-Za-z0-9]+(?:[ '-][A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Utterance:
    """
    What to say and how.

    Attributes:
        voice: ``ACCENT+VARIANT``.
        text: One or more English words.
        words_per_minute: 80 to 450.
        pitch, pitch_range: 0 to 99; 50 is the variant's own.
    """

    voice: str
    text: str
    words_per_minute: int
    pitch: int
    pitch_range: int


def check_word(word: str, where: str) -> None:
    """Raise `UsageError` unless an English voice can read the word as it is spelled."""
    if not _SPEAKABLE.fullmatch(word):
        raise UsageError(
            f"{where}: {word!r} cannot be spoken; use letters a to z and digits, with ' - or a space between"
        )


def variants() -> tuple[str, ...]:
    """
    Names of the voice variants that espeak-ng has, sorted.

    Raises:
        UsageError: espeakng-loader is not installed.
    """
    folder = Path(_paths()[1]) / "voices" / "!v"
    try:
        return tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
    except OSError as error:
        raise ToolError(f"{folder}: espeak-ng's voices cannot be read ({error.strerror})") from error


def speak(
    utterances: Sequence[Utterance], progress: Callable[[int, int], None] | None = None
) -> Generator[tuple[npt.NDArray[np.int16], int], None, None]:
    """
    Speak in order.

    Args:
        utterances: What to say.
        progress: Called with the number of utterances done and to do.

    Yields:
        [N] int16 samples and their rate in Hz, for each utterance.

    Raises:
        UsageError: espeakng-loader is not installed.
        ToolError: espeak-ng does not start, lacks a voice, or fails.
    """
    count = min(_WORKERS, max(1, len(utterances)))
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker(utterances[i::count])) for i in range(count)]
        rates = [worker.read_count() for worker in workers]
        for i, utterance in enumerate(utterances):
            samples = workers[i % count].read_samples(utterance)
            if progress:
                progress(i + 1, len(utterances))
            yield samples, rates[i % count]


def _paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        raise UsageError(
            "the synthetic-keywords data set is spoken by espeak-ng, which is not installed: "
            "`python3 -m pip install espeakng-loader soxr`, or install this package with its extra 'train'"
        ) from None
    try:
        return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())
    except RuntimeError as error:
        raise ToolError(f"espeakng-loader is installed without its data ({error}): install it again") from error


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]):
        self._process = process
        self._log = log

    def read_count(self) -> int:
        return int(struct.unpack("<i", self._read(4))[0])

    def read_samples(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        count = self.read_count()
        if count < 0:
            raise self._error(f"espeak-ng {_FAILURES.get(count, 'failed')}: {utterance.text!r} by {utterance.voice!r}")
        return np.frombuffer(self._read(2 * count), "<i2").astype(np.int16)

    def _read(self, size: int) -> bytes:
        assert self._process.stdout
        data = self._process.stdout.read(size)
        if len(data) == size:
            return data
        self._process.wait()
        raise self._error(f"espeak-ng ended early (status {self._process.returncode})")

    def _error(self, what: str) -> ToolError:
        self._log.seek(0)
        command = [str(arg) for arg in self._process.args]  # type: ignore[union-attr]
        return ToolError(what, command, self._log.read().decode(errors="replace"))


@contextlib.contextmanager
def _worker(utterances: Sequence[Utterance]) -> Iterator[_Worker]:
    command = [sys.executable, "-I", str(_PROCESS), *_paths()]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "ESPEAK"))}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env={**environment, "LC_ALL": "C.UTF-8"}
        ) as process,
    ):
        try:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([astuple(u) for u in utterances]).encode())
                process.stdin.close()
            yield _Worker(process, log)
        finally:
            process.kill()
