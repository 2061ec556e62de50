"""What the emulated chip's microphones hear: samples at the pins of the ADC, and on the I2S line."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from hil.emulator.core import Emulator
from hil.errors import ToolError


class Input(enum.IntEnum):
    """Where a microphone is connected."""

    ADC = 0
    """Every analog pin, centred at half the supply; full scale is the whole supply."""
    I2S = 1
    """The first slot of each frame, 24 bits."""


def input_of(kind: str) -> Input:
    """The input that a microphone of `hil.chips.Microphone` is at."""
    return Input.ADC if kind == "adc" else Input.I2S


def feed_microphone(
    emulator: Emulator, where: Input, samples: npt.NDArray[np.int16], rate: int, *, then_stop: bool = False
) -> None:
    """
    Let a microphone hear sound, from the first time that the program listens.

    Args:
        emulator: The chip.
        where: Which input.
        samples: [N] int16; between two of them a straight line.
        rate: Samples a second.
        then_stop: At the end there are no more samples: converter and line stand still, the program comes to rest,
            and virtual time waits for the host.  Otherwise silence follows for ever.
    """
    ffi, lib, emu = emulator.handle
    sound = np.ascontiguousarray(samples, np.int16)
    data = ffi.cast("int16_t *", ffi.from_buffer(sound)) if len(sound) else ffi.NULL
    if lib.emu_sound(emu, int(where), data, len(sound), rate, int(then_stop)) != 0:
        raise ToolError(f"no memory for {len(sound)} samples of the emulated microphone")


def heard(emulator: Emulator, where: Input) -> int:
    """How often an input with sound was read: results of the ADC, words of I2S."""
    _, lib, emu = emulator.handle
    return int(lib.emu_sound_taken(emu, int(where)))


def is_over(emulator: Emulator, where: Input) -> bool:
    """The program has listened beyond the end of the sound."""
    _, lib, emu = emulator.handle
    return bool(lib.emu_sound_over(emu, int(where)))


def set_supply(emulator: Emulator, millivolts: int) -> None:
    """Supply voltage, 3,300 mV at first."""
    _, lib, emu = emulator.handle
    lib.emu_supply(emu, millivolts)
