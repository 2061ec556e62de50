"""Compile the emulator's C core into a plain shared library: at packaging, or on first use in a checkout."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hil.errors import ToolError

SOURCES = Path(__file__).parent / "csrc"
LIBRARY = Path(__file__).parent / "_core.so"
FLAGS = ("-std=gnu99", "-O3", "-fPIC", "-shared", "-fno-strict-aliasing", "-w")
"""Portable code only, so that a wheel runs on any machine of its kind."""


def source_hash() -> str:
    """SHA-256 over names and contents of the C files and the flags."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.glob("*.[chi]*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_current(library: Path) -> bool:
    """Whether ``library`` was made from the sources beside this file."""
    try:
        return f"hil-core-source:{source_hash()}".encode() in library.read_bytes()
    except FileNotFoundError:
        return False


def _compilers() -> list[list[str]]:
    named = os.environ.get("CC")
    if named:
        return [shlex.split(named)]
    zig = [[sys.executable, "-m", "ziglang", "cc"]] if importlib.util.find_spec("ziglang") else []
    return [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)] + zig


def build(out: Path) -> Path:
    """
    Compile the core to ``out``; a reader sees the old file or the new one, never a part.

    Raises:
        ToolError: There is no C compiler, or it failed.
    """
    compilers = _compilers()
    if not compilers:
        raise ToolError("no C compiler found to build the emulator. Install gcc or clang, or name one in CC.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".core-") as folder:
        made = Path(folder) / out.name
        command = [*compilers[0], *FLAGS, f'-DSOURCE_HASH="{source_hash()}"', "-o", str(made)]
        command += [str(path) for path in sorted(SOURCES.glob("*.c"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ToolError(f"the C compiler cannot be run ({error}). Set CC to one that works.", command) from error
        if done.returncode != 0:
            raise ToolError("the emulator's core did not compile", command, done.stdout + done.stderr)
        made.replace(out)
    return out


def library() -> Path:
    """
    The compiled core; built first if it is missing or its sources have changed.

    Raises:
        ToolError: It has to be built and cannot be.
    """
    if is_current(LIBRARY):
        return LIBRARY
    if os.access(LIBRARY.parent, os.W_OK):
        return build(LIBRARY)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hil" / f"core-{source_hash()[:16]}.so"
    return cache if is_current(cache) else build(cache)


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else LIBRARY))
