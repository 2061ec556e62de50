"""`hil mlperf`: the official runner's files, its process, and what becomes of its answers."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact
from test_experiment_run import features_for

from hil.errors import DeviceError, LinkTimeout, ToolError, UsageError
from hil.experiment.feature_file import save_features
from hil.experiment.mlperf import (
    choose_clips,
    find_runner,
    inferences_for,
    run_runner,
    summarize,
    write_files,
)
from hil.features import FeatureSet
from hil.link.mlperf import TextLine
from hil.trace import Tier

RUNNER = os.environ.get("HIL_MLPERF_RUNNER")


def clips_of(labels, frames=9, inputs=5):
    x = np.random.default_rng(0).integers(-9000, 9000, (len(labels), frames, inputs)).astype(np.int16)
    return FeatureSet(x, np.array(labels), tuple(f"c{i}" for i in range(len(labels))), 0)


def fake_runner(folder: Path, main: str) -> Path:
    """Not the official one: a stand-in process with its file names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(main)
    (folder / "device_under_test.py").write_text("")
    return folder / "main.py"


class Port:
    """A port whose device says what it is told to."""

    def __init__(self, said: bytes):
        self.said, self.written, self.timeout = said, b"", None

    def write(self, data):
        self.written += data

    def read_until(self, end):
        i = self.said.find(end) + 1
        part, self.said = self.said[:i], self.said[i:]
        return part


def test_clips_are_chosen_label_by_label():
    """The runner's AUC needs each label."""
    assert choose_clips(clips_of([0, 0, 0, 1, 2, 2]), 4) == [0, 3, 4, 1]
    assert choose_clips(clips_of([0, 0, 0, 1, 2, 2]), 99) == [0, 3, 4, 1, 5, 2]


def test_the_runners_files(tmp_path):
    """Its table names file, number of labels and label; the data are the features as they go over the line."""
    test = clips_of([0, 1, 2, 0, 1, 2])
    write_files(tmp_path, test, [2, 1, 0, 3, 4], 321, 115_200)
    data = tmp_path / "datasets" / "egru01"
    assert (data / "y_labels.csv").read_text().splitlines()[:2] == ["clip0000.bin,3,2", "clip0001.bin,3,1"]
    assert (data / "clip0000.bin").read_bytes() == test.x[2].tobytes()
    assert "infer 321 2" in (tmp_path / "tests_performance.yaml").read_text()
    assert "loop 5:" in (tmp_path / "tests_performance.yaml").read_text()
    assert "0x03EB: 0x2111" in (tmp_path / "devices.yaml").read_text()


@pytest.mark.parametrize("clips", [[0, 1, 2, 3], [0, 1, 3, 4, 6]])
def test_too_few_clips_for_the_runner(tmp_path, clips):
    """Fewer than five, or a label without one."""
    with pytest.raises(UsageError, match="one of each label"):
        write_files(tmp_path, clips_of([0, 1, 2, 0, 1, 2, 0]), clips, 1, 115_200)


@pytest.mark.parametrize(("seconds", "count"), [(0.05, 240), (1e-9, 1_000_000), (6.0, 2)])
def test_a_window_is_twelve_seconds(seconds, count):
    """More than ten, less than thirty."""
    assert inferences_for(seconds) == count


def test_an_inference_longer_than_a_window_is_refused():
    """Before the runner's time-out."""
    with pytest.raises(UsageError, match="waits 30 s"):
        inferences_for(6.1)


def test_the_runner_is_found_in_a_checkout(tmp_path):
    """Its folder, or the repository's top."""
    main = fake_runner(tmp_path / "benchmark" / "runner", "")
    complete = tmp_path / "python"  # lacks nothing
    complete.write_text("#!/bin/sh\n")
    complete.chmod(0o755)
    assert find_runner(tmp_path, str(complete)) == find_runner(main.parent, str(complete)) == main


def test_no_runner_there(tmp_path):
    """Says what to clone."""
    with pytest.raises(UsageError, match=r"github\.com/mlcommons/tiny"):
        find_runner(tmp_path)


def test_packages_that_the_runner_lacks_are_named(tmp_path):
    """By the names that pip knows."""
    fake_runner(tmp_path, "")
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    empty.chmod(0o755)
    with pytest.raises(ToolError, match=r"pip install numpy scikit-learn matplotlib pyserial PyYAML"):
        find_runner(tmp_path, str(empty))


def test_the_runner_sees_only_the_rigs_port(tmp_path):
    """With the USB numbers of its devices.yaml; and usb.core finds nothing."""
    main = fake_runner(
        tmp_path / "runner",
        "from serial.tools import list_ports\nimport usb.core\n"
        "ports = [(p.device, hex(p.vid), hex(p.pid)) for p in list_ports.comports(True)]\n"
        "print(ports, usb.core.find(find_all=True))\n",
    )
    lines = run_runner(main, tmp_path, "accuracy", "/dev/pts/77", lambda line: None)
    assert lines == ["[('/dev/pts/77', '0x3eb', '0x2111')] []"]


def test_a_runner_that_fails_is_quoted(tmp_path):
    """With its last lines."""
    main = fake_runner(tmp_path / "runner", "print('before')\nraise RuntimeError('No response to command name')\n")
    with pytest.raises(ToolError, match="ended with 1") as caught:
        run_runner(main, tmp_path, "accuracy", "x", lambda line: None)
    assert "No response to command name" in caught.value.log


@pytest.mark.parametrize("line", ["ulp-mlperf: ERROR 2 - loop exited before 10 seconds elapsed.", "nothing"])
def test_no_valid_result_is_an_error(tmp_path, line):
    """What the runner calls invalid is not reported as a figure."""
    with pytest.raises(ToolError, match=r"ERROR 2|printed no result"):
        summarize("performance", "r", Tier.HOST, make_artefact(), clips_of([0]), [0], tmp_path, [line], "x")


def test_answers_of_the_device():
    """Lines up to m-ready; an error line is an error."""
    port = Port(b"m-name-dut-[hil]\r\nm-ready\r\ne-[no]\r\nm-ready\r\n")
    line = TextLine(port, "rig")
    assert line.ask("name") == ["m-name-dut-[hil]"]
    with pytest.raises(DeviceError, match=r"'db load 1' was refused: no"):
        line.ask("db load 1")
    assert port.written == b"name%db load 1%"
    with pytest.raises(LinkTimeout):
        line.ask("name", 0.01)


def test_what_infer_answers():
    """Seconds by the device's clock and the probabilities."""
    said = b"m-lap-us-0\r\nm-lap-us-1500000\r\nm-infer-done\r\nm-results-[0.25,0.75]\r\nm-ready\r\nm-ready\r\n"
    line = TextLine(Port(said), "rig")
    done = line.infer(1, 0)
    assert (done.seconds, done.probabilities) == (1.5, (0.25, 0.75))
    with pytest.raises(DeviceError, match="two laps"):
        line.infer(1, 0)


@pytest.mark.skipif(not RUNNER, reason="HIL_MLPERF_RUNNER does not name a checkout of mlcommons/tiny")
def test_the_official_runner_on_the_emulator(tmp_path):
    """Unmodified, in accuracy mode: the same decisions as the twin."""
    from test_cli import RECIPE
    from test_cli_demo import command

    artefact = make_artefact(name="tiny")
    out = tmp_path / "build" / "tiny"
    out.mkdir(parents=True)
    artefact.save(out / "model.artefact")
    save_features(features_for(artefact, clips=8), out / "features.safetensors")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    python = os.environ.get("HIL_MLPERF_PYTHON", sys.executable)
    done = command("mlperf", tmp_path, "--runner", RUNNER, "--clips", "8", "--python", python, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 of 8" in done.stdout
