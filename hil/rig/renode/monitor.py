"""Renode's monitor over its socket: one command, one answer, every answer looked at."""

from __future__ import annotations

import re
import socket
import time

from hil.errors import ToolError

_IAC, _SB, _SE = 255, 250, 240
_NEGOTIATION = range(251, 255)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_PROMPT = re.compile(r"(?:^|\n)\(([\w-]+)\) $")
_TROUBLE = (
    "There was an error executing command",
    "No such command or device",
    "No such variable",
    "Could not tokenize here",
    "Could not find file",
    "Errors during compilation or loading",
    "Failed to download",
    "Parameters did not match the signature",
    "does not provide a field",
)
"""What the monitor says when a command has failed; its exit code says nothing."""
_QUIET_S = 0.05
_SHOWN = 2000


class Monitor:
    """
    A connection to the monitor.

    Attributes:
        name: In its prompt: ``monitor``, later the machine's.
    """

    def __init__(self, port: int, deadline_s: float, host: str = "127.0.0.1") -> None:
        """
        Args:
            port, host: Where it listens; it may take a while until it does.
            deadline_s: For the first prompt, and later for each answer.

        Raises:
            ToolError: Nobody listens, or there is no prompt.
        """
        self.name = ""
        self._deadline_s = deadline_s
        self._telnet = _Telnet()
        deadline = time.monotonic() + deadline_s
        self._socket = _connect(host, port, deadline)
        try:
            self._read(deadline, "its first prompt")
        except BaseException:
            self._socket.close()
            raise

    def ask(self, command: str, deadline_s: float | None = None) -> str:
        """
        Send a command and return what it printed.

        Raises:
            ToolError: It failed, the monitor is gone, or there is no answer in time.
        """
        self._drain()
        try:
            self._socket.sendall(command.encode() + b"\n")
        except OSError as error:
            raise ToolError(f"Renode is gone while `{command}` was sent ({error})") from error
        text = self._read(time.monotonic() + (deadline_s or self._deadline_s), f"the answer to `{command}`")
        lines = [line.strip() for line in text.split("\n")]
        answer = "\n".join(line for line in lines[:-1] if line and not _is_echo(line, command))
        for words in _TROUBLE:
            if words in answer:
                raise ToolError(f"Renode refused `{command}`:\n{answer[:_SHOWN]}")
        return answer

    def number(self, command: str) -> int:
        """A command whose answer is a number.  Raises `ToolError` if it is none."""
        answer = self.ask(command)
        match = re.fullmatch(r"(0x[0-9A-Fa-f]+|\d+)", answer.strip())
        if not match:
            raise ToolError(f"Renode answered `{command}` with {answer[:_SHOWN]!r}, expected a number")
        return int(match[1], 0)

    def close(self) -> None:
        """Hang up; Renode runs on.  Harmless when repeated."""
        self._socket.close()

    def _read(self, deadline: float, what: str) -> str:
        """Text up to the next prompt."""
        text = ""
        while True:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                tail = text[-200:]
                raise ToolError(f"Renode's monitor did not give {what} in time (last: {tail!r})") from None
            except OSError as error:
                raise ToolError(f"Renode is gone while it was to give {what} ({error})") from error
            if not data:
                raise ToolError(f"Renode ended while it was to give {what} (last: {text[-200:]!r})")
            text = plain(text + self._telnet.text(data))
            if match := _PROMPT.search(text):
                self.name = match[1]
                return text

    def _drain(self) -> None:
        """Whatever has come since the last prompt, such as a second one, belongs to no command."""
        self._socket.settimeout(_QUIET_S)
        try:
            while data := self._socket.recv(1 << 16):
                self._telnet.text(data)
        except OSError:
            return


def plain(text: str) -> str:
    """Without colours and cursor movements, lines ended by ``\\n``."""
    return _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def _is_echo(line: str, command: str) -> bool:
    """The monitor shows what was typed, behind its prompt or alone."""
    return line == command.strip() or re.fullmatch(r"\([\w-]+\) " + re.escape(command.strip()), line) is not None


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic()))
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ToolError(f"Renode's monitor does not listen on port {port} ({error})") from error
            time.sleep(_QUIET_S)


class _Telnet:
    """Takes telnet's own bytes out of a stream, wherever it is cut."""

    def __init__(self) -> None:
        self._left = b""

    def text(self, data: bytes) -> str:
        data, self._left = self._left + data, b""
        out = bytearray()
        i = 0
        while i < len(data):
            if data[i] != _IAC:
                out.append(data[i])
                i += 1
                continue
            length = _command_length(data[i:])
            if length == 0:
                self._left = data[i:]
                break
            if length == 2 and data[i + 1] == _IAC:
                out.append(_IAC)
            i += length
        return out.decode("utf-8", "replace").replace("\0", "")


def _command_length(data: bytes) -> int:
    """Bytes of the telnet command at the beginning; 0 if its end has not come."""
    if len(data) < 2:
        return 0
    if data[1] in _NEGOTIATION:
        return 3 if len(data) >= 3 else 0
    if data[1] == _SB:
        end = data.find(bytes([_IAC, _SE]))
        return end + 2 if end >= 0 else 0
    return 2
