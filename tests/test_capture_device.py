"""What a device hears with its own microphone: zero lost samples, or gaps of exactly those that were lost."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil

import numpy as np
import pytest
import soundfile
from conftest import make_artefact
from damaged_port import DamagedPort
from host_rig import HostRig
from test_audio import sound
from test_capture import whole

from hil.capture import CaptureInfo, Recorder, load_capture
from hil.capture.device import DeviceCapture, join
from hil.capture.replay import replay
from hil.capture.trigger import Trigger
from hil.chips import Microphone, chip
from hil.cli import EXIT_USAGE, run
from hil.codegen import emit_c
from hil.emulator.sound import Input, feed_microphone
from hil.errors import PortLost
from hil.experiment.progress import Quiet
from hil.features import extract
from hil.features.offset import OffsetTwin
from hil.firmware import compile_firmware, find_compiler
from hil.link.capture import begin_capture
from hil.link.schema import Content
from hil.quant import listen_twin
from hil.rig import load_rig, load_rig_file
from hil.trace import Listening

RATE = 16000
MADE = make_artefact(seed=21, name="tiny")
ARTEFACT = dataclasses.replace(
    MADE, frontend=dataclasses.replace(MADE.frontend, rate_hz=RATE, window=400, hop=160, high_hz=7600.0)
)
LISTENING = Listening(9, 6, hold=4)
INFO = CaptureInfo(
    "0123abcd",
    1.0,
    RATE,
    segment_s=60.0,
    model="tiny",
    tier="host",
    rig="host",
    artefact_sha256=ARTEFACT.sha256(),
    labels=ARTEFACT.labels,
    window=400,
    hop=160,
    listening=LISTENING,
)


def speech(seconds, seed=0):
    """Sound with pauses, as quiet as a microphone's."""
    return (sound(round(RATE * seconds), seed) // 2).astype(np.int16)


def as_heard(x):
    """What the device makes of a file's samples: whole blocks, without their constant part."""
    return OffsetTwin().feed(x.tolist())


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """The firmware as a process with a microphone that hears a file, under ASan and UBSan."""
    folder = tmp_path_factory.mktemp("app")
    with HostRig(emit_c(ARTEFACT, audio=True), folder, microphone=Microphone("adc", RATE)) as made:
        made.sound = folder / "sound.raw"
        os.environ["HIL_MICROPHONE"] = str(made.sound)
        yield made
        del os.environ["HIL_MICROPHONE"]


def captured(rig, folder, x, trigger=Trigger(), damage=None, seconds=None, resume=False, **more):  # noqa: B008
    """A capture of a file, by a device that has just been reset."""
    x.astype("<i2").tofile(rig.sound)
    rig.flash(None)
    device = rig.open()
    device.hello()
    if damage is not None:
        device.conversation._port = damage(device.conversation._port)
    folder.mkdir(exist_ok=True)
    ARTEFACT.save(folder / "model.artefact")
    with Recorder(folder, dataclasses.replace(INFO, trigger=trigger.kind), resume=resume) as recorder:
        made = DeviceCapture(device, ARTEFACT, LISTENING, recorder, trigger, **more)
        made.run(len(x) / RATE if seconds is None else seconds, lambda told: None)
    return load_capture(folder), made.told


def expected_decisions(x):
    fe = dataclasses.replace(ARTEFACT.frontend, frames=(x.size - 400) // 160 + 1)
    return listen_twin(ARTEFACT, extract(x, fe)[0], LISTENING)


def test_every_sample_and_decision(rig, tmp_path):
    """Sound bit for bit as the microphone's, decisions as the twin's, metadata; then replayed as in the field."""
    heard = as_heard(speech(8))
    capture, told = captured(rig, tmp_path, speech(8), seconds=7.5)
    got, places = whole(capture)

    assert capture.gaps == ()
    assert (told.frames_lost, told.again, told.late, told.unsent) == (0, 0, 0, 0)
    assert got.size >= 7.5 * RATE
    assert np.array_equal(places, np.arange(got.size))
    assert np.array_equal(got, heard[: got.size])
    expected = expected_decisions(got)
    assert [(d["index"], d["frame"], tuple(d["logits"]), d["triggered"]) for d in capture.decisions] == [
        (d.index, d.frame, d.logits, d.triggered) for d in expected
    ]
    assert [d["sample"] for d in capture.decisions] == [160 * d.frame + 400 for d in expected]
    metas = [event for event in capture.events if event["kind"] == "device"]
    assert 7 <= len(metas) <= 9
    assert metas == sorted(metas, key=lambda meta: meta["samples"])
    rig.flash(None)
    device = rig.open()
    device.hello()
    done = replay(capture, ARTEFACT, LISTENING, device, Quiet())
    assert done.exact
    assert done.field.compared == done.field.detections == len(expected) > 100


class LosesFrames:
    """A port that damages one frame in so many on the way to the host: a bit of it is changed."""

    def __init__(self, port, share, seed):
        self._port, self._share, self._rng, self.damaged = port, share, random.Random(seed), 0

    def __getattr__(self, name):
        return getattr(self._port, name)

    def __setattr__(self, name, value):
        if name in ("timeout", "baudrate"):
            setattr(self._port, name, value)
        else:
            super().__setattr__(name, value)

    def read(self, n):
        data = bytearray(self._port.read(n))
        for at, byte in enumerate(data):
            if byte == 0xF1 and self._rng.random() < self._share:
                data[at] = 0xF3  # the tag: nothing of this frame arrives
                self.damaged += 1
        return bytes(data)


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_damaged_frames_are_recovered_or_listed(rig, tmp_path, share):
    """One frame in a thousand, or in fifty: each sample is there and right, or in a gap of exactly those missing."""
    seconds, ports = 60 if share < 0.01 else 12, []

    def damage(port):
        ports.append(LosesFrames(port, share, 3))
        return ports[0]

    capture, told = captured(rig, tmp_path, speech(seconds + 1, 1), damage=damage, seconds=seconds)
    heard, (got, places) = as_heard(speech(seconds + 1, 1)), whole(capture)
    gone = np.zeros(places[-1] + 1, bool)
    for gap in capture.gaps:
        gone[gap.first : gap.first + gap.count] = True
        assert not gap.estimated

    assert ports[0].damaged > 3
    assert told.frames_lost > 0
    assert (np.diff(places) > 0).all()
    assert gone[np.setdiff1d(np.arange(gone.size), places)].all(), "missing, and in no gap"
    here = ~gone[places]
    assert np.array_equal(got[here], heard[places][here])
    assert (got[~here] == 0).all()
    assert capture.samples + capture.lost == told.stopped["samples"]


def test_any_damage_on_the_line(rig, tmp_path):
    """Flipped and lost bytes: as above, or the command ends with a name; what was heard before is there."""
    from damaged_port import Faults

    def damage(port):
        return DamagedPort(port, Faults(flip=2e-5, drop=2e-5), 5)

    capture, told = captured(rig, tmp_path, speech(11, 2), damage=damage, seconds=10)
    heard, (got, _) = as_heard(speech(11, 2)), whole(capture)
    gone = np.zeros(got.size, bool)
    for gap in capture.gaps:
        gone[gap.first : gap.first + gap.count] = True
    assert told.frames_lost > 0
    assert np.array_equal(got[~gone], heard[: got.size][~gone])


@pytest.mark.parametrize("before", [0.1, 1.0], ids=["chosen by the device", "chosen by the host"])
def test_around_detections(rig, tmp_path, before):
    """What goes before fits into the device or not: the sound kept is that around its detections, at its place."""
    capture, _ = captured(rig, tmp_path, speech(8, 3), Trigger("detections", before, 0.05), seconds=7)
    heard, (got, places) = as_heard(speech(8, 3)), whole(capture)
    gone = np.zeros(places[-1] + 1, bool)
    for gap in capture.gaps:
        gone[gap.first : gap.first + gap.count] = True

    found = [d["sample"] for d in capture.decisions if d["triggered"] and d["sample"] < places[-1] - RATE]
    assert len(found) > 3
    assert np.array_equal(got, np.where(gone[places], 0, heard[places]))
    for sample in found:
        assert not gone[max(0, sample - round(before * RATE) + 800) : sample + 800].any()
    assert capture.lost == 0


def test_features_only(rig, tmp_path):
    """No sample leaves the device; vectors and decisions are the twin's."""
    capture, _ = captured(rig, tmp_path, speech(4, 4), Trigger("features"), seconds=3)
    x = as_heard(speech(4, 4))
    frames, vectors = (np.concatenate(part) for part in zip(*map(capture.vectors, capture.segments), strict=True))
    fe = dataclasses.replace(ARTEFACT.frontend, frames=len(frames))
    assert len(frames) > 200
    assert np.array_equal(frames, np.arange(len(frames)))
    assert np.array_equal(vectors, extract(x, fe)[0])
    assert capture.samples == 0
    assert len(capture.decisions) > 20


def test_a_pulled_cable_and_another_start(rig, tmp_path):
    """The port vanishes: PortLost, and all that was heard opens; then the capture goes on behind it."""
    x = speech(20, 5)

    def pulled(told):
        if told.seconds > 4 and rig._fds:
            rig.pull_cable()

    x.astype("<i2").tofile(rig.sound)
    rig.flash(None)
    device = rig.open()
    device.hello()
    with Recorder(tmp_path, INFO) as recorder:
        made = DeviceCapture(device, ARTEFACT, LISTENING, recorder, Trigger())
        with pytest.raises(PortLost):
            made.run(None, pulled)
    before, _ = whole(load_capture(tmp_path))
    assert before.size > 4 * RATE
    assert np.array_equal(before, as_heard(x)[: before.size])
    capture, _ = captured(rig, tmp_path, x, seconds=2, resume=True, stream=1)
    after, places = whole(capture)
    assert np.array_equal(after[: before.size], before)
    assert np.array_equal(after[before.size :], as_heard(x)[: after.size - before.size])
    assert np.array_equal(places, np.arange(after.size))
    assert [e["stream"] for e in capture.events if e["kind"] == "stream"] == [0, 1]


class Killed(Exception):
    """What a test does in place of SIGKILL."""


def test_another_host_joins_a_capture_under_way(rig, tmp_path):
    """The host is killed, the device goes on: the next host finds the place, and the gap is exactly what it missed."""
    x = speech(20, 6)
    heard = as_heard(x)
    x.astype("<i2").tofile(rig.sound)
    rig.flash(None)
    device = rig.open()
    device.hello()

    def killed(told):
        if told.seconds > 3:
            raise Killed

    recorder = Recorder(tmp_path, INFO)
    with pytest.raises(Killed):
        DeviceCapture(device, ARTEFACT, LISTENING, recorder, Trigger()).run(None, killed)
    device.close()
    before = load_capture(tmp_path)
    assert before.segments[-1].open
    with Recorder(tmp_path, INFO, resume=True) as recorder:
        device = rig.open()
        joined = join(device, before)
        assert joined is not None
        made = DeviceCapture(device, ARTEFACT, LISTENING, recorder, Trigger(), joined=joined)
        made.run(9, lambda told: None)
        assert made.told.stopped["samples"] >= 9 * RATE
    capture = load_capture(tmp_path)
    got = capture.between(0, capture.segments[-1].end)
    gone = np.zeros(got.size, bool)
    for gap in capture.gaps:
        gone[gap.first : gap.first + gap.count] = True
        assert not gap.estimated
    assert got.size == capture.samples + capture.lost >= 9 * RATE
    assert np.array_equal(got, np.where(gone, 0, heard[: got.size]))
    assert [e["stream"] for e in capture.events if e["kind"] == "stream"] == [0]
    assert len({d["index"] for d in capture.decisions}) == len(capture.decisions)


def test_another_capture_is_not_joined(rig, tmp_path):
    """A device that captures for somebody else, or not at all."""
    capture, _ = captured(rig, tmp_path, speech(3, 7), seconds=2)
    rig.flash(None)
    assert join(rig.open(), capture) is None
    rig.flash(None)
    device = rig.open()
    device.hello()
    begin_capture(device, LISTENING, Content.SOUND, sequence=1)
    device.close()
    assert join(rig.open(), capture) is None


@pytest.fixture(scope="module")
def chip_rig(tmp_path_factory):
    """The emulated chip with an analog microphone, its line at 500 kbaud."""
    file = load_rig_file("emulator")
    firmware = compile_firmware(
        emit_c(ARTEFACT, audio=True),
        chip=chip(file.chip),
        board=file.board,
        compiler=find_compiler(None),
        optimize="2",
        out=tmp_path_factory.mktemp("chip"),
        microphone=Microphone("adc", RATE),
    )
    with load_rig("emulator", fast_load=True) as rig:
        rig.firmware = firmware
        yield rig


def chip_device(rig, x):
    """A chip that has just been reset and will hear ``x``."""
    rig.flash(rig.firmware)
    rig.board.ask(lambda emulator: feed_microphone(emulator, Input.ADC, x, RATE))
    device = rig.open()
    device.hello()
    device.set_baud(500_000)
    rig.stream()
    return device


def chip_capture(folder, device, seconds):
    folder.mkdir(exist_ok=True)
    with Recorder(folder, dataclasses.replace(INFO, rig="emulator", tier="cycle-model")) as recorder:
        made = DeviceCapture(device, ARTEFACT, LISTENING, recorder, Trigger())
        made.run(seconds, lambda told: None)
    return load_capture(folder), made.told


@pytest.fixture(scope="module")
def undamaged(chip_rig, tmp_path_factory):
    """What the chip hears: 12 s, ten minutes with HIL_ALL, HIL_CAPTURE_S seconds where that is set."""
    seconds = float(os.environ.get("HIL_CAPTURE_S") or (600 if os.environ.get("HIL_ALL") else 12))
    smooth = np.convolve(speech(60, 8), np.hanning(34)[1:-1] / 16, "same").astype(np.int16)  # below 1 kHz
    x = np.resize(smooth, round((seconds + 1) * RATE))
    capture, told = chip_capture(tmp_path_factory.mktemp("kept"), chip_device(chip_rig, x), seconds)
    return capture, told, x, seconds


def test_the_chip_loses_nothing(undamaged):
    """Microphone, DMA, features, network, line: no sample is lost, the sound is the pin's, decisions are the twin's."""
    capture, told, x, seconds = undamaged
    got, places = whole(capture)
    assert capture.gaps == ()
    assert (told.frames_lost, told.late, told.unsent) == (0, 0, 0)
    assert got.size >= seconds * RATE
    assert np.array_equal(places, np.arange(got.size))
    part = slice(RATE, 9 * RATE)
    assert np.corrcoef(got[part], x[part])[0, 1] > 0.99
    assert told.supply_mv == 3300
    expected = expected_decisions(got[: 10 * RATE])
    assert [(d["frame"], tuple(d["logits"])) for d in capture.decisions[: len(expected)]] == [
        (d.frame, d.logits) for d in expected
    ]
    assert all(0 < told.stopped[f"{name}_permille"] < 1000 for name in ("asleep", "features", "network", "sampling"))


def test_the_chip_sends_again_what_the_line_has_lost(chip_rig, undamaged, tmp_path):
    """In real time with one frame in fifty damaged: samples are sent again, and equal those of a sound line."""
    whole_, *_, x, _ = undamaged
    device = chip_device(chip_rig, x)
    chip_rig.real_time()
    device.conversation._port = LosesFrames(device.conversation._port, 0.02, 4)
    capture, told = chip_capture(tmp_path, device, 6)
    got, expected = capture.between(0, 6 * RATE), whole_.between(0, 6 * RATE)
    gone = np.zeros(capture.segments[-1].end, bool)
    for gap in capture.gaps:
        gone[gap.first : gap.first + gap.count] = True
    assert told.frames_lost > 3
    assert told.again > 0
    apart = np.abs(got.astype(int) - np.where(gone[: 6 * RATE], 0, expected))
    assert apart.max() <= 8  # the converter's phase; a sample at another's place would be hundreds away
    assert capture.samples + capture.lost == told.stopped["samples"]


def test_the_command_on_the_chip(tmp_path, capsys, monkeypatch):
    """`hil capture --rig emulator`: a file at the chip's microphone, a capture with decisions, replayed on the chip."""
    monkeypatch.chdir(tmp_path)
    ARTEFACT.save(tmp_path / "m.artefact")
    x = np.convolve(speech(4, 9), np.hanning(34)[1:-1] / 16, "same").astype(np.int16)
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="PCM_16")
    call = ["capture", "--rig", "emulator", "--model", "m.artefact", "--out", "c", "--fast-load", "--fast"]
    assert run(call) == EXIT_USAGE
    assert "name what its emulated microphone hears: --input FILE.wav" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    assert run([*call, "--input", "x.wav", "--seconds", "2", "--consent", "a test"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"c: 2\.\d s of sound kept of 2\.\d s heard, 1 segments, 0 samples lost, \d+ decisions", out)
    assert re.search(r"the core slept \d+\.\d % of the time; features took .* \(cycle-model\)", out)
    capture = load_capture(tmp_path / "c")
    assert (capture.info.rig, capture.info.tier, len(capture.info.build_id)) == ("emulator", "cycle-model", 32)
    assert run(["replay", "c", "--fast-load"]) == 0
    assert "all as the twin" in capsys.readouterr().out
