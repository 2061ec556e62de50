"""Names and source lines of addresses, out of an ELF file's symbols and debug information."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hil.errors import UsageError


@dataclass(frozen=True, order=True)
class Function:
    """One function; ``end`` is the first address behind it."""

    address: int
    end: int
    name: str


@dataclass(frozen=True)
class Line:
    """A line of a source file; ``file`` as the compiler wrote it."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True)
class Symbols:
    """
    What lies where.

    Attributes:
        functions: Sorted by address.
        rows: Line table, sorted: address, and the line from there on (None: no code of a known line).
    """

    functions: tuple[Function, ...] = ()
    rows: tuple[tuple[int, Line | None], ...] = ()
    _starts: tuple[int, ...] = field(default=(), repr=False)

    def function(self, address: int) -> Function | None:
        """The function that holds ``address``."""
        i = bisect.bisect_right(self.functions, address, key=lambda f: f.address) - 1
        found = self.functions[i] if i >= 0 else None
        return found if found is not None and address < found.end else None

    def line(self, address: int) -> Line | None:
        """The source line of the instruction at ``address``."""
        i = bisect.bisect_right(self._starts, address) - 1
        return self.rows[i][1] if i >= 0 else None

    def place(self, address: int) -> str:
        """Such as ``"step+0x12 (app/main.c:40)"``; the bare address where nothing is known."""
        function, line = self.function(address), self.line(address)
        name = f"{function.name}+{address - function.address:#x}" if function else f"{address:#010x}"
        return f"{name} ({line})" if line else name


def _functions(elf: ELFFile) -> Iterator[Function]:
    """Functions; one without a size (assembly) reaches up to the next symbol or its section's end."""
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return
    ends = {i: s["sh_addr"] + s["sh_size"] for i, s in enumerate(elf.iter_sections())}
    found: dict[int, tuple[int, int, str]] = {}
    for symbol in table.iter_symbols():
        section = symbol["st_shndx"]
        if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(section, int):
            continue
        address = symbol["st_value"] & ~1
        if address not in found or symbol["st_info"]["bind"] == "STB_GLOBAL":
            found[address] = (symbol["st_size"], ends.get(section, address), symbol.name)
    addresses = sorted(found)
    for address, following in zip(addresses, [*addresses[1:], None], strict=True):
        size, section_end, name = found[address]
        limit = min(section_end, following if following is not None else section_end)
        yield Function(address, address + size if size else max(limit, address + 2), name)


def _file_name(program: Any, index: int) -> str:
    """Directory and name of a line program's file; entries count from 1 before DWARF 5."""
    version = program["version"]
    entries = program["file_entry"]
    entry = entries[index if version >= 5 else index - 1]
    name = entry.name.decode(errors="replace") if isinstance(entry.name, bytes) else str(entry.name)
    directories = program["include_directory"]
    place = entry.dir_index if version >= 5 else entry.dir_index - 1
    if 0 <= place < len(directories):
        folder = directories[place]
        return str(Path(folder.decode(errors="replace") if isinstance(folder, bytes) else str(folder)) / name)
    return name


def _rows(elf: ELFFile) -> Iterator[tuple[int, Line | None]]:
    if not elf.has_dwarf_info():
        return
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        names: dict[int, str] = {}
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.file not in names:
                names[state.file] = _file_name(program, state.file)
            yield state.address, None if state.end_sequence else Line(names[state.file], state.line)


def _line_table(elf: ELFFile) -> tuple[tuple[int, Line | None], ...]:
    """One row for each address; where a sequence ends and another begins, the beginning counts."""
    table: dict[int, Line | None] = {}
    for address, line in _rows(elf):
        if line is not None or address not in table:
            table[address] = line
    return tuple(sorted(table.items(), key=lambda row: row[0]))


def read_symbols(source: Path | str | bytes) -> Symbols:
    """
    Read an ELF file's symbols; without debug information lines are unknown, without symbols functions too.

    Raises:
        UsageError: It is no ELF file.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        elf = ELFFile(io.BytesIO(data))
        rows = _line_table(elf)
        return Symbols(tuple(sorted(_functions(elf))), rows, tuple(address for address, _ in rows))
    except Exception as error:  # pyelftools raises whatever its parser trips over
        raise UsageError(f"the symbols cannot be read ({type(error).__name__}: {error})") from error
