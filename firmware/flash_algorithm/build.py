"""
Compile flash_algorithm.c to flash_algorithm.json, which the debugger's target description reads.

    python firmware/flash_algorithm/build.py

The committed file comes from zig, whose version the package pins; the same sources give the same bytes anywhere.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from hil.firmware.compiler import Compiler, find_compiler, run_tool

HERE = Path(__file__).resolve().parent
BLOB = HERE / "flash_algorithm.json"
SOURCE, SCRIPT = "flash_algorithm.c", "flash_algorithm.ld"
ENTRIES = ("Init", "UnInit", "EraseChip", "EraseSector", "ProgramPage", "Verify", "BlankCheck")


WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
FLAGS = ("-std=c99", *WARNINGS, "-Os", "-ffreestanding", "-fno-common", "-ffunction-sections")
ZIG_TARGET = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus")
ZIG_FLAGS = (*ZIG_TARGET, "-fno-sanitize=all", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
GCC_FLAGS = ("-mcpu=cortex-m0plus", "-mthumb", "-masm-syntax-unified")


def commands(compiler: Compiler) -> list[list[str]]:
    """Compile and link.  Flags of its own: the firmware's may change, the committed program does not with them."""
    if compiler.name == "zig":
        link = ["build-exe", "a.o", *ZIG_TARGET, "-fcompiler-rt", "-OReleaseSmall", "-fno-strip", "--gc-sections"]
        link += ["-fentry=flash_return", "--script", SCRIPT, "-femit-bin=a.elf"]
        return [
            [*compiler.command, "cc", *FLAGS, *ZIG_FLAGS, "-c", SOURCE, "-o", "a.o"],
            [*compiler.command, *link],
        ]
    return [
        [*compiler.command, *FLAGS, *GCC_FLAGS, "-c", SOURCE, "-o", "a.o"],
        [*compiler.command, *GCC_FLAGS[:2], "-nostdlib", f"-Wl,-T,{SCRIPT}", "a.o", "-lgcc", "-o", "a.elf"],
    ]


def compile_algorithm(compiler: Compiler, folder: Path) -> Path:
    """Compile into ``folder``; returns the ELF file."""
    for name in (SOURCE, SCRIPT, "flash_algorithm.h"):
        (folder / name).write_bytes((HERE / name).read_bytes())
    for command in commands(compiler):
        run_tool(command, "building the flash algorithm", folder)
    return folder / "a.elf"


def describe(elf: Path, compiler: Compiler) -> dict[str, Any]:
    """The program's words, and the addresses of its functions with bit 0 set."""
    with elf.open("rb") as stream:
        file = ELFFile(stream)
        text, bss = (file.get_section_by_name(name) for name in (".text", ".bss"))
        symbols = {s.name: s["st_value"] for s in file.get_section_by_name(".symtab").iter_symbols()}
        code = text.data() + bytes(-len(text.data()) % 4)
        end = bss["sh_addr"] + bss["sh_size"] if bss else text["sh_addr"] + len(code)
    words = [int.from_bytes(code[i : i + 4], "little") for i in range(0, len(code), 4)]
    return {
        "made_by": "firmware/flash_algorithm/build.py",
        "compiler": compiler.version,
        "load_address": text["sh_addr"],
        "end_address": end,
        "entries": {name: symbols[name] | 1 for name in ENTRIES},
        "instructions": [f"{word:08x}" for word in words],
    }


def render(blob: dict[str, Any]) -> str:
    """JSON with eight words to a line."""
    words = blob["instructions"]
    rows = [", ".join(f'"{word}"' for word in words[i : i + 8]) for i in range(0, len(words), 8)]
    head = json.dumps({key: value for key, value in blob.items() if key != "instructions"}, indent=1)
    return head[:-2] + ',\n "instructions": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n"


def build(prefer: str = "zig") -> str:
    """The text of the blob's file as ``prefer`` compiles it."""
    compiler = find_compiler(prefer)
    with tempfile.TemporaryDirectory() as name:
        return render(describe(compile_algorithm(compiler, Path(name)), compiler))


if __name__ == "__main__":
    part = BLOB.with_name(f".{BLOB.name}.{os.getpid()}.part")
    part.write_text(build(), encoding="utf-8")
    part.replace(BLOB)
    print(f"{BLOB}: {len(json.loads(BLOB.read_text())['instructions']) * 4} bytes")
