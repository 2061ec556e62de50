"""Cycle counts that two independent counters agreed on (timing table, no wait states) come out within 1 %."""

import numpy as np
import pytest
from emulator_support.build import GCC, build, symbol
from emulator_support.machine import CHIP, NVMCTRL_CTRLB, flash_mode, poke

from hil.emulator import Emulator, Stop

pytestmark = pytest.mark.skipif(GCC is None, reason="the counts are those of arm-none-eabi-gcc, which is not installed")
ROWS, COLUMNS = 128, 96
WEIGHTS, RETURN = 0x10000, 0x3FF00
INPUT, OUTPUT, STACK = 0x20007000, 0x20007200, 0x20006F00
DOT_ONE, DOT_FOUR, DOT_FOUR_1WS, GRU_STEP = 13.1, 7.36, 8.9, 1_893_468


@pytest.fixture(scope="module")
def program():
    return build("anchors.c")


def loaded(program, wait_states=0):
    emulator = Emulator(CHIP)
    emulator.load_elf(program)
    emulator.run(400)
    poke(emulator, NVMCTRL_CTRLB, flash_mode(wait_states))
    emulator.load(RETURN, b"\x00\xbe")
    return emulator


def call(emulator, program, name, *arguments):
    """Cycles of a call with up to five arguments, without the call itself."""
    emulator.load(STACK, b"".join(value.to_bytes(4, "little") for value in arguments[4:]))
    for i, value in enumerate(arguments[:4]):
        emulator.set_register(f"r{i}", value)
    for register, value in {"sp": STACK, "lr": RETURN | 1, "pc": symbol(program, name) & ~1}.items():
        emulator.set_register(register, value)
    before = emulator.cycles
    assert emulator.run(1 << 40) is Stop.BKPT, emulator.fault
    return emulator.cycles - before


def products(emulator, program, name, *sizes):
    """Run one of the kernels on random numbers, check its sums; cycles for each weight."""
    rng = np.random.default_rng(1)
    weights = rng.integers(-128, 128, (ROWS, COLUMNS)).astype(np.int8)
    x = rng.integers(-32768, 32768, COLUMNS).astype(np.int16)
    emulator.load(WEIGHTS, weights.tobytes())
    emulator.load(INPUT, x.tobytes())
    cycles = call(emulator, program, name, WEIGHTS, INPUT, OUTPUT, *sizes)
    got = np.frombuffer(emulator.read(OUTPUT, 4 * ROWS), np.int32)
    assert (got == weights.astype(np.int32) @ x.astype(np.int32)).all()
    return cycles / weights.size


def test_dot_products_row_by_row(program):
    """13.1 cycles a weight at H = 64."""
    assert products(loaded(program), program, "rows_one") == pytest.approx(DOT_ONE, rel=0.01)


def test_dot_products_four_rows_at_a_time(program):
    """7.36 cycles a weight at H = 64."""
    assert products(loaded(program), program, "rows_four", COLUMNS, ROWS) == pytest.approx(DOT_FOUR, rel=0.01)


def test_one_wait_state_costs_what_an_independent_model_says(program):
    """8.9 cycles a weight with one wait state for each miss of an 8-line cache, which nobody measured on silicon."""
    cycles = products(loaded(program, 1), program, "rows_four", COLUMNS, ROWS)
    assert cycles == pytest.approx(DOT_FOUR_1WS, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_float_gru_step(program, seed):
    """About 1.89 million cycles at D = H = 32: the sixth step of a freshly initialized GRU on normal inputs."""
    rng, emulator = np.random.default_rng(seed), loaded(program)
    for name, n in (("gru_w", 3072), ("gru_u", 3072), ("gru_b", 96), ("gru_c", 96)):
        emulator.load(symbol(program, name), rng.uniform(-(32**-0.5), 32**-0.5, n).astype(np.float32).tobytes())
    emulator.load(symbol(program, "gru_h"), bytes(4 * 32))
    for _ in range(6):
        emulator.load(symbol(program, "gru_x"), rng.normal(0, 0.5, 32).astype(np.float32).tobytes())
        cycles = call(emulator, program, "gru_step")
    assert cycles == pytest.approx(GRU_STEP, rel=0.01)
