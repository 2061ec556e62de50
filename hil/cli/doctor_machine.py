"""What this machine has and lacks, and what to do about it."""

from __future__ import annotations

import importlib.util
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hil.cli.attached import RULE_FILE, Attached, forbidden_ports, forbidden_probes, udev_rule
from hil.cli.doctor_rig import check
from hil.cli.finding import OPTIONAL, Finding
from hil.cli.progress import make_progress
from hil.datasets.sources import list_data
from hil.errors import HilError, UsageError
from hil.firmware import find_compiler
from hil.firmware.compiler import NAMES, cache_folder
from hil.probe.flash import find_pyocd
from hil.rig import load_rig
from hil.rig.board import BoardRig
from hil.rig.recovery import release as lift_quarantine
from hil.rig.renode import find_renode
from hil.rig.renode.process import VARIABLE

_OLDEST_PYTHON = (3, 10)
EXIT_RIG = 4
"""As `hil.cli.EXIT_RIG`."""


def examine(rig: str | None, frames: int) -> int:
    """Print the findings; 0 if everything that a bench needs works, else the exit code for a wrong bench, 4."""
    progress = make_progress()
    with progress.task("looking at this machine"):
        findings = list(_machine())
    if rig is not None:
        findings += check(rig, frames, progress)
    _print(findings)
    return 0 if all(f.works for f in findings if f.needed_for not in OPTIONAL) else EXIT_RIG


def release(rig: str | None) -> int:
    """
    Let a board out of quarantine.

    Raises:
        UsageError: No rig, or no board.
        RigNotFound: It is not attached.
    """
    if rig is None:
        raise UsageError("--release needs a rig: `hil doctor RIG --release`")
    opened = load_rig(rig, fallback=False)
    if not isinstance(opened, BoardRig):
        raise UsageError(f"{rig}: only a board can be in quarantine")
    uid = opened.found.probe.uid
    said = "is out of quarantine" if lift_quarantine(uid) else "was not in quarantine"
    click.echo(f"{rig}: the board behind probe {uid} {said}")
    return 0


def _machine() -> Iterator[Finding]:
    version = f"{platform.python_version()} ({sys.executable})"
    older = sys.version_info < _OLDEST_PYTHON
    yield Finding("Python", not older, version + (": install 3.10 or newer" if older else ""), "everything")
    yield from _compilers()
    yield _try("emulator core", "run, bench", _emulator)
    for module, package in (("torch", "torch"), ("espeakng_loader", "espeakng-loader")):
        there = importlib.util.find_spec(module) is not None
        yield Finding(package, there, "installed" if there else "missing: pip install 'hil[train]'", "train")
    yield from _bench()
    yield from _optional()
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


def _bench() -> Iterator[Finding]:
    """pyOCD, probes, ports, and whether this user may use them."""
    yield _try("pyOCD", "flash, run", find_pyocd)
    attached = Attached([])
    probes = "; ".join(map(str, attached.probes)) or "none; attach one, or use --rig emulator"
    yield Finding("debug probes", not attached.trouble, attached.trouble or probes, "boards")
    forbidden = forbidden_probes()
    if forbidden:
        usb = [ids for ids, _ in forbidden]
        todo = f"put this into {RULE_FILE}, then `sudo udevadm control --reload && sudo udevadm trigger`:"
        yield Finding("probe permissions", False, f"{', '.join(usb)}: {todo}\n{udev_rule(usb)}", "boards")
    else:
        yield Finding("probe permissions", True, "nothing attached is forbidden to this user", "boards")
    ports = "; ".join(map(str, attached.ports)) or "none; attach a board, or use --rig emulator"
    closed = forbidden_ports(attached.ports)
    if closed:
        ports = f"{', '.join(closed)}: `sudo usermod -aG {_group(closed[0])} $USER`, then log in again"
    yield Finding("serial ports", not closed, ports, "boards")


def _group(port: str) -> str:
    try:
        return Path(port).group()
    except (OSError, KeyError):
        return "dialout"


def _optional() -> Iterator[Finding]:
    renode = find_renode()
    missing = f"not found: install it from renode.io, or name it in {VARIABLE}"
    yield Finding("Renode", renode is not None, renode or missing, "renode")
    yield _try("audio devices", "sound", _audio)
    yield _try("data sets", "data", _data)


def _audio() -> str:
    if importlib.util.find_spec("sounddevice") is None:
        raise UsageError("sounddevice is not installed: pip install sounddevice")
    try:
        query = importlib.import_module("sounddevice").query_devices
        names = [str(device["name"]) for device in query()]
    except OSError as error:
        raise UsageError(f"PortAudio is missing ({error}): install your system's package libportaudio2") from None
    return ", ".join(names) or "none attached"


def _data() -> str:
    listed = [f"{entry.source.name} in {entry.place}" for entry in list_data() if entry.place]
    if not listed:
        raise UsageError("none here: `hil data get NAME` downloads one, HIL_DATA names a folder with them")
    return "; ".join(listed)


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}): change its owner") from None
    return f"{folder}, writable"


def _mark(finding: Finding) -> str:
    return "ok" if finding.works else "-" if finding.needed_for in OPTIONAL else "NO"


def _print(findings: list[Finding]) -> None:
    table = Table()
    for heading in ("", "what", "found", "needed for"):
        table.add_column(heading)
    for f in findings:
        table.add_row(_mark(f), f.what, escape(f.found), f.needed_for)
    Console().print(table)
