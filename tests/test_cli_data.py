"""`hil data`, and a folder of sounds trained and run on the chip from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sound_folder import make_sounds
from test_cli import call
from test_cli_interrupt import heed_ctrl_c
from test_data_download import ARCHIVE, Handler, Server, cache, server, source

from hil.datasets.sources import SOURCES
from hil.recipe import load_recipe

__all__ = ["cache", "server"]

BASE = """
name = "base"
[data]
keywords = ["yes"]
[features]
bands = 12
window = 512
hop = 512
[cell]
hidden = [12, 10]
dense = 12
[train]
epochs = 10
[quantize]
epochs = 6
"""
"""A recipe whose network is small enough for a test."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "recipe.toml").write_text(BASE)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; it holds ``sounds/``."""
    make_sounds(tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["list", "get", "check"])
def test_every_data_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil data COMMAND --help`` ends with lines that can be copied."""
    code, text, _ = call(capsys, "data", command, "--help")
    assert code == 0
    assert f"  hil data {command}" in text.split("Examples:")[1]


def test_the_list_names_every_data_set_with_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    """And the command that gets what is not here."""
    code, text, _ = call(capsys, "data", "list")
    assert code == 0
    for name in SOURCES:
        assert name in text
    assert "CC BY" in text


def test_get_downloads_verifies_and_prints_the_folder(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line on stdout is where it lies; a second call does not download again."""
    monkeypatch.setitem(SOURCES, "fsdd", source(server))
    for _ in range(2):
        code, text, err = call(capsys, "data", "get", "fsdd")
        assert code == 0, err
        assert text.splitlines()[-1] == str(cache / "fsdd")
        assert "licence" in err
    assert len(server.seen) == 1


def test_get_of_an_unknown_name_suggests_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    code, _, err = call(capsys, "data", "get", "fsd")
    assert code == 2
    assert "did you mean 'fsdd'?" in err


def test_get_does_not_download_what_hil_data_has(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where it is, and how to download all the same."""
    monkeypatch.setitem(SOURCES, "fsdd", source(server))
    (tmp_path / "given" / "fsdd").mkdir(parents=True)
    monkeypatch.setenv("HIL_DATA", str(tmp_path / "given"))
    code, text, err = call(capsys, "data", "get", "fsdd")
    assert code == 0
    assert text.splitlines()[-1] == str(tmp_path / "given" / "fsdd")
    assert "unset HIL_DATA" in err
    assert server.seen == []


class StallingHandler(Handler):
    """Sends half of the first answer and then nothing more, until it is told to go on."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        if len(self.server.seen) > 1:
            return super().answer(status, body, **headers)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.server.half_sent.set()
        self.server.go_on.wait(60)
        return None


GET = """
import dataclasses, os, sys
sys.path[:0] = os.environ["TESTS"].split(os.pathsep)
import test_data_download
from hil.datasets.sources import SOURCES
class At: url = os.environ["URL"]
SOURCES["fsdd"] = test_data_download.source(At)
from hil.cli import main
main(["data", "get", "fsdd"])
"""


def test_ctrl_c_leaves_a_part_and_the_same_command_continues(server: Server, cache: Path) -> None:
    """Exit code 130; the second call asks for the rest only, and the data set is whole."""
    server.RequestHandlerClass = StallingHandler
    server.half_sent, server.go_on = threading.Event(), threading.Event()
    paths = [str(Path(__file__).parent), *(p for p in sys.path if p)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TESTS": os.pathsep.join(paths), "URL": server.url}
    first = subprocess.Popen(
        [sys.executable, "-c", GET], env=env, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    assert server.half_sent.wait(60)
    part = cache / "fsdd.tar.gz.part"
    while not (part.is_file() and part.stat().st_size):
        assert first.poll() is None
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    server.go_on.set()
    assert first.returncode == 130, err
    assert "Traceback" not in err
    have = part.stat().st_size
    assert 0 < have <= len(ARCHIVE) // 2
    second = subprocess.run([sys.executable, "-c", GET], env=env, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert server.seen == [None, f"bytes={have}-"]
    assert second.stdout.splitlines()[-1] == str(cache / "fsdd")


def spoil(sounds: Path) -> None:
    """A file of zero length, one with NaN, one that is no sound."""
    import soundfile

    (sounds / "buzz" / "ann_8.wav").write_bytes(b"")
    soundfile.write(sounds / "hiss" / "bob_8.wav", np.full(800, np.nan), 16000, subtype="FLOAT")
    (sounds / "whistle" / "cleo_8.ogg").write_text("no sound")


BAD = ("buzz/ann_8.wav: zero length", "hiss/bob_8.wav: holds NaN or infinity", "whistle/cleo_8.ogg: cannot be read")


def test_check_lists_every_file_that_cannot_be_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason; exit code 2.  A good folder: 0, with files, minutes and rates of each label."""
    code, text, _ = call(capsys, "data", "check", "sounds")
    assert code == 0
    assert "16000 (20)" in text
    assert "0 of 60 files cannot be used" in text
    spoil(here / "sounds")
    code, text, _ = call(capsys, "data", "check", "sounds")
    assert code == 2
    for line in (*BAD, "3 of 63 files cannot be used"):
        assert line in text


def test_check_of_nothing_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder; a name that is no data set."""
    code, _, err = call(capsys, "data", "check", tmp_path)
    assert code == 2
    assert "has no wav, flac, ogg file" in err
    code, _, err = call(capsys, "data", "check", "nothing")
    assert code == 2
    assert "no data set 'nothing'" in err


def test_a_folder_of_sounds_goes_to_the_chip(
    here: Path, base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Train, quantize, build, run: the commands of the README, on speakers that the network has not heard.

    Another rate is resampled and said so; the device equals its twin and knows most of the sounds.
    """
    monkeypatch.setattr("hil.experiment.own_data.UPDATES", 150)
    train = ("train", "base", "--data", "sounds/", "--speaker-pattern", "^([a-z]+)_", "--seconds", "0.4")
    code, _, err = call(capsys, *train)
    assert code == 0, err
    for words in ("resampled 60 files from 16000 Hz to 8000 Hz", "next: hil quantize build/sounds"):
        assert words in err
    assert "synthesizing" not in err
    manifest = json.loads((here / "build/sounds/data.manifest.json").read_text())
    assert "resampled 60 files" in manifest["facts"]["notes"]
    for command in ("quantize", "build"):
        assert call(capsys, command, "build/sounds")[0] == 0
    code, text, err = call(capsys, "run", "build/sounds", "--fast-load")
    assert code == 0, err
    assert "bit-exact" in text
    result = json.loads((here / "build/sounds/result.json").read_text())
    assert result["labels"] == ["buzz", "hiss", "whistle"]
    assert result["accuracy"]["device"] == result["accuracy"]["quantized eGRU"] >= 0.75
    code, _, err = call(capsys, *train)
    assert code == 0
    assert [line.split(":")[0] for line in err.splitlines() if "unchanged, skipped" in line] == [
        "data",
        "features",
        "float-gru",
        "float-egru",
    ]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end after the data."""
    monkeypatch.setattr("hil.experiment.stages.make_features", lambda recipe, ws: None)
    monkeypatch.setattr("hil.experiment.stages.make_models", lambda recipe, ws, **more: None)


@pytest.mark.usefixtures("untrained")
def test_bad_files_stop_training_unless_they_may_be_skipped(
    here: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them by name, in either case."""
    spoil(here / "sounds")
    code, _, err = call(capsys, "train", "base", "--data", "sounds")
    assert code == 2
    for line in (*BAD, "--skip-bad"):
        assert line in err
    code, _, err = call(capsys, "train", "base", "--data", "sounds", "--skip-bad")
    assert code == 0
    assert "left out 3 of 63 files" in err
    for line in BAD:
        assert line in err


@pytest.mark.usefixtures("untrained")
def test_a_changed_folder_is_read_again(here: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file gone: the stage is carried out again; nothing changed: it is not."""
    seen = []
    for _ in range(2):
        seen.append("data: done" in call(capsys, "train", "base", "--data", "sounds")[2])
    (here / "sounds" / "buzz" / "ann_0.wav").unlink()
    seen.append("data: done" in call(capsys, "train", "base", "--data", "sounds")[2])
    assert seen == [True, False, True]


@pytest.mark.usefixtures("untrained")
def test_the_recipe_keeps_what_the_user_changed(here: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only [data] follows the command line; few sounds get more epochs and smaller batches than the base recipe."""
    path = here / "build" / "mine" / "recipe.toml"
    call(capsys, "train", "base", "--data", "sounds", "--name", "mine")
    made = load_recipe(path)
    assert (made.name, made.data.source, made.cell.hidden) == ("mine", "folder", (12, 10))
    assert (made.train.batch, made.train.epochs, made.quantize.epochs) == (8, 84, 50)
    assert 'folder = "../../sounds"' in path.read_text()
    text = path.read_text().replace("epochs = 84", "epochs = 3  # enough")
    path.write_text(text)
    call(capsys, "train", "base", "--data", "sounds", "--name", "mine")
    assert path.read_text() == text
    call(capsys, "train", "base", "--data", "sounds", "--name", "mine", "--speaker-pattern", r"^(\w+)_\d")
    changed = load_recipe(path)
    assert (changed.train.epochs, changed.data.speaker_pattern) == (3, r"^(\w+)_\d")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a MODEL, or --data FOLDER"),
        (("base", "--name", "x"), "go with --data"),
        (("base", "--data", "nowhere"), "--data nowhere: no such folder"),
        (("base", "--data", "sounds", "--name", "a b"), "--name 'a b': must be 1 to 64 letters"),
        (("base", "--data", "sounds", "--name", "other"), "holds the results of another model"),
        (("base", "--data", "sounds", "--name", "fsdd"), "is the recipe of fsdd, not of sounds"),
        (("base", "--data", "sounds", "--seconds", "20"), "data.seconds = 20.0: must be within"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    arguments: tuple[str, ...], words: str, here: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what to do."""
    (here / "build/other").mkdir(parents=True)
    (here / "build/other/data.manifest.json").write_text("{}")
    (here / "build/fsdd").mkdir()
    (here / "build/fsdd/recipe.toml").write_text('name = "fsdd"\n[data]\nsource = "fsdd"\n')
    code, _, err = call(capsys, "train", *arguments)
    assert code == 2
    assert words in err
