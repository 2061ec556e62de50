"""Who has a device or a file open: a look at /proc, no other program needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_SHOWN = 80


@dataclass(frozen=True)
class Holder:
    """
    A process.

    Attributes:
        pid: Its number.
        command: Its command line, shortened.
    """

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})" if self.command else f"process {self.pid}"


def holders(path: str | Path) -> list[Holder]:
    """Other processes that have ``path`` open, as far as this user may look; none outside Linux."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    return [Holder(pid, command_of(pid)) for pid in sorted(_openers(wanted)) if pid != os.getpid()]


def command_of(pid: int) -> str:
    """Command line of a process, "" if it has ended or may not be looked at."""
    with suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return " ".join(word.decode(errors="replace") for word in words if word)[:_SHOWN]
    return ""


def _openers(wanted: os.stat_result) -> Iterator[int]:
    """Processes with the file open; a device is the same by its number, whatever it is called."""
    for process in _numbered(_PROC):
        if any(_is(link, wanted) for link in _entries(process / "fd")):
            yield int(process.name)


def _numbered(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.name.isdigit()]


def _entries(folder: Path) -> list[Path]:
    """Nothing where this user may not look, or the process has just ended."""
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _is(link: Path, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        found = link.stat()
        if wanted.st_rdev:
            return found.st_rdev == wanted.st_rdev
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
    return False
