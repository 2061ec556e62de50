"""Arrays as C text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hil.fixed import Int

WIDTH = 116
ALIGNED = "__attribute__((aligned(4)))"
"""On every array, so that kernels may read pairs of int16 as words."""
IN_LINES = "__attribute__((aligned(8)))"
"""On those in flash: a line of its cache, so that cycles depend less on what else is linked."""

_C_TYPES = {
    np.dtype(np.int8): "int8_t",
    np.dtype(np.uint8): "uint8_t",
    np.dtype(np.int16): "int16_t",
    np.dtype(np.uint16): "uint16_t",
    np.dtype(np.int32): "int32_t",
    np.dtype(np.uint32): "uint32_t",
}


def buffer(c_type: str, name: str, count: int | str, shape: str) -> str:
    """A static array in RAM; ``shape`` is its comment, such as ``"[H] Q15"``."""
    return f"static {c_type} {name}[{count}] {ALIGNED}; /* {shape} */\n"


def constant(name: str, values: Int, shape: str) -> str:
    """
    A static array of integers in flash; uint32 in hexadecimal.

    Args:
        name: Identifier.
        values: Integers, any shape; written in C order.
        shape: What it holds, for the comment, such as ``"[2H] Q17"``.
    """
    form = "0x{:08x}" if values.dtype == np.uint32 else "{}"
    return _array(_C_TYPES[values.dtype], name, [form.format(int(v)) for v in values.flat], shape)


def float_constant(name: str, values: npt.NDArray[np.float32], shape: str) -> str:
    """The same for floats, in hexadecimal so that no compiler rounds them."""
    return _array("float", name, [f"{_hex(float(v))}f" for v in values.flat], shape)


def hash_bytes(name: str, digest: bytes, comment: str) -> str:
    """A hash that ``model.h`` declares."""
    items = _fill(f"0x{byte:02x}" for byte in digest)
    return f"/* {comment} */\nconst uint8_t {name}[{len(digest)}] = {{\n{items},\n}};\n"


def _array(c_type: str, name: str, items: Sequence[str], shape: str) -> str:
    return f"/* {shape} */\nstatic const {c_type} {name}[{len(items)}] {IN_LINES} = {{\n{_fill(items)},\n}};\n"


def _fill(items: Iterable[str]) -> str:
    return textwrap.fill(", ".join(items), WIDTH, initial_indent="    ", subsequent_indent="    ")


def _hex(value: float) -> str:
    """``0x1.8p-3``; Python writes thirteen digits, a float32 has at most six."""
    digits, power = value.hex().split("p")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}p{power}"
