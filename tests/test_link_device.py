"""The host's side of the link against a device in Python behind a pty."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import serial
from fake_device import BEGIN, BENCH, CRASH, ECHO, FINISH, HELLO, STEPS, Doubler, FakeDevice

from hil.errors import (
    DeviceRefusal,
    FirmwareFault,
    LinkTimeout,
    PortLost,
    ProtocolError,
    UnexpectedReset,
    UsageError,
    WrongFirmware,
)
from hil.link.codec import Frame, encode_body, encode_frame
from hil.link.conversation import REPEATS
from hil.link.device import Device
from hil.link.schema import Crash, Detail, Flag, Kind
from hil.trace import Tier

SEQUENCE = np.arange(30, dtype=np.int16).reshape(10, 3)


@contextmanager
def connected(timeout_s: float = 0.15, **options: Any) -> Iterator[tuple[Device, FakeDevice]]:
    with FakeDevice(**options) as fake:
        device = Device(serial.Serial(fake.port, 115200), "fake", timeout_s=timeout_s, tier=Tier.HOST)
        try:
            yield device, fake
        finally:
            device.close()


def expected_states() -> list[list[int]]:
    machine = Doubler()
    machine.reset()
    return [machine.step(x) for x in SEQUENCE]


def nth(*numbers: int) -> Callable[[bytes, int], bytes]:
    """Damage one byte in the middle of those frames."""

    def spoil(data: bytes, number: int) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 0x81]) + data[middle + 1 :] if number in numbers else data

    return spoil


def test_hello_tells_who_answers() -> None:
    """Fields arrive as numbers, hashes and the serial number as hexadecimal."""
    with connected() as (device, _):
        hello = device.hello("11" * 16, "22" * 32)
    assert (hello.inputs, hello.states, hello.outputs, hello.clock_hz, hello.overhead) == (3, 2, 1, 48_000_000, 9)
    assert hello.serial == "00000001000000020000000300000004"
    assert hello.build_id == "11" * 16


def test_a_sequence_comes_back_step_by_step() -> None:
    """States, cycles, outputs and saturations of every step, over several STEPS frames."""
    with connected() as (device, fake):
        device.hello()
        trace = device.run_sequence(SEQUENCE)
    assert trace.states_q15.tolist() == expected_states()
    assert trace.cycles is not None
    assert trace.cycles.tolist() == list(range(1000, 1010))
    assert trace.logits.tolist() == [int(SEQUENCE.sum()) % 1000 * 70000]
    assert (trace.saturated, trace.output_cycles, trace.tier) == (5, 555, Tier.HOST)
    assert fake.done.count(STEPS) == 3
    assert device.repetitions == 0


def test_without_detail_no_states_travel() -> None:
    """``states_q15`` is [T, 0]; cycles are there."""
    with connected() as (device, _):
        trace = device.run_sequence(SEQUENCE, detail=Detail.NONE)
    assert trace.states_q15.shape == (10, 0)
    assert trace.cycles is not None
    assert len(trace.cycles) == 10


def test_inner_values_are_split_by_operation() -> None:
    """INNER is taken apart into sums, gates, candidates and states."""
    with connected() as (device, _):
        device.hello()
        device.replay(SEQUENCE[:3])
        layer = device.inspect(0)
    x, total = expected_states()[2]
    assert layer.acc_q17.tolist() == [[x, -x, total, -total]]
    assert (layer.z_q15.tolist(), layer.g_q15.tolist()) == ([[1, 2]], [[3, 4]])
    assert layer.h_q15.tolist() == [[x, total]]


def test_the_other_requests() -> None:
    """BENCH, STATUS, ECHO, BAUD and RESET do what they say."""
    with connected() as (device, _):
        device.hello()
        assert device.bench(0, 3).cycles == (100, 100, 100)
        assert device.status().stack_bytes == 300
        assert device.echo(b"\x00\xf1\xff") == b"\x00\xf1\xff"
        device.set_baud(500_000)
        assert device.reset() == 0x40
        assert device.hello().inputs == 3


@pytest.mark.parametrize("numbers", [(1,), (2,), (3,), (6,), (3, 7), (13,)])
def test_damage_costs_a_repetition_and_changes_nothing(numbers: tuple[int, ...]) -> None:
    """A damaged answer is asked for again; no step is carried out twice and every value is right."""
    with connected(spoil=nth(*numbers)) as (device, fake):
        device.hello()
        trace = device.run_sequence(SEQUENCE)
    assert trace.states_q15.tolist() == expected_states()
    assert device.repetitions == device.bad_frames == len(numbers)
    assert [k for k in fake.done if k != HELLO] == [BEGIN, STEPS, STEPS, STEPS, FINISH]


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_a_lost_request_is_sent_again(lost: int) -> None:
    """The device never saw it: the second copy is carried out."""
    with connected(deaf=lambda number: number == lost) as (device, fake):
        device.hello()
        trace = device.run_sequence(SEQUENCE)
    assert trace.states_q15.tolist() == expected_states()
    assert (device.repetitions, fake.replays) == (1, 0)


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    """The host asks twice because the device was slow; the second copy of the answer is passed over."""

    def slow_once(kind: int, body: bytes) -> None:
        if kind == BEGIN:
            time.sleep(0.25)

    with connected(before=slow_once) as (device, fake):
        device.hello()
        trace = device.run_sequence(SEQUENCE)
        assert device.echo(b"abc") == b"abc"
    assert trace.states_q15.tolist() == expected_states()
    assert device.repetitions >= 1
    assert fake.replays == device.repetitions


def test_text_and_noise_between_frames_do_no_harm() -> None:
    """Lines of text are kept for the report, noise is dropped."""
    with connected(extra=b"\xff\xfe\x00m-ready\r\n") as (device, _):
        device.hello()
        assert device.run_sequence(SEQUENCE).states_q15.tolist() == expected_states()
        assert device.lines[0] == "m-ready"


def test_answers_from_before_hello_are_passed_over() -> None:
    """Another program has just been killed: what it had asked for still comes in, with the numbers of HELLO."""
    stale = encode_frame(Frame(Kind.ECHOED, 0, 1, Flag.LAST, b"old")) + encode_frame(
        Frame(Kind.ERROR, 0, 1, Flag.LAST, encode_body(Kind.ERROR, code=3, request=8, detail=0))
    )
    with connected(extra=stale) as (device, _):
        assert device.hello().inputs == 3
    assert device.repetitions == 0


def test_the_numbering_wraps() -> None:
    """Request 256 has number 0 and is answered."""
    with connected() as (device, _):
        device.hello()
        for i in range(300):
            assert device.echo(bytes([i % 256])) == bytes([i % 256])
    assert device.repetitions == 0


def test_silence_ends_after_three_repetitions() -> None:
    """The error names what was waited for, how long, and that no byte came."""
    with connected(deaf=lambda number: True) as (device, _), pytest.raises(LinkTimeout) as caught:
        device.hello()
    assert device.repetitions == REPEATS
    assert caught.value.waited_s == pytest.approx(0.15, abs=0.05)
    assert "fake: no IS_HELLO frame within 0.15 s (no byte arrived)" in str(caught.value)


def test_a_rig_that_knows_why_nothing_comes_says_so() -> None:
    """The rig is asked when the first deadline has passed, and its error is the one that is raised."""

    def explain() -> None:
        raise FirmwareFault("fake", {"pc": 8}, "locked up")

    with FakeDevice(deaf=lambda number: True) as fake:
        device = Device(serial.Serial(fake.port), "fake", timeout_s=0.1, on_silence=explain)
        with pytest.raises(FirmwareFault, match="locked up"):
            device.hello()
        device.close()
    assert device.repetitions == 0


def test_an_answer_that_never_gets_through_is_an_error() -> None:
    """Damage in every copy is reported as such, with the count."""
    with connected(spoil=nth(*range(2, 99)), timeout_s=0.05) as (device, _):
        device.hello()
        with pytest.raises(LinkTimeout, match="ECHOED"):
            device.echo(b"hello")
        assert device.bad_frames == 1 + REPEATS


def test_steps_that_never_get_through_are_an_error() -> None:
    """A middle frame lost each time is not waited for for ever."""

    def spoil(data: bytes, number: int) -> bytes:
        return b"" if number in (3, 7, 11, 15) else data

    with connected(spoil=spoil) as (device, _), pytest.raises(ProtocolError, match="3 of 4 STEP frames"):
        device.run_sequence(SEQUENCE)
    assert device.repetitions == REPEATS


@pytest.mark.parametrize(
    ("expected", "field"), [(("12" * 16, "22" * 32), "build_id"), (("11" * 16, "23" * 32), "artefact_hash")]
)
def test_another_program_is_refused_before_anything_else(expected: tuple[str, str], field: str) -> None:
    """The error names the field and both values; nothing but HELLO was asked."""
    with connected() as (device, fake), pytest.raises(WrongFirmware) as caught:
        device.hello(*expected)
    assert caught.value.field == field
    assert fake.requests == [HELLO]


def test_another_protocol_is_refused() -> None:
    """A newer firmware is named as such, whatever else its HELLO says."""
    with connected(protocol=2) as (device, _), pytest.raises(WrongFirmware, match="protocol 2, expected 1"):
        device.hello()


def test_a_pulled_cable_is_named() -> None:
    """The port goes away between two frames of a run."""
    fake: FakeDevice

    def pull(kind: int, body: bytes) -> None:
        if kind == STEPS and body[0] == 4:
            fake.unplug()

    with connected(before=pull, timeout_s=5) as (device, fake):
        device.hello()
        began = time.monotonic()
        with pytest.raises(PortLost, match="fake: the serial port vanished while waiting for STEP"):
            device.run_sequence(SEQUENCE)
    assert time.monotonic() - began < 2


def test_a_reset_in_mid_run_is_named() -> None:
    """A BOOT frame that nobody asked for ends the run, with its cause."""
    with connected(before=lambda kind, body: "boot" if kind == STEPS else None) as (device, _):
        device.hello()
        with pytest.raises(UnexpectedReset, match="reset in mid-run") as caught:
            device.run_sequence(SEQUENCE)
    assert caught.value.cause == 0x20


def test_a_fault_carries_its_registers() -> None:
    """FAULT ends the run with the stacked registers and the function that pc is in."""
    with FakeDevice(before=lambda kind, body: "fault" if kind == STEPS else None) as fake:
        port = serial.Serial(fake.port, 115200)
        device = Device(port, "fake", locate=lambda address: f"f_{address:x}")
        with pytest.raises(FirmwareFault, match="HardFault in f_106") as caught:
            device.run_sequence(SEQUENCE)
        device.close()
    assert caught.value.registers["pc"] == 0x106
    assert caught.value.registers["sp"] == 0x108


def test_an_error_frame_is_a_refusal() -> None:
    """ERROR is raised with code and detail by name."""
    with connected() as (device, _):
        device.hello()
        with pytest.raises(DeviceRefusal, match="refused INSPECT: BAD_INDEX") as caught:
            device.inspect(9)
        assert caught.value.detail == 1
        assert device.echo(b"still there") == b"still there"


@pytest.mark.parametrize("features", [SEQUENCE[:, :2], SEQUENCE[:0], SEQUENCE.astype(np.int32), SEQUENCE[0]])
def test_features_that_do_not_fit_are_refused(features: Any) -> None:
    """Wrong width, no steps, wrong type and wrong dimensions, before anything is sent."""
    with connected() as (device, fake):
        device.hello()
        with pytest.raises(UsageError, match=r"takes int16 \[T, 3\]"):
            device.run_sequence(features)
    assert fake.requests == [HELLO]


def test_a_model_whose_states_fit_no_frame_is_refused() -> None:
    """The firmware says that no step with states fits: the host does not divide by it."""
    with connected(max_steps=0) as (device, fake):
        device.hello()
        with pytest.raises(UsageError, match="too wide for the link"):
            device.run_sequence(SEQUENCE)
    assert fake.requests == [HELLO]


@pytest.mark.parametrize(("todo", "error"), [("fault", FirmwareFault), ("silent", LinkTimeout)])
def test_a_crash_on_request_is_noticed(todo: str, error: type[Exception]) -> None:
    """The bench's own test that it notices."""
    with connected(before=lambda kind, body: todo if kind == CRASH else None) as (device, _):
        device.hello()
        with pytest.raises(error):
            device.crash(Crash.HARD_FAULT)


def test_benches_wait_longer() -> None:
    """A slow kernel is not silence: every call is given time."""

    def slow(kind: int, body: bytes) -> None:
        if kind == BENCH:
            time.sleep(0.4)

    with connected(before=slow) as (device, _):
        device.hello()
        assert device.bench(0, 2).cycles == (100, 100)
    assert device.repetitions == 0


def test_the_last_frames_are_kept() -> None:
    """Both directions, oldest first, a bounded number of them."""
    with connected() as (device, _):
        for _ in range(40):
            device.echo(b"x") if device._hello else device.hello()
    assert len(device.frames) == 32
    directions = [direction for direction, _ in device.frames]
    assert directions == [">", "<"] * 16
    assert device.frames[-2][1].kind == ECHO
