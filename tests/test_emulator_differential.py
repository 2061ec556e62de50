"""The emulator against Unicorn: valid instructions one by one and in whole programs.

A million single instructions and 300 programs by default; HIL_DIFFERENTIAL=10 does ten times as many.
"""

import os
import random

import numpy as np
import pytest

pytest.importorskip("unicorn")

from emulator_support import programs, single
from emulator_support.oracle import BKPT, Pair

SCALE = float(os.environ.get("HIL_DIFFERENTIAL", "1"))
SINGLE = int(1_000_000 * SCALE)
PROGRAMS = int(300 * SCALE)
VALID = [w for w in range(1 << 16) if single.is_valid(w)]


def first_difference(w, inputs, expected, got):
    """One line about the first record in which the outputs differ."""
    record, column = np.argwhere(expected != got)[0]
    return (
        f"{w:04x}, record {record}: {single.OUTPUT_NAMES[column]} expected {expected[record, column]:08x}, "
        f"got {got[record, column]:08x}; input {' '.join(f'{x:08x}' for x in inputs[record])}"
    )


def outputs(ram):
    words = np.frombuffer(ram, np.uint32)
    begin = (single.OUTPUTS - single.RAM_BASE) // 4
    return words[begin : begin + single.RECORDS * single.WORDS].reshape(single.RECORDS, single.WORDS)


def run_encoding(pair, w, begin, end, rng):
    inputs = single.inputs(w, rng)
    pair.load(single.CURSOR, np.array([single.INPUTS, single.OUTPUTS, single.RECORDS], np.uint32).tobytes())
    pair.load(single.INPUTS, inputs.tobytes())
    pair.run(begin, end)
    expected, got = pair.ram()
    assert (outputs(expected) == outputs(got)).all(), first_difference(w, inputs, outputs(expected), outputs(got))
    assert expected == got, f"{w:04x}: memory differs"


def test_a_million_single_instructions():
    """Every register, flag and byte of memory is equal after each of a million random instructions."""
    rng, pair = np.random.default_rng(3), Pair()
    pair.load(single.RAM_BASE, rng.bytes(0x8000))
    chosen = rng.permutation(VALID * (1 + SINGLE // (len(VALID) * single.RECORDS)))[: SINGLE // single.RECORDS + 1]
    capacity = 1500
    for start in range(0, len(chosen), capacity):
        image, places = bytearray(), []
        for w in map(int, chosen[start : start + capacity]):
            keeper = next(r for r in rng.permutation([8, 9, 10, 11, 12, 14]) if r not in single.high_registers(w))
            places.append((w, len(image)))
            image += single.block(w, len(image), int(keeper)) + BKPT.to_bytes(2, "little") + b"\x00\xbf"
        pair.load(0, bytes(image))
        ends = [place for _, place in places[1:]] + [len(image)]
        for (w, begin), end in zip(places, ends, strict=True):
            run_encoding(pair, w, begin, end - 4, rng)


@pytest.mark.parametrize("where", ["flash", "ram"])
def test_random_programs(where):
    """Registers, flags and memory are equal after each whole program: loops, calls, branches, lists."""
    rng, pair = random.Random(4), Pair()
    for number in range(PROGRAMS // 2):
        program = programs.generate(rng, in_ram=where == "ram")
        pair.load(programs.RAM_BASE, rng.randbytes(0x8000))
        pair.load(program.address, program.code)
        pair.oracle.ctl_flush_tb()
        for name, value in program.registers.items():
            pair.emulator.set_register(name, value)
            pair.oracle.reg_write(programs.REGISTER[name], value)
        pair.run(program.address, program.address + len(program.code) - 2)
        expected, got = pair.registers()
        assert expected == got, f"program {number} in {where}: registers differ"
        expected_ram, got_ram = pair.ram()
        assert expected_ram == got_ram, f"program {number} in {where}: memory differs"
