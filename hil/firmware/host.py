"""The firmware's C for this machine: a library of its parts, or the whole application as a process."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hil.chips import Microphone
from hil.errors import ToolError
from hil.firmware import sources as src
from hil.firmware.cmsis_dsp import Library
from hil.firmware.compiler import WARNINGS, run_tool

LIBRARY_PARTS = ("kernels", "frontend", "link")
_FLAGS = ("-std=c99", *WARNINGS, "-O1", "-g", "-fno-common", "-I.")
_UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
_TRIAL = "int twice(int x);\nint twice(int x) { return 2 * x; }\nint main(void) { return twice(0); }\n"
_TRAP = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
"""Without a message, but without a run-time library that a shared library could lack."""
_ADDRESS = ("-fsanitize=address", "-fno-omit-frame-pointer")


def compile_host_library(
    sources: Mapping[str, str],
    out: Path,
    *,
    sanitize: bool = True,
    parts: Iterable[str] = LIBRARY_PARTS,
    library: Library | None = None,
) -> Path:
    """
    Compile parts of the firmware and generated sources into a shared library for this machine.

    Args:
        sources: C by file name; sees the parts' headers as ``"kernels/..."``, ``"link/..."``.
        out: Folder for the library; made if missing.
        sanitize: Undefined behaviour ends the process, with a message where the compiler's run-time library can be
            loaded.  (The address sanitizer's cannot be loaded into a running Python: `compile_host_app` has it.)
        parts: Folders of ``firmware``.
        library: C of other authors that the sources call; nothing is warned of then.

    Returns:
        The library; an equal one that is there already is returned as it is.

    Raises:
        ToolError: There is no C compiler, or it failed.
    """
    library = library or Library({}, (), ())
    files = {**src.firmware_tree(parts), **src.generated_files(sources), **library.files}
    checks = (_loadable(_UNDEFINED) or _loadable(_TRAP)) if sanitize else ()
    flags = [*_FLAGS, "-fPIC", *checks, *library.flags, *library.own_flags]
    return _compile(files, flags, ["-shared"], out, "libfirmware", ".so")


def compile_host_app(
    sources: Mapping[str, str], out: Path, *, sanitize: bool = True, microphone: Microphone | None = None
) -> Path:
    """
    Compile the whole application for this machine: its line is the standard input and output of a process.

    Args:
        sources: Generated C by file name, as for `hil.firmware.compile_firmware`.
        out: Folder for the program; made if missing.
        sanitize: Undefined behaviour and bad addresses end the process with a message.
        microphone: With a microphone, which hears the file of int16 samples that ``HIL_MICROPHONE`` names.

    Returns:
        The program; an equal one that is there already is returned as it is.

    Raises:
        ToolError: There is no C compiler, or it failed.
    """
    files = {**src.firmware_tree(src.HOST_APP_PARTS), **src.generated_files(sources)}
    checks = [*_runnable(_UNDEFINED), *_runnable(_ADDRESS)] if sanitize else []
    sampled = [flag for flag in src.microphone_flags(microphone) if "_KIND=" not in flag]
    flags = [*_FLAGS, *checks, *sampled, *(["-DMICROPHONE_KIND=3"] if microphone else [])]
    identity = src.build_id(files, [*find_host_compiler(), *flags])
    files[f"{src.GENERATED}/{src.BUILD_ID_FILE}"] = src.build_id_source(identity)
    return _compile(files, flags, [], out, "firmware", "")


@functools.cache
def find_host_compiler() -> tuple[str, ...]:
    """
    Command of the C compiler for this machine: ``CC``, cc, gcc, clang, else the ziglang wheel.

    Raises:
        ToolError: There is none.
    """
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if path := shutil.which(name):
            return (path,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise ToolError("no C compiler for this machine: install gcc or clang, or run `pip install ziglang`")


@functools.cache
def _runnable(flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags if a program that is compiled with them runs here, else none."""
    return _tried(flags, ["./try"])


@functools.cache
def _loadable(flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags if a library that is compiled with them can be loaded into Python, else none."""
    return _tried((*flags, "-fPIC", "-shared"), [sys.executable, "-c", "import ctypes; ctypes.CDLL('./try')"]) and flags


def _tried(flags: tuple[str, ...], use: list[str]) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "try.c").write_text(_TRIAL, encoding="utf-8")
        try:
            run_tool([*find_host_compiler(), *flags, "try.c", "-o", "try"], "trying flags", Path(name))
            run_tool(use, "trying flags", Path(name))
        except ToolError:
            return ()
    return flags


def _compile(
    files: Mapping[str, bytes], flags: Sequence[str], link: Sequence[str], out: Path, name: str, suffix: str
) -> Path:
    command = [*find_host_compiler(), *flags, *link]
    digest = hashlib.sha256(src.build_id(files, command).encode()).hexdigest()[:16]
    target = out / f"{name}-{digest}{suffix}"
    if target.exists():
        return target
    with src.staged(files, out) as folder:
        run_tool([*command, *src.compiled(files), "-o", target.name, "-lm"], "compiling for this machine", folder)
        (folder / target.name).replace(target)
    return target
