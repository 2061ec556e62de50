"""Exceptions: entry, return, priorities, late arrival, tail-chaining, sleep, and everything that faults."""

import itertools
import struct

import pytest
from emulator_support.machine import (
    B_SELF,
    BKPT,
    BX_LR,
    CODE,
    CPSID,
    CPSIE,
    HARDFAULT,
    ICSR,
    IRQ0,
    NMI,
    NOP,
    NVIC_IPR,
    NVIC_ISER,
    NVIC_ISPR,
    PENDSV,
    SCR,
    SEV,
    SHPR2,
    SHPR3,
    STACK,
    SVC,
    SYST_CSR,
    SYST_CVR,
    SYST_RVR,
    SYSTICK,
    WFE,
    WFI,
    assemble,
    handler_at,
    machine,
    poke,
    step,
    word,
)

from hil.chips import RAM_BASE
from hil.emulator import FaultKind, Stop

PEND_SVC, PEND_PENDSV, PEND_NMI = 0, 1 << 28, 1 << 31
RETURN_CYCLES, ENTRY_CYCLES, TAIL_CYCLES = 13, 15, 6


def active(emulator):
    """Number of the exception being handled."""
    return emulator.registers()["xpsr"] & 0x3F


def irq_machine(*irqs, code=(NOP,) * 20, handlers=None):
    """A chip with interrupts enabled in the NVIC; ``irqs`` are (number, priority)."""
    emulator = machine(code, handlers)
    priorities = [0] * 32
    for number, priority in irqs:
        priorities[number] = priority << 6
    emulator.write(NVIC_IPR, bytes(priorities))
    poke(emulator, NVIC_ISER, sum(1 << number for number, _ in irqs))
    return emulator


def test_entry_stacks_eight_words_and_takes_fifteen_cycles():
    """An interrupt between two instructions: frame, LR, IPSR, vector and cycles as documented."""
    emulator = irq_machine((3, 0), handlers={IRQ0 + 3: [BX_LR]})
    state = {f"r{i}": 0x100 + i for i in range(13)} | {"lr": 0x1234, "xpsr": 0xA1000000}
    step(emulator, **state)
    poke(emulator, NVIC_ISPR, 1 << 3)
    assert step(emulator) == ENTRY_CYCLES
    registers = emulator.registers()
    assert (registers["pc"], registers["lr"], active(emulator)) == (handler_at(IRQ0 + 3), 0xFFFFFFF9, IRQ0 + 3)
    frame = struct.unpack("<8I", emulator.read(registers["sp"], 32))
    assert frame == (0x100, 0x101, 0x102, 0x103, 0x10C, 0x1234, CODE + 2, 0xA1000000)
    assert registers["sp"] == STACK - 32
    assert step(emulator) == RETURN_CYCLES
    after = emulator.registers()
    assert all(after[name] == value for name, value in state.items())
    assert (after["pc"], after["sp"]) == (CODE + 2, STACK)


def test_frame_is_aligned_to_eight():
    """SP on a multiple of four only is remembered in bit 9 of the stacked xPSR and restored."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [BX_LR]})
    step(emulator, sp=STACK - 4)
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    assert emulator.registers()["sp"] == STACK - 40
    assert word(emulator, STACK - 40 + 28) & 0x200
    step(emulator)
    assert emulator.registers()["sp"] == STACK - 4


def test_pop_returns_from_an_exception():
    """POP {r4, pc} with EXC_RETURN: its loads and the return."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [0xB510, 0xBD10]})
    poke(emulator, NVIC_ISPR, 1)
    assert [step(emulator) for _ in range(3)] == [ENTRY_CYCLES, 3, 3 + 2 - 2 + RETURN_CYCLES]
    assert emulator.registers()["pc"] == CODE


def test_process_stack():
    """Thread mode on PSP: the frame goes there, LR says so, the handler runs on MSP."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [BX_LR]}, code=[0xF380, 0x8809, 0xF381, 0x8814, NOP, NOP])
    process = RAM_BASE + 0x2000
    emulator.set_register("r0", process)
    emulator.set_register("r1", 2)
    step(emulator)
    step(emulator)
    assert (emulator.registers()["sp"], emulator.registers()["control"]) == (process, 2)
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    registers = emulator.registers()
    assert (registers["lr"], registers["sp"], registers["psp"]) == (0xFFFFFFFD, STACK, process - 32)
    step(emulator)
    assert (emulator.registers()["sp"], emulator.registers()["msp"]) == (process, STACK)


def test_more_urgent_interrupt_preempts():
    """Priority 1 interrupts priority 2; the return goes to the handler."""
    emulator = irq_machine((1, 2), (2, 1), handlers={IRQ0 + 1: [NOP, NOP, BX_LR], IRQ0 + 2: [BX_LR]})
    poke(emulator, NVIC_ISPR, 1 << 1)
    step(emulator)
    step(emulator)
    poke(emulator, NVIC_ISPR, 1 << 2)
    step(emulator)
    assert (active(emulator), emulator.registers()["lr"]) == (IRQ0 + 2, 0xFFFFFFF1)
    step(emulator)
    assert active(emulator) == IRQ0 + 1
    assert emulator.registers()["pc"] == handler_at(IRQ0 + 1) + 2


@pytest.mark.parametrize("second", [2, 3])
def test_equal_or_less_urgent_interrupt_waits_and_is_tail_chained(second):
    """It is entered 6 cycles after the first one's end, without stacking again."""
    emulator = irq_machine((1, 2), (2, second), handlers={IRQ0 + 1: [NOP, BX_LR], IRQ0 + 2: [BX_LR]})
    poke(emulator, NVIC_ISPR, 1 << 1)
    step(emulator)
    poke(emulator, NVIC_ISPR, 1 << 2)
    step(emulator)
    assert step(emulator) == TAIL_CYCLES
    assert (active(emulator), emulator.registers()["sp"]) == (IRQ0 + 2, STACK - 32)
    assert emulator.registers()["lr"] == 0xFFFFFFF9
    assert step(emulator) == RETURN_CYCLES
    assert emulator.registers()["pc"] == CODE


def test_lowest_number_wins_among_equals():
    """Of several pending interrupts of one priority the lowest number is entered first."""
    emulator = irq_machine((5, 1), (9, 1))
    poke(emulator, NVIC_ISPR, 1 << 9 | 1 << 5)
    step(emulator)
    assert active(emulator) == IRQ0 + 5


@pytest.mark.parametrize(("after", "first"), [(9, SYSTICK), (11, IRQ0)])
def test_late_arrival(after, first):
    """What becomes pending before the vector is chosen and is more urgent is entered instead, in the same 15 cycles."""
    emulator = irq_machine((0, 3), handlers={IRQ0: [BX_LR], SYSTICK: [BX_LR]})
    poke(emulator, SHPR3, 1 << 30)
    poke(emulator, SYST_RVR, 1000)
    poke(emulator, SYST_CVR, 0)
    poke(emulator, SYST_CSR, 7)
    while emulator.cycles < 1001 - after:
        step(emulator)
        emulator.set_register("pc", CODE)
    assert emulator.cycles == 1001 - after
    poke(emulator, NVIC_ISPR, 1)
    assert step(emulator) == ENTRY_CYCLES
    assert active(emulator) == first


def test_primask_holds_interrupts_back():
    """With PRIMASK set nothing but NMI and HardFault is entered; CPSIE lets them in."""
    emulator = irq_machine((0, 0), code=[CPSID, NOP, CPSIE, NOP])
    step(emulator)
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    assert active(emulator) == 0
    step(emulator)
    step(emulator)
    assert active(emulator) == IRQ0


def test_nmi_ignores_primask():
    """NMI is entered with PRIMASK set."""
    emulator = machine([CPSID, NOP, NOP])
    step(emulator)
    poke(emulator, ICSR, PEND_NMI)
    step(emulator)
    assert active(emulator) == NMI


def test_pendsv():
    """PENDSVSET enters PendSV; ICSR shows it pending before."""
    emulator = machine([NOP, NOP], {PENDSV: [BX_LR]})
    poke(emulator, ICSR, PEND_PENDSV)
    assert word(emulator, ICSR) == PEND_PENDSV | PENDSV << 12
    step(emulator)
    assert active(emulator) == PENDSV
    assert word(emulator, ICSR) == PENDSV


def test_svc_calls_the_handler_and_returns_behind_it():
    """SVC is entered in 15 cycles; the stacked PC is the next instruction."""
    emulator = machine([0xDF05, NOP], {SVC: [BX_LR]})
    assert step(emulator) == ENTRY_CYCLES
    assert active(emulator) == SVC
    assert word(emulator, emulator.registers()["sp"] + 24) == CODE + 2
    emulator.run(1)
    assert emulator.registers()["pc"] == CODE + 2


def test_svc_that_may_not_be_entered_is_a_hardfault():
    """SVC with PRIMASK set faults."""
    emulator = machine([CPSID, 0xDF05])
    emulator.run(1 << 20)
    assert emulator.fault.kind is FaultKind.SVC_PRIORITY
    assert active(emulator) == HARDFAULT


def test_systick_counts_and_interrupts():
    """RVR + 1 cycles between interrupts; COUNTFLAG clears on read; the value counts down from RVR."""
    emulator = machine([B_SELF], {SYSTICK: [BX_LR]})
    poke(emulator, SYST_RVR, 99)
    poke(emulator, SYST_CVR, 5)
    poke(emulator, SYST_CSR, 7)
    assert word(emulator, SYST_CVR) == 0
    emulator.run(10, stop_when_idle=False)
    assert word(emulator, SYST_CVR) == 100 - emulator.cycles
    entries = []
    while len(entries) < 5:
        emulator.run(1, stop_when_idle=False)
        if active(emulator) == SYSTICK:
            entries.append(emulator.cycles)
            emulator.run(1)
    assert [b - a for a, b in itertools.pairwise(entries)] == [100] * 4
    poke(emulator, SYST_CSR, 5)
    emulator.run(200, stop_when_idle=False)
    assert word(emulator, SYST_CSR) == 0x10005
    assert word(emulator, SYST_CSR) == 5


def test_systick_with_reload_zero_stands_still():
    """With RVR 0 the counter stays at 0 and never interrupts."""
    emulator = machine([B_SELF])
    poke(emulator, SYST_CSR, 7)
    emulator.run(1000, stop_when_idle=False)
    assert (word(emulator, SYST_CVR), active(emulator)) == (0, 0)


def test_wfi_sleeps_until_an_interrupt():
    """WFI takes its two cycles, sleeps to the next event, and the handler returns behind it."""
    emulator = machine([WFI, NOP], {SYSTICK: [BX_LR]})
    poke(emulator, SYST_RVR, 9_999)
    poke(emulator, SYST_CSR, 7)
    assert emulator.run(20_000) is Stop.IDLE
    assert emulator.asleep
    assert emulator.cycles == 2
    emulator.run(10_000, stop_when_idle=False)
    assert emulator.cycles >= 10_000
    assert active(emulator) == SYSTICK
    assert emulator.instructions == 1
    step(emulator)
    assert emulator.registers()["pc"] == CODE + 2


def test_wfi_with_primask_wakes_without_entering():
    """A masked interrupt ends WFI; execution goes on behind it."""
    emulator = irq_machine((0, 0), code=[CPSID, WFI, NOP, NOP])
    assert emulator.run(100) is Stop.IDLE
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    assert (active(emulator), emulator.registers()["pc"]) == (0, CODE + 6)


def test_wfe_and_sev():
    """SEV lets the next WFE pass and the one after sleeps."""
    emulator = machine([SEV, WFE, WFE, NOP])
    assert emulator.run(100) is Stop.IDLE
    assert emulator.registers()["pc"] == CODE + 6


def test_sevonpend_wakes_wfe():
    """With SEVONPEND an interrupt that is not enabled ends WFE."""
    emulator = machine([WFE, NOP, NOP])
    poke(emulator, SCR, 0x10)
    assert emulator.run(100) is Stop.IDLE
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    assert emulator.registers()["pc"] == CODE + 4


def test_sevonpend_is_about_becoming_pending():
    """An interrupt that stays pending is an event once: the next WFE sleeps; so does one before which SCR was set."""
    emulator = machine([WFE, WFE, NOP])
    poke(emulator, SCR, 0x10)
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(100) is Stop.IDLE
    assert emulator.registers()["pc"] == CODE + 4
    emulator = machine([WFE, NOP])
    poke(emulator, NVIC_ISPR, 1)
    step(emulator, pc=CODE + 2)
    poke(emulator, SCR, 0x10)
    emulator.set_register("pc", CODE)
    assert emulator.run(100) is Stop.IDLE
    assert emulator.registers()["pc"] == CODE + 2


def test_masked_interrupt_does_not_end_wfe():
    """PRIMASK holds back from WFE what it holds back from the core; WFI ends."""
    for code, stop in ((WFE, Stop.IDLE), (WFI, Stop.BKPT)):
        emulator = machine([code, NOP])
        emulator.set_register("primask", 1)
        poke(emulator, NVIC_ISER, 1)
        poke(emulator, NVIC_ISPR, 1)
        assert emulator.run(100) is stop


def test_entry_and_return_are_events():
    """Behind an exception WFE passes once."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [BX_LR]}, code=[NOP, WFE, WFE, NOP])
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(1000) is Stop.IDLE
    assert emulator.registers()["pc"] == CODE + 6


def test_wfi_in_a_handler_needs_more_urgency():
    """An interrupt of the handler's own priority does not end its WFI; a more urgent one does, and NMI."""
    for second, stop in ((1, Stop.IDLE), (0, Stop.BKPT)):
        emulator = irq_machine((0, 1), (1, second), handlers={IRQ0: [WFI, BKPT], IRQ0 + 1: [BX_LR]})
        poke(emulator, NVIC_ISPR, 1)
        assert emulator.run(100) is Stop.IDLE
        poke(emulator, NVIC_ISPR, 2)
        assert emulator.run(100) is stop
    emulator = irq_machine((0, 0), handlers={IRQ0: [CPSID, WFI, BKPT], NMI: [BX_LR]})
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(100) is Stop.IDLE
    poke(emulator, ICSR, 1 << 31)
    assert emulator.run(100) is Stop.BKPT


@pytest.mark.parametrize("exception", [NMI, HARDFAULT, SVC, PENDSV, IRQ0])
def test_system_reset_request_in_a_handler(exception):
    """It resets whatever the core is doing, and nothing of the exception is left."""
    handler = [0x6001]  # str r1, [r0]
    emulator = machine(
        [0xDF00 if exception == SVC else 0xDE00 if exception == HARDFAULT else NOP], {exception: handler}
    )
    emulator.set_register("r0", 0xE000ED0C)
    emulator.set_register("r1", 0x05FA0004)
    if exception == IRQ0:
        poke(emulator, NVIC_ISER, 1)
        poke(emulator, NVIC_ISPR, 1)
    elif exception in (NMI, PENDSV):
        poke(emulator, ICSR, 1 << (31 if exception == NMI else 28))
    assert emulator.run(1000) is Stop.RESET
    registers = emulator.registers()
    assert (registers["pc"], registers["xpsr"] & 0x3F, registers["primask"], registers["control"]) == (CODE, 0, 0, 0)
    assert word(emulator, ICSR) == 0
    assert word(emulator, NVIC_ISER) == 0


def test_vtor_is_aligned_to_its_table():
    """Bits below 256 bytes read as zero; after reset it is 0."""
    emulator = machine([NOP])
    assert word(emulator, 0xE000ED08) == 0
    poke(emulator, 0xE000ED08, 0x200001FF)
    assert word(emulator, 0xE000ED08) == 0x20000100


def test_vector_that_cannot_be_read():
    """A table that lies nowhere: the interrupt's vector faults, then HardFault's, and the core locks up."""
    emulator = irq_machine((0, 0), handlers={HARDFAULT: [BKPT]})
    poke(emulator, 0xE000ED08, 0x30000000)
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(1000) is Stop.LOCKUP


def test_interrupts_that_do_not_exist():
    """Of 32 the chip has 28: the other bits and priorities read as zero."""
    emulator = machine([NOP])
    for address in (NVIC_ISER, NVIC_ISPR, NVIC_IPR + 28):
        poke(emulator, address, 0xFFFFFFFF)
    assert word(emulator, NVIC_ISER) == word(emulator, NVIC_ISPR) == 0x0FFFFFFF
    assert word(emulator, NVIC_IPR + 28) == 0
    assert emulator.unmodelled == []


def test_sleep_on_exit():
    """With SLEEPONEXIT the return to thread mode goes to sleep."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [BX_LR]})
    poke(emulator, SCR, 2)
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(1000) is Stop.IDLE
    assert emulator.registers()["pc"] == CODE


def test_vtor_moves_the_vectors():
    """Vectors are fetched where VTOR points."""
    emulator = irq_machine((0, 0))
    emulator.load(RAM_BASE + 0x100 + 4 * IRQ0, (handler_at(NMI) | 1).to_bytes(4, "little"))
    poke(emulator, 0xE000ED08, RAM_BASE + 0x100)
    poke(emulator, NVIC_ISPR, 1)
    step(emulator)
    assert emulator.registers()["pc"] == handler_at(NMI)


def test_system_reset_request():
    """AIRCR.SYSRESETREQ resets the chip; PM.RCAUSE says so; RAM stays; time goes on."""
    emulator = machine([NOP, 0x6001, NOP])  # str r1, [r0]
    emulator.load(RAM_BASE, b"kept")
    step(emulator)
    emulator.set_register("r0", 0xE000ED0C)
    emulator.set_register("r1", 0x05FA0004)
    seconds = emulator.seconds
    assert emulator.run(100) is Stop.RESET
    assert (emulator.cycles, emulator.registers()["pc"], emulator.read(0x40000438, 1)) == (0, CODE, b"\x40")
    assert emulator.read(RAM_BASE, 4) == b"kept"
    assert emulator.seconds > seconds


def test_aircr_needs_its_key():
    """A write without the key does nothing."""
    emulator = machine([0x6001, NOP])
    emulator.set_register("r0", 0xE000ED0C)
    emulator.set_register("r1", 4)
    assert emulator.run(100) is Stop.BKPT


def test_bkpt_stops_and_without_debugger_faults():
    """BKPT stops the run where it stands; without a debugger it is a HardFault."""
    emulator = machine([NOP, 0xBE2A])
    assert emulator.run(100) is Stop.BKPT
    assert emulator.registers()["pc"] == CODE + 2
    emulator.set_debugger(False)
    emulator.run(100)
    assert emulator.fault.kind is FaultKind.BKPT


UDIV, SDIV, MOVW, MOVT, LDREX, CBZ, IT = (
    [0xFBB0, 0xF0F1], [0xFB90, 0xF0F1], [0xF240, 0x0001], [0xF2C0, 0x0001], [0xE850, 0x1F00], [0xB108], [0xBF08],
)  # fmt: skip
UNDEFINED = {
    "udiv": UDIV, "sdiv": SDIV, "movw": MOVW, "movt": MOVT, "ldrex": LDREX, "cbz": CBZ, "it eq": IT,
    "cbnz": [0xB908], "b.w": [0xF000, 0xB800], "beq.w": [0xF000, 0x8000], "ldr.w": [0xF8D0, 0x1000],
    "str.w": [0xF8C0, 0x1000], "add.w": [0xEB00, 0x0101], "mul.w": [0xFB00, 0xF001], "umull": [0xFBA0, 0x0102],
    "clz": [0xFAB0, 0xF080], "rbit": [0xFA90, 0xF0A0], "tbb": [0xE8D0, 0xF001], "push.w": [0xE92D, 0x4010],
    "udf": [0xDE00], "udf.w": [0xF7F0, 0xA000], "blx immediate": [0xF000, 0xE800], "cps f": [0xB671],
    "setend": [0xB658], "ldrd": [0xE9D0, 0x1200], "vadd.f32": [0xEE30, 0x0A00], "bfi": [0xF360, 0x0000],
    "ssat": [0xF300, 0x0000], "b900": [0xB940], "ba80": [0xBA80],
}  # fmt: skip


@pytest.mark.parametrize("code", UNDEFINED.values(), ids=UNDEFINED.keys())
def test_undefined_and_armv7_instructions_fault(code):
    """What Armv6-M lacks is a HardFault that returns to the instruction."""
    emulator = machine([NOP, *code, NOP])
    emulator.run(40)
    fault = emulator.fault
    assert (fault.kind, fault.address, active(emulator)) == (FaultKind.UNDEFINED, CODE + 2, HARDFAULT)
    assert word(emulator, STACK - 32 + 24) == CODE + 2


LOADS = {"ldr": (0x6801, 4), "ldrh": (0x8801, 2), "str": (0x6001, 4), "strh": (0x8001, 2),
         "ldrsh": (0x5FC1, 2), "ldm": (0xC806, 4), "stm": (0xC006, 4)}  # fmt: skip


@pytest.mark.parametrize(("code", "size"), LOADS.values(), ids=LOADS.keys())
@pytest.mark.parametrize("base", [RAM_BASE, 0x1000, 0x41004400, 0x60000000, 0xE000ED00])
def test_unaligned_access_faults(code, size, base):
    """Every misalignment of every width faults in every memory; registers stay."""
    for offset in range(1, size):
        emulator = machine([code])
        emulator.set_register("r0", base + offset)
        emulator.set_register("r7", 0)
        emulator.run(1)
        emulator.run(1)
        assert (emulator.fault.kind, emulator.fault.address) == (FaultKind.UNALIGNED, base + offset)
        assert emulator.fault.registers["r0"] == base + offset


UNMAPPED = [0x00040000, 0x00200000, 0x10000000, 0x1FFFFFFC, 0x20008000, 0x30000000, 0x40001C00, 0x41008000,
            0x42005400, 0x43000000, 0x50000000, 0x60000200, 0x80000000, 0xA0000000, 0xF0000000, 0xFFFFFFFC]  # fmt: skip


@pytest.mark.parametrize("address", UNMAPPED, ids=hex)
@pytest.mark.parametrize("code", [0x6801, 0x7801, 0x6001, 0x7001])
def test_unmapped_address_faults(address, code):
    """Loads and stores where nothing answers fault."""
    emulator = machine([code])
    emulator.set_register("r0", address)
    emulator.run(1)
    emulator.run(1)
    assert (emulator.fault.kind, emulator.fault.address) == (FaultKind.UNMAPPED, address)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (0x00040000, FaultKind.UNMAPPED),
        (0x20008000, FaultKind.UNMAPPED),
        (0x40000400, FaultKind.EXECUTE_NEVER),
        (0x60000000, FaultKind.EXECUTE_NEVER),
        (0xE000E000, FaultKind.EXECUTE_NEVER),
        (0xFFFFFFF8, FaultKind.EXECUTE_NEVER),
    ],
)
def test_execution_outside_memory_faults(target, kind):
    """A jump to a place without executable memory faults there."""
    emulator = machine([0x4700])
    emulator.set_register("r0", target | 1)
    emulator.run(3)
    emulator.run(1)
    assert (emulator.fault.kind, emulator.fault.address) == (kind, target)


def test_running_off_the_end_of_memory_faults():
    """Behind the last instruction of flash and of RAM nothing can be fetched."""
    for end in (0x40000, 0x20008000):
        emulator = machine([NOP])
        emulator.load(end - 4, assemble([NOP, NOP]))
        emulator.set_register("pc", end - 4)
        emulator.run(1000)
        assert (emulator.fault.kind, emulator.fault.address) == (FaultKind.UNMAPPED, end)


def test_thumb_bit_clear_faults():
    """BX to an even address faults before the instruction there."""
    emulator = machine([0x4700, NOP, NOP])
    emulator.set_register("r0", CODE + 2)
    emulator.run(2)
    emulator.run(1)
    assert (emulator.fault.kind, emulator.fault.address) == (FaultKind.THUMB_BIT, CODE + 2)
    assert word(emulator, STACK - 32 + 28) & 1 << 24 == 0


def test_unclocked_peripheral_faults():
    """SERCOM3 without its bit in APBCMASK faults, and answers with it."""
    emulator = machine([0x6801, 0x6801])
    emulator.set_register("r0", 0x42001400)
    emulator.run(1)
    emulator.run(1)
    assert (emulator.fault.kind, emulator.fault.address) == (FaultKind.UNCLOCKED, 0x42001400)
    emulator = machine([0x6801, 0x6801])
    poke(emulator, 0x40000420, 1 << 5)
    emulator.set_register("r0", 0x42001400)
    emulator.run(1)
    assert emulator.fault is None


def test_write_protected_peripheral_faults():
    """A write to a peripheral that its PAC protects faults; reads go on, and clearing the bit lets writes in."""
    emulator = machine([0x6801, 0x6001, NOP])
    poke(emulator, 0x40000004, 1 << 1)
    emulator.set_register("r0", 0x40000418)
    emulator.run(1)
    assert emulator.fault is None
    emulator.run(1)
    emulator.run(1)
    assert emulator.fault.kind is FaultKind.PROTECTED


@pytest.mark.parametrize("code", [0x7001])
def test_byte_write_to_flash_faults(code):
    """The page buffer takes halfwords and words only."""
    emulator = machine([code])
    emulator.set_register("r0", 0x1000)
    emulator.run(1)
    emulator.run(1)
    assert emulator.fault.kind is FaultKind.WRITE_FLASH


def test_fault_in_the_hardfault_handler_locks_up():
    """The run ends, the registers of the second fault are there, and only a reset helps."""
    emulator = machine([0xDE00], {HARDFAULT: [NOP, 0xDE01]})
    assert emulator.run(1000) is Stop.LOCKUP
    assert emulator.run(1000) is Stop.LOCKUP
    assert (emulator.fault.count, emulator.fault.registers["pc"]) == (2, handler_at(HARDFAULT) + 2)
    emulator.reset()
    assert emulator.fault is None
    assert emulator.run(1) is Stop.BUDGET


def test_fault_in_nmi_locks_up():
    """A fault at priority -2 cannot be handled."""
    emulator = machine([NOP, NOP], {NMI: [0xDE00]})
    poke(emulator, ICSR, PEND_NMI)
    assert emulator.run(1000) is Stop.LOCKUP


def test_stack_outside_memory_is_a_hardfault():
    """An exception whose frame cannot be written is a HardFault; the stack being still bad, that locks up."""
    emulator = irq_machine((0, 0))
    emulator.set_register("sp", 0x10000000)
    poke(emulator, NVIC_ISPR, 1)
    assert emulator.run(1000) in (Stop.LOCKUP, Stop.HUNG)
    assert emulator.fault is not None
    assert emulator.fault.kind is FaultKind.UNMAPPED


def test_reset_vector_outside_memory_locks_up():
    """An erased chip: the first fetch faults, the handler's vector is as bad."""
    emulator = machine([NOP])
    emulator.load(0, b"\xff" * 256)
    emulator.reset()
    assert emulator.run(1000) is Stop.LOCKUP


@pytest.mark.parametrize("value", [0xFFFFFFF0, 0xFFFFFFFF, 0xFFFFFFF5, 0xF0000009, 0xFFFFFFF1])
def test_bad_exception_return_is_a_hardfault(value):
    """EXC_RETURN values other than the three that fit the state fault."""
    emulator = irq_machine((0, 0), handlers={IRQ0: [0x4700]})  # bx r0
    emulator.set_register("r0", value)
    poke(emulator, NVIC_ISPR, 1)
    emulator.run(1000)
    assert emulator.fault.kind in (FaultKind.EXCEPTION_RETURN, FaultKind.THUMB_BIT, FaultKind.EXECUTE_NEVER)
    assert active(emulator) == HARDFAULT or emulator.run(1) is Stop.LOCKUP


def test_exc_return_in_thread_mode_is_a_jump_into_nothing():
    """0xFFFFFFF9 in thread mode is no return: execution there faults."""
    emulator = machine([0x4700])
    emulator.set_register("r0", 0xFFFFFFF9)
    emulator.run(3)
    emulator.run(1)
    assert emulator.fault.kind is FaultKind.EXECUTE_NEVER


def test_priority_bits():
    """Two priority bits: the others read as zero; SVC, PendSV and SysTick have their own."""
    emulator = machine([NOP])
    poke(emulator, NVIC_IPR, 0xFFFFFFFF)
    poke(emulator, SHPR2, 0xFFFFFFFF)
    poke(emulator, SHPR3, 0xFFFFFFFF)
    assert [word(emulator, a) for a in (NVIC_IPR, SHPR2, SHPR3)] == [0xC0C0C0C0, 0xC0000000, 0xC0C00000]


def test_system_control_space_identifies_the_core():
    """CPUID of a Cortex-M0+ r0p1, CCR with STKALIGN and UNALIGN_TRP."""
    emulator = machine([NOP])
    assert [word(emulator, a) for a in (0xE000ED00, 0xE000ED14)] == [0x410CC601, 0x208]


def test_48_mhz_without_wait_state_locks_up():
    """Firmware that forgets the wait state before switching to 48 MHz is caught at its next fetch."""
    emulator = machine([NOP] * 8)
    poke(emulator, 0x40000824, 2, 2)
    emulator.run(1000)
    emulator = machine([0x6001] + [NOP] * 50)
    poke(emulator, 0x40000824, 2, 2)
    emulator.run(20, stop_when_idle=False)
    emulator.set_register("pc", CODE)
    emulator.set_register("r0", 0x40000C04)
    emulator.set_register("r1", 1 << 16 | 7 << 8)
    assert emulator.run(1000) is Stop.LOCKUP
    assert emulator.fault.kind is FaultKind.WAIT_STATES
