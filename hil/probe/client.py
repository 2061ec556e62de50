"""The client's side of the socket: a probe in another process."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from hil.probe.folder import Announcement
from hil.probe.wire import VERSION, Ack, Op, WireError, pack_words, receive, send, unpack_words

TIMEOUT_S = 10.0
"""For any answer: the server answers within milliseconds unless the machine is overloaded."""


class Refused(WireError):
    """The server answered with an error; the message is its own."""


class Busy(Refused):
    """Somebody else is connected."""


class Transfer(WireError):
    """
    The debug port did not answer OK.

    Attributes:
        ack: `Ack.WAIT`, `Ack.FAULT` or `Ack.NONE`.
    """

    def __init__(self, ack: Ack) -> None:
        self.ack = ack
        super().__init__(f"SWD ACK {ack.name}")


class ProbeClient:
    """A connection to one probe.  One at a time holds the debug port; `tell` needs no port."""

    def __init__(self, found: Announcement, *, port: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        """
        Args:
            found: Where it listens.
            port: Take the debug port.
            timeout_s: For each answer.

        Raises:
            WireError: Nobody listens, or it is another version.
            Busy: Somebody else has the debug port.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._buffer = bytearray()
        try:
            self._socket.connect(found.socket)
            self.hello = Announcement(**json.loads(self._ask(struct.pack("<BIB", Op.HELLO, VERSION, port))))
        except OSError as error:
            self.close()
            raise WireError(f"nobody listens at {found.socket} ({error})") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up; harmless when repeated."""
        self._socket.close()

    def read_dp(self, register: int) -> int:
        """Raises `Transfer`, `WireError`; so do the others."""
        return self._read(Op.READ_DP, register, 1)[0]

    def write_dp(self, register: int, value: int) -> None:
        self._write(Op.WRITE_DP, register, (value,))

    def read_ap(self, register: int, count: int = 1) -> list[int]:
        """The same register ``count`` times."""
        return self._read(Op.READ_AP, register, count)

    def write_ap(self, register: int, values: Sequence[int]) -> None:
        """The same register, one value after the other."""
        self._write(Op.WRITE_AP, register, values)

    def pins(self, mask: int = 0, value: int = 0) -> int:
        """Drive the pins in ``mask``; returns the levels of both."""
        return self._ask(struct.pack("<BBB", Op.PINS, mask, value))[0]

    def tell(self, **what: Any) -> Any:
        """Ask the board itself: see `hil.probe.server.Questions`."""
        return json.loads(self._ask(struct.pack("<B", Op.TELL) + json.dumps(what).encode()))

    def _read(self, op: Op, register: int, count: int) -> list[int]:
        return unpack_words(self._ask(struct.pack("<BBI", op, register, count)))

    def _write(self, op: Op, register: int, values: Sequence[int]) -> None:
        self._ask(struct.pack("<BB", op, register) + pack_words(values))

    def _ask(self, message: bytes) -> bytes:
        send(self._socket, message)
        answer = receive(self._socket, self._buffer)
        ack, body = answer[0], answer[1:]
        if ack == Ack.OK:
            return body
        if ack in (Ack.WAIT, Ack.FAULT, Ack.NONE):
            raise Transfer(Ack(ack))
        raise (Busy if ack == Ack.BUSY else Refused)(body.decode(errors="replace"))
