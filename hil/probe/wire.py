"""
What probe client and probe server say to each other over a Unix socket.

A message is a little-endian uint32 length and that many bytes.  The client's begins with an `Op`, the server's with
an `Ack`; one answer follows each question.  Words are little-endian uint32.

| op | body | answer |
|---|---|---|
| HELLO | uint32 version, uint8 1 to take the debug port | JSON: `hil.probe.folder.Announcement` |
| READ_DP, READ_AP | uint8 A[3:2] << 2, uint32 count | the words |
| WRITE_DP, WRITE_AP | uint8 A[3:2] << 2, words | - |
| PINS | uint8 mask, uint8 value: 0x01 SWCLK, 0x10 nRESET | uint8 levels of both |
| TELL | JSON: see `hil.probe.server.Questions` | JSON |
"""

from __future__ import annotations

import enum
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from hil.errors import HilError

VERSION = 1
MAX_BYTES = 1 << 20

REMOTE_PREFIX = "remote:"
"""Of ids of probes that another machine's ``pyocd server`` offers."""

SWCLK, NRESET = 0x01, 0x10


class Op(enum.IntEnum):
    """What the client asks."""

    HELLO = 0
    READ_DP = 1
    WRITE_DP = 2
    READ_AP = 3
    WRITE_AP = 4
    PINS = 5
    TELL = 6


class Ack(enum.IntEnum):
    """How the server answers; the first four are those of the SWD protocol."""

    OK = 1
    WAIT = 2
    FAULT = 4
    NONE = 7
    """Nobody drives the line: the target has no power."""
    ERROR = 8
    """With a sentence in UTF-8."""
    BUSY = 16
    """Somebody else is connected; with a sentence.  The server hangs up."""


class WireError(HilError):
    """The other side hung up or does not speak this protocol."""


def send(connection: socket.socket, message: bytes) -> None:
    """Raises `WireError` if the other side is gone."""
    try:
        connection.sendall(struct.pack("<I", len(message)) + message)
    except OSError as error:
        raise WireError(f"the connection broke ({error})") from error


def receive(connection: socket.socket, buffer: bytearray) -> bytes:
    """One message, from ``buffer`` and what follows it; raises `WireError` if none comes within the timeout."""
    while True:
        message = split(buffer)
        if message is not None:
            return message
        try:
            part = connection.recv(1 << 16)
        except OSError as error:
            raise WireError(f"no answer ({error})") from error
        if not part:
            raise WireError("the other side hung up")
        buffer += part


def split(buffer: bytearray) -> bytes | None:
    """Take the first message out of received bytes; None if it is not complete.  Raises `WireError`."""
    if len(buffer) < 4:
        return None
    length = int.from_bytes(buffer[:4], "little")
    if not 1 <= length <= MAX_BYTES:
        raise WireError(f"a message of {length} bytes: not this protocol")
    if len(buffer) < 4 + length:
        return None
    message = bytes(buffer[4 : 4 + length])
    del buffer[: 4 + length]
    return message


def pack_words(words: Sequence[int]) -> bytes:
    """Words as bytes."""
    return struct.pack(f"<{len(words)}I", *words)


def unpack_words(data: bytes) -> list[int]:
    """Bytes, a multiple of four, as words."""
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def read_order() -> dict[str, Any]:
    """What `hil.probe.process.Child` was given: JSON in the open file whose number is ``argv[1]``."""
    with os.fdopen(int(sys.argv[1]), "rb") as order:
        return dict(json.load(order))
