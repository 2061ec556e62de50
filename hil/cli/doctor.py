"""What this machine has and lacks, and what to do about it."""

from __future__ import annotations

import importlib.util
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hil.errors import HilError, UsageError
from hil.firmware import find_compiler
from hil.firmware.compiler import NAMES, cache_folder
from hil.rig import load_rig

_OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True)
class Finding:
    """
    One thing looked at.

    Attributes:
        what: Name.
        works: It does.
        found: What is there, or what is wrong and what to do.
        needed_for: Which commands fail without it.
    """

    what: str
    works: bool
    found: str
    needed_for: str


def examine(rig: str | None) -> int:
    """Print the findings; 0 if everything that a bench needs works, else the exit code for a wrong bench, 4."""
    findings = list(_machine())
    if rig is not None:
        findings.append(_try(f"rig {rig}", "run", lambda: _answer(rig)))
    _print(findings)
    return 0 if all(f.works for f in findings if f.needed_for != "train") else 4


def _machine() -> Iterator[Finding]:
    version = f"{platform.python_version()} ({sys.executable})"
    older = sys.version_info < _OLDEST_PYTHON
    yield Finding("Python", not older, version + (": install 3.10 or newer" if older else ""), "everything")
    yield from _compilers()
    yield _try("emulator core", "run, bench", _emulator)
    for module, package in (("torch", "torch"), ("espeakng_loader", "espeakng-loader")):
        there = importlib.util.find_spec(module) is not None
        yield Finding(package, there, "installed" if there else "missing: pip install 'hil[train]'", "train")
    yield Finding("serial ports", True, _ports(), "boards")
    yield _try("cache", "build", lambda: _writable(cache_folder()))
    yield _try("this folder", "everything", lambda: _writable(Path.cwd()))


def _compilers() -> Iterator[Finding]:
    """One is enough; the other's absence is told, not counted."""
    findings = {name: _try(f"compiler {name}", "build", partial(_compiler, name)) for name in NAMES}
    enough = any(f.works for f in findings.values())
    for finding in findings.values():
        found = finding.found if finding.works or not enough else f"not needed ({finding.found})"
        yield Finding(finding.what, finding.works or enough, found, finding.needed_for)


def _compiler(name: str) -> str:
    return find_compiler(name).version


def _try(what: str, needed_for: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look(), needed_for)
    except HilError as error:
        return Finding(what, False, str(error), needed_for)
    except Exception as error:  # a broken installation must not keep the other findings from being told
        return Finding(what, False, f"{type(error).__name__}: {error}. Install hil again.", needed_for)


def _emulator() -> str:
    from hil.chips import chip
    from hil.emulator import EmulatedBoard

    with EmulatedBoard(chip("atsamd21j18a"), (0, 0, 0, 0)) as board:
        return f"works, port {board.port}"


def _ports() -> str:
    from serial.tools.list_ports import comports

    found = [f"{port.device} ({port.description})" for port in comports()]
    return ", ".join(found) or "none; attach a board, or use --rig emulator"


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}): change its owner") from None
    return f"{folder}, writable"


def _answer(rig: str) -> str:
    """Build a small firmware, flash it, and see that it says HELLO."""
    from hil.chips import chip
    from hil.experiment.bench import bench_sources
    from hil.experiment.run import connect
    from hil.firmware import compile_firmware

    with tempfile.TemporaryDirectory() as folder, load_rig(rig, fallback=False) as opened:
        firmware = compile_firmware(
            bench_sources(1, 1, ["softsign_q15"]),
            chip=chip(opened.chip),
            board=opened.wiring,
            compiler=find_compiler(),
            optimize="2",
            out=Path(folder),
        )
        opened.flash(firmware)
        device, hello = connect(opened, firmware)
        device.echo(bytes(range(256)))
        return f"answers: {hello.clock_hz / 1e6:g} MHz, serial number {hello.serial}, {device.repetitions} repetitions"


def _print(findings: list[Finding]) -> None:
    table = Table()
    for heading in ("", "what", "found", "needed for"):
        table.add_column(heading)
    for f in findings:
        table.add_row("ok" if f.works else "NO", f.what, f.found, f.needed_for)
    Console().print(table)
