"""The debug unit of the emulated core: what it stops at, and what a debugger sees and can do from outside."""

import dataclasses
import zlib

import pytest
from elftools.elf.elffile import ELFFile
from probe_support import J18A, compile_program

from hil.emulator import Stop
from hil.probe.bus import DebugBus
from hil.probe.chip import BKPT, DWTTRAP, HALTED, VCATCH, DebuggedChip, Setup
from hil.probe.components import BPU, CORE_ROM, DSU_ROM, DWT, IDENTIFICATION, MTB, SCS
from hil.probe.dap import BusFault
from hil.probe.registers import (
    AIRCR,
    BP_COMP0,
    BP_CTRL,
    C_DEBUGEN,
    C_HALT,
    C_MASKINTS,
    C_STEP,
    DCRDR,
    DCRSR,
    DEMCR,
    DFSR,
    DHCSR,
    DWT_COMP0,
    S_HALT,
    S_LOCKUP,
    S_RESET_ST,
    S_RETIRE_ST,
    S_SLEEP,
    VC_CORERESET,
    VC_HARDERR,
)

KEY = 0xA05F0000
RESET = 0x05FA0004
DSU = 0x41002100
LOWER, UPPER, BOTH = 1 << 30, 2 << 30, 3 << 30
READ, WRITE, EITHER, PC_MATCH = 5, 6, 7, 4
R0, SP, LR, PC, XPSR = 0, 13, 14, 15, 16
LONG = 100_000


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The file and its symbols."""
    path = compile_program(tmp_path_factory.mktemp("program"))
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return path, {s.name: s["st_value"] & ~1 for s in table.iter_symbols()}


class Bench:
    """A chip with the program, and its debug bus."""

    def __init__(self, program):
        path, self.symbol = program
        self.chip = DebuggedChip(J18A)
        self.chip.load_elf(path)
        self.bus = DebugBus(self.chip)

    def read(self, address, size=4):
        return self.bus.read(address, size)

    def write(self, address, value, size=4):
        self.bus.write(address, size, value)

    def control(self, bits):
        self.write(DHCSR, KEY | bits)

    def halt(self):
        self.control(C_DEBUGEN | C_HALT)

    def go(self, cycles=LONG, bits=0):
        self.control(C_DEBUGEN | bits)
        return self.chip.run(cycles)

    def register(self, number, value=None):
        if value is None:
            self.write(DCRSR, number)
            return self.read(DCRDR)
        self.write(DCRDR, value)
        self.write(DCRSR, 1 << 16 | number)
        return value

    def breakpoint(self, address, n=0, match=None):
        self.write(BP_CTRL, 3)
        match = match or (UPPER if address & 2 else LOWER)
        self.write(BP_COMP0 + 4 * n, address & ~3 | match | 1)

    def watch(self, address, function, mask=2, n=0):
        for offset, value in ((4, mask), (0, address), (8, function)):
            self.write(DWT_COMP0 + 16 * n + offset, value)


@pytest.fixture
def bench(program):
    made = Bench(program)
    made.halt()
    return made


# Halting and stepping


def test_a_halted_core_stands_still(bench):
    """S_HALT and C_HALT read 1, DFSR.HALTED is set, and no cycle passes."""
    assert bench.read(DHCSR) & (S_HALT | C_HALT | C_DEBUGEN) == S_HALT | C_HALT | C_DEBUGEN
    assert bench.read(DFSR) == HALTED
    before = bench.chip.cycles
    assert bench.chip.run(LONG) is Stop.IDLE
    assert bench.chip.cycles == before


def test_without_the_key_nothing_is_controlled(bench):
    """A write to DHCSR without 0xA05F does nothing."""
    bench.write(DHCSR, 0x12340000 | C_DEBUGEN)
    assert bench.read(DHCSR) & S_HALT


def test_a_step_is_one_instruction(bench):
    """Halted again with C_HALT, one instruction further, and S_RETIRE_ST once."""
    bench.read(DHCSR)
    pc, instructions = bench.register(PC), bench.chip.instructions
    bench.control(C_DEBUGEN | C_STEP)
    status = bench.read(DHCSR)
    assert status & (S_HALT | C_HALT | S_RETIRE_ST) == S_HALT | C_HALT | S_RETIRE_ST
    assert not bench.read(DHCSR) & S_RETIRE_ST
    assert bench.chip.instructions == instructions + 1
    assert bench.register(PC) != pc


def test_letting_go_of_debug_lets_the_core_run(bench):
    """C_DEBUGEN = 0."""
    bench.control(0)
    assert bench.chip.run(LONG) is Stop.BUDGET
    assert bench.read(DHCSR) & (S_HALT | C_HALT) == 0


def test_registers_go_through_dcrsr(bench):
    """All that there are; the PC without bit 0; CONTROL and PRIMASK share a word."""
    for number in range(13):
        assert bench.register(number, 0x1000 + number) == bench.register(number)
    bench.register(PC, 0x00000101)
    assert bench.register(PC) == 0x100
    bench.register(SP, 0x20001003)
    assert bench.register(SP) == bench.register(17) == 0x20001000
    bench.register(18, 0x20002000)
    assert bench.register(18) == 0x20002000
    bench.register(20, 0x02000001)
    assert bench.register(20) == 0x02000001
    assert bench.register(SP) == 0x20002000
    bench.register(XPSR, 0xF1000000)
    assert bench.register(XPSR) == 0xF1000000


def test_registers_of_a_running_core_stay_as_they_are(bench):
    """A transfer is ignored."""
    bench.control(C_DEBUGEN)
    bench.write(DCRDR, 0x55)
    bench.write(DCRSR, 1 << 16 | R0)
    bench.halt()
    assert bench.register(R0) != 0x55


# Breakpoints


def test_a_breakpoint_halts_before_its_instruction(bench):
    """DFSR.BKPT, PC on it, again and again."""
    bench.breakpoint(bench.symbol["add"])
    for expected in (0, 10, 30):
        assert bench.go() is Stop.HALT
        assert bench.register(PC) == bench.symbol["add"]
        assert bench.read(bench.symbol["total"]) == expected
        bench.write(BP_CTRL, 2)
        bench.control(C_DEBUGEN | C_STEP | C_MASKINTS)
        bench.write(BP_CTRL, 3)
    assert bench.read(DFSR) & BKPT
    bench.write(DFSR, BKPT)
    assert not bench.read(DFSR) & BKPT


@pytest.mark.parametrize("match", [LOWER, UPPER, BOTH])
def test_a_comparator_tells_the_halves_of_a_word_apart(bench, match):
    """BP_MATCH 01 the lower, 10 the upper, 11 both."""
    lower, upper = bench.symbol["main"] & ~3, bench.symbol["main"] | 2
    bench.breakpoint(lower, match=match)
    for address, bit in ((lower, LOWER), (upper, UPPER)):
        bench.register(PC, address)
        stop = bench.go(1)
        assert (stop is Stop.HALT) == bool(match & bit)
        bench.halt()


def test_there_are_four_breakpoints(bench):
    """BP_CTRL says four, each works, a fifth register is not there."""
    assert bench.read(BP_CTRL) >> 4 == 4
    places = ["reset_handler", "main", "add", "act"]
    for n, name in enumerate(places):
        bench.breakpoint(bench.symbol[name], n)
    for name in places:
        bench.register(PC, bench.symbol[name])
        assert bench.go(1) is Stop.HALT
    bench.write(BP_COMP0 + 16, 0xFFFFFFFF)
    assert bench.read(BP_COMP0 + 16) == 0


def test_comparators_work_only_while_they_are_enabled(bench):
    """Neither without BP_CTRL.ENABLE, nor without the comparator's own bit, nor without C_DEBUGEN."""
    bench.breakpoint(bench.symbol["add"])
    bench.write(BP_CTRL, 2)
    assert bench.go() is Stop.BUDGET
    bench.write(BP_CTRL, 0x1)  # without the key
    assert bench.go() is Stop.BUDGET
    bench.breakpoint(bench.symbol["add"])
    bench.control(0)
    assert bench.chip.run(LONG) is Stop.BUDGET
    bench.write(BP_COMP0, bench.symbol["add"] & ~3 | BOTH)
    assert bench.go() is Stop.BUDGET


def test_breakpoints_cost_no_cycles(program):
    """Up to a breakpoint the chip does the same in the same number of cycles as without one."""
    a, b = Bench(program), Bench(program)
    a.halt()
    a.breakpoint(a.symbol["act"])
    a.go()
    b.chip.run(a.chip.cycles)
    assert (a.chip.cycles, a.chip.instructions) == (b.chip.cycles, b.chip.instructions)
    assert a.chip.registers() == b.chip.registers()


def test_a_bkpt_instruction_halts(bench):
    """With C_DEBUGEN: DFSR.BKPT, PC on the instruction, also when resumed there."""
    bench.go()
    bench.halt()
    bench.write(DFSR, 0x1F)
    bench.write(bench.symbol["request"], 1)
    for _ in range(2):
        assert bench.go() is Stop.BKPT
        assert bench.read(bench.register(PC), 2) == 0xBE07
        assert bench.read(DFSR) == BKPT


def test_without_a_debugger_bkpt_is_a_fault(program):
    """It ends in the HardFault handler."""
    bench = Bench(program)
    bench.chip.run(LONG)
    bench.write(bench.symbol["request"], 1)
    assert bench.chip.run(LONG) is Stop.BUDGET
    assert bench.chip.read_register(XPSR) & 0x3F == 3


# Watchpoints


@pytest.mark.parametrize(("function", "hits"), [(READ, True), (WRITE, True), (EITHER, True), (0, False)])
def test_a_watchpoint_halts_after_the_access(bench, function, hits):
    """`total` is read and written: DFSR.DWTTRAP, MATCHED until it is read."""
    bench.go(2000)
    bench.halt()
    bench.write(DFSR, 0x1F)
    bench.watch(bench.symbol["total"], function)
    assert (bench.go() is Stop.WATCH) == hits
    assert bool(bench.read(DFSR) & DWTTRAP) == hits
    assert bool(bench.read(DWT_COMP0 + 8) & 1 << 24) == hits
    assert bench.read(DWT_COMP0 + 8) == function


def test_a_write_watchpoint_sees_the_new_value(bench):
    """Each stop shows the next sum."""
    bench.breakpoint(bench.symbol["main"])
    bench.go()
    bench.write(BP_CTRL, 2)
    bench.watch(bench.symbol["total"], WRITE, n=1)
    seen = []
    for _ in range(4):
        assert bench.go() is Stop.WATCH
        seen.append(bench.read(bench.symbol["total"]))
    assert seen == [10, 30, 60, 100]


def test_reads_do_not_trip_a_write_watchpoint(bench):
    """`steps` is only ever read."""
    bench.watch(bench.symbol["steps"], WRITE, mask=4)
    assert bench.go() is Stop.BUDGET
    bench.halt()
    bench.watch(bench.symbol["steps"], READ, mask=4)
    assert bench.go() is Stop.WATCH


@pytest.mark.parametrize(("offset", "mask", "hits"), [(0, 1, True), (2, 1, False), (0, 2, True), (3, 0, False)])
def test_a_watchpoint_covers_what_its_mask_says(bench, offset, mask, hits):
    """`where.x` is a halfword: its own address, not the halfword and the byte behind it; the word around both."""
    bench.watch(bench.symbol["where"] + offset, WRITE, mask)
    bench.breakpoint(bench.symbol["main"])
    bench.go()
    bench.write(BP_CTRL, 2)
    assert (bench.go() is Stop.WATCH) == hits


def test_a_watchpoint_can_watch_the_program_counter(bench):
    """FUNCTION 4."""
    bench.watch(bench.symbol["add"], PC_MATCH, mask=0)
    assert bench.go() is Stop.WATCH
    assert bench.read(DFSR) & DWTTRAP


def test_the_debuggers_own_accesses_are_not_watched(bench):
    """Reading and writing the variable from outside stops nothing."""
    bench.register(PC, bench.symbol["fault"])
    bench.watch(bench.symbol["where"], EITHER)
    bench.control(C_DEBUGEN | C_MASKINTS)
    bench.read(bench.symbol["where"])
    bench.write(bench.symbol["where"], 1)
    assert bench.chip.run(1000) is Stop.BUDGET


# Interrupts, faults, sleep, reset


def test_masked_interrupts_stay_away(bench):
    """With C_MASKINTS SysTick does not run its handler, however long the core runs; without it does."""
    bench.go(2000)
    bench.halt()
    ticks = bench.read(bench.symbol["ticks"])
    bench.control(C_DEBUGEN | C_HALT | C_MASKINTS)
    bench.go(5000, C_MASKINTS)
    bench.halt()
    assert bench.read(bench.symbol["ticks"]) == ticks
    bench.go(5000)
    assert bench.read(bench.symbol["ticks"]) > ticks


def test_a_hardfault_can_be_caught(bench):
    """VC_HARDERR halts on the handler's first instruction, with the frame stacked; without it the handler runs."""
    bench.go(2000)
    bench.halt()
    bench.write(DEMCR, VC_HARDERR)
    bench.write(bench.symbol["request"], 2)
    assert bench.go() is Stop.CATCH
    assert bench.read(DFSR) & VCATCH
    assert bench.register(PC) == bench.symbol["fault"]
    assert bench.register(XPSR) & 0x3F == 3
    stacked_pc = bench.read(bench.register(SP) + 24)
    assert bench.symbol["act"] <= stacked_pc < bench.symbol["act"] + 64


def test_lockup_is_shown_until_the_core_is_halted(bench):
    """S_LOCKUP while it lasts; halted it is gone, PC is 0xFFFFFFFE, and another PC lets the core run again."""
    bench.register(SP, 0x10000000)
    bench.register(PC, 0x30000000)
    assert bench.go() is Stop.LOCKUP
    assert bench.read(DHCSR) & (S_LOCKUP | S_HALT) == S_LOCKUP
    bench.halt()
    assert bench.read(DHCSR) & (S_LOCKUP | S_HALT) == S_HALT
    assert bench.register(PC) == 0xFFFFFFFE
    bench.register(SP, 0x20000800)
    bench.register(PC, bench.symbol["fault"])
    assert bench.go() is Stop.BUDGET


def test_sleep_is_shown_and_ends_with_a_halt(bench):
    """S_SLEEP in WFI; halted it is gone."""
    bench.go(2000)
    bench.halt()
    bench.write(0xE000E010, 0)  # SysTick off
    bench.write(bench.symbol["request"], 3)
    assert bench.go() is Stop.IDLE
    assert bench.read(DHCSR) & (S_SLEEP | S_HALT) == S_SLEEP
    bench.halt()
    assert bench.read(DHCSR) & (S_SLEEP | S_HALT) == S_HALT


def test_a_reset_can_be_caught(bench):
    """AIRCR with VC_CORERESET: halted on the first instruction; S_RESET_ST reads 1 once."""
    bench.go(2000)
    bench.read(DHCSR)
    bench.write(DEMCR, VC_CORERESET)
    bench.write(AIRCR, RESET)
    assert bench.register(PC) == bench.symbol["reset_handler"]
    assert bench.read(DFSR) & VCATCH
    assert bench.read(DHCSR) & (S_RESET_ST | S_HALT) == S_RESET_ST | S_HALT
    assert not bench.read(DHCSR) & S_RESET_ST


def test_a_reset_by_the_firmware_is_caught_as_well(bench):
    """And without VC_CORERESET the core runs on."""
    bench.go(2000)
    bench.write(bench.symbol["request"], 4)
    assert bench.chip.run(LONG) is Stop.RESET
    assert not bench.chip.halted
    bench.chip.run(2000)
    bench.write(DEMCR, VC_CORERESET)
    bench.write(bench.symbol["request"], 4)
    assert bench.chip.run(LONG) is Stop.RESET
    assert bench.chip.halted
    assert bench.register(PC) == bench.symbol["reset_handler"]


def test_a_reset_keeps_what_the_debugger_has_set_up(bench):
    """C_DEBUGEN, DEMCR and the comparators."""
    bench.breakpoint(bench.symbol["main"])
    bench.write(AIRCR, RESET)
    assert bench.chip.run(LONG) is Stop.HALT
    assert bench.register(PC) == bench.symbol["main"]


def test_power_on_forgets_what_the_debugger_has_set_up(bench):
    """All of it."""
    bench.breakpoint(bench.symbol["main"])
    bench.write(DEMCR, VC_CORERESET | VC_HARDERR)
    bench.chip.cut_power()
    bench.chip.restore_power()
    assert bench.chip.setup == dataclasses.replace(Setup())
    assert bench.chip.run(LONG) is Stop.BUDGET


# The chip from outside


def test_a_pin_reset_with_clock_low_holds_the_core(bench):
    """DSU.STATUSA.CRSTEXT: the core stays in reset, memory answers, and a write of one lets it go."""
    bench.control(0)
    bench.chip.drive(clock_low=True, reset_low=True)
    with pytest.raises(BusFault):
        bench.read(0)
    bench.chip.drive(clock_low=True, reset_low=False)
    assert bench.read(DSU + 1, 1) & 2
    assert bench.chip.run(LONG) is Stop.IDLE
    assert bench.read(DHCSR) & S_RESET_ST
    assert bench.read(0) == 0x20000800
    bench.write(DSU + 1, 2, 1)
    assert not bench.read(DSU + 1, 1) & 2
    assert bench.chip.run(LONG) is Stop.BUDGET


def test_a_core_held_in_reset_can_be_caught(bench):
    """The vector catch set while it is held works once it is released; so does a pending halt."""
    for setup, cause in (((DEMCR, VC_CORERESET), VCATCH), ((DEMCR, 0), HALTED)):
        bench.chip.drive(clock_low=True, reset_low=True)
        bench.chip.drive(clock_low=True, reset_low=False)
        bench.write(DFSR, 0x1F)
        bench.write(*setup)
        bench.halt()
        assert not bench.read(DHCSR) & S_HALT
        bench.write(DSU + 1, 2, 1)
        assert bench.register(PC) == bench.symbol["reset_handler"]
        assert bench.read(DFSR) == cause


def test_a_pin_reset_with_clock_high_does_not(bench):
    """The core runs at once."""
    bench.control(0)
    bench.chip.drive(clock_low=False, reset_low=True)
    bench.chip.drive(clock_low=False, reset_low=False)
    assert not bench.read(DSU + 1, 1) & 2
    assert bench.chip.run(LONG) is Stop.BUDGET


def test_a_protected_chip_shows_its_service_unit_only(bench):
    """NVMCTRL's SSB: flash, RAM, core and the DSU's inner registers answer with an error, also after a reset."""
    bench.write(0x41004000, 0xA545, 2)
    for _ in range(2):
        for address in (0, 0x20000000, 0xE000ED00, 0x41002018, 0x41004018):
            with pytest.raises(BusFault):
                bench.read(address)
            with pytest.raises(BusFault):
                bench.write(address, 0)
        assert bench.read(DSU + 2, 1) & 1
        assert bench.read(DSU + 0x18) == J18A.device_id
        assert bench.read(DSU_ROM) == IDENTIFICATION[DSU_ROM]
        bench.chip.reset()


def test_chip_erase_ends_the_protection_with_the_next_reset(bench):
    """Flash and RAM are gone; the user row is not."""
    row = bench.read(0x804000)
    bench.write(0x20001000, 0x12345678)
    bench.write(0x41004000, 0xA545, 2)
    bench.write(DSU, 1 << 4, 1)
    assert bench.read(DSU + 1, 1) & 1
    assert bench.read(DSU + 2, 1) & 1
    bench.chip.reset()
    assert not bench.read(DSU + 2, 1) & 1
    assert bench.read(0) == 0xFFFFFFFF
    assert bench.read(0x20001000) != 0x12345678
    assert bench.read(0x804000) == row


def test_the_service_unit_computes_a_crc(bench):
    """That of zlib, over the memory named; a protected chip tells it of its whole flash only."""

    def crc(address, length):
        bench.write(DSU + 1, 0x1D, 1)
        for offset, value in ((4, address), (8, length), (0xC, 0xFFFFFFFF)):
            bench.write(DSU + offset, value)
        bench.write(DSU, 1 << 2, 1)
        return bench.read(DSU + 1, 1) & 0x1D, bench.read(DSU + 0xC) ^ 0xFFFFFFFF

    assert crc(0, 256) == (1, zlib.crc32(bench.chip.read(0, 256)))
    assert crc(0x10000000, 256)[0] == 1 | 1 << 2
    whole = zlib.crc32(bench.chip.read(0, J18A.flash_bytes))
    bench.write(0x41004000, 0xA545, 2)
    assert crc(0, 256)[0] == 1 << 4
    assert crc(0, J18A.flash_bytes) == (1, whole)


def test_flash_works_while_the_core_is_halted(bench):
    """An erase started from outside ends, as time passes with each access."""
    bench.write(0x4100401C, 0x1000 // 2)
    bench.chip.load(0x1000, bytes(256))
    bench.write(0x41004000, 0xA502, 2)
    accesses = 1
    while not bench.read(0x41004014, 1) & 1:
        accesses += 1
        assert accesses < 10_000
    assert bench.read(0x1000) == 0xFFFFFFFF
    assert accesses > 1


def test_an_erase_cut_short_is_left_half_done(bench):
    """Power lost while a row is being erased: neither what was there nor blank."""
    bench.chip.load(0x1000, bytes(256))
    bench.write(0x4100401C, 0x1000 // 2)
    bench.write(0x41004000, 0xA502, 2)
    bench.chip.cut_power()
    with pytest.raises(BusFault):
        bench.read(0)
    bench.chip.restore_power()
    row = bench.chip.read(0x1000, 256)
    assert row not in (bytes(256), b"\xff" * 256)


def test_power_can_be_made_to_fail_at_a_moment(bench):
    """After so many virtual seconds of running, to the instruction."""
    began = bench.chip.seconds
    bench.chip.cut_power_after(0.005)
    bench.go(10_000_000)
    assert not bench.chip.powered
    bench.chip.restore_power()
    assert bench.chip.seconds == pytest.approx(began + 0.005, abs=1e-4)


@pytest.mark.parametrize(("base", "part", "kind"), [
    (DSU_ROM, 0xCD0, 1), (CORE_ROM, 0x4C0, 1), (SCS, 0x008, 0xE), (DWT, 0x00A, 0xE), (BPU, 0x00B, 0xE), (MTB, 0x932, 9),
])  # fmt: skip
def test_components_identify_themselves(bench, base, part, kind):
    """Part number from PIDR0 and 1, class from CIDR1, preamble in the others."""
    ids = [bench.read(base + 0xFE0 + 4 * i) for i in range(8)]
    assert ids[0] | (ids[1] & 0xF) << 8 == part
    assert [ids[4], ids[5] >> 4, ids[6], ids[7]] == [0x0D, kind, 0x05, 0xB1]


def test_the_rest_of_the_private_bus_is_empty(bench):
    """Reads as zero, ignores writes, and is not counted as an access to something unmodelled."""
    for address in (0xE000E004, 0xE000ED88, 0xE0000000, 0xE0040000, 0x41003008):
        bench.write(address, 0xFFFFFFFF)
        assert bench.read(address) == 0
    assert bench.chip.unmodelled == []


def test_what_is_not_mapped_is_a_fault(bench):
    """Reading and writing."""
    for address in (0x10000000, 0x30000000, 0x50000000):
        with pytest.raises(BusFault):
            bench.read(address)
        with pytest.raises(BusFault):
            bench.write(address, 0)
