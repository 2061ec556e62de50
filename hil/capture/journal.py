"""
A journal of sound: checksummed records, appended to a file that can be read whatever ended the writing.

    record = magic "HILj", kind u8, version u8 = 1, reserved u16 = 0, length u32, crc u32, body [length]

Integers are little-endian; the CRC-32 (as in zlib) is over kind to length and the body; docs/capture.md has the
bodies.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

MAGIC = b"HILj"
VERSION = 1
_HEADER = struct.Struct("<4sBBHII")
_SOUND = struct.Struct("<Q")
_GAP = struct.Struct("<QQB")
_VECTORS = struct.Struct("<QHH")
MAX_BODY = 1 << 20
"""A longer record is none."""
SYNC_S = 0.5
"""What was appended is on the disk after so long at most, if `JournalWriter.tick` is called so often."""


class Kind(enum.IntEnum):
    """What a record holds."""

    PCM = 1
    GAP = 2
    EVENT = 3
    META = 4
    FEATURES = 5


@dataclass(frozen=True)
class Pcm:
    """
    Sound.

    Attributes:
        first: Index of the first sample since the capture began; gaps are counted.
        samples: [n] int16.
    """

    first: int
    samples: Samples


@dataclass(frozen=True)
class Gap:
    """
    Sound that is not there.

    Attributes:
        first, count: Samples, counted as those of `Pcm`.
        why: In words.
        estimated: The count is by the clock, as there was nobody to count.
    """

    first: int
    count: int
    why: str
    estimated: bool = False


@dataclass(frozen=True)
class Vectors:
    """
    Feature vectors.

    Attributes:
        first: Index of the first vector since the stream began.
        x: [n, D] int16, Q15.
    """

    first: int
    x: Samples


@dataclass(frozen=True)
class Event:
    """Anything else that happened: a JSON object with a ``kind``."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Meta:
    """What the capture is: the first record of every journal."""

    values: dict[str, Any]


Record = Pcm | Gap | Vectors | Event | Meta


def encode_record(record: Record) -> bytes:
    """A record's bytes."""
    kind, body = _body(record)
    head = _HEADER.pack(MAGIC, kind, VERSION, 0, len(body), 0)
    return head[:12] + struct.pack("<I", zlib.crc32(body, zlib.crc32(head[4:12]))) + body


def _body(record: Record) -> tuple[Kind, bytes]:
    if isinstance(record, Pcm):
        return Kind.PCM, _SOUND.pack(record.first) + record.samples.astype("<i2").tobytes()
    if isinstance(record, Gap):
        return Kind.GAP, _GAP.pack(record.first, record.count, record.estimated) + record.why.encode()
    if isinstance(record, Vectors):
        return Kind.FEATURES, _VECTORS.pack(record.first, record.x.shape[1], 0) + record.x.astype("<i2").tobytes()
    kind = Kind.EVENT if isinstance(record, Event) else Kind.META
    return kind, json.dumps(record.values, separators=(",", ":"), ensure_ascii=False).encode()


def _decoded(kind: int, body: bytes) -> Record:
    """Raises `ValueError` or `struct.error` for a body that is not of its kind."""
    if kind == Kind.PCM:
        return Pcm(_SOUND.unpack_from(body)[0], np.frombuffer(body[_SOUND.size :], "<i2").astype(np.int16))
    if kind == Kind.GAP:
        first, count, estimated = _GAP.unpack_from(body)
        return Gap(first, count, body[_GAP.size :].decode(), bool(estimated))
    if kind == Kind.FEATURES:
        first, width, _ = _VECTORS.unpack_from(body)
        x = np.frombuffer(body[_VECTORS.size :], "<i2").astype(np.int16)
        return Vectors(first, x.reshape(-1, width))
    values = json.loads(body.decode())
    if not isinstance(values, dict):
        raise ValueError("no object")
    if kind not in (Kind.EVENT, Kind.META):
        raise ValueError(f"kind {kind}")
    return Event(values) if kind == Kind.EVENT else Meta(values)


@dataclass(frozen=True)
class Journal:
    """
    What a file holds.

    Attributes:
        records: In order.
        good_bytes: Up to the end of the last good record.
        torn_bytes: After it: a record that was being written when something ended the writing.
        damaged_bytes: Before it, and in no good record: the disk has lost them.
    """

    records: tuple[Record, ...]
    good_bytes: int
    torn_bytes: int
    damaged_bytes: int


def read_journal(path: Path) -> Journal:
    """Read a journal, torn or damaged as it may be.  Raises `OSError` if it cannot be read at all."""
    return parse_journal(path.read_bytes())


def parse_journal(data: bytes) -> Journal:
    """As `read_journal`, of a file's bytes."""
    records: list[Record] = []
    at = good = damaged = 0
    while (at := data.find(MAGIC, at)) >= 0:
        found = _record_at(data, at)
        if found is None:
            at += 1
            continue
        record, end = found
        records.append(record)
        damaged += at - good
        at = good = end
    return Journal(tuple(records), good, len(data) - good, damaged)


def _record_at(data: bytes, at: int) -> tuple[Record, int] | None:
    if at + _HEADER.size > len(data):
        return None
    _, kind, version, _, length, crc = _HEADER.unpack_from(data, at)
    body = data[at + _HEADER.size : at + _HEADER.size + length]
    if version != VERSION or length > MAX_BODY or len(body) != length:
        return None
    if zlib.crc32(body, zlib.crc32(data[at + 4 : at + 12])) != crc:
        return None
    try:
        return _decoded(kind, body), at + _HEADER.size + length
    except (ValueError, struct.error):
        return None


class JournalWriter:
    """
    Appends records to a new file.

    A record that cannot be written whole is taken back, so that the file ends with a good one.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `OSError`: there is such a file, or it cannot be made."""
        self.path, self._clock = path, clock
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._bytes = 0
        self._unsynced_since: float | None = None
        sync_folder(path.parent)

    def append(self, record: Record) -> None:
        """
        Write a record, and bring it to the disk if the oldest that is not there yet is `SYNC_S` old.

        Raises:
            OSError: The disk is full, or gone; the record is not in the file then.
        """
        data = encode_record(record)
        view, done = memoryview(data), 0
        try:
            while done < len(data):
                done += os.write(self._fd, view[done:])
        except OSError:
            os.ftruncate(self._fd, self._bytes)
            os.lseek(self._fd, self._bytes, os.SEEK_SET)
            raise
        self._bytes += len(data)
        if self._unsynced_since is None:
            self._unsynced_since = self._clock()
        self.tick()

    def tick(self) -> None:
        """To be called a few times a second, also when there is nothing to append.  Raises `OSError`."""
        if self._unsynced_since is not None and self._clock() - self._unsynced_since >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk.  Raises `OSError`."""
        os.fsync(self._fd)
        self._unsynced_since = None

    def close(self) -> None:
        """Bring everything to the disk and close the file.  Raises `OSError`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of files to the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
