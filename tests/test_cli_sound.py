"""Sound on the command line: recordings, clips as sound, the benches; what is printed and the exit codes."""

from __future__ import annotations

import re

import pytest
import soundfile
from conftest import make_artefact
from test_audio import sound

from hil.cli import EXIT_USAGE, run
from hil.clip import Clip, Dataset
from hil.datasets.store import save_dataset

ARTEFACT = make_artefact(seed=21, name="tiny")
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


@pytest.fixture
def folder(tmp_path):
    """A recipe, the folder that `hil quantize` leaves, and a recording of 20 frames at another rate."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.toml").write_text(RECIPE)
    ARTEFACT.save(tmp_path / "out" / "model.artefact")
    soundfile.write(tmp_path / "speech.wav", sound(2 * (19 * 128 + 256)), 16_000, subtype="PCM_16")
    return tmp_path


def call(capsys, folder, *arguments):
    options = ("--out", folder / "out", "--rig", "emulator", "--fast-load")
    code = run([str(a) for a in (*arguments, *options)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_recording_is_decided_about_with_times(folder, capsys):
    """Windows of 9 frames, one decision every 3: at the time of each window's last sample; every other one detected."""
    code, out, _ = call(capsys, folder, "run", folder / "tiny", "--input", folder / "speech.wav")
    lines = re.findall(r"speech\.wav +(\d+\.\d{3}) s  class\d +lead +[\d.]+( +DETECTED)?$", out, re.MULTILINE)

    assert code == 0
    assert [float(at) for at, _ in lines] == [((8 + 3 * i) * 128 + 256) / 8000 for i in range(4)]
    assert [bool(mark) for _, mark in lines] == [True, False, True, False]
    assert "4 decisions, 2 detections, all as the twin; 20 of 20 feature vectors bit-exact" in out


def test_test_clips_as_sound(folder, capsys):
    """Vectors and outputs equal those of features; without the clips it says how to make them."""
    code, _, err = call(capsys, folder, "run", folder / "tiny", "--mode", "audio")
    assert code == EXIT_USAGE
    assert "no clips here. Make them: `hil train" in err

    clips = [tuple(Clip(sound(1500, 9 * s + i), 8000, i % 3, f"s{s}", f"{s}/{i}") for i in range(3)) for s in range(3)]
    save_dataset(Dataset(ARTEFACT.labels, *clips), folder / "out" / "dataset.npz")
    code, out, _ = call(capsys, folder, "run", folder / "tiny", "--mode", "audio")
    assert code == 0
    assert "bit-exact in 27 of 27 feature vectors and 3 of 3 outputs" in out
    assert "0 requests sent again, 0 damaged frames, 0 bytes lost" in out


def test_benches_of_the_sound_path(folder, capsys, monkeypatch):
    """The line's share of its limit; cycles of the front ends with the share of the CPU, CMSIS-DSP left out aloud."""
    monkeypatch.setenv("HIL_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = call(capsys, folder, "bench", "link", "--baud", "1000000")
    assert code == 0
    assert re.search(r"each way at 1,000,000 baud, \d+\.\d% of the line's 100,000 .*\(cycle-model\)", out)
    code, out, err = call(capsys, folder, "bench", "frontend", "--repeats", "1")
    assert code == 0
    assert re.search(r"log-mel 8 kHz 200/80, 40 +│ +[\d,]+ │ +[\d,]+ │ +[\d,]+ │ +1[0-4]\.\d% │", out)
    assert "without CMSIS-DSP's: CMSIS-DSP (the PyPI source package" in out + err
