"""Frames to bytes and back, by the tables of `hil.link.schema`.  Every byte is explained in docs/link.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cobs import cobs

from hil.link.schema import (
    BODIES,
    CRC_BYTES,
    DELIMITER,
    FRAME_TAG,
    HEADER,
    HEADER_BYTES,
    MAX_BODY,
    Flag,
    Kind,
)
from hil.link.schema_field import Field

COBS_BLOCK = 254
"""COBS adds one byte for each block of so many bytes, begun or not."""
MAX_ENCODED = HEADER_BYTES + MAX_BODY + CRC_BYTES + -(-(HEADER_BYTES + MAX_BODY + CRC_BYTES) // COBS_BLOCK)
"""COBS-encoded bytes of the largest frame, without tag and delimiters."""

_STRUCT = {"u8": "B", "u16": "H", "u32": "I", "i16": "h", "i32": "i"}
_NUMPY = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "i16": "<i2", "i32": "<i4"}
_HEADER = struct.Struct("<" + "".join(_STRUCT[f.type] for f in HEADER))
_NO_FLAGS = Flag(0)


class DamagedFrame(ValueError):
    """Bytes that are no frame: a wrong COBS code, length or CRC.  Counted and dropped, never shown to a caller."""


@dataclass(frozen=True)
class Frame:
    """
    One frame.

    Attributes:
        kind: Frame type, an int if this host does not know it.
        seq: Of the request; an answer repeats it.
        credit: Requests that the sender can take now.
        flags: Bits of `hil.link.schema.Flag`.
        body: At most `MAX_BODY` bytes.
    """

    kind: Kind | int
    seq: int
    credit: int = 0
    flags: Flag = _NO_FLAGS
    body: bytes = b""

    @property
    def name(self) -> str:
        return self.kind.name if isinstance(self.kind, Kind) else f"{self.kind:#04x}"

    def __str__(self) -> str:
        flags = f" {self.flags!r}" if self.flags else ""
        return f"{self.name} seq {self.seq}{flags}, {len(self.body)} bytes: {self.body[:16].hex(' ')}"


def encode_frame(frame: Frame) -> bytes:
    """The bytes on the wire, both delimiters and the tag included."""
    payload = _HEADER.pack(frame.kind, frame.seq, frame.credit, frame.flags) + frame.body
    payload += zlib.crc32(payload).to_bytes(CRC_BYTES, "little")
    return bytes((DELIMITER, FRAME_TAG)) + bytes(cobs.encode(payload)) + bytes((DELIMITER,))


def decode_frame(encoded: bytes) -> Frame:
    """
    The frame in the bytes between tag and closing delimiter.

    Raises:
        DamagedFrame: A wrong COBS code, length or CRC.
    """
    try:
        payload = bytes(cobs.decode(encoded))
    except cobs.DecodeError as error:
        raise DamagedFrame(str(error)) from None
    if not HEADER_BYTES + CRC_BYTES <= len(payload) <= HEADER_BYTES + MAX_BODY + CRC_BYTES:
        raise DamagedFrame(f"{len(payload)} bytes")
    content, crc = payload[:-CRC_BYTES], payload[-CRC_BYTES:]
    if zlib.crc32(content).to_bytes(CRC_BYTES, "little") != crc:
        raise DamagedFrame("CRC")
    kind, seq, credit, flags = _HEADER.unpack_from(content)
    known = Kind(kind) if kind in Kind._value2member_map_ else kind
    return Frame(known, seq, credit, Flag(flags), content[HEADER_BYTES:])


def encode_body(kind: Kind, **values: Any) -> bytes:
    """
    A body from its fields.

    Args:
        kind: Frame type.
        **values: One for each field of ``BODIES[kind]``: an int, a sequence of ints, or bytes for ``u8`` arrays.
            Fields called ``reserved`` may be left out.

    Raises:
        ValueError: A field is missing, unknown, of the wrong length or out of range, or the body is too long.
    """
    fields = BODIES[kind]
    if unknown := values.keys() - {f.name for f in fields}:
        raise ValueError(f"{kind.name} has no field {sorted(unknown)[0]!r}")
    body = b"".join(_encode_field(kind, f, values) for f in fields)
    if len(body) > MAX_BODY:
        raise ValueError(f"{kind.name}: body of {len(body)} bytes, at most {MAX_BODY}")
    return body


def _encode_field(kind: Kind, field: Field, values: dict[str, Any]) -> bytes:
    if field.name not in values and field.name != "reserved":
        raise ValueError(f"{kind.name} needs {field.name!r}")
    value = values.get(field.name, 0)
    items: Sequence[int] = (value,) if field.count == 1 else np.asarray(_ints(value)).ravel().tolist()
    if field.count and len(items) != field.count:
        raise ValueError(f"{kind.name}.{field.name}: {len(items)} values, expected {field.count}")
    try:
        return struct.pack(f"<{len(items)}{_STRUCT[field.type]}", *items)
    except struct.error as error:
        raise ValueError(f"{kind.name}.{field.name}: {error}") from None


def _ints(value: Any) -> Any:
    return list(value) if isinstance(value, (bytes, bytearray)) else value


def decode_body(kind: Kind, body: bytes) -> dict[str, Any]:
    """
    The fields of a body.

    Returns:
        Scalars as int, ``u8`` arrays as bytes, other arrays as numpy arrays of their type.  Reserved fields are left
        out.

    Raises:
        ValueError: The body is too short or too long for its kind.
    """
    values: dict[str, Any] = {}
    offset = 0
    for field, size in _sizes(kind, len(body)):
        values[field.name] = _decode_field(field, body[offset : offset + size])
        offset += size
    values.pop("reserved", None)
    return values


def _sizes(kind: Kind, length: int) -> Iterator[tuple[Field, int]]:
    """Each field with its size in a body of ``length`` bytes."""
    fields = BODIES[kind]
    item = {f.name: struct.calcsize(f"<{_STRUCT[f.type]}") for f in fields}
    fixed = sum(item[f.name] * f.count for f in fields)
    open_ended = [f for f in fields if f.count == 0]
    rest = length - fixed
    if rest < 0 or (rest and not open_ended) or (open_ended and rest % item[open_ended[0].name]):
        raise ValueError(f"{kind.name}: body of {length} bytes does not fit its {fixed} bytes of fields")
    for field in fields:
        yield field, rest if field.count == 0 else item[field.name] * field.count


def _decode_field(field: Field, data: bytes) -> Any:
    if field.count == 1:
        return struct.unpack(f"<{_STRUCT[field.type]}", data)[0]
    if field.type == "u8":
        return data
    return np.frombuffer(data, _NUMPY[field.type])
