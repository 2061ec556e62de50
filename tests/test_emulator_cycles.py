"""Cycles: the timing table instruction by instruction, the flash with its cache, and both loops against each other."""

import random

import pytest
from emulator_support import programs
from emulator_support.machine import (
    B_SELF,
    BX_LR,
    CODE,
    NOP,
    NVMCTRL_CTRLB,
    flash_mode,
    machine,
    poke,
    step,
)
from emulator_support.programs import REGISTER
from emulator_support.single import is_valid

from hil.chips import RAM_BASE
from hil.emulator import Emulator, Stop

RAM = RAM_BASE + 0x1000
PORT_BUS, PORT_IOBUS = 0x41004400, 0x60000000

ONE = {
    "lsls r1, r2, #3": 0x00D1, "lsrs r1, r2, #3": 0x08D1, "asrs r1, r2, #3": 0x10D1,
    "adds r1, r2, r3": 0x18D1, "subs r1, r2, r3": 0x1AD1, "adds r1, r2, #1": 0x1C51, "subs r1, r2, #1": 0x1E51,
    "movs r1, #200": 0x21C8, "cmp r1, #200": 0x29C8, "adds r1, #200": 0x31C8, "subs r1, #200": 0x39C8,
    "ands r1, r2": 0x4011, "eors r1, r2": 0x4051, "lsls r1, r2": 0x4091, "lsrs r1, r2": 0x40D1,
    "asrs r1, r2": 0x4111, "adcs r1, r2": 0x4151, "sbcs r1, r2": 0x4191, "rors r1, r2": 0x41D1,
    "tst r1, r2": 0x4211, "rsbs r1, r2": 0x4251, "cmp r1, r2": 0x4291, "cmn r1, r2": 0x42D1,
    "orrs r1, r2": 0x4311, "muls r1, r2": 0x4351, "bics r1, r2": 0x4391, "mvns r1, r2": 0x43D1,
    "add r8, r1": 0x4488, "cmp r8, r1": 0x4588, "mov r8, r1": 0x4688, "mov r1, pc": 0x4679,
    "adr r1, +8": 0xA102, "add r1, sp, #8": 0xA902, "add sp, #8": 0xB002, "sub sp, #8": 0xB082,
    "sxth r1, r2": 0xB211, "sxtb r1, r2": 0xB251, "uxth r1, r2": 0xB291, "uxtb r1, r2": 0xB2D1,
    "rev r1, r2": 0xBA11, "rev16 r1, r2": 0xBA51, "revsh r1, r2": 0xBAD1, "nop": NOP, "yield": 0xBF10,
    "cpsid i": 0xB672, "cpsie i": 0xB662, "sev": 0xBF40,
}  # fmt: skip
TWO = {
    "ldr r1, [pc, #4]": 0x4901, "ldr r1, [sp, #4]": 0x9901, "str r1, [sp, #4]": 0x9101,
    "ldr r1, [r0, #4]": 0x6841, "ldrh r1, [r0, #4]": 0x8881, "ldrb r1, [r0, #4]": 0x7901,
    "str r1, [r0, #4]": 0x6041, "strh r1, [r0, #4]": 0x8081, "strb r1, [r0, #4]": 0x7101,
    "ldr r1, [r0, r7]": 0x59C1, "ldrh r1, [r0, r7]": 0x5BC1, "ldrb r1, [r0, r7]": 0x5DC1,
    "ldrsh r1, [r0, r7]": 0x5FC1, "ldrsb r1, [r0, r7]": 0x57C1,
    "str r1, [r0, r7]": 0x51C1, "strh r1, [r0, r7]": 0x53C1, "strb r1, [r0, r7]": 0x55C1,
    "b .+8": 0xE002, "bx r6": 0x4730, "blx r6": 0x47B0, "mov pc, r6": 0x46B7, "add pc, r5": 0x44AF,
    "wfi": 0xBF30,
}  # fmt: skip
THREE = {
    "bl .+8": [0xF000, 0xF802], "mrs r1, primask": [0xF3EF, 0x8110], "msr primask, r7": [0xF387, 0x8810],
    "dmb": [0xF3BF, 0x8F5F], "dsb": [0xF3BF, 0x8F4F], "isb": [0xF3BF, 0x8F6F],
}  # fmt: skip
LISTS = [
    *((f"push, {n} registers", 0xB400 | (1 << n) - 1, 1 + n) for n in range(1, 9)),
    *((f"pop, {n} registers", 0xBC00 | (1 << n) - 1, 1 + n) for n in range(1, 9)),
    *((f"stm r0!, {n} registers", 0xC000 | (1 << n) - 1, 1 + n) for n in range(1, 9)),
    *((f"ldm r0, {n} registers", 0xC800 | (1 << n) - 1, 1 + n) for n in range(1, 9)),
    ("push {r0-r7, lr}", 0xB5FF, 10),
    *((f"pop, {n} registers and pc", 0xBD00 | (1 << n) - 1, 4 + n) for n in range(9)),
]
TABLE = [
    *((name, [code], 1) for name, code in ONE.items()),
    *((name, [code], 2) for name, code in TWO.items()),
    *((name, code, 3) for name, code in THREE.items()),
    *((name, [code], cycles) for name, code, cycles in LISTS),
]


@pytest.mark.parametrize(("name", "code", "cycles"), TABLE, ids=[row[0] for row in TABLE])
def test_instruction_takes_its_cycles(name, code, cycles):
    """Each instruction costs what the Technical Reference Manual's table says, from flash and from RAM."""
    emulator = machine([*code, NOP, NOP, NOP, NOP])
    emulator.load(RAM, (CODE | 1).to_bytes(4, "little") * 16)
    state = {"r0": RAM, "r2": 5, "r3": 7, "r5": 0, "r6": CODE | 1, "r7": 0, "sp": RAM}
    assert step(emulator, **state) == cycles
    place = RAM_BASE + 0x2000
    emulator.load(place, b"".join(x.to_bytes(2, "little") for x in [*code, NOP, NOP, NOP, NOP]))
    emulator.set_register("pc", place)
    assert step(emulator, **state) == cycles


@pytest.mark.parametrize("condition", range(14))
@pytest.mark.parametrize("flags", range(16))
def test_conditional_branch(condition, flags):
    """A branch costs 2 cycles taken and 1 not taken, and is taken as the flags N, Z, C, V say."""
    n, z, c, v = (bool(flags & bit) for bit in (8, 4, 2, 1))
    holds = [z, c, n, v, c and not z, n == v, not z and n == v][condition >> 1] != bool(condition & 1)
    emulator = machine([0xD002 | condition << 8, NOP, NOP, NOP, NOP])
    cycles = step(emulator, xpsr=flags << 28 | 1 << 24)
    assert (cycles, emulator.registers()["pc"]) == ((2, CODE + 8) if holds else (1, CODE + 2))


@pytest.mark.parametrize(("address", "cycles"), [(PORT_BUS, 2), (PORT_IOBUS, 1), (RAM, 2), (0x40000400, 2)])
def test_io_port_takes_one_cycle(address, cycles):
    """A load or store takes one cycle on the single-cycle port and two elsewhere."""
    assert step(machine([0x6801]), r0=address) == cycles
    assert step(machine([0x6001]), r0=address, r1=0) == cycles


def run_to_end(emulator):
    before = emulator.cycles
    assert emulator.run(1 << 40) is Stop.BKPT
    return emulator.cycles - before


def straight(n, mode):
    """Cycles of ``n`` NOPs from the beginning of a line, run twice: cold and, as far as the cache reaches, warm."""
    emulator = machine([NOP] * n)
    poke(emulator, NVMCTRL_CTRLB, mode)
    cold = run_to_end(emulator)
    emulator.set_register("pc", CODE)
    return cold, run_to_end(emulator)


@pytest.mark.parametrize("wait_states", [0, 1, 3, 15])
def test_straight_code_misses_once_a_line(wait_states):
    """Without a miss penalty a cold line of four instructions costs the wait states once, a warm one nothing."""
    assert straight(27, flash_mode(wait_states)) == (27 + 7 * wait_states, 27)


def test_cache_holds_eight_lines():
    """The cache is direct-mapped with 8 lines of 8 bytes: 8 lines stay (BKPT in the eighth), of 9 two fight."""
    assert straight(31, flash_mode(1)) == (31 + 8, 31)
    assert straight(32, flash_mode(1)) == (32 + 9, 32 + 2)


def test_low_power_mode_adds_a_wait_state_to_a_miss():
    """READMODE LOW_POWER costs one more for each miss, also with no wait state set."""
    assert straight(31, flash_mode(1, 1)) == (31 + 8 * 2, 31)
    assert straight(31, flash_mode(0, 1)) == (31 + 8, 31)


def test_deterministic_mode_costs_the_same_warm():
    """READMODE DETERMINISTIC costs the wait states for every line entered, hit or miss."""
    assert straight(31, flash_mode(1, 2)) == (31 + 8, 31 + 8)
    assert straight(31, flash_mode(2, 2)) == (31 + 16, 31 + 16)


def test_without_cache_every_line_costs():
    """CACHEDIS: each line entered costs the wait states."""
    assert straight(31, flash_mode(1, 0, True)) == (31 + 8, 31 + 8)


def test_branch_enters_its_line_again():
    """Without cache a loop inside one line pays the wait states at every jump."""
    emulator = machine([NOP, NOP, 0x3801, 0xD1FD])  # nop; nop; l: subs r0, #1; bne l
    emulator.set_register("r0", 10)
    poke(emulator, NVMCTRL_CTRLB, flash_mode(3, 0, True))
    # First line and nine jumps into it, then the line of the BKPT: 11 times 3 wait states.
    assert run_to_end(emulator) == 2 + 10 + 9 * 2 + 1 + 11 * 3


def test_literal_load_goes_through_the_cache():
    """A literal load misses once, then hits; a conflicting one evicts the line of the code."""
    emulator = machine([0x4807, 0x4807, NOP, NOP], at=CODE)  # both literals in line CODE + 32
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    assert [step(emulator) for _ in range(3)] == [2 + 2, 2, 1]
    emulator = machine([0x480F, NOP, NOP, 0xE7FB], at=CODE)  # literal 64 bytes on, then back to the beginning
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    assert [step(emulator) for _ in range(5)] == [2 + 2, 1, 1, 2, 2 + 2]


def test_data_in_flash_goes_through_the_cache():
    """Loads of data pay for each new line, register lists for each line they touch."""
    emulator = machine([0x7801, 0x7841, 0x7A01, 0xC80E], at=CODE)  # ldrb [r0], [r0, 1], [r0, 8]; ldm r0!, {r1-r3}
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    assert step(emulator, r0=0x2010) == 2 + 2
    assert [step(emulator), step(emulator)] == [2, 2 + 1]
    assert step(emulator, r0=0x2054) == 4 + 2


def test_ram_has_no_wait_states():
    """Code and data in RAM cost nothing extra whatever the flash is set to."""
    emulator = machine([NOP])
    poke(emulator, NVMCTRL_CTRLB, flash_mode(15))
    emulator.load(RAM, b"".join(x.to_bytes(2, "little") for x in [NOP, 0x6801, 0x6001, NOP, NOP]))
    emulator.set_register("pc", RAM)
    assert [step(emulator, r0=RAM + 256) for _ in range(5)] == [1, 2, 2, 1, 1]


def test_invall_empties_the_cache():
    """After INVALL every line misses again."""
    emulator = machine([NOP] * 15)
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    assert run_to_end(emulator) == 15 + 4
    poke(emulator, 0x41004000, 0xA546, 2)
    emulator.set_register("pc", CODE)
    assert run_to_end(emulator) == 15 + 4


def test_branch_with_link_across_lines_fetches_both():
    """BL whose halves lie in two lines looks up both."""
    emulator = machine([NOP, NOP, NOP, 0xF000, 0xF87E, NOP])
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    assert [step(emulator) for _ in range(4)] == [1 + 1, 1, 1, 3 + 1]


MODES = [
    flash_mode(0), flash_mode(1), flash_mode(3), flash_mode(1, 1), flash_mode(1, 2), flash_mode(2, 0, True),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES, ids=[f"ctrlb={m:#x}" for m in MODES])
@pytest.mark.parametrize("where", ["flash", "ram"])
def test_both_loops_count_alike(mode, where):
    """Whole programs take the same cycles and instructions at full speed, step by step, and in odd slices."""
    rng = random.Random(7)
    for _ in range(6):
        program = programs.generate(rng, in_ram=where == "ram")
        memory = rng.randbytes(0x8000)
        results = []
        for slice_cycles in (1 << 40, 1, 37, 200):
            emulator = machine([NOP])
            poke(emulator, NVMCTRL_CTRLB, mode)
            emulator.load(RAM_BASE, memory)
            emulator.load(program.address, program.code)
            for name in REGISTER:
                emulator.set_register(name, program.registers.get(name, 0))
            emulator.set_register("pc", program.address)
            while emulator.run(slice_cycles) is Stop.BUDGET:
                pass
            results.append(
                (emulator.cycles, emulator.instructions, emulator.registers(), emulator.read(RAM_BASE, 0x8000))
            )
        assert all(result == results[0] for result in results)


def test_code_that_changes_itself():
    """An instruction written by the one before it is executed as written, at full speed and step by step."""
    place = RAM_BASE + 0x100
    code = [0x8041, NOP, 0x3001, 0x4770]  # strh r1, [r0, #2]; nop -> movs r3, #7; adds r0, #1; bx lr
    for slice_cycles in (1 << 40, 1):
        emulator = machine([0x46F8, 0x4790, NOP])  # mov r8, pc; blx r2
        emulator.load(place, b"".join(x.to_bytes(2, "little") for x in code))
        for name, value in {"r0": place, "r1": 0x2307, "r2": place | 1, "r3": 0}.items():
            emulator.set_register(name, value)
        while emulator.run(slice_cycles) is Stop.BUDGET:
            pass
        assert emulator.registers()["r3"] == 7
        assert emulator.registers()["r0"] == place + 1


def test_endless_loop_skips_ahead_exactly():
    """A branch to itself ends a budget at a whole number of rounds of two cycles."""
    emulator = machine([B_SELF])
    assert emulator.run(1_000_000_001, stop_when_idle=False) is Stop.BUDGET
    assert emulator.cycles == 1_000_000_002
    assert emulator.instructions == 500_000_001
    assert emulator.run(100) is Stop.HUNG


def test_counts_of_a_known_loop():
    """Ten rounds of subs and bne: 10 + 9 * 2 + 1 cycles, 20 instructions."""
    emulator = machine([0x200A, 0x3801, 0xD1FD, BX_LR])
    emulator.set_register("lr", CODE + 9)
    assert emulator.run(1 << 40) is Stop.BKPT
    assert emulator.cycles == 1 + 10 + 9 * 2 + 1 + 2
    assert emulator.instructions == 22


def test_many_valid_instructions_are_known():
    """The list of valid instructions that other tests draw from is as long as the architecture says."""
    assert sum(map(is_valid, range(1 << 16))) > 46_000
    assert isinstance(machine([NOP]), Emulator)
