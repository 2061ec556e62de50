"""The same program on the emulator and on Unicorn without hooks, timed in turns."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

from emulator_support.build import build, symbol
from emulator_support.machine import NVMCTRL_CTRLB, flash_mode, poke
from emulator_support.oracle import CHIP, make_oracle
from hil.emulator import Emulator, Stop, elf_segments

REQUIRED = {"dot.c": 0.4, "softfloat.c": 0.25}
"""Smallest speed relative to Unicorn that is accepted: int8 x int16 dot products, soft-float code."""
REPEATS = {"dot.c": 500, "softfloat.c": 1000, "straight.c": 50_000}


@dataclass(frozen=True)
class Speed:
    """
    Best of some runs.

    Attributes:
        program: Source file.
        instructions, cycles: Executed; cycles with one wait state.
        emulator, emulator_0ws, oracle: Instructions a second with 1 wait state, with none, and Unicorn's.
    """

    program: str
    instructions: int
    cycles: int
    emulator: float
    emulator_0ws: float
    oracle: float

    @property
    def ratio(self) -> float:
        """The slower of the two settings against Unicorn."""
        return min(self.emulator, self.emulator_0ws) / self.oracle


def _patched(elf: bytes, repeats: int) -> list[tuple[int, bytes]]:
    """The program's segments with another initial value of its variable ``repeats``."""
    place = symbol(elf, "data_from") + symbol(elf, "repeats") - symbol(elf, "data_begin")
    return [*elf_segments(elf), (place, struct.pack("<I", repeats))]


def _emulate(segments: list[tuple[int, bytes]], wait_states: int) -> tuple[float, Emulator]:
    emulator = Emulator(CHIP)
    for address, contents in segments:
        emulator.load(address, contents)
    emulator.reset()
    poke(emulator, NVMCTRL_CTRLB, flash_mode(wait_states))
    begun = time.perf_counter()
    stop = emulator.run(1 << 60)
    spent = time.perf_counter() - begun
    assert stop is Stop.BKPT, emulator.fault
    return spent, emulator


def _oracle(segments: list[tuple[int, bytes]], end: int) -> float:
    uc = make_oracle()
    for address, contents in segments:
        uc.mem_write(address, contents)
    stack, start = struct.unpack("<II", uc.mem_read(0, 8))
    from unicorn import arm_const

    uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
    begun = time.perf_counter()
    uc.emu_start(start, end)
    return time.perf_counter() - begun


def measure(program: str, rounds: int = 3, scale: float = 1.0) -> Speed:
    """Time ``program`` in turns, ``rounds`` times; the best of each counts."""
    segments = _patched(build(program), int(REPEATS[program] * scale))
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        one, emulator = _emulate(segments, 1)
        none, _ = _emulate(segments, 0)
        times.append((one, none, _oracle(segments, emulator.registers()["pc"])))
    n = emulator.instructions
    best = [n / min(column) for column in zip(*times, strict=True)]
    return Speed(program, n, emulator.cycles, *best)
