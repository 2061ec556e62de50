"""Frames to bytes and back; the receiver against noise, damage and text."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from hil.link.codec import MAX_ENCODED, DamagedFrame, Frame, decode_body, decode_frame, encode_body, encode_frame
from hil.link.receiver import MAX_LINE, Receiver
from hil.link.schema import BODIES, MAX_BODY, Flag, Kind

frames = st.builds(
    Frame,
    kind=st.sampled_from(list(Kind)),
    seq=st.integers(0, 255),
    credit=st.integers(0, 255),
    flags=st.integers(0, 7).map(Flag),
    body=st.binary(max_size=MAX_BODY),
)
FRAME = Frame(Kind.STEP, 7, 1, Flag.LAST, b"\x00\x01\xf1abc\x00")


def test_a_frame_has_the_bytes_that_the_page_says() -> None:
    """00 F1 COBS(kind seq credit flags body crc32) 00, the CRC over header and body, little-endian."""
    content = bytes((0x83, 7, 1, 1)) + FRAME.body
    expected = b"\x00\xf1" + cobs.encode(content + zlib.crc32(content).to_bytes(4, "little")) + b"\x00"
    assert encode_frame(FRAME) == expected


@given(frames)
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    """Any header and any body survive the wire, and only the delimiters are zero."""
    wire = encode_frame(frame)
    assert wire.count(0) == 2
    assert Receiver().feed(wire) == [frame]


@given(st.lists(st.one_of(frames, st.text("abc xyz", min_size=1, max_size=20)), max_size=5), st.data())
def test_the_receiver_does_not_care_where_reads_end(items: list[Frame | str], data: st.DataObject) -> None:
    """Frames and lines come out in order however the stream is cut."""
    wire = b"".join(i.encode() + b"\r\n" if isinstance(i, str) else encode_frame(i) for i in items)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    receiver, got = Receiver(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += receiver.feed(wire[start:end])
    assert got == items
    assert receiver.bad_frames == receiver.dropped_bytes == 0


@given(frames, st.data())
def test_any_flipped_bit_loses_the_frame_and_nothing_else(frame: Frame, data: st.DataObject) -> None:
    """One damaged bit inside a frame is never taken for a frame; the next frame is read again."""
    wire = bytearray(encode_frame(frame))
    bit = data.draw(st.integers(16, (len(wire) - 1) * 8 - 1))
    wire[bit // 8] ^= 1 << bit % 8
    receiver = Receiver()
    got = receiver.feed(bytes(wire) + encode_frame(FRAME))
    assert got == [FRAME]
    assert receiver.bad_frames >= 1


def test_the_leading_delimiter_ends_garbage() -> None:
    """Bytes above ASCII throw away the text so far and everything up to the next 00."""
    receiver = Receiver()
    assert receiver.feed(b"text\xfe\xf1more" + encode_frame(FRAME)) == [FRAME]
    assert receiver.dropped_bytes == len(b"text\xfe\xf1more")
    assert receiver.bad_frames == 0


def test_empty_frames_and_lines_are_ignored() -> None:
    """00 00 is nothing, CR LF ends one line only."""
    assert Receiver().feed(b"\x00\x00\x00\r\n\r\na\r\nb\n") == ["a", "b"]


def test_a_frame_without_content_is_damaged() -> None:
    """F1 directly followed by 00 counts as a bad frame."""
    receiver = Receiver()
    assert receiver.feed(b"\x00\xf1\x00") == []
    assert receiver.bad_frames == 1


@pytest.mark.parametrize(("size", "damaged"), [(MAX_BODY - 1, 0), (MAX_BODY, 0), (MAX_BODY + 1, 1)])
def test_the_largest_body_is_the_limit(size: int, damaged: int) -> None:
    """A body of 1,024 bytes passes, one more is damage."""
    receiver = Receiver()
    receiver.feed(encode_frame(Frame(Kind.ECHO, 0, body=bytes(size))))
    assert receiver.bad_frames == damaged


def test_an_endless_frame_takes_no_endless_memory() -> None:
    """The receiver keeps one byte more than the largest frame, and recovers."""
    receiver = Receiver()
    receiver.feed(b"\x00\xf1" + b"\x55" * 100_000)
    assert receiver._frame is not None
    assert len(receiver._frame) == MAX_ENCODED + 1
    assert receiver.feed(b"\x00" + encode_frame(FRAME)) == [FRAME]
    assert receiver.bad_frames == 1


@pytest.mark.parametrize(("length", "kept"), [(MAX_LINE, True), (MAX_LINE + 1, False)])
def test_the_longest_line_is_the_limit(length: int, kept: bool) -> None:
    """A line of 256 characters is text, a longer one is noise."""
    line = "x" * length
    assert Receiver().feed(line.encode() + b"\n") == ([line] if kept else [])


def test_a_wrong_length_is_damage() -> None:
    """A payload shorter than header and CRC is refused even if its code is right."""
    with pytest.raises(DamagedFrame):
        decode_frame(cobs.encode(b"1234567"))


def test_an_unknown_kind_is_passed_on_as_a_number() -> None:
    """A frame type that this host does not know is a frame all the same."""
    (frame,) = Receiver().feed(encode_frame(Frame(0x7E, 3)))
    assert isinstance(frame, Frame)
    assert frame.kind == 0x7E
    assert frame.name == "0x7e"


def test_every_body_comes_back_as_it_was() -> None:
    """Each kind's fields survive encoding, the extremes of their types included."""
    limits = {"u8": 0xFF, "u16": 0xFFFF, "u32": 0xFFFFFFFF, "i16": -0x8000, "i32": -0x80000000}
    for kind, fields in BODIES.items():
        values = {
            f.name: (limits[f.type] if f.count == 1 else [limits[f.type]] * (f.count or 3))
            for f in fields
            if f.name != "reserved"
        }
        got = decode_body(kind, encode_body(kind, **values))
        assert {name: value if isinstance(value, int) else list(value) for name, value in got.items()} == values


def test_arrays_have_the_types_of_the_table() -> None:
    """i16 arrays come back as int16, u8 arrays as bytes."""
    step = decode_body(Kind.STEP, encode_body(Kind.STEP, step=1, interrupts=0, cycles=2, h=np.array([-1, 32767])))
    assert step["h"].dtype == np.int16
    assert decode_body(Kind.ECHOED, b"\x01\x02")["data"] == b"\x01\x02"


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (Kind.CRASH, {}, "needs 'how'"),
        (Kind.CRASH, {"how": 1, "why": 2}, "no field 'why'"),
        (Kind.CRASH, {"how": 256}, "CRASH.how"),
        (Kind.STEPS, {"first": 0, "count": 1, "x": [40000]}, "STEPS.x"),
        (Kind.ECHO, {"data": bytes(MAX_BODY + 1)}, "at most 1024"),
        (Kind.IS_HELLO, {f.name: [0] * 3 if f.count > 1 else 0 for f in BODIES[Kind.IS_HELLO]}, "expected 4"),
    ],
)
def test_a_body_that_does_not_fit_its_table_is_refused(kind: Kind, values: dict[str, object], words: str) -> None:
    """The message names the frame, the field and the limit."""
    with pytest.raises(ValueError, match=words):
        encode_body(kind, **values)


@pytest.mark.parametrize(("kind", "length"), [(Kind.BOOT, 3), (Kind.BOOT, 5), (Kind.STEP, 7), (Kind.STEP, 9)])
def test_a_body_of_another_length_is_refused(kind: Kind, length: int) -> None:
    """Too short, too long, and half an array element."""
    with pytest.raises(ValueError, match="does not fit"):
        decode_body(kind, bytes(length))
