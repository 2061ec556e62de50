"""
Single instructions with random states, at the speed of the machines under test.

The guest does the work: for every encoding a block of code loads all registers and flags from a
record, carries out the instruction, and stores all registers and flags to another record, for 128
records. A page of memory belongs to each record, so that what every execution did stays visible.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from hil.chips import RAM_BASE

RECORDS = 128
WORDS = 16
CURSOR = RAM_BASE
"""Words: pointer to the next input, to the next output, records left."""
INPUTS = RAM_BASE + 0x400
OUTPUTS = INPUTS + RECORDS * WORDS * 4
WINDOWS, WINDOW_BYTES = RAM_BASE + 0x5000, 64
APSR, R8, SP, LR, R0 = 0, 1, 6, 7, 8
"""Places in an input record; r8..r12 and r0..r7 follow theirs."""
OUTPUT_NAMES = (*(f"r{i}" for i in range(1, 8)), "r0", *(f"r{i}" for i in range(8, 13)), "sp", "lr", "apsr")
SIZES = {5: (4, 2, 1, 1, 4, 2, 1, 2), 6: (4,) * 8, 7: (1,) * 8, 8: (2,) * 8, 9: (4,) * 8}


def is_valid(w: int) -> bool:
    """
    Whether ``w`` is a 16-bit Armv6-M instruction that neither branches, traps nor is UNPREDICTABLE.

    YIELD is left out: Unicorn takes it for an invalid instruction.
    """
    top, low = w >> 12, w & 0xFF
    if top == 4 and (w & 0xC00) == 0x400:
        d, m, kind = (w & 7) | (w >> 4 & 8), w >> 3 & 15, w >> 8 & 3
        if kind == 3 or d == 15 or (d == 13 and m == 15):
            return False
        return not (kind == 1 and (m == 15 or (d < 8 and m < 8)))
    if top == 11:
        kind = w >> 8 & 15
        if kind in (4, 5, 12):
            return low != 0
        return kind in (0, 2) or (kind == 10 and w >> 6 & 3 != 2) or w == 0xBF00
    if top == 12:
        base, load = w >> 8 & 7, w >> 11 & 1
        stores_base_late = not load and w >> base & 1 and low & ((1 << base) - 1)
        return low != 0 and not stores_base_late
    return top < 11


def high_registers(w: int) -> set[int]:
    """High registers that the instruction reads or writes."""
    if (w & 0xFC00) != 0x4400:
        return {14} if (w & 0xFF00) == 0xB500 else set()
    return {(w & 7) | (w >> 4 & 8), w >> 3 & 15}


def _mov(d: int, m: int) -> int:
    return 0x4600 | (d & 8) << 4 | m << 3 | (d & 7)


def block(w: int, at: int, keeper: int) -> bytes:
    """Code at address ``at`` for one encoding; ``keeper`` is a high register that it does not use."""
    before = [None, 0x6838, 0xC87E, 0xF381, 0x8800]  # r7 = cursor; r0 = input; ldm r0!, {r1-r6}; msr apsr, r1
    before += [_mov(8 + i, 2 + i) for i in range(5)]
    before += [0xC806, _mov(13, 1), _mov(14, 2), 0xC8FF]  # ldm r0!, {r1, r2}; ldm r0, {r0-r7}
    after = [_mov(keeper, 0), None, 0x6840, 0xC0FE, _mov(1, keeper)]  # r0 = output; stm r0!, {r1-r7}
    after += [_mov(2 + i, 8 + i) for i in range(5)]
    after += [0xC07E, _mov(1, 13), _mov(2, 14), 0xF3EF, 0x8300, 0xC00E]  # stm; mrs r3, apsr; stm
    after += [None, 0x6078, 0x6839, 0x3140, 0x6039, 0x68B9, 0x3901, 0x60B9]
    code = [*before, w, *after]
    code.append(0xD100 | (-(len(code) + 2) & 0xFF))  # bne to the beginning
    skip = 1 if (len(code) + 1) % 2 else 0
    code.append(0xE000 | (2 + skip - 1))  # b over the literal
    code += [0xBF00] * skip
    literal = at + 2 * len(code)
    for i, halfword in enumerate(code):
        if halfword is None:
            register = 0 if i == len(before) + 2 else 7
            code[i] = 0x4800 | register << 8 | (literal - ((at + 2 * i + 4) & ~3)) // 4
    return struct.pack(f"<{len(code)}HI", *code, CURSOR)


@dataclass(frozen=True)
class _Access:
    """Registers that make up an address: their sum plus ``offset`` must fall into the window."""

    base: int
    offset: int = 0
    index: int | None = None
    size: int = 4


def _access(w: int) -> _Access | None:
    top = w >> 12
    if top in (5, 6, 7, 8):
        size, n = SIZES[top][w >> 9 & 7], w >> 3 & 7
        return _Access(n, index=w >> 6 & 7, size=size) if top == 5 else _Access(n, (w >> 6 & 31) * size, size=size)
    if top == 9:
        return _Access(13, (w & 0xFF) * 4)
    if top == 12:
        return _Access(w >> 8 & 7)
    if (w & 0xFE00) == 0xB400:
        return _Access(13, -32)
    return _Access(13) if (w & 0xFE00) == 0xBC00 else None


def _column(register: int) -> int:
    return SP if register == 13 else LR if register == 14 else R8 + register - 8 if register > 7 else R0 + register


def inputs(w: int, rng: np.random.Generator) -> np.ndarray:
    """[RECORDS, WORDS] uint32: random states; addresses point into each record's window."""
    shape = (RECORDS, WORDS)
    wild = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    small = rng.integers(0, 256, shape, dtype=np.uint32)
    edges = np.array([0, 1, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF8000, 0x8000], np.uint32)
    table = np.choose(rng.integers(0, 3, shape), [wild, small, rng.choice(edges, shape)]).astype(np.uint32)
    table[:, APSR] = rng.integers(0, 16, RECORDS, dtype=np.uint32) << 28
    window = WINDOWS + WINDOW_BYTES * np.arange(RECORDS, dtype=np.uint32)
    table[:, SP] = window + 4 * rng.integers(0, 8, RECORDS, dtype=np.uint32)
    if (w & 0xFC87) == 0x4485:  # to SP: only multiples of four are predictable
        table[:, _column(w >> 3 & 15)] &= 0xFFFFFFFC
    access = _access(w)
    if access is None:
        return table
    at = window + rng.integers(0, 32 // access.size, RECORDS, dtype=np.uint32) * np.uint32(access.size)
    if access.index is None:
        table[:, _column(access.base)] = at - np.uint32(access.offset % (1 << 32))
    elif access.index == access.base:
        table[:, _column(access.base)] = window // 2
    else:
        index = rng.integers(-4096, 4096, RECORDS).astype(np.int32).view(np.uint32) * np.uint32(access.size)
        table[:, _column(access.index)] = index
        table[:, _column(access.base)] = at - index
    return table
