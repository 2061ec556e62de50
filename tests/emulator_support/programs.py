"""Random programs that end: arithmetic, memory, forward branches, counted loops, calls."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from emulator_support.oracle import NAMES, REGISTERS
from emulator_support.single import is_valid
from hil.chips import RAM_BASE

REGISTER = dict(zip(NAMES, REGISTERS, strict=True))
SCRATCH, SCRATCH_BYTES, STACK = RAM_BASE + 0x4000, 0x2000, RAM_BASE + 0x7800
POINTER = 7
"""Register that holds the middle of the scratch memory and is never written."""


@dataclass(frozen=True)
class Program:
    """
    One program.

    Attributes:
        address: Of its first instruction.
        code: It and a BKPT at the end.
        registers: To begin with.
    """

    address: int
    code: bytes
    registers: dict[str, int]


def _arithmetic(rng: random.Random) -> list[int]:
    """One instruction on r0..r6 and high registers without memory."""
    while True:
        w = rng.getrandbits(14) | rng.choice([0, 1, 1]) << 14 if rng.random() < 0.8 else 0xB200 | rng.getrandbits(12)
        if not is_valid(w) or w >> 12 in (5, 6, 7) or (w & 0xF800) == 0x4800:
            continue
        if w >> 12 == 11 and (w >> 8 & 15) not in (2, 10):
            continue
        writes = {w & 7} if w >> 12 in (0, 1, 11) or (w >> 10 & 63) == 16 else {w >> 8 & 7}
        if (w & 0xFC00) == 0x4400:
            writes = {(w & 7) | (w >> 4 & 8)}
            if writes & {8, 9, 13, 14} or w >> 3 & 15 == 15:
                continue
        if POINTER not in writes:
            return [w]


def _memory(rng: random.Random) -> list[int]:
    """A load or store relative to the pointer, by immediate, index or list."""
    t, kind = rng.randrange(7), rng.randrange(6)
    if kind < 3:
        access = rng.choice([0x6000, 0x6800, 0x7000, 0x7800, 0x8000, 0x8800])
        return [access | rng.randrange(32) << 6 | POINTER << 3 | t]
    if kind == 3:
        index = rng.randrange(6)
        shift = 0x0080 | index << 3 | index  # lsls index, index, #2
        access = 0x5000 | rng.randrange(8) << 9 | index << 6 | POINTER << 3 | t
        return [0x2000 | index << 8 | rng.randrange(256), shift, access]
    if kind == 4:
        base = rng.randrange(6)
        copy, chosen = 0x4600 | POINTER << 3 | base, rng.randrange(1, 64) & ~((1 << base) - 1) or 1 << base
        return [copy, rng.choice([0xC000, 0xC800]) | base << 8 | chosen]
    list_ = rng.randrange(1, 128)
    return [0xB400 | list_, 0xBC00 | list_]


def _straight(rng: random.Random, n: int) -> list[int]:
    code: list[int] = []
    while len(code) < n:
        code += _memory(rng) if rng.random() < 0.35 else _arithmetic(rng)
    return code


def _branch_over(rng: random.Random) -> list[int]:
    """A conditional or unconditional branch over some instructions."""
    body = _straight(rng, rng.randrange(1, 8))
    if rng.random() < 0.2:
        return [0xE000 | (len(body) - 1) & 0x7FF, *body]
    return [0xD000 | rng.randrange(14) << 8 | (len(body) - 1) & 0xFF, *body]


def _loop(rng: random.Random) -> list[int]:
    """A loop of a few rounds; r8 counts."""
    body = _straight(rng, rng.randrange(2, 20)) + _branch_over(rng)
    begin = [0x2600 | rng.randrange(1, 9), 0x46B0]  # movs r6, #n; mov r8, r6
    end = [0x4646, 0x3E01, 0x46B0]  # mov r6, r8; subs r6, #1; mov r8, r6
    return [*begin, *body, *end, 0xD100 | -(len(body) + len(end) + 2) & 0xFF]


def _call(rng: random.Random) -> list[int]:
    """BL to a subroutine that stands behind a branch, or BLX through r6; both return with POP or BX."""
    saved = rng.randrange(128)
    body = [0xB500 | saved, *_straight(rng, rng.randrange(1, 10)), 0xBD00 | saved]
    if rng.random() < 0.5:
        body = [0x46F1, *_straight(rng, rng.randrange(1, 10)), 0x4748]  # mov r9, lr; bx r9
    if rng.random() < 0.5:
        offset = 2  # bl over the branch
        return [0xF000, 0xF800 | offset // 2, 0xE000 | (len(body) - 1) & 0x7FF, *body]
    # mov r6, pc; adds r6, #5; blx r6; b over: PC reads as the address of the BLX, which is four before the body.
    return [0x467E, 0x3605, 0x47B0, 0xE000 | (len(body) - 1) & 0x7FF, *body]


def generate(rng: random.Random, in_ram: bool) -> Program:
    """A program of some hundred instructions."""
    code: list[int] = []
    while len(code) < 400:
        code += rng.choice([_straight(rng, 10), _branch_over(rng), _loop(rng), _call(rng)])
    code.append(0xBE00)
    registers = {f"r{i}": rng.getrandbits(32) for i in range(13)}
    registers |= {"r7": SCRATCH + SCRATCH_BYTES // 2, "sp": STACK, "lr": 0xFFFFFFFF}
    registers["xpsr"] = rng.getrandbits(4) << 28 | 1 << 24
    address = RAM_BASE + 2 * rng.randrange(64) if in_ram else 2 * rng.randrange(64)
    return Program(address, struct.pack(f"<{len(code)}H", *code), registers)
