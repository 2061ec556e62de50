"""The emulator's C core, as a shared library."""

from __future__ import annotations

from pathlib import Path

from hil.native import NativeLibrary, Unit

SOURCES = Path(__file__).parent / "csrc"
CORE = NativeLibrary(
    what="emulator's core",
    sources=SOURCES,
    path=Path(__file__).parent / "_core.so",
    flags=("-std=gnu99", "-O3", "-fPIC", "-fno-strict-aliasing", "-w"),
    units=tuple(Unit(path.name) for path in sorted(SOURCES.glob("*.c"))),
)
