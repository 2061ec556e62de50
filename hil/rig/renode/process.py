"""Renode as a process that ends with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from hil.errors import ToolError
from hil.rig.renode.monitor import Monitor

VARIABLE = "RENODE"
"""Environment variable with the path of the executable."""
_END_S = 5.0
_LOG_BYTES = 4000


def find_renode() -> str | None:
    """The executable: what `VARIABLE` names, else ``renode`` on PATH; None if there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        return named if os.access(named, os.X_OK) and Path(named).is_file() else None
    return shutil.which("renode")


class RenodeProcess:
    """
    One Renode, without a window, with its monitor.

    Attributes:
        monitor: To talk to it.
    """

    def __init__(self, executable: str, folder: Path, deadline_s: float) -> None:
        """
        Args:
            executable: From `find_renode`.
            folder: For its log and the number of its process.
            deadline_s: For the monitor's first prompt, then for each answer.

        Raises:
            ToolError: It cannot be started or does not answer.
        """
        self._pid_file = folder / "renode.pid"
        self._log = folder / "renode.log"
        port = _free_port()
        command = [executable, "--disable-xwt", "--plain", "--port", str(port), "--pid-file", str(self._pid_file)]
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise ToolError(f"Renode cannot be started ({error})", command) from error
        try:
            self.monitor = Monitor(port, deadline_s)
        except ToolError as error:
            self.end()
            raise ToolError(f"{error}\n{self.log}", command) from error
        except BaseException:
            self.end()
            raise

    @property
    def log(self) -> str:
        """The end of what it has printed."""
        with suppress(OSError):
            return self._log.read_bytes()[-_LOG_BYTES:].decode(errors="replace")
        return ""

    @property
    def pid(self) -> int:
        """Of Renode itself, which a script may have started; else of what was started here."""
        with suppress(OSError, ValueError):
            return int(self._pid_file.read_text())
        return self._process.pid

    def end(self) -> None:
        """Ask it to quit, then end it and whatever it has started; harmless when repeated."""
        monitor = getattr(self, "monitor", None)
        if monitor is not None:
            monitor.close()
        own, pid = self._process.pid, self.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(own, number)
            if pid != own:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
                if pid == own or not _alive(pid):
                    return


def _alive(pid: int) -> bool:
    """Gives a process that was told to end a moment for it."""
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        time.sleep(0.05)
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
