"""`hil emulate`: any program with its status, its cycles, its profile, its trace and its crash report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import serial
from emulator_support.build import build

from hil.cli import EXIT_DEVICE, EXIT_USAGE, run


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that prints by semihosting and ends with status 3."""
    path = tmp_path / "program.elf"
    path.write_bytes(build("exit.c"))
    return path


def cycles_of(err: str) -> int:
    return int(err.split(" after ")[1].split(" cycles")[0].replace(",", ""))


def test_status_output_and_cycles(program, capfd):
    """The program's status becomes the command's; its text goes to stdout, the rest to stderr."""
    assert run(["emulate", str(program)]) == 3
    out, err = capfd.readouterr()
    assert out == "hello from the chip\n"
    assert "exit status 3 after " in err
    assert "(cycle-model)" in err
    assert run(["emulate", str(program), "--realtime"]) == 3
    assert cycles_of(capfd.readouterr().err) == cycles_of(err)


@pytest.mark.parametrize("order", [["--profile", "{}"], ["{}", "--profile"]])
def test_profile_as_a_table(order, program, capfd):
    """Functions and source lines, adding up to the cycles; --profile may stand before the program."""
    assert run(["emulate", *(word.format(program) for word in order)]) == 3
    err = capfd.readouterr().err
    functions = err.split("function\n")[1].split("\n\n")[0].splitlines()
    assert sum(int(line.split()[0]) for line in functions) == cycles_of(err)
    assert any(line.endswith("main") for line in functions)
    assert "exit.c:" in err


def test_call_paths_in_two_formats(program, tmp_path, capfd):
    """Folded stacks and speedscope's JSON hold the same cycles."""
    folded, scope = tmp_path / "p.folded", tmp_path / "p.json"
    assert run(["emulate", str(program), "--profile", str(folded)]) == 3
    total = cycles_of(capfd.readouterr().err)
    assert run(["emulate", str(program), "--profile", str(scope)]) == 3
    lines = dict(line.rsplit(" ", 1) for line in folded.read_text().splitlines())
    assert sum(map(int, lines.values())) == total
    table = json.loads(scope.read_text())
    frames, (profile,) = [f["name"] for f in table["shared"]["frames"]], table["profiles"]
    paths = [";".join(frames[i] for i in sample) for sample in profile["samples"]]
    assert dict(zip(paths, map(str, profile["weights"]), strict=True)) == lines
    assert profile["endValue"] == sum(profile["weights"]) == total
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.folded", "p.json", "program.elf"]


def test_trace(program, tmp_path, capfd):
    """A line for each instruction."""
    trace = tmp_path / "trace.txt"
    assert run(["emulate", str(program), "--trace", str(trace)]) == 3
    instructions = int(capfd.readouterr().err.split(" instructions")[0].split()[-1].replace(",", ""))
    assert sum(" -- " not in line for line in trace.read_text().splitlines()) == instructions


def test_crash(tmp_path, capfd):
    """A fault ends the program with a report in words and the status of a failed device."""
    path = tmp_path / "crash.elf"
    path.write_bytes(build("crash.c", flags=("-O1", "-fno-inline", "-fno-optimize-sibling-calls")))
    assert run(["emulate", str(path)]) == EXIT_DEVICE
    err = capfd.readouterr().err
    assert "HardFault after" in err
    assert "no multiple of its size" in err
    assert "middle+" in err
    assert "crashed after" in err


def test_handler_that_waits_for_ever_ends_the_run(tmp_path, capfd):
    """A HardFault handler that is a branch to itself is the end, with the report of the fault."""
    path = tmp_path / "stuck.elf"
    path.write_bytes(build("crash.c", "stuck.c", flags=("-O1",)))
    assert run(["emulate", str(path)]) == EXIT_DEVICE
    assert "no multiple of its size" in capfd.readouterr().err


def test_register_that_is_not_modelled_is_told(tmp_path, capfd):
    """Once, by its name, with how often."""
    path = tmp_path / "comparator.elf"
    path.write_bytes(build("comparator.c"))
    assert run(["emulate", str(path)]) == 0
    err = capfd.readouterr().err
    assert err.count("not modelled: read of AC.STATUSA (0x42004408), 7 times") == 1
    assert err.count("not modelled: write to AC.CTRLA (0x42004400), once") == 1


def test_microphones_hear_sound_files(tmp_path, capfd):
    """--adc at the pins, --i2s in the first slot; a file of another rate is brought to the one asked for, and told."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "hear.elf"
    path.write_bytes(build("hear.c"))
    soundfile.write(tmp_path / "a.wav", np.full(4000, 0.5), 8000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.wav", np.full(4000, -0.25), 16000, subtype="PCM_16")
    arguments = ["--adc", str(tmp_path / "a.wav"), "--i2s", str(tmp_path / "b.wav")]
    assert run(["emulate", str(path), *arguments]) == 0
    out, err = capfd.readouterr()
    assert out == f"{' '.join(['00000c00'] * 3)}\n{' '.join(['e0000000'] * 3)}\n"
    assert "4000 samples" in err or "0.500 s at 8,000 Hz" in err
    assert "0.250 s at 16,000 Hz" in err
    assert "not modelled" not in err
    assert run(["emulate", str(path), *arguments, "--sound-rate", "8000"]) == 0
    err = capfd.readouterr().err
    assert "0.250 s at 8,000 Hz (" in err
    assert run(["emulate", str(path), "--adc", str(path)]) == EXIT_USAGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--realtime"], "go with PROGRAM"),
        (["{}", "--probe", "--trace", "x"], "go with PROGRAM"),
        (["{}", "--elf", "{}"], "two programs"),
        (["{}", "--trace", "{}"], "would be overwritten"),
        (["{}", "--trace", "x", "--profile", "x"], "the same file"),
        (["{}", "--port-link", "{}"], "no symbolic link"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, says, program, capfd):
    """With what to do instead; nothing is overwritten."""
    before = program.read_bytes()
    assert run(["emulate", *(word.format(program) for word in arguments)]) == EXIT_USAGE
    assert says in capfd.readouterr().err
    assert program.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_port_at_a_stable_link_until_a_signal(number, tmp_path):
    """pyserial opens the link and talks; the signal ends the program with its profile and removes the link."""
    path, link, folded = tmp_path / "echo.elf", tmp_path / "port", tmp_path / "p.folded"
    path.write_bytes(build("echo.c"))
    command = [sys.executable, "-m", "hil.cli", "emulate", str(path), "--port-link", str(link)]
    process = subprocess.Popen([*command, "--profile", str(folded)], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not link.is_symlink():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with serial.Serial(str(link), 115200, timeout=20) as port:
            port.write(b"hal")
            assert port.read(3) == b"ibm"
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "interrupted after" in err
    assert "Traceback" not in err
    assert "sercom3_handler" in folded.read_text()
    assert not link.is_symlink()
