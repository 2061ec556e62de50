"""The command line: help, exit codes, and a readable message for everything that can be wrong with files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact, make_rows
from safetensors.numpy import load, save
from test_experiment_run import features_for

from hil.artefact import FORMAT_VERSION, EmbeddedGruLayer
from hil.cli import EXIT_BUG, EXIT_DEVICE, EXIT_RIG, EXIT_TOOL, EXIT_USAGE, exit_code, run
from hil.cli.commands import hil
from hil.errors import DeviceError, HilError, PortLost, ToolError, UsageError, WrongFirmware
from hil.experiment.feature_file import save_features

COMMANDS = (
    "baseline",
    "bench",
    "build",
    "calibrate",
    "capture",
    "curve",
    "data",
    "demo",
    "doctor",
    "emulate",
    "flash",
    "language",
    "live",
    "mlperf",
    "quantize",
    "replay",
    "report",
    "results",
    "rigs",
    "run",
    "sweep",
    "train",
    "tune",
)
ARTEFACT = make_artefact(seed=21, name="tiny")

RECIPE = """
name = "tiny"
[data]
keywords = ["yes"]
unknown_words = ["tree"]
clips = 100
[features]
bands = 5
[cell]
hidden = [4, 3]
dense = 6
[train]
epochs = 1
[quantize]
epochs = 1
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A recipe folder."""
    folder = tmp_path / "recipes" / "tiny"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an artefact and features, as `hil quantize` leaves it."""
    folder = tmp_path / "out"
    folder.mkdir()
    ARTEFACT.save(folder / "model.artefact")
    save_features(features_for(ARTEFACT), folder / "features.safetensors")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil COMMAND --help`` ends with lines that can be copied."""
    code, text, _ = call(capsys, command, "--help")
    assert code == 0
    assert f"  hil {command}" in text.split("Examples:")[1]


def test_there_are_no_other_commands() -> None:
    """The list above is complete."""
    assert sorted(hil.commands) == list(COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    """``hil --help`` loads neither numpy nor torch nor matplotlib, so that it is quick."""
    code = (
        "import sys; from hil.cli import run; assert run(['--help']) == 0;"
        "print(sorted({'numpy', 'torch', 'matplotlib', 'serial', 'elftools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), EXIT_USAGE),
        (ToolError("x"), EXIT_TOOL),
        (PortLost("r", "x"), EXIT_RIG),
        (WrongFirmware("r", "build_id", "a", "b"), EXIT_DEVICE),
        (DeviceError("x"), EXIT_DEVICE),
    ],
)
def test_exit_codes_say_who_must_act(error: HilError, code: int) -> None:
    """Your call, a tool, the bench, the firmware."""
    assert exit_code(error) == code


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one."""
    code, _, err = call(capsys, "quantise", "x")
    assert code == EXIT_USAGE
    assert "quantize" in err


def test_an_unknown_model_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not shipped, and a folder that is not there."""
    code, _, err = call(capsys, "train", "keyword-dem")
    assert code == EXIT_USAGE
    assert "did you mean 'keyword-demo'?" in err
    code, _, err = call(capsys, "train", "nowhere/keyword-dem")
    assert code == EXIT_USAGE
    assert "nowhere/keyword-dem/recipe.toml: no such recipe" in err


def test_an_unknown_key_of_a_recipe_is_suggested(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file, the section and the key."""
    (model / "recipe.toml").write_text(RECIPE.replace("hidden =", "hiden ="))
    code, _, err = call(capsys, "train", model)
    assert code == EXIT_USAGE
    assert "unknown key 'hiden' in [cell]; did you mean 'hidden'?" in err


def test_debug_shows_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback with ``--debug``, none without; the exit code is the same."""
    for more, shown in (["--debug"], True), ([], False):
        code, _, err = call(capsys, "build", tmp_path / "none", *more)
        assert code == EXIT_USAGE
        assert ("Traceback" in err) == shown


def test_a_bug_is_not_taken_for_a_difference(
    model: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw has an exit code of its own, and its traceback."""

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hil.experiment.device_stages.make_firmware", broken)
    code, _, err = call(capsys, "build", model, "--out", out)
    assert code == EXIT_BUG
    assert "ZeroDivisionError" in err
    assert "bug in hil" in err


def test_an_unknown_rig_lists_the_known_ones(model: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bench is wrong: exit code 4."""
    code, _, err = call(capsys, "run", model, "--out", out, "--rig", "emulatr")
    assert code == EXIT_RIG
    assert "emulatr: no such rig; did you mean 'emulator'?" in err


def test_a_demo_on_an_unknown_rig_fails_before_it_trains(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after minutes; nothing is made."""
    code, _, err = call(capsys, "demo", model, "--out", tmp_path / "new", "--rig", "emulatr")
    assert code == EXIT_RIG
    assert "no such rig" in err
    assert not (tmp_path / "new").exists()


def test_a_missing_artefact_says_what_makes_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`build`, `flash` and `run` alike; nothing is written."""
    for command in ("build", "flash", "run"):
        code, _, err = call(capsys, command, model, "--out", tmp_path / "new")
        assert code == EXIT_USAGE
        assert "no such artefact. Make it: `hil quantize MODEL`" in err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_an_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--out`` is a file."""
    (tmp_path / "file").write_text("")
    code, _, err = call(capsys, "build", model, "--out", tmp_path / "file")
    assert code == EXIT_USAGE
    assert "cannot be written to" in err


def corrupt(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def newer(data: bytes) -> bytes:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    manifest = json.loads(header["__metadata__"]["manifest"])
    return save(load(data), metadata={"manifest": json.dumps({**manifest, "version": FORMAT_VERSION + 1})})


@pytest.mark.parametrize("command", ["build", "flash", "run"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (corrupt, "corrupt"),
        (lambda data: data[:100], "corrupt"),
        (lambda data: b"", "corrupt"),
        (newer, f"format version {FORMAT_VERSION + 1}, this program reads up to {FORMAT_VERSION}: install a newer hil"),
    ],
)
def test_an_artefact_that_cannot_be_used_is_refused(
    command: str,
    change: Callable[[bytes], bytes],
    words: str,
    model: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Corrupt, cut, empty and newer: named with its path, before anything is built."""
    path = out / "model.artefact"
    path.write_bytes(change(path.read_bytes()))
    before = {p.name for p in out.iterdir()}
    code, _, err = call(capsys, command, model, "--out", out)
    assert code == EXIT_USAGE
    assert str(path) in err
    assert words in err
    assert {p.name for p in out.iterdir()} == before | {".lock"}


@pytest.mark.parametrize("command", ["build", "flash", "run"])
def test_a_model_too_large_for_flash_is_named_by_section(
    command: str, model: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes come from the linker, before anything is flashed, and nothing is left behind."""
    rng = np.random.default_rng(1)
    first, second = EmbeddedGruLayer(make_rows(rng, 720, 365)), EmbeddedGruLayer(make_rows(rng, 6, 363))
    replace(ARTEFACT, recurrent=(first, second)).save(out / "model.artefact")
    before = {p.name for p in out.iterdir()}
    code, _, err = call(capsys, command, model, "--out", out)
    assert code == EXIT_USAGE
    assert "bytes of flash, the chip has 262144" in err
    assert ".rodata" in err
    assert {p.name for p in out.iterdir()} == before | {".lock"}


def test_a_model_too_large_for_ram_is_named_by_section(
    model: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many small layers: little flash, much state."""
    rng = np.random.default_rng(1)
    widths = [5, *[16] * 160, 3]
    layers = tuple(EmbeddedGruLayer(make_rows(rng, 2 * h, d + h)) for d, h in itertools.pairwise(widths))
    replace(ARTEFACT, recurrent=layers).save(out / "model.artefact")
    code, _, err = call(capsys, "build", model, "--out", out)
    assert code == EXIT_USAGE
    assert "bytes of ram, the chip has 32768" in err
    assert ".bss" in err


def test_a_build_shows_sizes_and_is_skipped_when_nothing_changed(
    model: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sections, flash and RAM; the second call says that it skipped."""
    code, text, err = call(capsys, "build", model, "--out", out)
    assert code == 0
    assert ".text" in text
    assert "firmware: done" in err
    code, _, err = call(capsys, "build", model, "--out", out)
    assert code == 0
    assert "firmware: unchanged, skipped" in err
    code, _, err = call(capsys, "build", model, "--out", out, "--force")
    assert "firmware: done" in err


def test_missing_and_damaged_features_are_named(model: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run` needs the test set."""
    path = out / "features.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    code, _, err = call(capsys, "run", model, "--out", out)
    assert code == EXIT_USAGE
    assert "corrupt" in err
    path.unlink()
    code, _, err = call(capsys, "run", model, "--out", out)
    assert code == EXIT_USAGE
    assert f"{path}: no features here" in err


def test_a_report_needs_a_run(model: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing and damaged results are named."""
    code, _, err = call(capsys, "report", model, "--out", out)
    assert code == EXIT_USAGE
    assert "no result here. Make it: `hil run" in err
    (out / "result.json").write_text("{")
    code, _, err = call(capsys, "report", model, "--out", out)
    assert code == EXIT_USAGE
    assert "result.json: is no result or is corrupt" in err


def test_two_at_once_in_one_folder_are_refused(model: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second command says who is in its way."""
    from hil.experiment.progress import Quiet
    from hil.experiment.workspace import Workspace

    with Workspace(out, Quiet()).locked():
        code, _, err = call(capsys, "build", model, "--out", out)
    assert code == EXIT_USAGE
    assert "another hil is working here" in err


def test_a_compiler_that_is_not_there_says_how_to_get_it(
    model: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool is missing: exit code 3."""
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = call(capsys, "build", model, "--out", out, "--compiler", "gcc")
    assert code == EXIT_TOOL
    assert "arm-none-eabi-gcc is not on PATH" in err


def test_rigs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The emulator is there without anything attached."""
    code, text, _ = call(capsys, "rigs")
    assert code == 0
    assert "emulator" in text


def test_the_doctor_finds_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Python, compilers, the emulator, folders, and that the emulated rig answers."""
    code, text, _ = call(capsys, "doctor", "emulator", "--frames", "100")
    assert code == 0, text
    for word in ("Python", "compiler", "emulator core", "serial ports", "cache", "answers: 48 MHz"):
        assert word in text


def test_the_doctor_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An unknown rig and a cache that cannot be written are named with what to do; the exit code is the bench's."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("COLUMNS", "400")
    code, text, _ = call(capsys, "doctor", "emulatr")
    assert code == EXIT_RIG
    assert "did you mean 'emulator'" in text
    assert "cannot be written to" in text


def test_one_compiler_is_enough_for_the_doctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gcc on PATH, zig builds: nothing is wrong."""
    monkeypatch.setenv("PATH", "/nowhere")
    code, text, _ = call(capsys, "doctor")
    assert code == 0
    assert "not needed" in text


def test_bench_refuses_an_unknown_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one; nothing is compiled."""
    code, _, err = call(capsys, "bench", "--out", tmp_path / "b", "--kernel", "embedded_gru")
    assert code == EXIT_USAGE
    assert "no kernel 'embedded_gru'; did you mean 'embedded_gru_step'?" in err
