"""The firmware of a model under the profiler: every cycle from reset belongs to a function, a line and a call path."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import serial
from conftest import make_artefact

from hil.chips import chip
from hil.codegen import emit_c
from hil.emulator import EmulatedBoard
from hil.emulator.profile import Profile, begin_profile, read_profile
from hil.emulator.symbols import read_symbols
from hil.firmware import compile_firmware, find_compiler
from hil.link.device import Device
from hil.rig import load_rig_file

CHIP = chip("atsamd21j18a")
ARTEFACT = make_artefact(seed=5)
GIVEN = os.environ.get("HIL_PROFILE_ELF")
"""The firmware of another model, such as build/keyword-demo/firmware.elf, instead of the small one."""
STEPS = 20


def profile_of(elf: Path, profiled: bool) -> tuple[int, int, list[int], Profile | None]:
    """Cycles and instructions since reset after two sequences, cycles of their steps, and the profile."""
    rng = np.random.default_rng(1)
    with EmulatedBoard(CHIP, sercom=load_rig_file("emulator").board.sercom) as board:
        board.load_elf(elf)
        symbols = read_symbols(elf)
        if profiled:
            begin_profile(board.emulator, symbols)
        board.start()
        device = Device(serial.Serial(board.port, 115_200, timeout=0.1), "profiled", timeout_s=60)
        inputs, steps = device.hello().inputs, []
        for _ in range(2):
            x = rng.integers(-(1 << 15), 1 << 15, (STEPS, inputs)).astype(np.int16)
            cycles = device.run_sequence(x).cycles
            assert cycles is not None
            steps += cycles.tolist()
        board.stop()
        emulator = board.emulator
        done = read_profile(emulator, symbols) if profiled else None
        device.close()
        return emulator.cycles, emulator.instructions, steps, done


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN:
        return Path(GIVEN)
    return compile_firmware(
        emit_c(ARTEFACT),
        chip=CHIP,
        board=load_rig_file("emulator").board,
        compiler=find_compiler(),
        optimize="2",
        out=tmp_path_factory.mktemp("firmware"),
    ).elf


def test_every_cycle_belongs_somewhere(elf: Path) -> None:
    """Functions, lines and paths each add up to the cycles since reset, and the cycles are those without a profile."""
    cycles, instructions, steps, profile = profile_of(elf, profiled=True)
    assert profile is not None
    print(f"{cycles} cycles in {STEPS * 2} steps and the link\n{profile.table(12)}")
    assert profile.cycles == cycles
    for table in (profile.functions, profile.lines):
        assert sum(cost.cycles for cost in table) == cycles
        assert sum(cost.instructions for cost in table) == instructions
    assert sum(own for _, own in profile.paths) == cycles
    assert sum(int(line.rsplit(" ", 1)[1]) for line in profile.folded().splitlines()) == cycles
    assert {"main", "reset_handler", "(asleep)"} <= {cost.name for cost in profile.functions}
    step_cycles = sum(own for path, own in profile.paths if "model_step" in path)
    assert 0.9 * sum(steps) < step_cycles < 1.1 * sum(steps)
    assert profile_of(elf, profiled=False)[:3] == (cycles, instructions, steps)
