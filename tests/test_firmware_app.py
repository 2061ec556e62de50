import os
import pty
import subprocess
import tty

import numpy as np
import pytest
import serial
from firmware_support import (
    ARTEFACT_HASH,
    INPUTS,
    MODEL_C,
    OUTPUTS,
    SOURCES,
    UNITS,
    answers,
    fields,
    inner_of,
    logits_of,
    raw_request,
    request,
    requests,
    states_of,
    talk,
)

from hil.errors import DeviceRefusal
from hil.firmware import compile_host_app
from hil.link.codec import Frame, encode_body, encode_frame
from hil.link.device import Device
from hil.link.schema import BODIES, MAX_BODY, MAX_REPLY, WINDOW, ErrorCode, Flag, Kind

MAX_STEPS = MAX_REPLY // (8 + 8 + 2 * UNITS + 1 + 3)
"""Of MODEL_C: the replay buffer is the limit."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The application on the host, under ASan and UBSan."""
    return compile_host_app(SOURCES, tmp_path_factory.mktemp("app"))


def features(steps, seed=0):
    return np.random.default_rng(seed).integers(-32768, 32768, (steps, INPUTS)).astype(np.int16)


def begin(steps, detail=1, sequence=5):
    return Kind.BEGIN, {"sequence": sequence, "steps": steps, "detail": detail}


def steps(x, first=0):
    return Kind.STEPS, {"first": first, "count": len(x), "x": x}


def numbered(seq, asked):
    kind, values = asked
    return request(seq, kind, **values)


def refusal(frame):
    """Name of an ERROR's code, and its detail."""
    assert frame.kind == Kind.ERROR
    return ErrorCode(fields(frame)["code"]).name, fields(frame)["detail"]


def test_the_first_frame_says_that_the_device_has_been_reset(program):
    """BOOT is nobody's answer."""
    (boot,) = talk(program, b"")
    assert (boot.kind, boot.seq, boot.flags) == (Kind.BOOT, 0, Flag.UNSOLICITED | Flag.LAST)


def test_hello_describes_the_model(program):
    """Shapes, limits and hashes are those of the program."""
    (frame,) = answers(program, requests())
    hello = fields(frame)

    assert (frame.kind, frame.seq, frame.flags, frame.credit) == (Kind.IS_HELLO, 0, Flag.LAST, WINDOW)
    assert [hello[n] for n in ("protocol", "window", "inputs", "states", "outputs", "layers", "kernels")] == [
        1, WINDOW, INPUTS, UNITS, OUTPUTS, 1, 2,
    ]  # fmt: skip
    assert hello["max_steps"] == MAX_STEPS
    assert hello["baud"] == 115200
    assert hello["artefact_hash"] == ARTEFACT_HASH
    assert hello["build_id"] != bytes(16)


def test_a_sequence_gives_states_after_every_step_and_logits_at_the_end(program):
    """Steps in several requests, of odd D, count on from each other."""
    x = features(20)
    frames = answers(
        program, requests(begin(20, sequence=77), steps(x[:7]), steps(x[7:19], 7), steps(x[19:], 19), (Kind.FINISH, {}))
    )
    taken = [f for f in frames if f.kind == Kind.STEP]

    assert [f.seq for f in frames] == [0, 1] + [2] * 7 + [3] * 12 + [4, 5]
    assert [bool(f.flags & Flag.LAST) for f in taken] == [i in (6, 18, 19) for i in range(20)]
    assert [fields(f)["step"] for f in taken] == list(range(20))
    assert states_of(x).tolist() == [fields(f)["h"].tolist() for f in taken]
    result = fields(frames[-1])
    assert (result["sequence"], result["steps"], result["logits"].tolist()) == (77, 20, logits_of(x).tolist())


def test_a_sequence_begins_with_zero_states(program):
    """BEGIN in mid-sequence starts again."""
    x = features(3)
    frames = answers(program, requests(begin(3), steps(x), begin(3), steps(x), (Kind.FINISH, {})))
    assert [f.body for f in frames[2:5]] != []
    assert [fields(f)["h"].tolist() for f in frames[2:5]] == [fields(f)["h"].tolist() for f in frames[6:9]]
    assert fields(frames[-1])["logits"].tolist() == logits_of(x).tolist()


def test_without_detail_steps_carry_no_states(program):
    """The sequence is the same."""
    x = features(4)
    frames = answers(program, requests(begin(4, detail=0), steps(x), (Kind.FINISH, {})))
    assert [len(fields(f)["h"]) for f in frames[2:6]] == [0] * 4
    assert fields(frames[-1])["logits"].tolist() == logits_of(x).tolist()


@pytest.mark.parametrize("shift_case", [(0, 0, 0), (32767, -32768, 32767), (-32768, 32767, -32768), (5, -3, 2)])
def test_inspect_gives_sums_gates_candidates_and_states(program, shift_case):
    """Gate and candidate are those of the arithmetic, at the extremes of Q15 and with shifts of 0 to 15."""
    x = np.array([[1, 2, 3], shift_case], np.int16)
    frames = answers(program, requests(begin(2), steps(x), (Kind.INSPECT, {"layer": 0})))
    inner = fields(frames[-1])
    data = inner["data"]

    assert (inner["layer"], inner["units"], len(data)) == (0, UNITS, 14 * UNITS)
    got = [np.frombuffer(data[:16], "<i4").tolist(), *np.frombuffer(data[16:], "<i2").reshape(3, UNITS).tolist()]
    assert list(inner_of(x)) == got


def test_bench_gives_cycles_of_every_call(program):
    """1 and 64 calls, each with its own preparation."""
    frames = answers(
        program,
        requests(
            (Kind.BENCH, {"kernel": 0, "repeats": 1}),
            (Kind.BENCH, {"kernel": 1, "repeats": 64}),
            begin(1),
            steps(features(1)),
            (Kind.FINISH, {}),
        ),
    )
    assert [len(fields(f)["cycles"]) for f in frames[1:3]] == [1, 64]
    assert fields(frames[2])["kernel"] == 1
    assert fields(frames[-1])["saturated"] == 65  # MODEL_C tells the preparations here


def test_echo_returns_everything_up_to_the_largest_body(program):
    """0, 1 and 1,024 bytes of every value."""
    sent = [b"", b"\0", bytes(i % 256 for i in range(MAX_BODY))]
    frames = answers(program, requests(*((Kind.ECHO, {"data": data}) for data in sent)))
    assert [f.body for f in frames[1:]] == sent


def test_status_counts_what_happened(program):
    """Good and bad frames and repeated requests."""
    bad = bytearray(request(9, Kind.STATUS))
    bad[5] ^= 1
    ask = request(0, Kind.HELLO, protocol=1)
    again = request(1, Kind.ECHO, data=b"a")
    frames = answers(program, ask + again + bytes(bad) + again + again + request(2, Kind.STATUS))
    status = fields(frames[-1])
    assert [status[n] for n in ("frames", "bad_frames", "replays", "overruns")] == [5, 1, 2, 0]


# Order


def test_a_repeated_request_is_answered_again_and_not_done_again(program):
    """The same STEPS twice moves the state once; the second answer is the first with REPLAY set."""
    x = features(6)
    first, second = numbered(2, steps(x[:3])), numbered(3, steps(x[3:], 3))
    data = requests(begin(6)) + first + first + first + second + second + request(4, Kind.FINISH)
    frames = answers(program, data)
    again = [f for f in frames if f.flags & Flag.REPLAY]

    assert fields(frames[-1])["logits"].tolist() == logits_of(x).tolist()
    assert [f.seq for f in again] == [2] * 6 + [3] * 3
    assert [f.body for f in frames[5:8]] == [f.body for f in frames[2:5]]
    assert [f.flags & Flag.LAST for f in frames[2:5]] == [f.flags & Flag.LAST for f in frames[5:8]]


def test_a_refusal_is_kept_and_sent_again_too(program):
    """An ERROR answers its request like any frame."""
    finish = request(1, Kind.FINISH)
    frames = answers(program, requests() + finish + finish)
    assert [refusal(f) for f in frames[1:]] == [("BAD_STATE", 0)] * 2
    assert [bool(f.flags & Flag.REPLAY) for f in frames[1:]] == [False, True]


@pytest.mark.parametrize("seq", [0, 3, 4, 200, 255])
def test_a_number_out_of_order_is_refused_and_changes_nothing(program, seq):
    """After request 1, only 2 is next; 1 is still answered again."""
    echo = request(1, Kind.ECHO, data=b"kept")
    frames = answers(program, requests() + echo + request(seq, Kind.STATUS) + echo + request(2, Kind.STATUS))
    assert refusal(frames[2]) == ("BAD_STATE", 0)
    assert (frames[2].seq, fields(frames[2])["request"]) == (seq, Kind.STATUS)
    assert (frames[3].body, frames[3].flags) == (b"kept", Flag.LAST | Flag.REPLAY)
    assert frames[4].kind == Kind.IS_STATUS


def test_numbers_go_on_after_255(program):
    """seq counts modulo 256."""
    frames = answers(program, requests(*((Kind.ECHO, {"data": b"%d" % i}) for i in range(600))))
    assert [f.body for f in frames[1:]] == [b"%d" % i for i in range(600)]


@pytest.mark.parametrize("seq", [0, 1, 77, 255])
def test_hello_is_always_carried_out_and_starts_the_numbering(program, seq):
    """The next request has the number after it."""
    data = requests(begin(5)) + request(seq, Kind.HELLO, protocol=1) + request(seq + 1, Kind.FINISH)
    hello, refused = answers(program, data)[-2:]
    assert (hello.kind, hello.seq, hello.flags) == (Kind.IS_HELLO, seq, Flag.LAST)
    assert refusal(refused) == ("BAD_STATE", 0), "HELLO ends a sequence under way"


@pytest.mark.parametrize("seq", [0, 1, 255])
def test_nothing_is_done_before_hello(program, seq):
    """Any other request is out of order after a reset, whatever its number."""
    (frame,) = answers(program, request(seq, Kind.STATUS))
    assert refusal(frame) == ("BAD_STATE", 0)


# Refusals


@pytest.mark.parametrize("kind", [0x00, 0x0E, 0x0F, 0x10, 0x11, 0x7F, 0x81, 0xE0, 0xF0, 0xFF])
def test_unknown_kinds_are_refused(program, kind):
    """Kinds beside the requests, answers among them, and those of a firmware with a microphone."""
    assert refusal(answers(program, requests() + raw_request(1, kind))[1]) == ("UNKNOWN_KIND", kind)


FIXED = {
    kind: encode_body(kind, **{f.name: 0 for f in body})
    for kind, body in BODIES.items()
    if kind < 0x80 and all(f.count for f in body) and kind not in (Kind.CAPTURE, Kind.RESEND, Kind.STOP)
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [(kind, change) for kind, body in FIXED.items() for change in (-1, 1, 300) if len(body) + change >= 0],
)
def test_bodies_of_another_length_are_refused(program, kind, change):
    """One byte short, one byte long, far too long."""
    body = FIXED[kind]
    wrong = (body + bytes(300))[: len(body) + change]
    frame = answers(program, requests() + raw_request(1, kind, wrong))[-1]
    assert refusal(frame) == ("BAD_LENGTH", len(body))


@pytest.mark.parametrize("data", [b"", bytes(3)])
def test_steps_without_its_fields_is_refused(program, data):
    """Shorter than first and count."""
    assert refusal(answers(program, requests(begin(3)) + raw_request(2, Kind.STEPS, data))[-1]) == ("BAD_LENGTH", 4)


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_steps_with_features_missing_or_left_over_is_refused(program, change):
    """count and D say how long the body is."""
    x = features(3)
    body = (encode_body(Kind.STEPS, first=0, count=3, x=x) + bytes(2))[: 4 + 6 * 3 + change]
    frames = answers(program, requests(begin(3)) + raw_request(2, Kind.STEPS, body) + request(3, Kind.FINISH))
    assert refusal(frames[2]) == ("BAD_LENGTH", 22)
    assert fields(frames[3])["steps"] == 0


def test_steps_and_finish_need_begin(program):
    """Nor is there a sequence after FINISH."""
    x = features(1)
    frames = answers(
        program,
        requests(steps(x), (Kind.FINISH, {}), begin(1), steps(x), (Kind.FINISH, {}), steps(x), (Kind.FINISH, {})),
    )
    assert [refusal(f)[0] for f in frames if f.kind == Kind.ERROR] == ["BAD_STATE"] * 4


@pytest.mark.parametrize("first", [0, 1, 3, 65535])
def test_steps_must_go_on_where_the_last_ended(program, first):
    """The refusal says where."""
    x = features(4)
    frames = answers(program, requests(begin(4), steps(x[:2]), steps(x[2:], first)))
    assert refusal(frames[-1]) == ("BAD_STEP", 2)


def test_no_more_steps_than_announced(program):
    """As many as announced are taken, one more is not."""
    x = features(5)
    frames = answers(program, requests(begin(4), steps(x), steps(x[:4]), steps(x[:1], 4), (Kind.FINISH, {})))
    assert [refusal(f) for f in (frames[2], frames[7])] == [("BAD_STATE", 0), ("BAD_STATE", 4)]
    assert fields(frames[-1])["steps"] == 4


def test_as_many_steps_as_fit_the_replay_buffer(program):
    """max_steps are taken and answered again whole; one more is refused."""
    x = features(MAX_STEPS + 1)
    all_of_them = numbered(2, steps(x[:-1]))
    data = requests(begin(MAX_STEPS + 1)) + all_of_them + all_of_them + numbered(3, steps(x[-1:], MAX_STEPS))
    frames = answers(program, data)
    first, again = frames[2 : 2 + MAX_STEPS], frames[2 + MAX_STEPS : 2 + 2 * MAX_STEPS]
    assert [f.body for f in first] == [f.body for f in again]
    assert sum(len(encode_frame(f)) for f in again) <= MAX_REPLY

    (refused,) = answers(program, requests(begin(MAX_STEPS + 1), steps(x)))[2:]
    assert refusal(refused) == ("TOO_LARGE", MAX_STEPS)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Kind.BEGIN, {"sequence": 1, "steps": 0, "detail": 0}, ("BAD_VALUE", 0)),
        (Kind.BEGIN, {"sequence": 1, "steps": 1, "detail": 3}, ("BAD_VALUE", 3)),
        (Kind.INSPECT, {"layer": 1}, ("BAD_INDEX", 1)),
        (Kind.INSPECT, {"layer": 255}, ("BAD_INDEX", 1)),
        (Kind.INSPECT, {"layer": 0}, ("BAD_STATE", 0)),
        (Kind.BENCH, {"kernel": 2, "repeats": 1}, ("BAD_INDEX", 2)),
        (Kind.BENCH, {"kernel": 0, "repeats": 0}, ("BAD_VALUE", 0)),
        (Kind.BENCH, {"kernel": 0, "repeats": 65}, ("BAD_VALUE", 65)),
        (Kind.BAUD, {"baud": 0}, ("BAD_VALUE", 0)),
        (Kind.BAUD, {"baud": 0xFFFFFFFF}, ("BAD_VALUE", 0xFFFFFFFF)),
        (Kind.CRASH, {"how": 0}, ("BAD_VALUE", 0)),
        (Kind.CRASH, {"how": 4}, ("BAD_VALUE", 4)),
    ],
)
def test_values_out_of_range_are_refused(program, kind, values, expected):
    """The refusal says what was expected."""
    frame = answers(program, requests((kind, values)))[-1]
    assert (refusal(frame), fields(frame)["request"]) == (expected, kind)


def test_steps_of_no_features_are_refused(program):
    """count is at least 1."""
    frame = answers(program, requests(begin(1)) + raw_request(2, Kind.STEPS, bytes(4)))[-1]
    assert refusal(frame) == ("BAD_VALUE", 0)


def test_a_program_without_a_model_refuses_sequences(tmp_path):
    """D = 0 means that there is none (bench)."""
    without = MODEL_C.replace("model_inputs = 3", "model_inputs = 0")
    program = compile_host_app({"model.c": without}, tmp_path)
    hello, refused = answers(program, requests(begin(1)))
    assert fields(hello)["max_steps"] == 0
    assert refusal(refused) == ("BAD_STATE", 0)


@pytest.mark.parametrize(("inputs", "most"), [(510, 1), (511, 0), (255, 2), (256, 1)])
def test_features_that_fill_a_frame(tmp_path, inputs, most):
    """A STEPS body of 1,024 bytes carries one vector of 510 features."""
    wide = MODEL_C.replace("model_inputs = 3", f"model_inputs = {inputs}")
    program = compile_host_app({"model.c": wide}, tmp_path, sanitize=False)
    assert fields(answers(program, requests())[0])["max_steps"] == most


# Ends


def test_reset_is_acknowledged_first(program):
    """What comes after it is not read by the same program."""
    frames = answers(program, requests((Kind.RESET, {})) + request(2, Kind.STATUS))
    assert [f.kind for f in frames] == [Kind.IS_HELLO, Kind.ACK]


def test_a_crash_ends_in_a_fault_frame_and_silence(program):
    """FAULT is nobody's answer and grants no credit."""
    frames = answers(program, requests((Kind.CRASH, {"how": 1})) + request(2, Kind.STATUS), returncode=-6)
    assert [f.kind for f in frames] == [Kind.IS_HELLO, Kind.ACK, Kind.FAULT]
    assert (frames[-1].flags, frames[-1].credit) == (Flag.UNSOLICITED | Flag.LAST, 0)


# Noise


def test_text_commands_between_frames_disturb_nothing(program):
    """The lines of docs/mlperf.md; text inside a frame is data."""
    echo = request(1, Kind.ECHO, data=b"name%")
    items = talk(program, requests() + b"nome%" + echo + b"%in\r\nfer 1 2%")
    assert [item for item in items[2:] if isinstance(item, str)] == [
        "e-[Unknown command: nome]", "m-ready", "e-[Unknown command: ]", "m-ready",
        "e-[load the whole input first]", "m-ready",
    ]  # fmt: skip
    assert [item.body for item in items[2:] if isinstance(item, Frame)] == [b"name%"]


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_truncated_frame_costs_nothing_but_itself(program, cut):
    """The request after it is carried out."""
    whole = request(1, Kind.ECHO, data=b"0123456789")
    frames = answers(program, requests() + whole[:cut] + whole)
    assert [f.body for f in frames if f.kind == Kind.ECHOED] == [b"0123456789"]


@pytest.mark.parametrize("seed", range(4))
def test_the_application_survives_random_frames(program, seed):
    """10,000 good frames of random kinds, numbers and bodies, with noise between: every answer is a good frame."""
    rng = np.random.default_rng(seed)
    parts = [requests()]
    seq = 0
    for _ in range(10_000):
        seq += int(rng.choice([1, 1, 1, 1, 0, 2]))
        parts.append(random_request(rng, seq))
        if rng.random() < 0.1:
            noise = rng.integers(0, 256, rng.integers(0, 20)).astype(np.uint8).tobytes()
            parts.append(noise.replace(b"%", b""))
    items = talk(program, b"".join(parts) + request(0, Kind.HELLO, protocol=1) + request(1, Kind.STATUS))

    assert fields(items[-1])["frames"] > 9_000
    assert {f.kind for f in items} >= {Kind.STEP, Kind.ACK, Kind.RESULT, Kind.INNER, Kind.BENCHED, Kind.ECHOED}


def random_request(rng, seq):
    """Mostly what could be meant, sometimes anything; never one that ends the program."""
    kind = int(rng.choice([2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 1, 0x0C, 0x83, 0xFF]))
    body = rng.integers(0, 256, rng.integers(0, 40)).astype(np.uint8).tobytes()
    if rng.random() < 0.8:
        count = int(rng.integers(0, 6))
        small = {
            Kind.BEGIN: bytes([1, 0, 0, 0, int(rng.integers(0, 20)), 0, int(rng.integers(0, 3)), 0]),
            Kind.STEPS: bytes([int(rng.integers(0, 4)), 0, count, 0]) + (body * 40)[: 6 * count],
            Kind.INSPECT: bytes([int(rng.integers(0, 2))]),
            Kind.BENCH: bytes([int(rng.integers(0, 3)), 0, int(rng.integers(0, 66)), 0]),
            Kind.FINISH: b"",
            Kind.STATUS: b"",
        }
        body = small.get(kind, body)
    return raw_request(seq, kind, body)


# The host's own side of the link


@pytest.fixture
def device(program):
    """`Device` at one end of a pty, the application at the other."""
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    process = subprocess.Popen([program], stdin=master, stdout=master)
    device = Device(serial.Serial(os.ttyname(slave), timeout=0.1), "host", timeout_s=10)
    yield device
    device.close()
    process.kill()
    process.wait()
    os.close(master)
    os.close(slave)


def test_the_host_runs_sequences_on_the_application(device):
    """`Device` and the application agree on every request."""
    x = features(200, seed=3)
    hello = device.hello(expected_artefact_hash=ARTEFACT_HASH.hex())
    trace = device.run_sequence(x)

    assert hello.max_steps == MAX_STEPS
    assert states_of(x).tolist() == trace.states_q15.tolist()
    assert logits_of(x).tolist() == trace.logits.tolist()
    inner = device.inspect(0)
    assert list(inner_of(x)) == [
        inner.acc_q17[0].tolist(), inner.z_q15[0].tolist(), inner.g_q15[0].tolist(), inner.h_q15[0].tolist(),
    ]  # fmt: skip
    assert len(device.bench(1, repeats=64).cycles) == 64
    with pytest.raises(DeviceRefusal, match="BAD_INDEX"):
        device.bench(2)
    device.set_baud(9600)
    assert device.status().bad_frames == 0
    assert device.repetitions == 0
