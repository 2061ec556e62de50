"""Which compiler makes Armv6-M code here, and how it is called."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.errors import ToolError, UsageError, suggest

FORCE = "HIL_CC_ARM"
"""Environment variable that chooses the compiler: ``gcc`` or ``zig``."""
NAMES = ("gcc", "zig")

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
_COMMON = (
    "-std=c99",
    *WARNINGS,
    "-ffreestanding",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-falign-functions=8",  # a line of the flash cache: a function's cycles depend less on what else is linked
)
_GCC_FLAGS = (
    "-mcpu=cortex-m0plus",
    "-mthumb",
    "-masm-syntax-unified",
    "-fno-tree-loop-distribute-patterns",  # or memcpy would be made to call itself
)
_ZIG_TARGET = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus")
_ZIG_FLAGS = (*_ZIG_TARGET, "-fno-sanitize=all", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
_ZIG_MODES = {"s": "ReleaseSmall"}
_TIMEOUT_S = 600.0
_STEERING = re.compile(r"C_INCLUDE_PATH|CPATH|LIBRARY_PATH|COMPILER_PATH|GCC_.*|SOURCE_DATE_EPOCH|CFLAGS|LANG|LC_.*")


@dataclass(frozen=True)
class Compiler:
    """
    A C compiler for the Cortex-M0+.

    Attributes:
        name: ``"gcc"`` or ``"zig"``.
        version: What it says of itself, one line.
        command: What comes before the arguments.
        flags: Of every compilation, without optimization and paths.
    """

    name: str
    version: str
    command: tuple[str, ...]
    flags: tuple[str, ...]

    def compile_command(self, source: str, obj: str, optimize: str, more: Sequence[str]) -> list[str]:
        """Command line that compiles one file."""
        cc = [*self.command, "cc"] if self.name == "zig" else [*self.command]
        return [*cc, *self.flags, f"-O{optimize}", *more, "-c", source, "-o", obj]

    def link_command(self, objects: Sequence[str], script: str, elf: str, optimize: str) -> list[str]:
        """Command line that links a program, with division and soft float from the compiler's own library."""
        if self.name == "zig":
            mode = _ZIG_MODES.get(optimize, "ReleaseFast")
            options = ["-fcompiler-rt", f"-O{mode}", "-fno-strip", "--gc-sections", "-fentry=reset_handler"]
            options += ["--script", script, f"-femit-bin={elf}"]
            return [*self.command, "build-exe", *objects, *_ZIG_TARGET, *options]
        options = ["-nostdlib", "-nostartfiles", "-Wl,--gc-sections", f"-Wl,-T,{script}"]
        return [*self.command, *_GCC_FLAGS[:2], *options, *objects, "-lgcc", "-o", elf]


def find_compiler(prefer: str | None = None) -> Compiler:
    """
    The compiler to use: ``prefer``, else what `FORCE` says, else gcc if it is there, else zig.

    Args:
        prefer: ``"gcc"`` (arm-none-eabi-gcc on PATH), ``"zig"`` (the ziglang wheel) or None.

    Raises:
        UsageError: No such compiler is known.
        ToolError: The one asked for, or any, is not installed.
    """
    wanted = prefer or os.environ.get(FORCE) or None
    if wanted is not None and wanted not in NAMES:
        source = "" if prefer else f" in the environment variable {FORCE}"
        raise UsageError(f"unknown compiler {wanted!r}{source}{suggest(wanted, NAMES)}. Known: {', '.join(NAMES)}")
    found = _gcc() if wanted != "zig" else None
    found = found or (_zig() if wanted != "gcc" else None)
    if found is None:
        raise ToolError(_missing(wanted))
    return found


def _missing(wanted: str | None) -> str:
    gcc = "arm-none-eabi-gcc is not on PATH: install your system's package gcc-arm-none-eabi"
    zig = f"{sys.executable} has no ziglang: run `pip install ziglang`"
    if wanted is None:
        return f"no compiler for the Cortex-M0+: {zig}, or {gcc.split(': ')[1]}"
    return gcc if wanted == "gcc" else zig


def _gcc() -> Compiler | None:
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        return None
    return Compiler("gcc", _version((path, "--version")), (path,), (*_COMMON, *_GCC_FLAGS))


def _zig() -> Compiler | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    command = (sys.executable, "-m", "ziglang")
    return Compiler("zig", f"zig {_version((*command, 'version'))}", command, (*_COMMON, *_ZIG_FLAGS))


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    lines = run_tool(command, "asking a compiler for its version").splitlines()
    return lines[0].strip() if lines else "unknown"


def cache_folder() -> Path:
    """Where compilers keep what they have made before: the user's cache, not the project."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or str(Path.home() / ".cache")
    return Path(base) / "hil"


def _environment(cwd: Path | None) -> dict[str, str]:
    """Nothing of the caller's surroundings changes what is compiled; objects of a build go away with its folder."""
    env = {name: value for name, value in os.environ.items() if not _STEERING.fullmatch(name)}
    env["LC_ALL"] = "C"
    env.setdefault("ZIG_GLOBAL_CACHE_DIR", str(cache_folder() / "zig"))
    env["ZIG_LOCAL_CACHE_DIR"] = str((cwd or cache_folder()) / ".zig-cache")
    return env


def run_tool(command: Sequence[str], doing: str, cwd: Path | None = None, more: Mapping[str, str] | None = None) -> str:
    """
    Run a compiler and return what it printed.

    Raises:
        ToolError: It cannot be run, fails, or takes longer than ten minutes; carries its log.
    """
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            env={**_environment(cwd), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except OSError as error:
        raise ToolError(f"{doing}: {command[0]} cannot be run ({error.strerror})", command) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{doing}: {command[0]} was still running after {_TIMEOUT_S:g} s", command) from error
    if done.returncode != 0:
        raise ToolError(f"{doing} failed (exit status {done.returncode})", command, done.stdout)
    return done.stdout
