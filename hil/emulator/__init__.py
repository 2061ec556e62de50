"""The built-in emulator of the SAMD21: exact to the bit and, by a stated model, to the cycle."""

from hil.emulator.board import Crash, EmulatedBoard
from hil.emulator.core import Emulator, Fault, FaultKind, Stop, Unmodelled
from hil.emulator.elf import elf_segments

__all__ = ["Crash", "EmulatedBoard", "Emulator", "Fault", "FaultKind", "Stop", "Unmodelled", "elf_segments"]
