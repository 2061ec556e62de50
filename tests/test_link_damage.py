"""Damaged lines: what arrives is right, what does not is a named and counted loss, and the next run is healthy."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
import serial
from damaged_port import DamagedPort, Faults
from firmware_support import INPUTS, SOURCES, logits_of, states_of
from host_rig import HostRig
from kernel_support import random_artefact
from link_inputs import spoil
from test_firmware_link import Link

from hil.codegen import emit_c
from hil.errors import (
    GarbledLine,
    HilError,
    LinkTimeout,
    PortBusy,
    PortLost,
    ProtocolError,
    RigNotFound,
    UnexpectedReset,
    WrongSpeed,
)
from hil.experiment.listen import run_stream
from hil.link.audio import listen
from hil.link.codec import Frame, encode_frame
from hil.link.device import Device
from hil.link.port import open_port
from hil.link.receiver import Receiver
from hil.link.schema import MAX_BODY, Flag, Kind
from hil.trace import Listening, Tier

ARTEFACT = random_artefact(3, hidden=(3,), inputs=8, dense=(3,))
SEQUENCES = 12
DAMAGED_FRAMES = 100_000
HEALTHY = Faults()
TABLE = {
    "1 % of bytes flipped": Faults(flip=0.01),
    "1 % of bytes dropped": Faults(drop=0.01),
    "0.1 % flipped and dropped": Faults(flip=0.001, drop=0.001),
    "bursts of garbage": Faults(garbage=0.05),
    "duplicated frames": Faults(double=0.3),
    "a reader that stalls for a second": Faults(stall_s=1.0),
    "all of it": Faults(flip=0.0005, drop=0.0005, garbage=0.02, double=0.1),
}
MUST_ARRIVE = {"bursts of garbage", "duplicated frames", "a reader that stalls for a second"}
"""Faults that repetition always overcomes here; with the others a loss is allowed, if it has a name."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """A small model without a front end: short frames."""
    with HostRig(SOURCES, tmp_path_factory.mktemp("app")) as made:
        yield made


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """A model that listens."""
    with HostRig(emit_c(ARTEFACT, audio=True), tmp_path_factory.mktemp("audio")) as made:
        yield made


def damaged_device(rig, faults, seed, timeout_s=0.1):
    """The device behind a damaged line, and its port."""
    rig.flash(None)
    port = DamagedPort(serial.Serial(rig.port, 115_200), faults, seed)
    return Device(port, "damaged", timeout_s=timeout_s, tier=Tier.HOST), port


def run_once(device, x):
    """``"intact"``, or the name of the loss; anything else fails."""
    try:
        trace = device.run_sequence(x)
    except (LinkTimeout, ProtocolError) as loss:
        with contextlib.suppress(LinkTimeout, ProtocolError):
            device.hello()
        return type(loss).__name__
    assert (trace.states_q15 == states_of(x)).all(), "an undetected error in the states"
    assert trace.logits.tolist() == logits_of(x).tolist(), "an undetected error in the outputs"
    return "intact"


@pytest.mark.parametrize("fault", TABLE)
def test_sequences_arrive_intact_or_are_lost_by_name(rig, fault, record_property):
    """The fault table: no sequence is wrong; what repetition cannot save is an error with a name."""
    faults = TABLE[fault]
    device, port = damaged_device(rig, faults, seed=1, timeout_s=2.5 if faults.stall_s else 0.1)
    rng = np.random.default_rng(2)
    with contextlib.suppress(LinkTimeout, ProtocolError):
        device.hello()
    verdicts = [run_once(device, rng.integers(-32768, 32768, (6, INPUTS)).astype(np.int16)) for _ in range(SEQUENCES)]
    device.close()
    assert port.damaged > 0
    if fault in MUST_ARRIVE:
        assert verdicts == ["intact"] * SEQUENCES
    summary = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
    print(f"{fault}: {port.damaged} damages, {device.repetitions} repetitions, {summary}")
    record_property("verdict", summary)


@pytest.mark.parametrize("fault", TABLE)
def test_after_a_damaged_run_the_next_is_healthy(rig, fault):
    """The same firmware, without a reset, over a line that has been repaired."""
    device, port = damaged_device(rig, TABLE[fault], seed=3, timeout_s=2.5 if TABLE[fault].stall_s else 0.05)
    x = np.random.default_rng(4).integers(-32768, 32768, (6, INPUTS)).astype(np.int16)
    with contextlib.suppress(LinkTimeout, ProtocolError):
        device.hello()
    for _ in range(2):
        run_once(device, x)
    port.faults = HEALTHY
    device.hello()
    assert run_once(device, x) == "intact"
    device.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "faults",
    [Faults(flip=0.0005), Faults(drop=0.0005), Faults(garbage=0.02), Faults(double=0.2)],
    ids=["flips", "drops", "garbage", "doubles"],
)
def test_streams_survive_damage_with_several_requests_under_way(listener, faults, seed):
    """Lost requests and lost answers are repeated; every vector and decision is the twin's, nothing happens twice."""
    device, port = damaged_device(listener, HEALTHY, seed)
    device.hello()
    port.faults = faults
    samples = np.random.default_rng(seed).normal(0, 3000, 20_000).astype(np.int16)
    try:
        stream = run_stream(ARTEFACT, "noise", samples, Listening(9, 2, smooth=2), device)
    except (LinkTimeout, ProtocolError):
        pass  # a named loss
    else:
        assert stream.first is None
    port.faults = HEALTHY
    device.hello()
    assert run_stream(ARTEFACT, "noise", samples[:3000], Listening(9, 2), device).exact
    assert port.damaged > 0
    device.close()


def test_some_streams_needed_repetitions_and_were_right(listener):
    """Damage at a rate that repetition overcomes: the stream is whole although requests were sent again."""
    device, port = damaged_device(listener, HEALTHY, 5)
    device.hello()
    port.faults = Faults(garbage=0.1, double=0.1)
    samples = np.random.default_rng(5).normal(0, 3000, 20_000).astype(np.int16)
    for _ in range(10):  # which bytes are read together, and so what happens to them, depends on the machine
        assert run_stream(ARTEFACT, "noise", samples, Listening(9, 9), device).exact
        if device.repetitions:
            break
    assert device.repetitions > 0
    device.close()


def frames(rng):
    """A hundred frames of every length."""
    lengths = [0, 1, 2, 3, MAX_BODY - 1, MAX_BODY, *(rng.randint(4, 60) for _ in range(94))]
    return [
        Frame(rng.choice(list(Kind)), rng.randrange(256), 1, Flag.LAST, bytes(rng.choices((0, 1, 255, 7), k=n)))
        for n in lengths
    ]


def test_a_hundred_thousand_damaged_frames_without_an_undetected_error(tmp_path):
    """Of 100,000 damaged frames none comes out as another frame than was sent, of neither side's receiver."""
    rng = random.Random(11)
    originals = frames(rng)
    receiver, device, undetected, intact = Receiver(), Link(tmp_path), 0, 0
    for i in range(DAMAGED_FRAMES):
        original = originals[rng.choice((rng.randrange(4), rng.randrange(6, 100), rng.randrange(6, 100)))]
        if i % 500 == 0:
            original = originals[5]
        data = b"\0" + spoil(rng, encode_frame(original)) + b"\0"
        whole = bytes((original.kind, original.seq, original.credit, original.flags)) + original.body
        got = [item for item in receiver.feed(data) if isinstance(item, Frame)]
        bytes_got = [bytes((item.kind, item.seq, item.credit, item.flags)) + item.body for item in got]
        on_device = [item for item in device.receive(data) if isinstance(item, bytes)]
        undetected += sum(item != whole for item in (*bytes_got, *on_device))
        intact += len(got)  # damage to a delimiter, or that undid itself
        assert bytes_got == on_device
    assert undetected == 0
    assert receiver.bad_frames > DAMAGED_FRAMES // 2
    assert intact < DAMAGED_FRAMES // 4


@pytest.fixture(scope="module")
def small_firmware(tmp_path_factory):
    """`SOURCES` for the emulated chip."""
    from hil.chips import chip
    from hil.firmware import compile_firmware, find_compiler
    from hil.rig import load_rig_file

    file, out = load_rig_file("emulator"), tmp_path_factory.mktemp("small")
    return compile_firmware(
        SOURCES, chip=chip(file.chip), board=file.board, compiler=find_compiler(None), optimize="2", out=out
    )


def left_at(rig, baud):
    """The port of a chip that an earlier run has left at another speed, opened anew."""
    device = rig.open()
    device.hello()
    device.conversation.ask(Kind.BAUD, Kind.ACK, baud=baud)
    device.close()
    again = rig.open()
    again.conversation.timeout_s = 0.3
    return again


@pytest.mark.parametrize("baud", [57_600, 500_000])
def test_the_wrong_speed_has_its_own_error(small_firmware, baud):
    """The error names both speeds and sets the chip back, so that the next run is healthy."""
    from hil.rig import load_rig

    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(small_firmware)
        device = left_at(rig, baud)
        with pytest.raises(WrongSpeed, match=f"no answer at 115200 baud, but at {baud}: .* set to 115200") as caught:
            device.hello()
        assert (caught.value.asked, caught.value.found) == (115_200, baud)
        device.hello()
        assert run_once(device, np.ones((4, INPUTS), np.int16)) == "intact"


def test_a_speed_that_nobody_tries_is_silence(small_firmware):
    """The chip at 250,000 baud: LinkTimeout, asked four times; at the right speed all is well."""
    from hil.rig import load_rig

    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(small_firmware)
        device = left_at(rig, 250_000)
        with pytest.raises(LinkTimeout, match=r"Check power and baud rate.* asked 4 times; damaged frames so far: 0"):
            device.hello()
        device.conversation.set_speed(250_000)
        assert device.hello().baud == 250_000


def test_bytes_without_a_frame_are_said_to_be_garbled(rig):
    """A line that damages every byte: the error counts them and asks for the speed."""
    device, _ = damaged_device(rig, Faults(flip=1.0), 1)
    with pytest.raises(GarbledLine, match=r"no good frame in the \d+ bytes that came .* 115200 baud") as caught:
        device.hello()
    assert caught.value.bytes_seen > 0
    device.close()


def test_a_port_in_use_has_its_own_error(rig):
    """The second program is told who has to let go; when the first has closed the port, the second gets it."""
    rig.flash(None)
    first = open_port(rig.port, 115_200, "bench")
    with pytest.raises(PortBusy, match=f"{rig.port} is in use"):
        open_port(rig.port, 115_200, "bench")
    first.close()
    open_port(rig.port, 115_200, "bench").close()


def test_a_port_that_is_not_there_has_its_own_error():
    """A wrong name."""
    with pytest.raises(RigNotFound, match="there is no port /dev/ttyNONE"):
        open_port("/dev/ttyNONE", 115_200, "bench")


def test_a_port_that_vanishes_and_comes_back(rig):
    """The cable is pulled in mid-stream; plugged in again, the next run is whole."""
    x = np.ones((4, INPUTS), np.int16)
    rig.flash(None)
    device = rig.open()
    device.hello()
    rig.pull_cable()
    with pytest.raises(PortLost):
        device.run_sequence(x)
    rig.flash(None)
    device = rig.open()
    device.hello()
    assert run_once(device, x) == "intact"


def test_a_reset_in_mid_stream(tmp_path):
    """The reset button during a stream: UnexpectedReset, and the next stream is whole."""
    from test_audio import build, sound

    from hil.rig import load_rig

    artefact = random_artefact(3, hidden=(6, 5), inputs=32, dense=(4, 3))
    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(build(artefact, tmp_path))
        device = rig.open()
        device.hello()
        pieces = iter(np.split(sound(), 9))

        def interrupted():
            yield next(pieces)
            rig.board.reset()
            yield from pieces

        with pytest.raises(UnexpectedReset):
            list(listen(device, interrupted(), Listening(9, 9)))
        device.hello()
        assert run_stream(artefact, "noise", sound(), Listening(9, 9), device).exact


def test_every_error_of_a_line_has_its_own_name():
    """Wrong speed, noise, port in use, no port, vanished port, silence, reset: seven classes, one tree."""
    names = {WrongSpeed, GarbledLine, PortBusy, RigNotFound, PortLost, LinkTimeout, UnexpectedReset}
    assert len({name.__name__ for name in names}) == 7
    assert all(issubclass(name, HilError) for name in names)
