"""The fused recurrent loops in C, as a shared library: each type and level of vector code is a unit of its own."""

from __future__ import annotations

import platform
from pathlib import Path

from hil.native import NativeLibrary, Unit

_AVX2 = ("-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mpopcnt")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl")
_LEVELS: dict[str, tuple[int, tuple[str, ...]]] = {"generic": (16, ())}
"""Bytes of a vector, and flags."""
if platform.machine() in ("x86_64", "AMD64"):
    _LEVELS |= {"avx2": (32, _AVX2), "avx512": (64, _AVX512)}

SOURCES = Path(__file__).parent / "csrc"


def _unit(level: str, kind: str) -> Unit:
    vector_bytes, flags = _LEVELS[level]
    defines = f"-DTYPE={kind}", f"-DREAL_IS_DOUBLE={int(kind == 'double')}", f"-DLEVEL={level}"
    return Unit("event_gru.c", (*flags, *defines, f"-DVECTOR_BYTES={vector_bytes}"), f"event_gru_{kind}_{level}")


RECURRENT = NativeLibrary(
    what="recurrent loops for training",
    sources=SOURCES,
    path=Path(__file__).parent / "_recurrent.so",
    flags=("-std=gnu99", "-O3", "-fPIC", "-pthread", "-ffp-contract=fast", "-w"),
    units=(Unit("recurrent.c"), *(_unit(level, kind) for level in _LEVELS for kind in ("float", "double"))),
)
