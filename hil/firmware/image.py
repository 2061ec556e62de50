"""A compiled program: its file, its identity and its sizes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from hil.chips import RAM_BASE, Board, Chip, chip
from hil.errors import ToolError, UsageError

ELF_FILE = "firmware.elf"
MANIFEST_FILE = "firmware.json"
MANIFEST_VERSION = 1
STACK_SECTION = ".stack"
_HASH_SYMBOL = "model_artefact_hash"
_HASH_BYTES = 32


@dataclass(frozen=True)
class Firmware:
    """
    One program for one chip.

    Attributes:
        elf: The file.
        elf_sha256: Of its bytes.
        build_id: 32 hexadecimal digits: hash of sources, linker script, flags and compiler; also inside the program.
        artefact_hash: 64 hexadecimal digits; all zero for a program without a model.
        chip: What it was built for.
        board: The wiring it was built for.
        compiler: ``"gcc"`` or ``"zig"``.
        compiler_version: What the compiler says of itself.
        optimize: ``"2"``, ``"3"`` or ``"s"``.
        flash_bytes: Code, constants and initial values of data.
        ram_bytes: Data, without the stack.
        stack_size: Bytes reserved for the stack.
        sections: Bytes by section.
        symbols: Bytes by function or object.
    """

    elf: Path
    elf_sha256: str
    build_id: str
    artefact_hash: str
    chip: Chip
    board: Board
    compiler: str
    compiler_version: str
    optimize: str
    flash_bytes: int
    ram_bytes: int
    stack_size: int
    sections: Mapping[str, int]
    symbols: Mapping[str, int]

    def locate(self, address: int) -> str:
        """Name of the function at ``address``, ``""`` if none is there."""
        return function_at(self.elf, address)


@dataclass(frozen=True)
class Sizes:
    """Bytes of an ELF file, as in `Firmware`; ``ram_end`` is what the program occupies, the stack included."""

    flash_bytes: int
    ram_bytes: int
    ram_end: int
    stack_size: int
    sections: dict[str, int]
    symbols: dict[str, int]
    artefact_hash: str


def measure(path: Path) -> Sizes:
    """
    Read the sizes of a linked program.

    Raises:
        ToolError: It is not an ELF file or has no ``model_artefact_hash``.
    """
    try:
        with path.open("rb") as stream:
            return _measure(_open(stream))
    except ELFError as error:
        raise ToolError(f"{path}: the linker wrote a file that is no ELF ({error})") from error


def _open(stream: BinaryIO) -> Any:
    return ELFFile(stream)


def _measure(elf: Any) -> Sizes:
    allocated = [s for s in elf.iter_sections() if s["sh_flags"] & 2 and s["sh_size"]]
    sections = {s.name: int(s["sh_size"]) for s in allocated}
    in_ram = [s for s in allocated if s["sh_addr"] >= RAM_BASE]
    loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
    return Sizes(
        flash_bytes=max((s["p_paddr"] + s["p_filesz"] for s in loads), default=0),
        ram_bytes=sum(s["sh_size"] for s in in_ram if s.name != STACK_SECTION),
        ram_end=max((s["sh_addr"] + s["sh_size"] - RAM_BASE for s in in_ram), default=0),
        stack_size=sections.get(STACK_SECTION, 0),
        sections=sections,
        symbols=_symbol_sizes(elf),
        artefact_hash=_artefact_hash(elf),
    )


def _symbols(elf: Any) -> Iterator[Any]:
    table = elf.get_section_by_name(".symtab")
    if isinstance(table, SymbolTableSection):
        yield from cast("Iterator[Any]", table.iter_symbols())


def _symbol_sizes(elf: Any) -> dict[str, int]:
    """Of functions and objects, largest first; of several names for one thing, the global one counts."""
    named = [s for s in _symbols(elf) if s["st_size"] and s["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")]
    named.sort(key=lambda s: (s["st_info"]["bind"] == "STB_LOCAL", s.name))
    places: dict[int, Any] = {}
    for symbol in named:
        places.setdefault(symbol["st_value"], symbol)
    sizes: dict[str, int] = {}
    for symbol in places.values():  # static things of one name in several files are added up
        sizes[symbol.name] = sizes.get(symbol.name, 0) + int(symbol["st_size"])
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def part_bytes(elf_path: Path, mine: Callable[[str], bool]) -> tuple[int, int]:
    """
    What some functions and objects of a program take, from its map.

    Args:
        elf_path: The program.
        mine: Whether a symbol is one of them.

    Returns:
        Bytes of flash and of RAM.  Code and data that are copied to RAM at start-up count as both.
    """
    flash = ram = 0
    with elf_path.open("rb") as stream:
        elf = _open(stream)
        copied = {i for i, s in enumerate(elf.iter_sections()) if s.name == ".data"}
        seen: set[int] = set()
        for symbol in _symbols(elf):
            place, size = symbol["st_value"] & ~1, symbol["st_size"]
            if not size or place in seen or not mine(symbol.name):
                continue
            seen.add(place)
            in_ram = place >= RAM_BASE
            ram += size if in_ram else 0
            flash += size if not in_ram or symbol["st_shndx"] in copied else 0
    return flash, ram


def _artefact_hash(elf: Any) -> str:
    symbol = next((s for s in _symbols(elf) if s.name == _HASH_SYMBOL), None)
    if symbol is None:
        raise ToolError(f"the program has no {_HASH_SYMBOL}: its generated sources are incomplete")
    section: Section = elf.get_section(symbol["st_shndx"])
    at = symbol["st_value"] - section["sh_addr"]
    return bytes(section.data()[at : at + _HASH_BYTES]).hex()


def function_at(elf_path: Path, address: int) -> str:
    """Name of the function of an ELF file at ``address``, ``""`` if none is there or the file cannot be read."""
    try:
        with elf_path.open("rb") as stream:
            for symbol in _symbols(_open(stream)):
                start = symbol["st_value"] & ~1
                if symbol["st_info"]["type"] == "STT_FUNC" and start <= address < start + symbol["st_size"]:
                    return str(symbol.name)
    except (OSError, ELFError):
        return ""
    return ""


def save_firmware(firmware: Firmware, path: Path) -> None:
    """Write the manifest beside the ELF file."""
    table = dataclasses.asdict(firmware)
    table |= {"version": MANIFEST_VERSION, "elf": firmware.elf.name, "chip": firmware.chip.name}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def load_firmware(path: Path) -> Firmware:
    """
    Read a manifest that `hil.firmware.compile_firmware` wrote.

    Args:
        path: ``firmware.json``, or its folder.

    Raises:
        UsageError: It or the ELF file is missing, damaged or of another version.
    """
    path = path / MANIFEST_FILE if path.is_dir() else path
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table.pop("version") != MANIFEST_VERSION:
            raise UsageError(f"{path}: written by another version of hil. Build it again: `hil build MODEL`")
        table |= {"elf": path.parent / table["elf"], "chip": chip(table["chip"]), "board": Board(**table["board"])}
        firmware = Firmware(**table)
        found = hashlib.sha256(firmware.elf.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename}: no such file. Make it: `hil build MODEL`") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: is damaged ({error}). Build it again: `hil build MODEL`") from error
    if found != firmware.elf_sha256:
        raise UsageError(f"{firmware.elf}: changed since it was built. Build it again: `hil build MODEL`")
    return firmware
