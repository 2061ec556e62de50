"""The emulator keeps up: against Unicorn in the same run, asleep, and many at once."""

import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

pytest.importorskip("unicorn")

from emulator_support.build import build
from emulator_support.machine import B_SELF, SYST_CSR, SYST_RVR, WFI, machine, poke
from emulator_support.speed import REQUIRED, measure

from hil.chips import chip
from hil.emulator import Emulator, Stop

CHIP = chip("atsamd21j18a")


@pytest.mark.parametrize("program", REQUIRED)
def test_speed_against_unicorn(program):
    """With cycles and wait states counted, at least the required fraction of Unicorn's speed without hooks."""
    speed = measure(program, rounds=4, scale=0.5)
    assert speed.ratio >= REQUIRED[program], speed


@pytest.mark.parametrize("code", [[WFI, 0xE7FD], [B_SELF]])
def test_waiting_costs_nothing(code):
    """An hour of virtual time asleep, or in a branch to itself, takes a fraction of a second."""
    emulator = machine(code)
    begun = time.perf_counter()
    assert emulator.run(3600 * 1_000_000, stop_when_idle=False) is Stop.BUDGET
    assert emulator.seconds >= 3600
    assert time.perf_counter() - begun < 0.5


def test_sleep_between_ticks_is_skipped():
    """A thousand seconds of sleep with 1,000 ticks take the time of the handlers only."""
    emulator = machine([WFI, 0xE7FD], {15: [0x4770]})
    poke(emulator, SYST_RVR, 999_999)
    poke(emulator, SYST_CSR, 7)
    begun = time.perf_counter()
    emulator.run(1_000_000_000, stop_when_idle=False)
    assert time.perf_counter() - begun < 0.5
    assert emulator.instructions == pytest.approx(3000, abs=5)


def run_one(_=None):
    emulator = Emulator(CHIP)
    emulator.load_elf(build("dot.c"))
    assert emulator.run(1 << 40) is Stop.BKPT
    return emulator.cycles, emulator.instructions, emulator.read(0x20000000, 0x8000)


def test_emulators_in_threads_are_independent():
    """Eight threads with a chip each give what one gives."""
    expected, results = run_one(), []
    threads = [threading.Thread(target=lambda: results.append(run_one())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_emulators_in_processes_are_independent():
    """Worker processes give what this one gives."""
    expected = run_one()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(run_one, range(4))) == [expected] * 4


def test_the_core_runs_without_the_interpreter_lock():
    """While a chip runs in one thread, another one goes on with Python."""
    emulator = machine([0x3001, 0xE7FD])  # adds r0, #1; b back: no branch to itself
    done = threading.Event()
    runner = threading.Thread(target=lambda: (emulator.run(300_000_000), done.set()))
    runner.start()
    turns = 0
    while not done.wait(0.001):
        turns += 1
    runner.join()
    assert turns > 5
