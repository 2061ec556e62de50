"""Executed instructions priced with the Cortex-M0+ timing table: modelled cycles without flash and bus effects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE = re.compile(r"0x([0-9A-Fa-f]+): 0x([0-9A-Fa-f]+)")
_BL = 3
_LONG = 3
"""BL, MRS, MSR, DMB, DSB, ISB: every instruction of 32 bits that the core has."""
_LOAD_STORE = 2
_BRANCH = 2
_WAIT = 2


@dataclass(frozen=True)
class Executed:
    """
    One instruction of a trace.

    Attributes:
        pc: Its address.
        opcode: 16 bits, or 32 with the first halfword on top.
        bits: 16 or 32.
    """

    pc: int
    opcode: int
    bits: int


@dataclass(frozen=True)
class Functions:
    """
    Where the windows begin and end.

    Attributes:
        window_open, window_close: First and first-behind address of the port's functions of that name.
    """

    window_open: tuple[int, int]
    window_close: tuple[int, int]


def read_trace(lines: Iterable[str]) -> Iterator[Executed]:
    """Renode's ``PCAndOpcode``; lines of another form, which the tracer adds for what it cannot read, are skipped."""
    for line in lines:
        match = _LINE.match(line)
        if match:
            yield Executed(int(match[1], 16), int(match[2], 16), 4 * len(match[2]))


def price(one: Executed, following: int) -> int:
    """
    Cycles of an instruction after which the one at ``following`` was executed.

    Source  Arm DDI 0484, "Instruction set summary"; single-cycle multiplier, no wait states.
    """
    if one.bits == 32:
        return _LONG
    op = one.opcode
    taken = following != one.pc + 2
    if op >> 12 == 0xD and op >> 8 not in (0xDE, 0xDF):  # B<cond>
        return _BRANCH if taken else 1
    if op >> 11 == 0b11100 or op & 0xFF00 == 0x4700:  # B, BX, BLX
        return _BRANCH
    if op & 0xFE00 == 0xB400:  # PUSH
        return 1 + _ones(op & 0x1FF)
    if op & 0xFE00 == 0xBC00:  # POP
        return _ones(op & 0x1FF) + (3 if op & 0x100 else 1)
    if op >> 12 == 0xC:  # LDM, STM
        return 1 + _ones(op & 0xFF)
    if op >> 12 in (0x5, 0x6, 0x7, 0x8, 0x9) or op >> 11 == 0b01001:  # LDR, STR of any size, literal too
        return _LOAD_STORE
    if op & 0xFF00 == 0x4400 or op & 0xFF00 == 0x4600:  # ADD, MOV with high registers
        return _BRANCH if (op >> 4 & 8 | op & 7) == 15 else 1
    if op in (0xBF20, 0xBF30):  # WFE, WFI
        return _WAIT
    return 1


def price_windows(trace: Iterable[Executed], functions: Functions) -> list[int]:
    """
    Cycles of each measured window: what is executed after `port_window_open` returns and before
    `port_window_close` is entered, without the call of the latter.
    """
    windows: list[int] = []
    total: int | None = None
    last: Executed | None = None
    for one in trace:
        if last is not None and total is not None and not _inside(last.pc, functions.window_open):
            total += price(last, one.pc)
        if _inside(one.pc, functions.window_open):
            total = 0
        elif total is not None and _inside(one.pc, functions.window_close):
            windows.append(max(0, total - _BL))
            total = None
        last = one
    return windows


def _inside(address: int, function: tuple[int, int]) -> bool:
    return function[0] <= address < function[1]


def _ones(bits: int) -> int:
    return bin(bits).count("1")
