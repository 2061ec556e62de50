"""One file over HTTP, continued where an earlier try ended."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO, Any

from hil.errors import ToolError, UsageError

Progress = Callable[[str, int, int], None]
"""What is being done (``"download"``, ``"verify"``, ``"unpack"``), bytes done, bytes in all (0: not known)."""

CHUNK_BYTES = 1 << 18
ATTEMPTS = 5
"""In a row without a single byte."""
TIMEOUT_S = 30.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that are worth another try."""


@dataclass(frozen=True)
class Download:
    """
    What to fetch, and where to.

    Attributes:
        url: The address.
        path: The file; while it is incomplete it has ``.part`` appended.
        size: Its length in bytes if the publisher says so.
        pause_s: Before a second try; the pause grows with every try.
    """

    url: str
    path: Path
    size: int | None = None
    pause_s: float = 1.0

    @property
    def part(self) -> Path:
        """The incomplete file."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def validator(self) -> Path:
        """Holds what the server calls this version of the file; without it nothing is continued."""
        return self.path.with_name(self.path.name + ".version")


class _CutError(OSError):
    """The connection ended early, or the server could not serve now."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Never from https to something else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ToolError(f"{req.full_url}: leads to {newurl}, which is not https: not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(task: Download, progress: Progress | None = None) -> Path:
    """
    Fetch a file.  After an error or Ctrl-C the next call continues, if the server allows.

    Raises:
        ToolError: The server refuses, has another length than expected, or cannot be reached.
        UsageError: The disk is full.
    """
    idle = 0
    while True:
        before = _size(task.part)
        try:
            _attempt(task, progress)
            break
        except (OSError, http.client.HTTPException) as error:
            idle = 0 if _size(task.part) > before else idle + 1
            if idle >= ATTEMPTS:
                raise ToolError(
                    f"{task.url}: {_reason(error)}, {ATTEMPTS} times in a row. Check the network (and HTTPS_PROXY), "
                    "then run the command again: it continues where it stopped"
                ) from error
            time.sleep(task.pause_s * idle)
    task.part.replace(task.path)
    task.validator.unlink(missing_ok=True)
    return task.path


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """
    Says that the disk is full in words.

    Raises:
        UsageError: Instead of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise UsageError(
                f"{folder}: the disk is full. Free some space, or set HIL_CACHE to a folder on another disk, "
                "and run the command again"
            ) from error
        raise


def _attempt(task: Download, progress: Progress | None) -> None:
    have = _size(task.part)
    if task.size is not None and have == task.size:
        return
    try:
        with _open(task, have) as response:
            have = _start(task, response, have)
            _receive(task, response, have, progress)
    except urllib.error.HTTPError as error:
        with error:
            _refused(task, error.code)


def _open(task: Download, have: int) -> Any:
    headers = {"User-Agent": "hil", "Accept-Encoding": "identity"}
    version = task.validator.read_text(encoding="utf-8") if task.validator.is_file() else ""
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    opener = urllib.request.build_opener(_SafeRedirects)
    return opener.open(urllib.request.Request(task.url, headers=headers), timeout=TIMEOUT_S)


def _refused(task: Download, status: int) -> None:
    if status == 416:  # what is here is longer than the file is now
        task.part.unlink(missing_ok=True)
        raise _CutError("the server cannot continue the file")
    if status in PASSING:
        raise _CutError(f"the server answers {status}")
    raise ToolError(
        f"{task.url}: the server answers {status} {http.client.responses.get(status, '')}. If the publisher has moved "
        "the file, fetch it from there by hand and set HIL_DATA to the folder that holds it unpacked"
    )


def _start(task: Download, response: Any, have: int) -> int:
    """Where the body begins in the file: 0, or after what is there."""
    if response.status != 206:
        have = 0
    elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
        task.part.unlink(missing_ok=True)
        raise _CutError("the server sent another range than asked for")
    length = response.headers.get("Content-Length")
    if task.size is not None and length is not None and have + int(length) != task.size:
        task.part.unlink(missing_ok=True)
        raise ToolError(
            f"{task.url}: has {have + int(length)} bytes, the publisher's file has {task.size}. "
            "Something between here and the publisher answers in its place, or the file has changed"
        )
    if have == 0:
        version = response.headers.get("ETag") or ""
        if not version or version.startswith("W/"):
            version = response.headers.get("Last-Modified") or ""
        task.validator.write_text(version, encoding="utf-8")
    return have


def _receive(task: Download, response: Any, have: int, progress: Progress | None) -> None:
    length = response.headers.get("Content-Length")
    end = have + int(length) if length is not None else task.size
    with disk_errors(task.part.parent), task.part.open("ab" if have else "wb") as file:
        for chunk in _chunks(response):
            file.write(chunk)
            have += len(chunk)
            if progress:
                progress("download", have, end or 0)
    if end is not None and have != end:
        raise _CutError(f"the connection was cut after {have} of {end} bytes")


def _chunks(response: IO[bytes]) -> Iterator[bytes]:
    while chunk := response.read(CHUNK_BYTES):
        yield chunk


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__
