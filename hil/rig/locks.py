"""Locks of the whole machine: one run at a time on a probe and on a port, and the holder has a name."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from hil.errors import RigBusy, UsageError

FOLDER_VARIABLE = "HIL_LOCK_DIR"
"""Environment variable that names another folder: for tests."""

_POLL_S = 0.1
_SHOWN = 80


def lock_folder() -> Path:
    """
    The folder of locks and quarantines, made if it is missing: one for all users, who cannot remove each other's.

    Raises:
        UsageError: It cannot be made.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "hil-bench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # somebody else's already
            folder.chmod(0o1777)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror}). Set {FOLDER_VARIABLE} to another.") from error
    return folder


def file_name(what: str) -> str:
    """A name for a probe's id or a port: readable, and never two things under one."""
    readable = "".join(c if c.isalnum() else "-" for c in what)[-40:]
    return f"{readable}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


class BenchLock:
    """A probe or port held by this process until `close`; it ends with the process, however that ends."""

    def __init__(self, rig: str, what: str, key: str, wait_s: float = 0.0) -> None:
        """
        Args:
            rig: Name for errors, and told to whoever waits.
            what: In words, such as ``"probe 1234"``.
            key: What is locked, the same in every process.
            wait_s: For its holder to let go.

        Raises:
            RigBusy: Another run holds it still.
            UsageError: The lock cannot be made.
        """
        path = lock_folder() / f"{file_name(key)}.lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise UsageError(f"{path}: cannot be opened ({error.strerror}). Remove it, or ask its owner.") from error
        with suppress(PermissionError):
            os.fchmod(self._file, 0o666)  # whatever the umask is
        deadline = time.monotonic() + wait_s
        while not _try(self._file):
            if time.monotonic() >= deadline:
                holder = _holder(self._file)
                self.close()
                raise RigBusy(rig, what, holder)
            time.sleep(_POLL_S)
        _write(self._file, {"pid": os.getpid(), "user": _user(), "rig": rig, "command": " ".join(sys.argv)[:_SHOWN]})

    def close(self) -> None:
        """Let go; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> BenchLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(descriptor: int, who: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _holder(descriptor: int) -> str:
    """As the holder has written it."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f"another run: process {who['pid']} of {who['user']}, rig {who['rig']}: `{who['command']}`"
    return "another run"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
