"""Child processes: an emulated board of one's own, and whatever must be ended at a deadline."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any

import hil
from hil.errors import RigError, ToolError, UsageError
from hil.probe.client import TIMEOUT_S, ProbeClient
from hil.probe.folder import Announcement
from hil.probe.server import BoardPlan
from hil.probe.wire import WireError

START_TIMEOUT_S = 120.0
"""The core may have to be compiled first."""

_END_TIMEOUT_S = 5.0
_LOG_BYTES = 4000


class Child:
    """
    A Python module in a process group of its own, which says JSON, one object a line.

    Its argument is the number of an open file with the order as JSON: an image does not fit a command line.
    """

    def __init__(self, module: str, argument: Any, cwd: Path | None = None, stdin: int = subprocess.DEVNULL) -> None:
        with tempfile.TemporaryFile() as order:
            order.write(json.dumps(argument).encode())
            order.seek(0)
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(order.fileno())],
                cwd=cwd,
                env=_environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[order.fileno()],
            )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._log = bytearray()
        self._readers = [
            threading.Thread(target=self._read_lines, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def log(self) -> str:
        """The end of what it has written to stderr."""
        return self._log.decode(errors="replace")

    def said(self, deadline: float) -> Iterator[dict[str, Any]]:
        """What it says until it ends.  Raises `TimeoutError` at the deadline (monotonic seconds)."""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - monotonic()))
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                return
            with suppress(ValueError):
                yield json.loads(line)

    def end(self) -> None:
        """Close its stdin, give it a moment, then end the whole group.  Harmless when repeated."""
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End the whole group at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join(_END_TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with suppress(OSError):
                    stream.close()

    def _read_lines(self, stream: IO[bytes]) -> None:
        with suppress(ValueError, OSError):
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _read_log(self, stream: IO[bytes]) -> None:
        with suppress(ValueError, OSError):
            while part := os.read(stream.fileno(), 4096):
                self._log += part
                del self._log[:-_LOG_BYTES]


def _environment() -> dict[str, str]:
    """The same package as here, wherever it lies; nothing that steers pyOCD."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYOCD_")}
    root = str(Path(hil.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [env.get("PYTHONPATH")])])
    return env


class BoardProcess:
    """
    An emulated board in a process of its own, as `hil emulate --probe` makes one.  It ends with this object, or
    with this process.

    Attributes:
        announcement: Its id, chip, pty and socket.

    Raises:
        UsageError: The plan is wrong.
        RigError: A probe of that id is running.
        ToolError: The process ended or says nothing.
    """

    def __init__(self, plan: BoardPlan) -> None:
        self._child = Child("hil.probe.server", asdict(plan), stdin=subprocess.PIPE)
        try:
            first = next(self._child.said(monotonic() + START_TIMEOUT_S), None)
            if first is None:
                raise ToolError(f"the emulated board did not start:\n{self._child.log}")
            if "error" in first:
                raise _ERRORS[first["error"]](first["text"])
            self.announcement = Announcement(**first)
        except TimeoutError:
            self._child.end()
            raise ToolError(f"the emulated board did not start within {START_TIMEOUT_S:g} s") from None
        except BaseException:
            self._child.end()
            raise

    def __enter__(self) -> BoardProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; harmless when repeated."""
        self._child.end()

    def tell(self, **question: Any) -> dict[str, Any]:
        """Ask the board (`hil.probe.questions`).  Raises `ToolError` if it has ended."""
        return tell(self.announcement, **question)


class _StartError(RigError):
    """As another process has put it, the rig's name included."""

    def __init__(self, text: str) -> None:
        rig, _, what = text.partition(": ")
        super().__init__(rig, what)


_ERRORS: dict[str, type[Exception]] = {"UsageError": UsageError, "RigError": _StartError}


def tell(found: Announcement, *, timeout_s: float = TIMEOUT_S, **question: Any) -> dict[str, Any]:
    """Ask a running board.  Raises `ToolError` if it has ended, refuses or does not answer."""
    try:
        client = ProbeClient(found, port=False, timeout_s=timeout_s)
    except WireError as error:
        raise ToolError(f"the emulated board {found.uid} has ended ({error})") from error
    try:
        answer = client.tell(**question)
        assert isinstance(answer, dict)
        return answer
    except WireError as error:
        raise ToolError(f"the emulated board {found.uid}: {error}") from error
    finally:
        client.close()
