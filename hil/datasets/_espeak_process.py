"""
Speaks with espeak-ng; a program of its own, standard library only.

espeak-ng keeps state from one utterance to the next (oscillator phases, flutter), so an
utterance is spoken in a process forked from one that has not spoken yet: what comes out
depends on nothing but the request.  Its library is not thread-safe either.

Standard input: a JSON list of ``[voice, text, words_per_minute, pitch, pitch_range]``.
Standard output: first the sampling rate, then for each request a count of samples,
then the samples: little-endian int32, int32, int16.  A count below 0 is a failure:
-1 no such voice, -2 not synthesized, -3 the speaking process died.
"""

import ctypes
import json
import os
import signal
import struct
import sys

SYNCHRONOUS = 2
"""``AUDIO_OUTPUT_SYNCHRONOUS``: samples go to the callback, in the calling thread."""
DONT_EXIT = 0x8000
RATE, PITCH, RANGE = 1, 3, 4
POSITION_CHARACTER = 1
UTF8 = 1
SEED = 1
"""Of breath and whisper; espeak-ng itself seeds them with the time of day."""
NO_VOICE, NO_SYNTHESIS, DIED = -1, -2, -3

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def main(library_path: str, data_path: str) -> int:
    """Answer the requests on standard input; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    requests = json.load(sys.stdin)
    espeak = ctypes.CDLL(library_path)
    rate_hz = espeak.espeak_Initialize(SYNCHRONOUS, 0, data_path.encode(), DONT_EXIT)
    if rate_hz <= 0:
        print(f"espeak_Initialize returned {rate_hz} for {data_path}", file=sys.stderr)
        return 1
    _write(struct.pack("<i", rate_hz))
    for request in requests:
        child = os.fork()
        if child == 0:
            os._exit(_speak(espeak, *request))
        if os.waitpid(child, 0)[1] != 0:
            _write(struct.pack("<i", DIED))
    return 0


def _speak(espeak: ctypes.CDLL, voice: str, text: str, words_per_minute: int, pitch: int, pitch_range: int) -> int:
    """Write one utterance to standard output; 0 unless nothing was written."""
    pcm = bytearray()

    def collect(samples: "int | None", count: int, events: "int | None") -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(collect)
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        return _write(struct.pack("<i", NO_VOICE))
    for parameter, value in ((RATE, words_per_minute), (PITCH, pitch), (RANGE, pitch_range)):
        espeak.espeak_SetParameter(parameter, value, 0)
    data = text.encode()
    size = ctypes.c_size_t(len(data) + 1)
    status = espeak.espeak_Synth(data, size, 0, POSITION_CHARACTER, 0, UTF8, None, None)
    if status != 0:
        return _write(struct.pack("<i", NO_SYNTHESIS))
    return _write(struct.pack("<i", len(pcm) // 2) + bytes(pcm))


def _write(data: bytes) -> int:
    while data:
        data = data[os.write(1, data) :]
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2]))
    except BrokenPipeError:
        sys.exit(1)
