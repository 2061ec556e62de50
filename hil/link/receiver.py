"""A stream of bytes to frames and lines of text; what is damaged is counted and dropped (docs/link.md, "Receiver")."""

from __future__ import annotations

from hil.link.codec import MAX_ENCODED, DamagedFrame, Frame, decode_frame
from hil.link.schema import DELIMITER, FRAME_TAG

MAX_LINE = 256
"""Longest line of text that is kept; a longer one is noise."""
_CR, _LF = 0x0D, 0x0A


class Receiver:
    """
    State machine over received bytes.

    Attributes:
        bad_frames: Frames with a wrong COBS code, length or CRC so far.
        dropped_bytes: Bytes that belonged to neither a frame nor a line of text.
    """

    def __init__(self) -> None:
        self.bad_frames = 0
        self.dropped_bytes = 0
        self._frame: bytearray | None = None
        self._skipping = False
        self._line = bytearray()

    def feed(self, data: bytes) -> list[Frame | str]:
        """Take bytes in; returns the frames and lines (without their ends) that they complete, in order."""
        done: list[Frame | str] = []
        position = 0
        while position < len(data):
            item: Frame | str | None
            if self._frame is None:
                item, position = self._outside(data[position]), position + 1
            else:
                item, position = self._inside(self._frame, data, position)
            if item is not None:
                done.append(item)
        return done

    def _outside(self, byte: int) -> str | None:
        if byte == DELIMITER:
            self._skipping = False
        elif self._skipping:
            self.dropped_bytes += 1
        elif byte == FRAME_TAG:
            self._frame = bytearray()
        else:
            return self._in_text(byte)
        return None

    def _inside(self, frame: bytearray, data: bytes, start: int) -> tuple[Frame | None, int]:
        """Take bytes up to the closing delimiter, if it is there; returns the frame and where to go on."""
        end = data.find(DELIMITER, start)
        room = MAX_ENCODED + 1 - len(frame)  # one byte too many is enough to make it damaged
        if end < 0:
            frame += data[start : start + room]
            return None, len(data)
        frame += data[start : min(end, start + room)]
        self._frame = None
        try:
            return decode_frame(bytes(frame)), end + 1
        except DamagedFrame:
            self.bad_frames += 1
            return None, end + 1

    def _in_text(self, byte: int) -> str | None:
        if byte in (_CR, _LF):
            line, self._line = self._line.decode("ascii"), bytearray()
            return line or None
        if not 0x20 <= byte < 0x7F or len(self._line) >= MAX_LINE:
            self.dropped_bytes += len(self._line) + 1
            self._line.clear()
            self._skipping = True
            return None
        self._line.append(byte)
        return None
