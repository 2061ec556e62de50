"""Where the cycles go: by function, by source line and by call path, adding up to the total to the cycle."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hil.emulator.core import Emulator
from hil.emulator.symbols import Line, Symbols
from hil.errors import ToolError

ASLEEP, ENTRY, EXIT, UNKNOWN = "(asleep)", "(exception entry)", "(exception return)", "(no function)"
_NONE, _ASLEEP, _ENTRY, _EXIT = 0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC
_MAX_FUNCTIONS = _EXIT


@dataclass(frozen=True)
class Cost:
    """
    Cycles of one function or line.

    Attributes:
        name: Function, or ``file:line``; parenthesized where no instruction is executed.
        cycles: Its own, with wait states, without those of what it calls.
        instructions: Executed.
    """

    name: str
    cycles: int
    instructions: int


@dataclass(frozen=True)
class Profile:
    """
    A profile.

    Attributes:
        cycles: Total; each of the three lists adds up to it.
        functions, lines: Most expensive first.
        paths: Call path from the outermost function, and its own cycles.
    """

    cycles: int
    functions: tuple[Cost, ...]
    lines: tuple[Cost, ...]
    paths: tuple[tuple[tuple[str, ...], int], ...]

    def folded(self) -> str:
        """The call paths as folded stacks, which flame graph tools read: ``main;step;dot 1234``."""
        return "".join(f"{';'.join(path)} {cycles}\n" for path, cycles in self.paths if cycles)

    def speedscope(self, name: str) -> str:
        """The call paths as a file for speedscope.app: one sample for each path, weighted by its cycles."""
        frames: dict[str, int] = {}
        paths = [(path, cycles) for path, cycles in self.paths if cycles]
        samples = [[frames.setdefault(function, len(frames)) for function in path] for path, _ in paths]
        weights = [cycles for _, cycles in paths]
        total = {"type": "sampled", "name": name, "unit": "none", "startValue": 0, "endValue": self.cycles}
        table = {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": "hil",
            "name": f"{name}: cycles",
            "shared": {"frames": [{"name": frame} for frame in frames]},
            "profiles": [{**total, "samples": samples, "weights": weights}],
        }
        return json.dumps(table, indent=1) + "\n"

    def table(self, rows: int = 20) -> str:
        """Functions and lines as text."""
        return "\n".join(
            [f"{self.cycles} cycles", "", *_rows("function", self.functions, self.cycles, rows), "",
             *_rows("line", self.lines, self.cycles, rows)]
        )  # fmt: skip


def _rows(title: str, costs: tuple[Cost, ...], total: int, rows: int) -> Iterable[str]:
    yield f"{'cycles':>12} {'%':>6} {'instructions':>12}  {title}"
    for cost in costs[:rows]:
        share = 100 * cost.cycles / total if total else 0
        yield f"{cost.cycles:>12} {share:>6.2f} {cost.instructions:>12}  {cost.name}"
    rest = costs[rows:]
    if rest:
        cycles = sum(cost.cycles for cost in rest)
        share = 100 * cycles / total if total else 0
        yield f"{cycles:>12} {share:>6.2f} {sum(cost.instructions for cost in rest):>12}  ({len(rest)} others)"


def _addresses(emulator: Emulator) -> list[int]:
    """Address of every halfword that the core counts."""
    _, lib, _ = emulator.handle
    return [int(lib.emu_half_address(half)) for half in range(int(lib.emu_observe_halves()))]


def begin_profile(emulator: Emulator, symbols: Symbols, trace_records: int = 0) -> None:
    """
    Count from now on; the core then runs instruction by instruction, several times slower.

    Args:
        trace_records: Room for `hil.emulator.trace`.

    Raises:
        ToolError: Out of memory.
    """
    ffi, lib, emu = emulator.handle
    ids = np.full(int(lib.emu_observe_halves()), _NONE, np.uint16)
    addresses = np.array(_addresses(emulator))
    for number, function in enumerate(symbols.functions[:_MAX_FUNCTIONS]):
        ids[(addresses >= function.address) & (addresses < function.end)] = number
    if lib.emu_observe(emu, ffi.cast("uint16_t *", ids.ctypes.data), trace_records) != 0:
        raise ToolError("the emulator has no memory left for a profile. Close other programs.")


def end_profile(emulator: Emulator, symbols: Symbols) -> Profile:
    """What was counted since `begin_profile`; the core runs at full speed again."""
    profile = read_profile(emulator, symbols)
    _, lib, emu = emulator.handle
    lib.emu_observe_end(emu)
    return profile


def read_profile(emulator: Emulator, symbols: Symbols) -> Profile:
    """What was counted since `begin_profile`, which goes on."""
    paths = _paths(emulator, symbols)
    special: dict[str, int] = defaultdict(int)
    for path, cycles in paths:
        if path[-1] in (ASLEEP, ENTRY, EXIT):
            special[path[-1]] += cycles
    functions, lines = _by_place(emulator, symbols)
    extra = tuple(Cost(name, cycles, 0) for name, cycles in special.items())
    return Profile(sum(cycles for _, cycles in paths), _sorted(functions + extra), _sorted(lines + extra), paths)


def _sorted(costs: tuple[Cost, ...]) -> tuple[Cost, ...]:
    return tuple(
        sorted((cost for cost in costs if cost.cycles or cost.instructions), key=lambda c: (-c.cycles, c.name))
    )


def _by_place(emulator: Emulator, symbols: Symbols) -> tuple[tuple[Cost, ...], tuple[Cost, ...]]:
    """Executed instructions by function and by line."""
    ffi, lib, emu = emulator.handle
    halves = int(lib.emu_observe_halves())
    cycles, counts = np.zeros(halves, np.uint64), np.zeros(halves, np.uint64)
    pointers = (ffi.cast("uint64_t *", array.ctypes.data) for array in (cycles, counts))
    lib.emu_observed(emu, *pointers)
    functions: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for half in np.flatnonzero(counts):
        address = int(lib.emu_half_address(int(half)))
        function, line = symbols.function(address), symbols.line(address)
        for table, key in ((functions, _name(function)), (lines, _line_name(line, _name(function)))):
            table[key][0] += int(cycles[half])
            table[key][1] += int(counts[half])
    return _costs(functions), _costs(lines)


def _name(function: object) -> str:
    return str(getattr(function, "name", UNKNOWN))


def _line_name(line: Line | None, function: str) -> str:
    return str(line) if line is not None else f"{function}, line unknown"


def _costs(table: dict[str, list[int]]) -> tuple[Cost, ...]:
    return tuple(Cost(name, cycles, count) for name, (cycles, count) in table.items())


def _paths(emulator: Emulator, symbols: Symbols) -> tuple[tuple[tuple[str, ...], int], ...]:
    """Call paths with their own cycles; equal paths (functions of one name) are joined."""
    ffi, lib, emu = emulator.handle
    parent, function = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    names = {_ASLEEP: ASLEEP, _ENTRY: ENTRY, _EXIT: EXIT, _NONE: UNKNOWN}
    known: list[tuple[str, ...]] = [()]
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    for number in range(int(lib.emu_observed_paths(emu))):
        cycles = int(lib.emu_observed_path(emu, number, parent, function))
        if number > 0:
            name = names.get(int(function[0])) or symbols.functions[int(function[0])].name
            known.append((*known[int(parent[0])], name))
        if cycles:
            totals[known[number] or (UNKNOWN,)] += cycles
    return tuple(sorted(totals.items()))
