"""Tests that take a rig, in a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
from hil.trace import Tier

def test_rig(rig):
    assert rig.name == "emulator"
    assert rig.tier is Tier.CYCLE_MODEL

def test_other():
    pass
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    loaded = [] if _is_installed() else ["-p", "hil.pytest_plugin"]
    call = [sys.executable, "-m", "pytest", "-v", *loaded, *arguments, str(folder)]
    return subprocess.run(call, capture_output=True, text=True, cwd=folder, env=env)


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "hil.pytest_plugin" for entry in entry_points(group="pytest11"))


def test_the_default_rig_is_the_emulator(tmp_path: Path) -> None:
    """Header and test name say which rig; tests without a rig are as ever."""
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "hil: rigs emulator" in done.stdout
    assert "test_rig[emulator] PASSED" in done.stdout
    assert "test_other PASSED" in done.stdout


def test_an_unknown_rig_is_an_error(tmp_path: Path) -> None:
    """With the known ones; the other tests run."""
    done = pytest_in(tmp_path, "--rig", "emulatr")
    assert done.returncode == 1
    assert "no such rig; did you mean 'emulator'?" in done.stdout
    assert "test_other PASSED" in done.stdout


def test_several_rigs(tmp_path: Path) -> None:
    """Each test runs on each."""
    done = pytest_in(tmp_path, "--rig", "emulator", "--rig", "emulatr")
    assert "test_rig[emulator] PASSED" in done.stdout
    assert "test_rig[emulatr] ERROR" in done.stdout
