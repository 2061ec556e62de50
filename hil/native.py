"""Compile C of this package into a plain shared library: at packaging, or on first use in a checkout."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hil.errors import ToolError


@dataclass(frozen=True)
class Unit:
    """
    One file to compile.

    Attributes:
        source: Name below the library's folder of sources.
        flags: Beside those of the library.
        name: Of the object file, if the source is compiled more than once.
    """

    source: str
    flags: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class NativeLibrary:
    """
    A shared library, loaded with cffi in ABI mode, so that it fits every Python of the platform.

    One of its sources holds ``"hil-core-source:" SOURCE_HASH``, by which a library that is out of date is known.

    Attributes:
        what: Its name in messages.
        sources: Folder with the C files.
        path: Where it lies once built.
        flags: For every unit; portable code only, so that a wheel runs on any machine of its kind.
        units: Files to compile.
    """

    what: str
    sources: Path
    path: Path
    flags: tuple[str, ...]
    units: tuple[Unit, ...]

    def source_hash(self) -> str:
        """SHA-256 over names and contents of the C files and the flags."""
        flags = [*self.flags, *(f"{unit.source} {unit.flags}" for unit in self.units if unit.flags)]
        digest = hashlib.sha256(" ".join(flags).encode())
        for path in sorted(self.sources.glob("*.[chi]*")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def is_current(self, library: Path) -> bool:
        """Whether ``library`` was made from the sources as they are."""
        try:
            return f"hil-core-source:{self.source_hash()}".encode() in library.read_bytes()
        except FileNotFoundError:
            return False

    def build(self, out: Path) -> Path:
        """
        Compile it to ``out``; a reader sees the old file or the new one, never a part.

        Raises:
            ToolError: There is no C compiler, or it failed.
        """
        compilers = _compilers()
        if not compilers:
            raise ToolError(f"no C compiler found to build the {self.what}. Install gcc or clang, or name one in CC.")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".core-") as folder:
            made, objects = Path(folder) / out.name, []
            for unit in self.units:
                objects.append(str(Path(folder) / f"{unit.name or Path(unit.source).stem}.o"))
                mark = f'-DSOURCE_HASH="{self.source_hash()}"'
                source = str(self.sources / unit.source)
                self._run([*compilers[0], *self.flags, *unit.flags, mark, "-c", "-o", objects[-1], source])
            self._run([*compilers[0], "-shared", "-pthread", "-o", str(made), *objects])
            made.replace(out)
        return out

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ToolError(f"the C compiler cannot be run ({error}). Set CC to one that works.", command) from error
        if done.returncode != 0:
            raise ToolError(f"the {self.what} did not compile", command, done.stdout + done.stderr)

    def ready(self) -> Path:
        """
        The library; built first if it is missing or its sources have changed.

        Raises:
            ToolError: It has to be built and cannot be.
        """
        if self.is_current(self.path):
            return self.path
        if os.access(self.path.parent, os.W_OK):
            return self.build(self.path)
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hil"
        cache = folder / f"{self.path.stem.strip('_')}-{self.source_hash()[:16]}.so"
        return cache if self.is_current(cache) else self.build(cache)


def _compilers() -> list[list[str]]:
    """Those at hand, best first; zig compiles for its own machine alone unless it is told not to."""
    named = os.environ.get("CC")
    if named:
        return [shlex.split(named)]
    zig = [[sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]] if importlib.util.find_spec("ziglang") else []
    return [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)] + zig
