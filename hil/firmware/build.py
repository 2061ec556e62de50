"""Sources to an ELF file for one chip, reproducibly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hil.chips import Board, Chip, Microphone
from hil.errors import FitError, ToolError, UsageError
from hil.firmware import sources as src
from hil.firmware.cmsis_dsp import Library
from hil.firmware.compiler import Compiler, run_tool
from hil.firmware.image import (
    ELF_FILE,
    MANIFEST_FILE,
    STACK_SECTION,
    Firmware,
    Sizes,
    load_firmware,
    measure,
    save_firmware,
)

JOBS = 2
"""Compilations at a time."""
OPTIMIZE = ("2", "3", "s")
_DEBUG_FLAGS = ("-g", "-gdwarf-4")
"""Lines for crash reports; they change no byte of the program's memory."""
_UNLIMITED = 1 << 28
"""Size of both memories when only sizes are wanted."""
_OVERFLOW = re.compile(r"overflowed by|will not fit in region")
_SCRIPT = "samd21.ld"
_FLASH_SECTIONS = (".text", ".rodata", ".data")
_RAM_SECTIONS = (STACK_SECTION, ".data", ".bss")


def compile_firmware(
    sources: Mapping[str, str],
    *,
    chip: Chip,
    board: Board,
    compiler: Compiler,
    optimize: str,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
    library: Library | None = None,
    half_clock: bool = False,
    known: MutableMapping[str, bytes] | None = None,
    microphone: Microphone | None = None,
) -> Firmware:
    """
    Compile and link the firmware with generated sources.

    The same arguments give the same bytes, wherever ``out`` is and whoever calls.  If ``out`` holds a program of
    the same sources, flags and compiler, nothing is done.

    Args:
        sources: Generated C by file name; must define what ``app/model.h`` declares, except ``model_build_id``.
        chip, board: Target.
        compiler: From `hil.firmware.find_compiler`.
        optimize: ``"2"``, ``"3"`` or ``"s"``.
        out: Folder for ``firmware.elf`` and ``firmware.json``; made if missing.
        progress: Called with the number of files done and of all files.
        library: C of other authors that the generated sources call.
        half_clock: Run at 24 MHz, where the flash needs no wait states.
        known: Object files by the content that they were made from; those that many programs share are compiled once.
        microphone: With a microphone that is so wired: the firmware can capture.

    Raises:
        FitError: It is larger than the chip's flash or RAM; names the sections.
        ToolError: The compiler or the linker failed; carries its log.
        UsageError: The board's wiring or ``optimize`` is impossible.
    """
    if optimize not in OPTIMIZE:
        raise UsageError(f"optimize = {optimize!r}; expected one of {', '.join(map(repr, OPTIMIZE))}")
    library = library or Library({}, ())
    clock = ["-DBOARD_HALF_CLOCK"] if half_clock else []
    flags = [
        *src.board_flags(board, chip),
        *src.microphone_flags(microphone),
        *clock,
        "-I.",
        *_DEBUG_FLAGS,
        *library.flags,
    ]
    files = {**src.firmware_tree(src.DEVICE_PARTS), **src.generated_files(sources), **library.files}
    template = files.pop(src.LINKER_SCRIPT)
    script = src.linker_script(template, chip.flash_bytes, chip.ram_bytes)
    identity = [compiler.name, compiler.version, *compiler.flags, *flags, f"-O{optimize}", chip.name]
    identity += compiler.link_command([], _SCRIPT, ELF_FILE, optimize)[len(compiler.command) :]
    digits = src.build_id({**files, _SCRIPT: script}, identity)
    if ready := _already_there(out, digits):
        return ready

    files[f"{src.GENERATED}/{src.BUILD_ID_FILE}"] = src.build_id_source(digits)
    with src.staged(files, out) as folder:
        objects = compile_all(compiler, files, optimize, flags, folder, progress, library, known)
        sizes = _link(compiler, objects, optimize, folder, script, template, chip)
        elf = (folder / ELF_FILE).read_bytes()
        (folder / ELF_FILE).replace(out / ELF_FILE)
    firmware = Firmware(
        elf=out / ELF_FILE,
        elf_sha256=hashlib.sha256(elf).hexdigest(),
        build_id=digits,
        artefact_hash=sizes.artefact_hash,
        chip=chip,
        board=board,
        compiler=compiler.name,
        compiler_version=compiler.version,
        optimize=optimize,
        flash_bytes=sizes.flash_bytes,
        ram_bytes=sizes.ram_bytes,
        stack_size=sizes.stack_size,
        sections=sizes.sections,
        symbols=sizes.symbols,
    )
    save_firmware(firmware, out / MANIFEST_FILE)
    return firmware


def _already_there(out: Path, build_id: str) -> Firmware | None:
    try:
        firmware = load_firmware(out / MANIFEST_FILE)
    except UsageError:
        return None
    return firmware if firmware.build_id == build_id else None


def compile_all(
    compiler: Compiler,
    files: Mapping[str, bytes],
    optimize: str,
    flags: Sequence[str],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    library: Library | None = None,
    known: MutableMapping[str, bytes] | None = None,
) -> list[str]:
    """
    Compile what is source of ``files``, which lie in ``folder``, beside it; returns the objects' names in order.

    Those of ``library`` get its own flags besides.  ``known`` as for `compile_firmware`.
    """
    known = {} if known is None else known
    headers = {name: data for name, data in files.items() if name.endswith(".h")}
    # The folder is nowhere in the program; gcc does not pass that on to the assembler.
    more = [*flags, f"-ffile-prefix-map={folder}=."]
    assembler = [f"-Wa,--debug-prefix-map={folder}=."] if compiler.name == "gcc" else []

    def one(path: str) -> str:
        obj = f"{path}.o"
        mine = library.own_flags if library and path in library.files else ()
        own = [*mine, *(assembler if path.endswith(".S") else [])]
        same = [compiler.version, *compiler.compile_command(path, obj, optimize, [*flags, *mine])]
        content = src.build_id({**headers, path: files[path]}, same)
        if content in known:
            (folder / obj).write_bytes(known[content])
            return obj
        run_tool(compiler.compile_command(path, obj, optimize, [*more, *own]), f"compiling {path}", folder)
        known[content] = (folder / obj).read_bytes()
        return obj

    objects: list[str] = []
    sources = src.compiled(files)
    with ThreadPoolExecutor(JOBS) as pool:
        for obj in pool.map(one, sources):
            objects.append(obj)
            if progress is not None:
                progress(len(objects), len(sources))
    return objects


def _link(
    compiler: Compiler, objects: list[str], optimize: str, folder: Path, script: bytes, template: bytes, chip: Chip
) -> Sizes:
    (folder / _SCRIPT).write_bytes(script)
    command = compiler.link_command(objects, _SCRIPT, ELF_FILE, optimize)
    try:
        run_tool(command, "linking", folder)
    except ToolError as error:
        if not _OVERFLOW.search(error.log):
            raise
        (folder / _SCRIPT).write_bytes(src.linker_script(template, _UNLIMITED, _UNLIMITED))
        run_tool(command, "linking without limits", folder)
        _raise_fit_error(measure(folder / ELF_FILE), chip)
        raise
    return measure(folder / ELF_FILE)


def _raise_fit_error(sizes: Sizes, chip: Chip) -> None:
    for memory, needed, available, names in (
        ("flash", sizes.flash_bytes, chip.flash_bytes, _FLASH_SECTIONS),
        ("ram", sizes.ram_end, chip.ram_bytes, _RAM_SECTIONS),
    ):
        if needed > available:
            parts = {name: sizes.sections[name] for name in names if name in sizes.sections}
            raise FitError(memory, needed, available, parts)
