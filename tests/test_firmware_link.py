import zlib
from pathlib import Path

import cffi
import numpy as np
import pytest
from cobs import cobs

from hil.firmware import compile_host_library
from hil.link.codec import Frame, encode_frame
from hil.link.receiver import Receiver
from hil.link.schema import MAX_BODY, MAX_REPLY, WINDOW, Flag, Kind

DRIVER = Path(__file__).with_name("firmware_driver.c")
DECLARATIONS = """
uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, size_t n);
void drive_clear(void);
uint32_t drive_line(const uint8_t **line);
void drive_cobs(const uint8_t *bytes, uint32_t n);
void drive_send(uint8_t *frame, uint32_t n);
void drive_receive_begin(void);
uint32_t drive_receive(const uint8_t *bytes, uint32_t n, uint8_t *log);
uint32_t drive_counter(int bad);
void drive_answers_begin(uint8_t seq);
int drive_answer(uint8_t kind, const uint8_t *body, uint32_t n, int last);
void drive_answers_replay(void);
"""


class Link:
    """``firmware/link`` on this machine, under UBSan."""

    def __init__(self, folder):
        self.ffi = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self.lib = self.ffi.dlopen(str(compile_host_library({"driver.c": DRIVER.read_text()}, folder, parts=("link",))))

    def line(self):
        """What was sent since the last call."""
        at = self.ffi.new("const uint8_t **")
        data = bytes(self.ffi.buffer(at[0], n)) if (n := self.lib.drive_line(at)) else b""
        self.lib.drive_clear()
        return data

    def cobs(self, data):
        self.lib.drive_cobs(data, len(data))
        return self.line()

    def receive(self, data):
        """Frames as bytes of header and body, commands as str; from a fresh receiver."""
        self.lib.drive_receive_begin()
        log = self.ffi.new("uint8_t[]", 4 * len(data) + 16)
        left = bytes(self.ffi.buffer(log, self.lib.drive_receive(data, len(data), log)))
        items = []
        while left:
            n = int.from_bytes(left[1:3], "little")
            items.append(left[3 : 3 + n] if left[:1] == b"F" else left[3 : 3 + n].decode())
            left = left[3 + n :]
        return items

    @property
    def bad_frames(self):
        return self.lib.drive_counter(1)


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    return Link(tmp_path_factory.mktemp("link"))


def byte_strings(seed, count, longest):
    """Random bytes with every share of zeros from none to all."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        data = rng.integers(1, 256, rng.integers(0, longest + 1)).astype(np.uint8)
        data[rng.random(data.size) < i / max(1, count - 1)] = 0
        yield data.tobytes()


def frame(body=b"", kind=Kind.ECHO, seq=7):
    return Frame(kind, seq, 1, Flag.LAST, body)


def content(f):
    return bytes((f.kind, f.seq, f.credit, f.flags)) + f.body


def test_crc_is_that_of_zlib(link):
    """The CRC of any bytes equals zlib's, whole or in two parts."""
    for data in byte_strings(1, 200, 600):
        half = len(data) // 2
        part = link.lib.crc32_update(0, data[:half], half)
        assert zlib.crc32(data) == link.lib.crc32_update(part, data[half:], len(data) - half)


@pytest.mark.parametrize("n", [0, 1, 253, 254, 255, 256, 507, 508, 509, 1032])
@pytest.mark.parametrize("fill", [0, 1, 255])
def test_cobs_code_at_the_edges_of_a_block_is_that_of_the_cobs_package(link, n, fill):
    """Runs of 253, 254 and 255 equal bytes give the same code as Python's."""
    assert cobs.encode(bytes([fill]) * n) == link.cobs(bytes([fill]) * n)


def test_cobs_code_of_random_bytes_is_that_of_the_cobs_package(link):
    """Whatever the share of zeros."""
    for data in byte_strings(2, 400, 1032):
        assert cobs.encode(data) == link.cobs(data)


def test_what_c_sends_is_what_python_encodes(link):
    """Frames of both sides are equal bytes."""
    for body in byte_strings(3, 100, MAX_BODY):
        expected = frame(body)
        link.lib.drive_send(link.ffi.from_buffer(bytearray(content(expected) + bytes(4))), len(content(expected)))
        assert encode_frame(expected) == link.line()


@pytest.mark.parametrize("n", [0, 1, 245, 246, 247, 1023, 1024])
@pytest.mark.parametrize("fill", [0, 1, 0x25, 255])
def test_receiver_takes_bodies_of_every_length(link, n, fill):
    """From none to the largest, whatever is in them."""
    sent = frame(bytes([fill]) * n)
    assert [content(sent)] == link.receive(encode_frame(sent))
    assert link.bad_frames == 0


@pytest.mark.parametrize("n", [1025, 1026, 5000])
def test_receiver_drops_longer_bodies_and_takes_the_next(link, n):
    """A frame one byte too long is bad; it does not disturb the next one."""
    after = frame(b"after")
    assert [content(after)] == link.receive(encode_frame(frame(b"x" * n)) + encode_frame(after))
    assert link.bad_frames == 1


@pytest.mark.parametrize("n", range(8))
def test_receiver_counts_frames_shorter_than_header_and_crc(link, n):
    """Fewer than 8 bytes are never a frame, even with a right CRC over what there is."""
    data = bytes(range(1, n + 1))
    data = data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little") if n >= 4 else data
    assert link.receive(b"\0\xf1" + cobs.encode(data) + b"\0") == []
    assert link.bad_frames == 1


def test_a_good_frame_with_more_bytes_behind_it_is_too_long(link):
    """The first 1,032 bytes alone would be a frame with a right CRC."""
    whole = content(frame(b"x" * MAX_BODY))
    whole += zlib.crc32(whole).to_bytes(4, "little")
    assert link.receive(b"\0\xf1" + cobs.encode(whole + b"y") + b"\0") == []
    assert link.bad_frames == 1


def test_a_code_that_announces_more_than_there_is_is_bad(link):
    """The bytes before its end would be a frame with a right CRC."""
    whole = bytes(b or 1 for b in content(frame(b"123")))  # no zero: one run
    whole += zlib.crc32(whole).to_bytes(4, "little")
    code = bytearray(cobs.encode(whole))
    assert link.receive(b"\0\xf1" + code + b"\0") == [whole[:-4]]
    code[0] += 1
    assert link.receive(b"\0\xf1" + code + b"\0") == []
    assert link.bad_frames == 1


def test_receiver_finds_a_frame_after_any_noise(link):
    """The leading delimiter ends whatever came before: noise, text, half a frame."""
    sent = frame(b"\0 found \0")
    rng = np.random.default_rng(4)
    for noise in byte_strings(4, 500, 60):
        half = encode_frame(frame(noise))[: rng.integers(1, len(noise) + 10)]
        assert link.receive(noise + encode_frame(sent))[-1] == content(sent)
        assert link.receive(noise + half + encode_frame(sent))[-1] == content(sent)


def test_a_damaged_frame_is_dropped_or_is_what_was_sent(link):
    """No change of one byte, loss or doubling of one makes another frame; the next frame arrives."""
    sent, after = frame(bytes(range(40))), frame(b"after")
    wire = encode_frame(sent)
    rng = np.random.default_rng(5)
    for at in range(len(wire)):
        changed = wire[at] ^ int(rng.integers(1, 256))
        for damaged in (
            wire[:at] + bytes([changed]) + wire[at + 1 :],
            wire[:at] + wire[at + 1 :],
            wire[:at] + wire[at : at + 1] + wire[at:],
        ):
            frames = [item for item in link.receive(damaged + encode_frame(after)) if isinstance(item, bytes)]
            assert frames in ([content(after)], [content(sent), content(after)])


def test_both_receivers_see_the_same_frames_in_garbage(link):
    """C and Python agree on frames and on bad frames, byte for byte of noise with frames in it."""
    rng = np.random.default_rng(6)
    for _ in range(300):
        parts = [
            rng.choice([0x00, 0xF1, 0x25, 0x41, 0xFF, 0x01], rng.integers(0, 30)).astype(np.uint8).tobytes()
            for _ in range(4)
        ]
        data = b"".join(part + encode_frame(frame(part)) for part in parts)
        twin = Receiver()
        expected = [content(item) for item in twin.feed(data) if isinstance(item, Frame)]

        assert expected == [item for item in link.receive(data) if isinstance(item, bytes)]
        assert twin.bad_frames == link.bad_frames


def test_text_ends_at_a_percent_sign(link):
    """CR and LF are not part of a command; a lone % is an empty one."""
    assert link.receive(b"name%profile\r\n%%db load 5%") == ["name", "profile", "", "db load 5"]


@pytest.mark.parametrize("n", [79, 80, 81, 500])
def test_characters_past_the_longest_command_overwrite_the_last(link, n):
    """80 characters are kept (MLPerf Tiny)."""
    sent = ("a" * n + "z")[-n:]
    expected = sent if n <= 80 else sent[:79] + "z"
    assert [expected] == link.receive(sent.encode() + b"%")


def test_other_bytes_throw_away_the_text_up_to_the_next_delimiter(link):
    """A byte that is neither text nor a tag makes the rest noise."""
    assert link.receive(b"na\x80me%pro%\0file%") == ["file"]
    assert link.receive(b"na\x1bme%\0\0profile%") == ["profile"]


def test_a_frame_throws_away_the_text_before_it(link):
    """Half a command does not run into the next."""
    sent = frame(b"x")
    assert link.receive(b"na" + encode_frame(sent) + b"me%") == [content(sent), "me"]


def test_an_empty_frame_is_ignored(link):
    """Delimiters alone are neither frames nor bad frames."""
    assert link.receive(bytes(9)) == []
    assert link.bad_frames == 0


def test_a_kept_answer_is_sent_again_with_its_replay_flag(link):
    """Otherwise the same bytes, as often as asked."""
    bodies = list(byte_strings(7, 9, 100))
    link.lib.drive_answers_begin(9)
    for i, body in enumerate(bodies):
        assert link.lib.drive_answer(Kind.STEP, body, len(body), i == len(bodies) - 1)
    flags = [Flag(0)] * (len(bodies) - 1) + [Flag.LAST]
    sent = [Frame(Kind.STEP, 9, WINDOW, f, b) for f, b in zip(flags, bodies, strict=True)]
    assert b"".join(map(encode_frame, sent)) == link.line()

    again = [Frame(Kind.STEP, 9, WINDOW, f | Flag.REPLAY, b) for f, b in zip(flags, bodies, strict=True)]
    for _ in range(2):
        link.lib.drive_answers_replay()
        assert b"".join(map(encode_frame, again)) == link.line()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 13, 108, 245, 246, 247, 1000, 1024])
def test_an_answer_never_takes_more_of_the_line_than_the_limit(link, n):
    """As many frames as the bound allows take at most MAX_REPLY bytes, nearly all of them, and are kept whole."""
    body = b"\xff" * n
    link.lib.drive_answers_begin(1)
    count = 0
    while link.lib.drive_answer(Kind.STEP, body, n, 0):
        count += 1
    line = link.line()
    one = len(line) // count

    assert len(line) <= MAX_REPLY < len(line) + one + 1
    link.lib.drive_answers_replay()
    assert [item.body for item in Receiver().feed(link.line())] == [body] * count


def test_a_body_larger_than_a_frame_does_not_fit(link):
    """1,025 bytes are refused."""
    link.lib.drive_answers_begin(1)
    assert not link.lib.drive_answer(Kind.ECHOED, bytes(1025), 1025, 1)
    link.line()
