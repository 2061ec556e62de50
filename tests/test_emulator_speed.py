"""The emulator keeps up: against Unicorn in the same run, asleep, and many at once."""

import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

pytest.importorskip("unicorn")

from emulator_support.build import build
from emulator_support.machine import B_SELF, SYST_CSR, SYST_RVR, WFI, machine, poke

from hil.chips import chip
from hil.cli import EXIT_TOOL, run
from hil.emulator import Emulator, Stop
from hil.experiment.emulator_speed import REPEATS, REQUIRED, compile_speed, measure_speed
from hil.firmware import find_compiler

CHIP = chip("atsamd21j18a")


@pytest.mark.parametrize("program", REPEATS)
def test_speed_against_unicorn(program, tmp_path):
    """With cycles and wait states counted, at least the required fraction of Unicorn's speed without hooks."""
    elf = compile_speed(program, find_compiler(), tmp_path, scale=0.3)
    speed = measure_speed(program, elf, rounds=3)
    assert speed.ratio >= REQUIRED.get(program, 0), speed
    assert speed.instructions > 10_000_000
    assert speed.cycles > speed.instructions


def test_bench_without_unicorn(monkeypatch, capsys):
    """The command says what is missing and how to get it."""
    monkeypatch.setattr("hil.cli.speed.has_oracle", lambda: False)
    assert run(["bench", "emulator"]) == EXIT_TOOL
    assert "pip install unicorn" in capsys.readouterr().err


def cpu_seconds(action):
    """Of this thread, which the load of the machine does not change."""
    begun = time.thread_time()
    action()
    return time.thread_time() - begun


@pytest.fixture(scope="module")
def busy_s():
    """What 50 million instructions cost."""
    emulator = machine([0x3001, 0xE7FD])  # adds r0, #1; b back: no branch to itself
    return cpu_seconds(lambda: emulator.run(150_000_000))


@pytest.mark.parametrize("code", [[WFI, 0xE7FD], [B_SELF]])
def test_waiting_costs_nothing(code, busy_s):
    """An hour of virtual time asleep, or in a branch to itself, costs less than three virtual seconds of work."""
    emulator = machine(code)
    spent = cpu_seconds(lambda: emulator.run(3600 * 1_000_000, stop_when_idle=False))
    assert emulator.seconds >= 3600
    assert spent < busy_s


def test_sleep_between_ticks_is_skipped(busy_s):
    """A thousand seconds of sleep with 1,000 ticks take the time of the handlers only."""
    emulator = machine([WFI, 0xE7FD], {15: [0x4770]})
    poke(emulator, SYST_RVR, 999_999)
    poke(emulator, SYST_CSR, 7)
    assert cpu_seconds(lambda: emulator.run(1_000_000_000, stop_when_idle=False)) < busy_s
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
