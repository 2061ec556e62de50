"""
The vendor's register descriptions out of the source package cmsis-svd 0.4 (35 MB, fetched once with pip).

`python -m emulator_support.svd` in tests/ writes hil/emulator/register_names.py from them.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "cmsis-svd==0.4 --hash=sha256:b5f439fc6bbc43c9b56dd822f1f764359d503c685a42f913a1cfc2a3c6c42b2c\n"
MEMBERS = "cmsis-svd-0.4/cmsis_svd/data/Atmel/{}.svd"
CHIPS = ("ATSAMD21E18A", "ATSAMD21G18A", "ATSAMD21J18A")
FOLDER = Path(tempfile.gettempdir()) / "hil-emulator-tests" / "svd"
FETCH_TIMEOUT_S = 120
NAMES = Path(__file__).parents[2] / "hil" / "emulator" / "register_names.py"


class Unavailable(Exception):
    """The package cannot be had; the text says why."""


@dataclass(frozen=True)
class Register:
    """
    One register of one peripheral.

    Attributes:
        peripheral, name: As in the data sheet; ``mode`` is the cluster, such as ``USART``.
        base: Address of the peripheral.
        address, size: Size in bits.
        access: ``read-only``, ``write-only`` or ``""``.
        reset: Value, or None if the file has none.
    """

    peripheral: str
    mode: str
    name: str
    base: int
    address: int
    size: int
    access: str
    reset: int | None


def _fetch() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(PACKAGE)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--no-build-isolation", "--require-hashes", "-r", str(requirement), "-d", scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"pip did not deliver cmsis-svd within {FETCH_TIMEOUT_S} s") from None
        found = list(Path(scratch).glob("cmsis-svd-*.tar.gz"))
        if not found:
            raise Unavailable(f"pip could not download cmsis-svd 0.4: {done.stderr.strip()[-300:]}")
        with tarfile.open(found[0]) as archive:
            for chip in CHIPS:
                member = archive.extractfile(MEMBERS.format(chip))
                part = Path(scratch) / chip
                part.write_bytes(member.read())
                part.replace(FOLDER / f"{chip}.svd")


def _number(element: ElementTree.Element, tag: str, default: str | None = None) -> int | None:
    text = element.findtext(tag, default)
    return None if text is None else int(text, 0)


def _repeated(element: ElementTree.Element) -> Iterator[tuple[str, int]]:
    """Name and offset of each element of an array, or of the one."""
    name, offset = element.findtext("name"), _number(element, "addressOffset")
    count, step = _number(element, "dim"), _number(element, "dimIncrement")
    if count is None:
        yield name, offset
    for i in range(count or 0):
        yield name.replace("%s", str(i)), offset + i * step


def _walk(element: ElementTree.Element, peripheral: str, base: int, begin: int, mode: str = "") -> Iterator[Register]:
    sizes = {}
    for child in element:
        if child.tag == "cluster":
            yield from _walk(child, peripheral, base, begin + _number(child, "addressOffset"), child.findtext("name"))
        elif child.tag == "register":
            size = _number(child, "size") or sizes.get(child.get("derivedFrom"), 8)
            sizes[child.findtext("name")] = size
            for name, offset in _repeated(child):
                access, reset = child.findtext("access", ""), _number(child, "resetValue")
                yield Register(peripheral, mode, name, base, begin + offset, size, access, reset)


@functools.cache
def registers(chip: str) -> tuple[Register, ...]:
    """All registers of a chip.  Raises `Unavailable`."""
    path = FOLDER / f"{chip}.svd"
    if not path.exists():
        _fetch()
    root = ElementTree.parse(path).getroot()
    peripherals = {p.findtext("name"): p for p in root.iter("peripheral")}
    found = []
    for name, peripheral in peripherals.items():
        source = peripherals.get(peripheral.get("derivedFrom", ""), peripheral)
        base = _number(peripheral, "baseAddress")
        found += _walk(source.find("registers"), name, base, base)
    return tuple(found)


def names() -> str:
    """The text of register_names.py: what lies where, on the largest of the chips."""
    blocks: dict[str, dict[int, list[str]]] = {}
    bases: dict[str, int] = {}
    for register in registers("ATSAMD21J18A"):
        bases[register.peripheral] = register.base
        known = blocks.setdefault(register.peripheral, {}).setdefault(register.address - register.base, [])
        if register.name not in known:
            known.append(register.name)
    head = "Names of the SAMD21's registers; written by tests/emulator_support/svd.py from the vendor's SVD."
    lines = [f'"""{head}"""', "", "# fmt: off"]
    lines.append("REGISTERS: dict[str, tuple[int, str]] = {")
    for peripheral in sorted(blocks, key=lambda p: bases[p]):
        lines.append(f'    "{peripheral}": (')
        lines.append(f"        0x{bases[peripheral]:08X},")
        text = " ".join(f"{offset:X}:{'/'.join(found)}" for offset, found in sorted(blocks[peripheral].items()))
        words, line = text.split(" "), ""
        rows = []
        for word in words:
            if len(line) + len(word) > 107:
                rows.append(line + " ")
                line = ""
            line += (" " if line else "") + word
        rows.append(line)
        lines += [f'        "{row}"' for row in rows]
        lines[-1] += ","
        lines.append("    ),")
    tail = "Base address, and ``offset:NAME`` in hexadecimal; modes that share an offset are joined by a slash."
    lines += ["}", f'"""{tail}"""', ""]
    return "\n".join(lines)


if __name__ == "__main__":
    NAMES.write_text(names())
