"""
Whatever arrives, nothing crashes: the firmware under ASan and UBSan, the host's receiver, the artefact's loader.

Short here; a million inputs each with HIL_ALL set (docs/faults.md has the last full run).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess

import pytest
from firmware_support import SOURCES
from kernel_support import random_artefact
from link_inputs import Inputs, spoil

from hil.artefact import artefact_from_bytes
from hil.codegen import emit_c
from hil.errors import ArtefactError
from hil.firmware import compile_host_app
from hil.link.codec import Frame, decode_body, encode_frame
from hil.link.receiver import Receiver
from hil.link.schema import Flag, Kind

FULL = bool(os.environ.get("HIL_ALL"))
INPUTS = 1_000_000 if FULL else 10_000
BATCH = 10_000
"""Inputs of one process."""
WIDTHS = (8, 3)
"""D of the two programs."""
ARTEFACT = random_artefact(3, hidden=(3,), inputs=8, dense=(3,))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A model that listens, and one without a front end."""
    folder = tmp_path_factory.mktemp("fuzz")
    return [compile_host_app(emit_c(ARTEFACT, audio=True), folder / "a"), compile_host_app(SOURCES, folder / "b")]


def test_the_firmware_survives_any_input(programs, record_property):
    """No crash, no undefined behaviour, no bad address; and every answer is a whole frame or a line of text."""
    answered: dict[str, int] = {}
    for batch in range(INPUTS // BATCH):
        other = batch % 10 == 9
        data = b"".join(itertools.islice(Inputs(batch, WIDTHS[other]), BATCH))
        done = subprocess.run([programs[other]], input=data, capture_output=True, timeout=600)
        assert done.returncode == 0, f"batch {batch}: {done.stderr.decode()[-3000:]}"
        receiver = Receiver()
        for item in receiver.feed(done.stdout):
            name = item.name if isinstance(item, Frame) else "text"
            answered[name] = answered.get(name, 0) + 1
        assert receiver.bad_frames == receiver.dropped_bytes == 0, f"batch {batch}"
    record_property("answers", answered)
    print(f"{INPUTS:,} inputs: {answered}")
    # the inputs reach every request and the refusals, not the frame check alone
    for kind in (Kind.IS_HELLO, Kind.ACK, Kind.STEP, Kind.RESULT, Kind.INNER, Kind.ECHOED, Kind.LISTENING, Kind.HEARD):
        assert answered.get(kind.name, 0) > INPUTS // 10_000, kind.name
    assert answered["ERROR"] > INPUTS // 100
    assert answered["text"] > INPUTS // 100


def test_the_hosts_receiver_survives_any_input():
    """Requests, answers, damage and noise: a frame or a counted loss; a body that does not fit is a ValueError."""
    rng, receiver, frames = random.Random(2), Receiver(), 0
    kinds = list(Kind)
    for i, data in enumerate(itertools.islice(Inputs(5), INPUTS)):
        if i % 3 == 0:  # as an answer
            body = rng.randbytes(rng.choice((0, 1, 4, 8, 12, 16, 40, 92, 600)))
            data = encode_frame(Frame(rng.choice(kinds), i % 256, 1, Flag(rng.randrange(16)), body))
            data = spoil(rng, data) if i % 2 else data
        for item in receiver.feed(data):
            if isinstance(item, Frame) and isinstance(item.kind, Kind):
                frames += 1
                try:
                    decode_body(item.kind, item.body)
                except ValueError:
                    continue
    assert frames > INPUTS // 4
    assert receiver.bad_frames > INPUTS // 5


def mutated_manifest(rng, data):
    """The file with one value of its manifest replaced, its lengths right."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    manifest = json.loads(header["__metadata__"]["manifest"])
    place = manifest
    while isinstance(place, (dict, list)) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], (dict, list)) or rng.random() < 0.3:
            place[key] = rng.choice((None, -1, 0, 1 << 40, 1.5, "", "embedded_gru", [], {}, [[]], True, float("inf")))
            break
        place = place[key]
    header["__metadata__"]["manifest"] = json.dumps(manifest)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def test_the_artefacts_loader_survives_any_file():
    """Damaged bytes, torn ends, and manifests with any value anywhere: read, or refused as ArtefactError."""
    rng, good = random.Random(4), ARTEFACT.to_bytes()
    refused = 0
    for i in range(INPUTS // 10):
        data = mutated_manifest(rng, good) if i % 2 else spoil(rng, good)
        try:
            artefact_from_bytes(data)
        except ArtefactError:
            refused += 1
    assert refused > INPUTS // 20
