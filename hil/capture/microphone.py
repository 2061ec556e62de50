"""The host's microphone, through PortAudio: the only importer of sounddevice."""

from __future__ import annotations

import queue
import time
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from hil.capture.source import BLOCKS_A_SECOND, Block
from hil.errors import UsageError

INSTALL = (
    "install it with `python3 -m pip install 'hil[audio]'`; PortAudio itself comes with the system "
    "(Debian: libportaudio2)"
)
WAITING_S = 10.0
"""Sound that waits to be taken; what comes after that is lost, and counted."""


class Microphone:
    """
    A microphone: mono, 16 bits.

    Attributes:
        name, ended: As of `hil.capture.source.Source`.
    """

    def __init__(self, device: str, rate_hz: int) -> None:
        """
        Args:
            device: Number, part of a name, or "": the system's default.
            rate_hz: Wanted.

        Raises:
            UsageError: No PortAudio, no such device, or it cannot do that rate; what there is is listed.
        """
        self._sounddevice = _library()
        chosen: int | str | None = int(device) if device.isdigit() else device or None
        try:
            found: dict[str, Any] = self._sounddevice.query_devices(chosen, "input")
            self._stream = self._sounddevice.RawInputStream(
                samplerate=rate_hz,
                blocksize=rate_hz // BLOCKS_A_SECOND,
                device=chosen,
                channels=1,
                dtype="int16",
                callback=self._heard,
            )
        except (self._sounddevice.PortAudioError, ValueError) as error:
            asked = f"--input {device}" if device else "the default microphone"
            raise UsageError(
                f"{asked} cannot be used at {rate_hz} Hz ({error}). "
                f"{list_devices()} Or name a recording: --input FILE.wav"
            ) from None
        self.name, self.ended, self._rate = str(found["name"]), False, rate_hz
        self._blocks: queue.Queue[Block] = queue.Queue(round(WAITING_S * BLOCKS_A_SECOND))
        self._next = 0
        self._estimated = False
        self._began_s: float | None = None

    def _heard(self, data: Any, frames: int, when: Any, status: Any) -> None:
        """In PortAudio's thread."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s - frames / self._rate
        if status.input_overflow:  # PortAudio does not say how much: the clock does
            missing = round((now_s - self._began_s) * self._rate) - frames - self._next
            self._next += max(1, missing)
            self._estimated = True
        block = Block(self._next, np.frombuffer(bytes(data), np.int16).copy(), now_s, self._estimated)
        self._next += frames
        try:
            self._blocks.put_nowait(block)
            self._estimated = False
        except queue.Full:  # the hole that this leaves is counted by the next block's first index
            pass

    def read(self, timeout_s: float) -> Block | None:
        """As `hil.capture.source.Source.read`."""
        try:
            return self._blocks.get(timeout=timeout_s)
        except queue.Empty:
            self.ended = not self._stream.active
            return None

    def __enter__(self) -> Microphone:
        self._stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def list_devices() -> str:
    """The inputs that there are, in one sentence."""
    library = _library()
    found = [
        f"{number}: {device['name']} ({device['default_samplerate']:g} Hz)"
        for number, device in enumerate(library.query_devices())
        if device["max_input_channels"] > 0
    ]
    return f"Inputs here: {'; '.join(found)}." if found else "There is no sound input here."


def _library() -> ModuleType:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise UsageError(
            f"no sound input: sounddevice or PortAudio is missing ({error}); {INSTALL}. "
            f"Or name a recording: --input FILE.wav"
        ) from None
    return sounddevice  # type: ignore[no-any-return]
