"""Sound to the device: features, network, averages and triggers there equal the host's, bit for bit."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from host_rig import HostRig
from kernel_support import random_artefact

from hil.chips import chip
from hil.clip import Clip
from hil.codegen import emit_c
from hil.errors import DeviceRefusal, UsageError
from hil.experiment.listen import listening_of, run_clips, run_stream, whole_window
from hil.experiment.progress import Quiet
from hil.experiment.sound_bench import bench_link
from hil.features import FeatureStream, extract
from hil.firmware import compile_firmware, find_compiler
from hil.link.audio import echo_stream, listen
from hil.link.schema import Kind
from hil.quant import ListenTwin, listen_twin, run_twin
from hil.recipe import StreamRecipe
from hil.rig import load_rig, load_rig_file
from hil.trace import Listening

COMPILERS = ["zig", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
ARTEFACT = random_artefact(3, hidden=(6, 5), inputs=32, dense=(4, 3))
STREAMS = [
    Listening(9, 9),
    Listening(9, 1, smooth=8, hold=3),
    Listening(5, 3, smooth=2, hold=1, margin_q15=500, quiet=(0,)),
    Listening(3, 7, smooth=4),
    Listening(9, 3, carry=True, smooth=2, hold=2),
    Listening(9, 9, carry=True),
    Listening(9, 4, carry=True, margin_q15=2000),
]


def sound(count=9000, seed=0):
    rng = np.random.default_rng(seed)
    envelope = np.abs(np.sin(np.arange(count) / 700)) ** 3
    return (rng.normal(0, 9000, count) * envelope).clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def host_device(tmp_path_factory):
    """The firmware as a process, under ASan and UBSan."""
    with HostRig(emit_c(ARTEFACT, audio=True), tmp_path_factory.mktemp("app")) as rig:
        rig.flash(None)
        device = rig.open()
        device.hello()
        yield device


def build(artefact, out, compiler=COMPILERS[-1]):
    file = load_rig_file("emulator")
    return compile_firmware(
        emit_c(artefact, audio=True),
        chip=chip(file.chip),
        board=file.board,
        compiler=find_compiler(compiler),
        optimize="2",
        out=out,
    )


@pytest.fixture(scope="module", params=COMPILERS)
def chip_rig(request, tmp_path_factory):
    """The emulated chip with the model, its line at its rate, and the firmware."""
    firmware = build(ARTEFACT, tmp_path_factory.mktemp("chip"), request.param)
    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(firmware)
        device = rig.open()
        device.hello()
        device.set_baud(500_000)
        rig.stream()
        yield device


@pytest.mark.parametrize("listening", STREAMS, ids=str)
def test_stream_on_the_host_build_equals_the_twin(host_device, listening):
    """Windows that overlap, touch or leave gaps; fresh and carried states; averages, holds, margins, quiet labels."""
    stream = run_stream(ARTEFACT, "noise", sound(), listening, host_device)

    assert stream.first is None
    assert len(stream.decisions) >= 2
    assert stream.vectors == stream.vectors_exact == (9000 - 256) // 128 + 1


@pytest.mark.parametrize("listening", STREAMS, ids=str)
def test_stream_on_the_chip_equals_the_twin(chip_rig, listening):
    """The same on the emulated chip, built by both compilers, with several requests under way at 500 kbaud."""
    stream = run_stream(ARTEFACT, "noise", sound(), listening, chip_rig)

    assert stream.first is None
    assert chip_rig.repetitions == chip_rig.status().overruns == 0


def test_running_means_run_on_through_a_stream(tmp_path):
    """With running means a stream's vectors follow all sound since LISTEN; a second LISTEN begins anew."""
    artefact = dataclasses.replace(ARTEFACT, frontend=dataclasses.replace(ARTEFACT.frontend, mean_shift=3))
    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(build(artefact, tmp_path))
        device = rig.open()
        device.hello()
        for listening in (STREAMS[1], STREAMS[4]):
            stream = run_stream(artefact, "noise", sound(), listening, device)
            assert stream.first is None
            assert stream.vectors == 69


def test_a_window_of_a_stream_is_a_clip(host_device):
    """Without carried states the outputs of each window are those of its features sent as a sequence."""
    samples = sound(seed=4)
    listening = Listening(9, 4)
    fe = dataclasses.replace(ARTEFACT.frontend, frames=(samples.size - 256) // 128 + 1)
    features, _ = extract(samples, fe)
    decisions = [d for part in listen(host_device, samples, listening) for d in part.decisions]

    assert len(decisions) == (len(features) - 9) // 4 + 1
    for decision in decisions:
        window = features[decision.frame - 8 : decision.frame + 1]
        assert decision.logits == tuple(host_device.run_sequence(window).logits.tolist())
        assert decision.logits == tuple(run_twin(ARTEFACT, window).logits.tolist())


def test_pieces_of_any_size_give_the_same(host_device):
    """The decisions do not depend on how the samples are cut into frames of the link."""
    samples, cuts = sound(), [0, 1, 2, 250, 251, 1000, 1003, 8000, 9000]
    pieces = [samples[a:b] for a, b in itertools.pairwise(cuts)]
    whole, cut = (
        [d for part in listen(host_device, x, STREAMS[1]) for d in part.decisions] for x in (samples, iter(pieces))
    )
    assert whole == cut


@pytest.mark.parametrize("mean_shift", [0, 4])
@pytest.mark.parametrize("listening", [*STREAMS, Listening(4, 6)], ids=str)
def test_the_twin_in_pieces_equals_the_twin_at_once(listening, mean_shift):
    """Vectors and decisions do not depend on how a stream is cut: single samples, no samples, many windows at once."""
    fe = dataclasses.replace(ARTEFACT.frontend, mean_shift=mean_shift, frames=69)
    samples, cuts = sound(), [0, 1, 1, 2, 255, 256, 257, 700, 4000, 4001, 9000]
    whole, _ = extract(samples, fe)
    stream, twin = FeatureStream(fe), ListenTwin(ARTEFACT, listening)
    vectors = [stream.feed(samples[a:b]) for a, b in itertools.pairwise(cuts)]

    assert np.array_equal(np.concatenate(vectors), whole)
    assert stream.vectors == len(whole) == 69
    decisions = [decision for part in vectors for decision in twin.feed(part)]
    assert decisions == listen_twin(ARTEFACT, whole, listening)
    assert len(decisions) >= 2


def test_frames_with_sound_between_them_in_pieces():
    """A hop longer than the window: what lies between two frames is left out, wherever the pieces are cut."""
    fe = dataclasses.replace(ARTEFACT.frontend, hop=400, frames=22)
    samples = sound()
    for size in (1, 100, 399, 401, 9000):
        stream = FeatureStream(fe)
        vectors = [stream.feed(samples[at : at + size]) for at in range(0, samples.size, size)]
        assert np.array_equal(np.concatenate(vectors), extract(samples, fe)[0])


def test_sound_that_is_not_there_yet(chip_rig):
    """Empty pieces let the answers be read; decisions are the same; the chip's busy time grows by what it computes."""
    samples = sound()

    def pieces():
        for at in range(0, 9000, 100):
            yield samples[at : at + 100]
            yield samples[:0]

    parts = list(listen(chip_rig, pieces(), STREAMS[1], detail=True))
    assert [d for p in parts for d in p.decisions] == [
        d for p in listen(chip_rig, samples, STREAMS[1]) for d in p.decisions
    ]
    assert parts[-1].samples == 9000
    busy = np.diff([0, *(part.busy_us for part in parts)])
    made = np.diff([0, *(part.frames for part in parts)]) > 0
    assert (busy[made] > 1000).all()  # a frame's front end alone takes 1.2 ms
    assert (busy[~made] == 0).all()
    assert busy.sum() < 9000 / 8000 * 1e6


@pytest.mark.parametrize(
    ("listening", "code"),
    [
        (Listening(0, 1), "TOO_LARGE"),
        (Listening(10, 1), "TOO_LARGE"),
        (Listening(9, 0), "BAD_VALUE"),
        (Listening(9, 1, smooth=16), "BAD_VALUE"),
    ],
    ids=str,
)
def test_impossible_streams_are_refused(host_device, listening, code):
    """A window beyond the model's clip, no hop, sixteen averages; one step less is taken (`STREAMS`)."""
    with pytest.raises(DeviceRefusal, match=code):
        list(listen(host_device, sound(), listening))


def test_pcm_without_listen_is_refused(host_device):
    """BEGIN ends a stream: the states are the sequence's now."""
    host_device.run_sequence(np.zeros((2, 32), np.int16))
    with pytest.raises(DeviceRefusal, match="BAD_STATE"):
        host_device.conversation.ask(Kind.PCM, Kind.HEARD, first=0, x=[1, 2])


def test_a_gap_in_the_samples_is_refused(host_device):
    """PCM that does not begin where the one before ended."""
    list(listen(host_device, sound(300), Listening(9, 9)))
    with pytest.raises(DeviceRefusal, match=r"BAD_STEP \(300\)"):
        host_device.conversation.ask(Kind.PCM, Kind.HEARD, first=301, x=[1, 2])


def test_echo_of_several_requests_at_once(host_device):
    """Every byte comes back in its place; more than the numbers of requests there are."""
    rng = np.random.default_rng(1)
    assert echo_stream(host_device, (rng.bytes(int(n)) for n in rng.integers(0, 481, 600))) > 100_000
    assert host_device.repetitions == 0


def test_the_line_is_kept_busy(tmp_path):
    """Three quarters of 500 kbaud both ways, however late the host is (four requests, then a wait for one); `hil bench
    link` on an idle machine shows more than nine tenths, which no test can assert."""
    with load_rig("emulator", fast_load=True) as rig:
        speed = bench_link(build(ARTEFACT, tmp_path), rig, 500_000, Quiet())
    assert 0.75 <= speed.share <= 1
    assert speed.slowest_bytes_per_s <= speed.bytes_per_s
    assert speed.repetitions == speed.overruns == 0


def test_sixteen_kilohertz_faster_than_real_time(tmp_path):
    """16 kHz, 16 bit, 25/10 ms, 40 bands, a demo-sized network: two seconds of sound take less by the chip's clock."""
    artefact = random_artefact(5, hidden=(30, 20), inputs=40, dense=(16, 10))
    fe = dataclasses.replace(artefact.frontend, rate_hz=16000, window=400, hop=160, high_hz=7600.0, frames=98)
    artefact = dataclasses.replace(artefact, frontend=fe)
    samples = sound(32000)
    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(build(artefact, tmp_path))
        device = rig.open()
        device.hello()
        device.set_baud(500_000)
        rig.stream()
        before = device.status().uptime_ms
        stream = run_stream(artefact, "noise", samples, Listening(98, 49, carry=True), device)
        took_ms = device.status().uptime_ms - before
    assert stream.first is None
    assert took_ms < 2000


def test_clips_as_sound_equal_their_features(tmp_path):
    """Audio mode: each clip's output is that of its features, on the emulated chip."""
    clips = [Clip(sound(n, n), 8000, n % 3, "nobody", f"clip {n}") for n in (300, 1000, 1280, 5000)]
    with load_rig("emulator", fast_load=True) as rig:
        run = run_clips(ARTEFACT, clips, build(ARTEFACT, tmp_path), rig, Quiet())
    assert run.exact
    assert (run.repetitions, run.bad_frames, run.overruns) == (0, 0, 0)
    for clip, stream in zip(clips, run.streams, strict=True):
        expected = run_twin(ARTEFACT, extract(clip.samples, ARTEFACT.frontend)[0])
        assert [d.logits for d in stream.decisions] == [tuple(expected.logits.tolist())]
        assert stream.vectors == 9


def test_a_difference_is_named(host_device):
    """A model with one offset changed differs in the feature vector and band where that shows first."""
    offset = ARTEFACT.frontend.offset.copy()
    offset[7] += 1
    other = dataclasses.replace(ARTEFACT, frontend=dataclasses.replace(ARTEFACT.frontend, offset=offset))
    stream = run_stream(other, "noise", sound(), Listening(9, 9), host_device)

    assert not stream.exact
    assert "feature vector 0, band 7: expected" in stream.first


def test_triggers_hold_and_quiet_labels():
    """After a trigger `hold` decisions do not trigger; a quiet label never does; a margin above every lead neither."""
    fe = dataclasses.replace(ARTEFACT.frontend, frames=60)
    features, _ = extract(sound(), fe)
    free = listen_twin(ARTEFACT, features, Listening(9, 1))
    held = listen_twin(ARTEFACT, features, Listening(9, 1, hold=4))

    assert all(d.triggered for d in free)
    assert [d.index for d in held if d.triggered] == list(range(0, len(free), 5))
    assert not any(d.triggered for d in listen_twin(ARTEFACT, features, Listening(9, 1, quiet=(0, 1, 2))))
    most = max(d.margin_q15 for d in free)
    assert not any(d.triggered for d in listen_twin(ARTEFACT, features, Listening(9, 1, margin_q15=most + 1)))
    assert any(d.triggered for d in listen_twin(ARTEFACT, features, Listening(9, 1, margin_q15=most)))


def test_recipe_of_a_stream():
    """Hop, margin and labels of the recipe; a label that the model lacks is named."""
    label = ARTEFACT.labels[1]
    listening = listening_of(StreamRecipe(quiet=(label,), margin=0.25, smooth=4), ARTEFACT)

    assert listening == Listening(9, 2, smooth=4, hold=2, margin_q15=8192, quiet=(1,))
    with pytest.raises(UsageError, match="the model has no 'nothing'"):
        listening_of(StreamRecipe(quiet=("nothing",)), ARTEFACT)


def test_a_recording_shorter_than_a_window_is_decided_about(host_device):
    """One sample short of a window: silence is put after it, as after a clip; a whole window stays as it is."""
    needed = 8 * 128 + 256
    for size in (needed - 1, needed):
        samples = whole_window(sound(size), ARTEFACT.frontend, Listening(9, 9))
        stream = run_stream(ARTEFACT, "short", samples, Listening(9, 9), host_device)
        assert samples.size == needed
        assert stream.exact
        assert [d.frame for d in stream.decisions] == [8]
    assert whole_window(sound(needed + 1), ARTEFACT.frontend, Listening(9, 9)).size == needed + 1


def test_too_short_a_recording_is_refused(host_device):
    """One sample less than a frame; a frame is taken."""
    with pytest.raises(UsageError, match="255 samples, the front end takes at least 256"):
        run_stream(ARTEFACT, "short", sound(255), Listening(9, 9), host_device)
    assert run_stream(ARTEFACT, "one", sound(256), Listening(9, 9), host_device).vectors == 1


def _recordings():
    root = os.environ.get("HIL_DATA")
    folder = Path(root) / "fsdd" / "recordings" if root else None
    return folder if folder and folder.is_dir() else None


@pytest.mark.skipif(_recordings() is None, reason="HIL_DATA names no folder with fsdd/recordings")
@pytest.mark.parametrize("kind", ["log-mel", "log-mel at 16 kHz", "magnitude"])
def test_every_spoken_digit_is_equal_on_the_chip(tmp_path, kind):
    """Every feature vector of all recordings of spoken digits, on the emulated chip (HIL_ALL) or of every 30th."""
    import soundfile
    import soxr

    step = 1 if os.environ.get("HIL_ALL") else 30
    made = random_artefact(6, inputs={"log-mel": 32, "magnitude": 64}.get(kind, 40), hidden=(2,), dense=(2,))
    changes = {
        "log-mel": {},
        "log-mel at 16 kHz": {"rate_hz": 16000, "window": 400, "hop": 160, "high_hz": 7600.0},
        "magnitude": {"kind": "magnitude", "window": 128},
    }[kind]
    fe = dataclasses.replace(made.frontend, **changes)
    artefact = dataclasses.replace(made, frontend=fe)
    files = sorted(_recordings().glob("*.wav"))[::step]
    samples = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in files])
    if fe.rate_hz != 8000:
        samples = soxr.resample(samples, 8000, fe.rate_hz)
    with load_rig("emulator", fast_load=True) as rig:
        rig.flash(build(artefact, tmp_path))
        device = rig.open()
        device.hello()
        device.set_baud(500_000)
        rig.stream()
        stream = run_stream(artefact, "fsdd", samples, Listening(9, 9), device)
    assert stream.first is None
    assert stream.vectors == stream.vectors_exact == (samples.size - fe.window) // fe.hop + 1
