"""What is compiled: the ``firmware`` folder, the generated sources, the board and the linker script."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hil.chips import ADC_PINS, Board, Chip, Microphone
from hil.errors import UsageError
from hil.resources import resource

STACK_BYTES = 2048
"""Reserved in RAM; the firmware reports how much of it was ever used."""
GENERATED = "generated"
BUILD_ID_FILE = "build_id.c"
LINKER_SCRIPT = "port/samd21/samd21.ld"
DEVICE_PARTS = ("kernels", "frontend", "link", "app", "port", "port/samd21")
HOST_APP_PARTS = ("kernels", "frontend", "link", "app", "port", "port/host")

_SUFFIXES = (".c", ".h", ".S", ".ld")
_PORT_GROUPS = {"A": 0, "B": 1}
_MUX = {"C": 2, "D": 3}
_TXPO = {0: 0, 2: 1}
_RX_PADS = range(4)
_CLOCKS = ("open-loop", "xosc32k")


def firmware_tree(parts: Iterable[str]) -> dict[str, bytes]:
    """The files of some parts of the ``firmware`` folder, by path relative to it."""
    root = resource("firmware")
    files = sorted(f for part in parts for f in (root / part).glob("*") if f.suffix in _SUFFIXES)
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in files}


def generated_files(sources: Mapping[str, str]) -> dict[str, bytes]:
    """
    Generated sources, by path as they are compiled.

    Raises:
        UsageError: A name is not that of a plain C file.
    """
    for name in sources:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.[chS]", name) or name == BUILD_ID_FILE:
            raise UsageError(f"{name!r} cannot be the name of a generated source")
    return {f"{GENERATED}/{name}": text.encode() for name, text in sorted(sources.items())}


def compiled(files: Iterable[str]) -> list[str]:
    """Those of the files that the compiler is called for, in a fixed order."""
    return sorted(f for f in files if f.endswith((".c", ".S")))


def board_flags(board: Board, chip: Chip) -> list[str]:
    """
    Macros of ``firmware/port/samd21/board.h``.

    Raises:
        UsageError: The wiring names something that the chip does not have.
    """
    if not 0 <= board.sercom < chip.sercoms:
        raise UsageError(f"board: sercom = {board.sercom}; {chip.name} has SERCOM 0 to {chip.sercoms - 1}")
    tx, rx = _pin("tx", board.tx), _pin("rx", board.rx)
    values = {
        "TX_GROUP": tx[0],
        "TX_PIN": tx[1],
        "RX_GROUP": rx[0],
        "RX_PIN": rx[1],
        "MUX": _choice("mux", board.mux, _MUX),
        "TXPO": _choice("tx_pad", board.tx_pad, _TXPO),
        "RXPO": _choice("rx_pad", board.rx_pad, {pad: pad for pad in _RX_PADS}),
        "XOSC32K": _choice("clock", board.clock, {name: i for i, name in enumerate(_CLOCKS)}),
    }
    if tx == rx or board.tx_pad == board.rx_pad:
        raise UsageError(f"board: tx and rx share pin {board.tx} or pad {board.tx_pad}")
    return [f"-DBOARD_SERCOM={board.sercom}", *(f"-DBOARD_{name}={value}u" for name, value in values.items())]


_MICROPHONES = {"adc": 1, "i2s": 2}
"""As in `hil.link.schema.Microphone`."""


def microphone_flags(microphone: Microphone | None) -> list[str]:
    """Macros of ``firmware/port/port.h`` for a firmware with a microphone; none without."""
    if microphone is None:
        return []
    values = {
        "KIND": _MICROPHONES[microphone.kind],
        "RATE": f"{microphone.rate_hz}u",
        "RING": f"{microphone.ring}u",
        "GAIN_LOG2": f"{microphone.gain.bit_length() - 1}u",
        "OVERSAMPLE_LOG2": f"{microphone.oversampling.bit_length() - 1 if microphone.kind == 'adc' else 0}u",
        "INPUT": f"{ADC_PINS.index(microphone.pin)}u",
    }
    for prefix, pin in (
        ("", microphone.pin),
        *((f"{n.upper()}_", getattr(microphone, n)) for n in ("sck", "fs", "sd")),
    ):
        group, number = _pin("microphone", pin)
        values |= {f"{prefix}GROUP": f"{group}u", f"{prefix}PIN": f"{number}u"}
    return [f"-DMICROPHONE_{name}={value}" for name, value in values.items()]


def _pin(name: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"P([AB])(\d\d)", text)
    if not match or int(match[2]) > 31:
        raise UsageError(f"board: {name} = {text!r}; expected a pin such as 'PA22' or 'PB03'")
    return _PORT_GROUPS[match[1]], int(match[2])


def _choice(name: str, value: object, known: Mapping[object, int] | Mapping[str, int] | Mapping[int, int]) -> int:
    table = dict(known)
    if value not in table:
        raise UsageError(f"board: {name} = {value!r}; expected {' or '.join(map(repr, table))}")
    return table[value]  # type: ignore[index]


def linker_script(template: bytes, flash_bytes: int, ram_bytes: int) -> bytes:
    """The linker script for memories of these sizes."""
    text = template.decode()
    for name, value in (("FLASH_BYTES", flash_bytes), ("RAM_BYTES", ram_bytes), ("STACK_BYTES", STACK_BYTES)):
        text = text.replace(f"@{name}@", str(value))
    return text.encode()


def build_id(files: Mapping[str, bytes], flags: Sequence[str]) -> str:
    """32 hexadecimal digits: the first half of a SHA-256 over every file, by name, and every flag."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    digest.update("\0".join(flags).encode())
    return digest.hexdigest()[:32]


def build_id_source(digits: str) -> bytes:
    """``build_id.c``, which defines ``model_build_id``."""
    values = ", ".join(f"0x{digits[i : i + 2]}" for i in range(0, len(digits), 2))
    return (
        "/* Written by hil.firmware: hash over the sources, the linker script, the flags and the compiler. */\n"
        '#include "app/model.h"\n\n'
        f"const uint8_t model_build_id[16] = {{{values}}};\n"
    ).encode()


@contextmanager
def staged(files: Mapping[str, bytes], out: Path) -> Iterator[Path]:
    """A folder with exactly these files: what is compiled is what was hashed, and no path leaks into the program."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as name:
        folder = Path(name)
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        yield folder
