"""Live sound: to the device as it is heard, the twin beside it; losses, differences, the screen, the microphone."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from conftest import make_artefact
from host_rig import HostRig
from rich.console import Console
from test_audio import sound
from test_capture import Pieces, blocks_of, whole

from hil.capture import CaptureInfo, Recorder, load_capture
from hil.capture.decide import Decider
from hil.capture.device import DeviceCapture
from hil.capture.live import LiveRun, level_db, shares
from hil.capture.source import Block, FileSource
from hil.capture.trigger import Trigger
from hil.cli import EXIT_USAGE, run
from hil.cli.live_view import make_view, spectrogram
from hil.codegen import emit_c
from hil.errors import DeviceRefusal
from hil.trace import Decision, Listening

ARTEFACT = make_artefact(seed=21, name="tiny")
LISTENING = Listening(9, 3, smooth=2, hold=1)
RECIPE = """
name = "tiny"
[data]
keywords = ["yes"]
unknown_words = ["tree"]
[features]
bands = 5
[cell]
hidden = [4, 3]
dense = 6
[stream]
hop = 3
smooth = 2
margin = 0.0
hold = 1
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The firmware as a process."""
    with HostRig(emit_c(ARTEFACT, audio=True), tmp_path_factory.mktemp("app")) as rig:
        rig.flash(None)
        opened = rig.open()
        opened.hello()
        yield opened


def live(device, source, artefact=ARTEFACT, recorder=None, seconds=None, **more):
    shown = []
    made = LiveRun(source, Decider(artefact, LISTENING), device, recorder, **more)
    made.run(seconds, lambda state, decisions: shown.extend(decisions))
    return made.state, shown


def test_live_sound_equals_the_twin(device):
    """Blocks of any size, none for a while: every vector and decision; the load is a share of the sound's time."""
    x, pauses = sound(20000), [None, None, None]
    source = Pieces([*blocks_of(x[:5000], 33), *pauses, *blocks_of(x[5000:], 700, first=5000)])
    state, shown = live(device, source)

    assert state.exact
    assert (state.samples, state.lost, state.streams, state.vectors) == (20000, 0, 1, (20000 - 256) // 128 + 1)
    assert state.decisions == len(shown) == (state.vectors - 9) // 3 + 1
    assert state.detections == sum(d.triggered for d in shown) > 0
    assert len(state.latencies_s) == state.decisions
    assert 0 < state.busy_us < 20000 / 8000 * 1e6
    assert len(state.spectrum) == state.vectors


def test_latency_is_from_the_windows_last_sample(device):
    """A clock that stands at 100 s: each decision's latency is that, less the time when its last sample sounded."""
    state, shown = live(device, Pieces(blocks_of(sound(20000), 200)), clock=lambda: 100.0)
    ends = [100 - (d.frame * 128 + 256) / 8000 for d in shown]
    # `blocks_of` says of each block's last sample when its first one sounded: 200 samples early
    assert np.allclose(state.latencies_s, np.array(ends) + 200 / 8000)
    assert state.latency_s(50) == pytest.approx(float(np.median(state.latencies_s)))


def test_a_loss_begins_the_stream_anew(device, tmp_path):
    """Lost samples are counted; device and twin begin at zero after them; the capture has the gap and two streams."""
    x = sound(20000)
    info = CaptureInfo("0123abcd", 1.0, 8000, labels=ARTEFACT.labels)
    with Recorder(tmp_path, info) as recorder:
        state, shown = live(device, Pieces(blocks_of(x, lost=(9000, 9100))), recorder=recorder)
    capture = load_capture(tmp_path)

    assert state.exact
    assert (state.samples, state.lost, state.streams) == (19800, 200, 2)
    assert [d.index for d in shown].count(0) == 2
    assert [(g.first, g.count) for g in capture.gaps] == [(9000, 200)]
    assert [(e["stream"], e["sample"]) for e in capture.events if e["kind"] == "stream"] == [(0, 0), (1, 9200)]
    assert [d["index"] for d in capture.decisions] == [d.index for d in shown]
    got, _ = whole(capture)
    x[9000:9200] = 0
    assert np.array_equal(got, x)


def test_a_difference_is_named(device):
    """A twin with another offset: where and how it first differs; the run goes on."""
    offset = ARTEFACT.frontend.offset.copy()
    offset[3] += 1
    other = dataclasses.replace(ARTEFACT, frontend=dataclasses.replace(ARTEFACT.frontend, offset=offset))
    state, _ = live(device, Pieces(blocks_of(sound(20000))), other)
    assert re.match(r"at 0\.0\d\d s: feature vector 0, band 3: expected -?\d+, got -?\d+$", state.first)
    assert state.vectors == 155


def test_it_ends_after_so_many_seconds(device):
    """At the first block that reaches them."""
    state, _ = live(device, Pieces(blocks_of(sound(20000))), seconds=1.0)
    assert state.samples == 8000


def test_a_file_in_real_time(device, tmp_path):
    """Half a second of a file takes no less by the clock; its decisions are those of the twin."""
    soundfile.write(tmp_path / "x.wav", sound(4000), 8000, subtype="PCM_16")
    began = time.monotonic()
    state, _ = live(device, FileSource(tmp_path / "x.wav", 8000))
    assert time.monotonic() - began >= 0.5
    assert state.exact
    assert state.samples == 4000
    assert all(latency > 0 for latency in state.latencies_s)


def test_the_screen(device):
    """Level, spectrogram, outputs, detections, load, latency, losses and the twin's verdict, in a terminal."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    with make_view(ARTEFACT, "tiny on host", console) as view:
        made = LiveRun(Pieces(blocks_of(sound(20000))), Decider(ARTEFACT, LISTENING), device)
        made.run(None, view.show)
        view._next_s = 0.0
        view.show(made.state, ())
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    last = text[text.rindex("tiny on host") :]
    assert re.search(r"level +-\d+\.\d dB +#+", last)
    assert all(re.search(rf"class{i} +\d+\.\d%", last) for i in range(3))
    assert re.search(r"\d+\.\d{3} s +class\d", last)
    assert "load" in last
    assert "sound to decision" in last
    assert "twin: equal so far" in last


def test_shares_levels_and_spectrograms():
    """Softmax of outputs; full scale is 0 dB, silence -120; the loudest band of the last vectors is darkest."""
    assert shares(Decision(0, 0, 0, False, 0, (0, 0))) == [0.5, 0.5]
    assert shares(Decision(0, 0, 0, False, 0, (1 << 15, 0)))[0] == pytest.approx(np.e / (1 + np.e))
    assert level_db(np.full(9, -32768, np.int16)) == pytest.approx(0, abs=1e-6)
    assert level_db(np.zeros(9, np.int16)) == -120
    vectors = [np.array([0, 0, 900, 0], np.int16), np.array([900, 0, 0, 0], np.int16)]
    assert spectrogram(vectors) == ["  ", "@ ", "  ", " @"]


def test_a_firmware_without_a_microphone_says_so(device, tmp_path):
    """CAPTURE is refused by a firmware that was not built with one."""
    info = CaptureInfo("0123abcd", 1.0, 8000)
    with Recorder(tmp_path, info) as recorder, pytest.raises(DeviceRefusal, match="UNKNOWN_KIND"):
        DeviceCapture(device, ARTEFACT, LISTENING, recorder, Trigger()).run(1, lambda told: None)


@pytest.fixture
def folder(tmp_path):
    """A recipe, the folder that `hil quantize` leaves, and a recording of 20 frames at another rate."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.toml").write_text(RECIPE)
    ARTEFACT.save(tmp_path / "out" / "model.artefact")
    soundfile.write(tmp_path / "speech.wav", sound(2 * (19 * 128 + 256)), 16_000, subtype="PCM_16")
    return tmp_path


def call(folder, *arguments):
    options = ("--out", folder / "out", "--rig", "emulator", "--fast-load")
    return run([str(a) for a in ("live", folder / "tiny", *arguments, *options)])


def test_live_on_the_chip(folder, capsys):
    """A file on the emulated chip, faster than real time: decisions with times, a summary, a capture beside it."""
    assert call(folder, "--input", folder / "speech.wav", "--fast", "--record", folder / "kept") == 0
    out, err = capsys.readouterr()
    lines = re.findall(r"^ +(\d+\.\d{3}) s  class\d +lead +[\d.]+(  DETECTED)?$", out, re.MULTILINE)
    assert [float(at) for at, _ in lines] == [((8 + 3 * i) * 128 + 256) / 8000 for i in range(4)]
    assert "4 decisions, 2 detections, all as the twin; 20 feature vectors" in out
    assert re.search(r"the device computed \d+\.\d% of the time \(cycle-model\); 0 requests sent again", out)
    assert "warning: no consent is noted" in err
    capture = load_capture(folder / "kept")
    assert (capture.samples, capture.lost, len(capture.decisions)) == (2688, 0, 4)
    assert (capture.info.rig, capture.info.tier, capture.info.model) == ("emulator", "cycle-model", "tiny")
    assert len(capture.info.build_id) == 32


def test_live_in_real_time_on_the_chip(folder, capsys):
    """The chip's clock keeps the pace of the sound; the line's speed was raised for it; latencies are told."""
    assert call(folder, "--input", folder / "speech.wav") == 0
    out, _ = capsys.readouterr()
    assert "all as the twin" in out
    assert re.search(r"from sound to decision: median \d+ ms, p99 \d+ ms \(by the host's clock\)", out)


def test_ctrl_c_ends_with_a_summary(folder):
    """SIGINT in mid-stream: the summary, code 0, the capture closed."""
    soundfile.write(folder / "long.wav", sound(8000 * 60), 8000, subtype="PCM_16")
    command = [sys.executable, "-m", "hil.cli", "live", "tiny", "--input", "long.wav", "--out", "out", "--fast-load"]
    command += ["--record", "kept", "--consent", "a test"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stdout:
        if "lead" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped" in out
    assert re.search(r"s of sound, \d+ decisions, \d+ detections, all as the twin", out)
    capture = load_capture(folder / "kept")
    assert capture.samples > 0
    assert not list((folder / "kept").glob("*.journal"))


def test_without_portaudio_the_error_names_the_way_out(folder):
    """No sounddevice, or no PortAudio: what to install, and --input FILE; nothing is built or flashed before."""
    code = "import sys; sys.modules['sounddevice'] = None; from hil.cli import run; sys.exit(run(sys.argv[1:]))"
    arguments = ["live", "tiny", "--out", "out"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == EXIT_USAGE
    assert "pip install 'hil[audio]'" in done.stderr
    assert "--input FILE.wav" in done.stderr
    assert not (folder / "out" / "firmware.elf").exists()


def test_wrong_inputs(folder, capsys):
    """A file that is not there; --fast with a microphone; --consent without --record."""
    for arguments, says in (
        (("--input", "nothing.wav"), "nothing.wav: no such file"),
        (("--input", "0", "--fast"), "--fast goes with --input FILE"),
        (("--consent", "me", "--input", folder / "speech.wav"), "--consent goes with --record"),
    ):
        assert call(folder, *arguments) == EXIT_USAGE
        assert says in capsys.readouterr().err


def test_a_hole_that_portaudio_reports_is_estimated(device, tmp_path):
    """A block after an overflow says that the hole before it is by the clock, and the index says so too."""
    x = sound(4000)
    blocks = [Block(0, x[:1000], 0.1), Block(1500, x[1500:], 0.2, estimated=True)]
    with Recorder(tmp_path, CaptureInfo("0123abcd", 1.0, 8000)) as recorder:
        live(device, Pieces(blocks), recorder=recorder)
    (gap,) = load_capture(tmp_path).gaps
    assert (gap.first, gap.count, gap.estimated) == (1000, 500, True)


@pytest.fixture(scope="module")
def null_sink(tmp_path_factory):
    """A PulseAudio server of our own with a null sink, whose monitor is the default microphone."""
    missing = [program for program in ("pulseaudio", "pactl", "pacat") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (Debian: pulseaudio, pulseaudio-utils, libportaudio2)")
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no PortAudio: {error}")
    home = tmp_path_factory.mktemp("pulse")
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_RUNTIME_PATH": str(home / "r")}
    environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
    sink = "module-null-sink sink_name=hil rate=16000 channels=1 format=s16le"
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit", "-L", sink]
    command += ["-L", "module-native-protocol-unix"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.skip("pulseaudio is installed and does not answer within 10 s")
        subprocess.run(["pactl", "set-default-source", "hil.monitor"], env=environment, check=True)
        (home / ".asoundrc").write_text("pcm.!default pulse\nctl.!default pulse\n")
        yield environment
    finally:
        server.kill()
        server.wait()


def test_portaudio_hears_what_is_played(null_sink, tmp_path):
    """A tone into the null sink, its monitor through PortAudio into a capture: the tone, and no sample is missing."""
    t = np.arange(16000 * 8) / 16000
    tone = (12000 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16)
    soundfile.write(tmp_path / "tone.wav", tone, 16000, subtype="PCM_16")
    player = subprocess.Popen(
        ["pacat", "--file-format=wav", "--device=hil", "tone.wav"],
        env=null_sink,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    command = [sys.executable, "-m", "hil.cli", "capture", "--rig", "none", "--out", "c", "--seconds", "2"]
    done = subprocess.run(
        [*command, "--consent", "a tone"], env=null_sink, cwd=tmp_path, capture_output=True, text=True
    )
    player.kill()
    player.wait()
    assert done.returncode == 0, done.stderr
    capture = load_capture(tmp_path / "c")
    heard, _ = whole(capture)
    assert heard.size == capture.samples + capture.lost >= 32000
    spectrum = np.abs(np.fft.rfft(heard[8000:24000] * np.hanning(16000)))
    assert abs(int(spectrum.argmax()) - 1000) <= 1
    assert np.abs(heard).max() > 3000


def test_an_unknown_microphone_lists_those_that_are_there(null_sink, tmp_path):
    """What was asked for, why not, the inputs here, and --input FILE."""
    command = [sys.executable, "-m", "hil.cli", "capture", "--input", "no such thing", "--out", "c", "--consent", "x"]
    done = subprocess.run(command, env=null_sink, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == EXIT_USAGE
    assert "--input no such thing cannot be used at 16000 Hz" in done.stderr
    assert re.search(r"Inputs here: \d+: .*pulse", done.stderr)
    assert "--input FILE.wav" in done.stderr
