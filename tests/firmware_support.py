"""A model small enough to follow by hand, and the firmware around it as a process of this machine."""

import subprocess
from pathlib import Path

import numpy as np

from hil.arithmetic import softsign_q15
from hil.link.codec import Frame, decode_body, encode_body, encode_frame
from hil.link.receiver import Receiver
from hil.link.schema import Flag, Kind

INPUTS, UNITS, OUTPUTS = 3, 2, 2
SHIFTS = (0, 1, 2, 15)
ARTEFACT_HASH = bytes(range(32))
MODEL_C = Path(__file__).with_name("firmware_model.c").read_text(encoding="utf-8")

SOURCES = {"model.c": MODEL_C}


def states_of(features):
    """[T, 2] int16: what MODEL_C's states are after each step."""
    h, states = np.zeros(UNITS, np.int64), []
    for x in np.asarray(features, np.int64):
        h = np.trunc((h + x[1:]) / 2).astype(np.int64)
        states.append(h)
    return np.array(states, np.int16)


def logits_of(features):
    """[2] int32."""
    sums = states_of(features).astype(np.int32).sum(axis=0)
    return np.array([sums[0], -sums[1]], np.int32)


def inner_of(features):
    """acc_q17 [4], z [2], g [2], h [2] after the last step."""
    x = np.asarray(features, np.int32)[-1]
    acc = 4 * np.array([x[0], x[0], x[1], x[2]])
    s = [int(softsign_q15((int(a) + ((1 << shift) >> 1)) >> shift)) for a, shift in zip(acc, SHIFTS, strict=True)]
    return acc.tolist(), [(v + 32768) >> 1 for v in s[:2]], s[2:], states_of(features)[-1].tolist()


def request(seq, kind, **values):
    """Encoded request."""
    return encode_frame(Frame(kind, seq % 256, 1, Flag.LAST, encode_body(kind, **values)))


def raw_request(seq, kind, body=b""):
    """Encoded request with any body."""
    return encode_frame(Frame(kind, seq % 256, 1, Flag.LAST, body))


def requests(*asked):
    """Encoded HELLO (0), then each ``(kind, values)`` numbered from 1 on."""
    return request(0, Kind.HELLO, protocol=1) + b"".join(
        request(i, kind, **values) for i, (kind, values) in enumerate(asked, 1)
    )


def talk(program, data, returncode=0):
    """Feed a firmware process, wait for its end; returns its frames and lines, BOOT first."""
    done = subprocess.run([program], input=data, capture_output=True, timeout=60)
    assert done.returncode == returncode, done.stderr.decode()
    receiver = Receiver()
    items = receiver.feed(done.stdout)
    assert receiver.bad_frames == receiver.dropped_bytes == 0
    return items


def answers(program, data, returncode=0):
    """The frames of `talk` after BOOT."""
    boot, *frames = talk(program, data, returncode)
    assert boot.kind == Kind.BOOT
    return frames


def fields(frame):
    return decode_body(frame.kind, frame.body)
