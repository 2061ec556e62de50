"""
Weights as straight-line instructions: Thumb code for the Cortex-M0+ that sums dense rows.

Rows are taken in tiles of up to 13, whose sums stay in registers while all columns pass; a nonzero weight is one
addition, a zero nothing. A column's value is read once for a tile, then goes through the multiples that the tile
needs, in an order with the fewest shifts and negations:

    r0-r6           sums of the first rows: they subtract as well, so they do not care for the value's sign
    r8-r12, lr      sums of the last rows: they only add
    r7              the value, times +-1, +-2 or +-4
    sp              as it should be: interrupts stay enabled

A row in a high register may be kept negated, if that saves negations of values. Which rows share a tile, and which are
negated, is decided by the exact number of cycles that the code takes at 0 wait states.

The values lie as words on the stack, so one `LDR` reads any of them and no register points there; more than
`CHUNK_COLUMNS` columns are taken in several passes over the rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from hil.codegen import thumb

LOW = ("r0", "r1", "r2", "r3", "r4", "r5", "r6")
HIGH = ("r8", "r9", "r10", "r11", "r12", "lr")
VALUE = "r7"
TILE_ROWS = len(LOW) + len(HIGH)
CHUNK_COLUMNS = 160
"""Values on the stack at a time: 640 bytes."""
_ACC, _START, _X, _H, _VALUES = 0, 4, 8, 12, 16
"""Offsets from sp."""
_STATES = tuple((multiple, sign) for multiple in (1, 2, 4) for sign in (1, -1))
_BIT = {multiple * sign: i for i, (multiple, sign) in enumerate(_STATES)}
_FRAME_CYCLES = 50
"""About what loading and storing the sums of a tile costs."""

Weights = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Tile:
    """
    Rows whose sums are in registers together.

    Attributes:
        first, end: Rows.
        negated: Of the rows in high registers, those kept negated.
    """

    first: int
    end: int
    negated: tuple[bool, ...] = ()

    @property
    def low(self) -> tuple[str, ...]:
        return LOW[: self.end - self.first]

    @property
    def high(self) -> tuple[str, ...]:
        return HIGH[: self.end - self.first - len(self.low)]


@dataclass(frozen=True)
class StraightCode:
    """
    Generated code of one matrix.

    Attributes:
        text: Assembly of the function ``void NAME(x, h, acc_q17, start_q17)``.
        start: [R] int32, biases in the order in which tiles load them, with the sign that a sum is kept with.
        cycles: Of a call at 0 wait states, `BL` not counted.
        flash_bytes, ram_bytes: Of the code; what runs from RAM lies in flash as well.
        tiles: Of each pass over the rows.
    """

    text: str
    start: npt.NDArray[np.int32]
    cycles: int
    flash_bytes: int
    ram_bytes: int
    tiles: tuple[Tile, ...]


def straight_code(
    name: str,
    weight_q2: Weights,
    bias_q17: npt.NDArray[np.int32],
    inputs: int,
    *,
    tile_rows: int = TILE_ROWS,
    ram_bytes: int = 0,
) -> StraightCode:
    """
    Code for ``acc = bias + weight_q2 [x, h]``.

    Args:
        name: Of the function.
        weight_q2: [R, D + E], in {0, +-1, +-2, +-4}.
        bias_q17: [R].
        inputs: D.
        tile_rows: Most rows of a tile.
        ram_bytes: Most code that runs from RAM: the last of it.
    """
    rows, columns = weight_q2.shape
    tiles = tuple(_choose_signs(weight_q2, tile) for tile in _tiling(weight_q2, min(tile_rows, TILE_ROWS)))
    chunks = [part for part in np.array_split(np.arange(columns), -(-columns // CHUNK_COLUMNS)) if part.size]
    deepest = max(part.size for part in chunks)
    body: list[list[str]] = []
    for number, part in enumerate(chunks):
        convert = _convert(int(part[0]), int(part[-1]) + 1, inputs)
        if number:
            convert = [*_rewind(rows), *convert]
        body.append(convert)
        for tile in tiles:
            body += _tile_code(weight_q2[:, part], tile, again=bool(number))
    del body[-1][-1]  # nobody asks where the last sum ended
    return _assemble(name, weight_q2, bias_q17, tiles, body, deepest, ram_bytes)


def _assemble(
    name: str,
    weight_q2: Weights,
    bias_q17: npt.NDArray[np.int32],
    tiles: tuple[Tile, ...],
    body: list[list[str]],
    deepest: int,
    ram_bytes: int,
) -> StraightCode:
    frame = 4 * deepest + _VALUES
    enter = [*thumb.PRESERVED, *_move_sp("sub", frame), "mov r4, sp", "stm r4!, {r2, r3}", "stm r4!, {r0, r1}"]
    leave = [*_move_sp("add", frame), *thumb.RESTORED]
    sizes = np.cumsum([thumb.size(piece) for piece in reversed(body)]) + _JUMP_BYTES
    in_ram = int(np.searchsorted(sizes, ram_bytes, side="right"))
    split = len(body) - in_ram
    flash = [*enter, *(line for part in body[:split] for line in part)]
    text, ram = "", []
    if in_ram:
        ram = [line for part in body[split:] for line in part] + _jump(f"{name}_leave")
        text = thumb.function(f"{name}_ram", f".ramfunc.{name}", ram)
        flash += [*_jump(f"{name}_ram"), ".thumb_func", f"{name}_leave:"]
    flash += leave
    rows, columns = weight_q2.shape
    comment = f"{name}, R = {rows} in {len(tiles)} tiles, C = {columns}"
    return StraightCode(
        text=thumb.file(comment, thumb.function(name, f".text.{name}", flash) + text),
        start=_start(bias_q17, tiles),
        cycles=thumb.cycles(flash) + thumb.cycles(ram),
        flash_bytes=thumb.size(flash) + thumb.size(ram) + (8 if in_ram else 0),
        ram_bytes=thumb.size(ram) + (4 if in_ram else 0),
        tiles=tiles,
    )


_JUMP_BYTES = 12


def _jump(label: str) -> list[str]:
    """To code that may be far; a word behind it holds the address."""
    here = f".L{label}_address"
    return [f"ldr {VALUE}, {here}", f"bx {VALUE}", ".balign 4", f"{here}:", f".word {label}"]


def _move_sp(operation: str, size: int) -> list[str]:
    return [f"{operation} sp, #{min(508, size - done)}" for done in range(0, size, 508)]


def _rewind(rows: int) -> list[str]:
    """Before another pass: back to the first sum."""
    return [f"ldr r0, [sp, #{_ACC}]", *_add("subs", "r0", 4 * rows), f"str r0, [sp, #{_ACC}]"]


def _add(operation: str, register: str, value: int) -> list[str]:
    return [f"{operation} {register}, #{min(255, value - done)}" for done in range(0, value, 255)]


def _convert(first: int, end: int, inputs: int) -> list[str]:
    """Columns to words on the stack: those of x, then those of h."""
    lines: list[str] = []
    for slot, start, stop in ((_X, first, min(end, inputs)), (_H, max(first, inputs) - inputs, end - inputs)):
        if stop <= start:
            continue
        place = _VALUES + 4 * (start + (inputs if slot == _H else 0) - first)
        lines += [f"ldr r0, [sp, #{slot}]", *_add("adds", "r0", 2 * start), f"add r1, sp, #{place}"]
        if start % 2:
            lines += [*_ONE, "adds r0, #2"]
            start += 1
        count = stop - start
        lines += _SIX * (count // 6) + _TWO * (count % 6 // 2) + _ONE * (count % 2)
    return lines


_SIX = [
    *("ldm r0!, {r2, r3, r4}", "sxth r6, r4", "asrs r7, r4, #16", "sxth r4, r3", "asrs r5, r3, #16"),
    *("asrs r3, r2, #16", "sxth r2, r2", "stm r1!, {r2, r3, r4, r5, r6, r7}"),
]
_TWO = ["ldm r0!, {r2}", "asrs r3, r2, #16", "sxth r2, r2", "stm r1!, {r2, r3}"]
_ONE = ["movs r2, #0", "ldrsh r2, [r0, r2]", "stm r1!, {r2}"]


def _tile_code(weight_q2: Weights, tile: Tile, *, again: bool) -> list[list[str]]:
    """Sums in, each column, sums out; between these pieces nobody needs r7."""
    low, high = tile.low, tile.high
    rows = _kept(weight_q2, tile)
    pieces = [_resume(tile) if again else _begin(tile)]
    for column in range(rows.shape[1]):
        code = column_code(rows[: len(low), column], rows[len(low) :, column])
        pieces += [[f"ldr {VALUE}, [sp, #{_VALUES + 4 * column}]", *code]] if code else []
    lines = [f"ldr {VALUE}, [sp, #{_ACC}]", f"stm {VALUE}!, {thumb.registers(low)}"]
    for register, through, negated in zip(high, LOW, tile.negated, strict=False):
        lines += [f"mov {through}, {register}"] + ([f"rsbs {through}, {through}, #0"] if negated else [])
    lines += [f"stm {VALUE}!, {thumb.registers(LOW[: len(high)])}"] if high else []
    return [*pieces, [*lines, f"str {VALUE}, [sp, #{_ACC}]"]]


def _begin(tile: Tile) -> list[str]:
    """The sums are the biases: those of high registers first (`_start`), because they pass through low ones."""
    lines = [f"ldr {VALUE}, [sp, #{_START}]"]
    if tile.high:
        lines += [f"ldm {VALUE}!, {thumb.registers(LOW[: len(tile.high)])}"]
        lines += [f"mov {register}, {through}" for register, through in zip(tile.high, LOW, strict=False)]
    return [*lines, f"ldm {VALUE}!, {thumb.registers(tile.low)}", f"str {VALUE}, [sp, #{_START}]"]


def _resume(tile: Tile) -> list[str]:
    """The sums are those of the pass before, as they lie in acc."""
    lines = [f"ldr {VALUE}, [sp, #{_ACC}]"]
    if tile.high:
        lines += [f"adds {VALUE}, #{4 * len(tile.low)}", f"ldm {VALUE}!, {thumb.registers(LOW[: len(tile.high)])}"]
        for register, through, negated in zip(tile.high, LOW, tile.negated, strict=False):
            lines += [f"rsbs {through}, {through}, #0"] if negated else []
            lines += [f"mov {register}, {through}"]
        lines += [f"subs {VALUE}, #{4 * (tile.end - tile.first)}"]
    return [*lines, f"ldm {VALUE}!, {thumb.registers(tile.low)}"]


def _start(bias_q17: npt.NDArray[np.int32], tiles: Sequence[Tile]) -> npt.NDArray[np.int32]:
    """[R] biases in the order in which tiles load them, with the signs of the sums."""
    parts: list[npt.NDArray[np.int32]] = []
    for tile in tiles:
        middle = tile.first + len(tile.low)
        high = bias_q17[middle : tile.end]
        parts += [np.where(tile.negated, -high, high) if tile.high else high, bias_q17[tile.first : middle]]
    return np.concatenate(parts).astype(np.int32)


def _kept(weight_q2: Weights, tile: Tile) -> Weights:
    """A tile's rows with the signs that their sums are kept with."""
    rows: Weights = weight_q2[tile.first : tile.end].copy()
    if tile.negated:
        rows[len(tile.low) :][np.array(tile.negated)] *= -1
    return rows


def column_code(low: Weights, high: Weights) -> list[str]:
    """Additions of one column to the sums of a tile; r7 is the value and is changed."""
    wanted = sum({1 << _BIT[int(w)] for w in high if w})
    multiples = sum({1 << (_BIT[abs(int(w))] // 2) for w in low if w})
    lines: list[str] = []
    done_low, done_high = set[int](), set[int]()
    for instruction, (multiple, sign) in _plan(wanted, multiples) if wanted or multiples else ():
        lines += [instruction] if instruction else []
        if multiple not in done_low:
            for register, w in zip(LOW, low, strict=False):
                if abs(w) == multiple:
                    lines.append(f"{'adds' if w == multiple * sign else 'subs'} {register}, {register}, {VALUE}")
        if multiple * sign not in done_high:
            lines += [f"add {r}, {VALUE}" for r, w in zip(HIGH, high, strict=False) if w == multiple * sign]
        done_low.add(multiple)
        done_high.add(multiple * sign)
    return lines


@cache
def _plan(high: int, low: int) -> tuple[tuple[str, tuple[int, int]], ...]:
    """
    The fewest shifts and negations that bring the value to every multiple that is needed.

    Args:
        high: Bits of `_STATES` that rows in high registers need.
        low: Bits of 1, 2 and 4 times, of either sign, that rows in low registers need.

    Returns:
        Instructions (the first is empty), each with multiple and sign after it.  Shifts to the right are exact:
        they take back a shift to the left.
    """

    def seen_after(seen: int, state: int) -> int:
        return seen | 1 << state | 1 << (6 + state // 2)

    goal = high | low << 6
    path: tuple[tuple[str, tuple[int, int]], ...] = (("", _STATES[0]),)
    waiting = deque([(0, seen_after(0, 0), path)])
    known = {(0, seen_after(0, 0) & goal)}
    while waiting:
        state, seen, path = waiting.popleft()
        if not goal & ~seen:
            return path
        multiple, sign = _STATES[state]
        for after, (m, s) in enumerate(_STATES):
            if (m == multiple) == (s == sign):
                continue
            seen_there = seen_after(seen, after)
            if (after, seen_there & goal) not in known:
                known.add((after, seen_there & goal))
                waiting.append((after, seen_there, (*path, (_move(multiple, m), (m, s)))))
    raise AssertionError("every multiple can be reached")


def _move(multiple: int, after: int) -> str:
    if multiple == after:
        return f"rsbs {VALUE}, {VALUE}, #0"
    shift = after.bit_length() - multiple.bit_length()
    return f"lsls {VALUE}, {VALUE}, #{shift}" if shift > 0 else f"asrs {VALUE}, {VALUE}, #{-shift}"


@cache
def _costs() -> npt.NDArray[np.int64]:
    """[64, 8] cycles of a column beside its additions, by what high and low registers need."""
    table = np.array([[2 + len(_plan(h, low)) - 1 for low in range(8)] for h in range(64)])
    table[0, 0] = 0
    return table


def _needs(weight_q2: Weights) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """[R, C] bits that a weight needs of `_plan`, in a high and in a low register."""
    high, low = np.zeros(weight_q2.shape, np.int64), np.zeros(weight_q2.shape, np.int64)
    for weight, bit in _BIT.items():
        high[weight_q2 == weight] = 1 << bit
        low[weight_q2 == weight] = 1 << (bit // 2)
    return high, low


def _tiling(weight_q2: Weights, most: int) -> list[Tile]:
    """The cheapest way to cut the rows into tiles, without negated rows."""
    rows = len(weight_q2)
    high, low = _needs(weight_q2)
    additions = np.count_nonzero(weight_q2, axis=1)
    best, cut = [0] + [1 << 60] * rows, [0] * (rows + 1)
    for first in range(rows):
        bits_low = bits_high = np.zeros(weight_q2.shape[1], np.int64)
        for end in range(first + 1, min(first + most, rows) + 1):
            if end - first <= len(LOW):
                bits_low = bits_low | low[end - 1]
            else:
                bits_high = bits_high | high[end - 1]
            cost = int(_costs()[bits_high, bits_low].sum() + additions[first:end].sum())
            total = best[first] + cost + _FRAME_CYCLES // 2 + 2 * (end - first)
            if total < best[end]:
                best[end], cut[end] = total, first
    tiles, end = [], rows
    while end:
        tiles.append(Tile(cut[end], end))
        end = cut[end]
    return tiles[::-1]


def _choose_signs(weight_q2: Weights, tile: Tile) -> Tile:
    """The tile with the signs of its rows in high registers that cost least."""
    count = len(tile.high)
    rows = weight_q2[tile.first : tile.end]
    _, low = _needs(rows[: len(tile.low)])
    plain, _ = _needs(rows[len(tile.low) :])
    flipped, _ = _needs(-rows[len(tile.low) :])
    bits_low = np.bitwise_or.reduce(low, axis=0)
    cheapest, chosen = 1 << 60, 0
    for pattern in range(1 << count):
        bits_high = np.zeros(rows.shape[1], np.int64)
        for row in range(count):
            bits_high |= (flipped if pattern >> row & 1 else plain)[row]
        cost = int(_costs()[bits_high, bits_low].sum()) + pattern.bit_count()
        if cost < cheapest:
            cheapest, chosen = cost, pattern
    return Tile(tile.first, tile.end, tuple(bool(chosen >> row & 1) for row in range(count)))
