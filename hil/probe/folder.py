"""Where running probes announce themselves: one folder per user, one locked file and one socket per probe."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hil.errors import RigError, UsageError

FOLDER_VARIABLE = "HIL_PROBE_DIR"
"""Environment variable that names another folder, for tests and for several benches on one machine."""

ID = re.compile(r"[0-9a-z][0-9a-z-]{3,39}")
"""What an id may look like: it names files, and pyOCD compares it without regard to case."""

_SUN_PATH_BYTES = 107
"""The longest path of a Unix socket (``sockaddr_un.sun_path``, without its final zero)."""

_LOCK_TRIES, _LOCK_PAUSE_S = 20, 0.01


@dataclass(frozen=True)
class Announcement:
    """
    What a running probe says of itself.

    Attributes:
        uid: Its id, as for ``pyocd --uid``.
        chip: Name of its chip, which is the pyOCD target.
        pid: Its process.
        port: The pty of the board's UART.
        socket: Where it listens.
    """

    uid: str
    chip: str
    pid: int
    port: str
    socket: str


def probe_folder() -> Path:
    """
    The folder, made if it is missing, private to this user.

    Raises:
        UsageError: It belongs to somebody else or others may write to it.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if named:
        folder = Path(named)
    elif runtime and os.access(runtime, os.W_OK):
        folder = Path(runtime) / "hil-probes"
    else:
        folder = Path(tempfile.gettempdir()) / f"hil-probes-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UsageError(
            f"{folder}: must be a folder of your own that nobody else can write to. "
            f"Remove it, or set {FOLDER_VARIABLE} to another one."
        )
    return folder


class Registration:
    """A place in the folder, held while this object is open.  The lock ends with the process, however it ends."""

    def __init__(self, uid: str) -> None:
        """
        Raises:
            UsageError: ``uid`` cannot be an id, or the folder's path is too long for a socket.
            RigError: A probe of that id is running.
        """
        if not ID.fullmatch(uid):
            raise UsageError(f"id {uid!r}: expected 4 to 40 lower-case letters, digits and dashes")
        folder = probe_folder()
        self.uid = uid
        self.socket = folder / f"{uid}.sock"
        self._file = folder / f"{uid}.json"
        if len(os.fsencode(self.socket)) > _SUN_PATH_BYTES:
            raise UsageError(f"{self.socket}: too long for a socket. Set {FOLDER_VARIABLE} to a shorter path.")
        self._lock = os.open(folder / f"{uid}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(self._lock):
            os.close(self._lock)
            raise RigError(uid, "a probe of this id is running already. End it, or choose another id.")
        self._forget()

    def announce(self, chip: str, port: str) -> None:
        """Let others find it; the socket must listen by now."""
        mine = Announcement(self.uid, chip, os.getpid(), port, str(self.socket))
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(asdict(mine)) + "\n", encoding="utf-8")
        part.replace(self._file)

    def close(self) -> None:
        """Leave the folder; harmless when repeated."""
        if self._lock >= 0:
            self._forget()
            os.close(self._lock)
            self._lock = -1

    def _forget(self) -> None:
        _remove(self._file, self.socket)


def _lock(descriptor: int) -> bool:
    """Whoever lists the folder holds the lock of an ended probe for a moment."""
    for _ in range(_LOCK_TRIES):
        if _try_lock(descriptor):
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def announcements() -> list[Announcement]:
    """The probes that run, by id.  What ended probes have left behind is removed."""
    return sorted(_alive(probe_folder()), key=lambda found: found.uid)


def find(uid: str) -> Announcement | None:
    """The running probe of exactly this id."""
    return next((found for found in announcements() if found.uid == uid.lower()), None)


def _alive(folder: Path) -> Iterator[Announcement]:
    for path in folder.glob("*.json"):
        try:
            descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # not a file of ours
        try:
            if _try_lock(descriptor):
                _remove(path, path.with_suffix(".sock"))
            elif found := _read(path):
                yield found
        finally:
            os.close(descriptor)


def _read(path: Path) -> Announcement | None:
    try:
        return Announcement(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # ended just now, or not a file of ours


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
