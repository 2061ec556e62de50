"""Peripherals: clocks, flash programming, pins, timers, watchdog, trace buffer, identification."""

import itertools
import zlib

import pytest
from emulator_support.machine import (
    B_SELF,
    BX_LR,
    CODE,
    IRQ0,
    NOP,
    NVIC_ISER,
    NVMCTRL_CTRLB,
    WFI,
    assemble,
    flash_mode,
    handler_at,
    machine,
    poke,
    word,
)

from hil.chips import RAM_BASE, chip
from hil.emulator import Emulator, FaultKind, Stop
from hil.errors import UsageError

MHZ = 1_000_000
PM, SYSCTRL, GCLK, WDT, RTC, EIC = 0x40000400, 0x40000800, 0x40000C00, 0x40001000, 0x40001400, 0x40001800
DSU, NVM, PORT, MTB = 0x41002000, 0x41004000, 0x41004400, 0x41006000
TC3, TC4, TC5 = 0x42002C00, 0x42003000, 0x42003400
PCLKSR, DFLLRDY, OSC8MRDY, XOSC32KRDY = SYSCTRL + 0x0C, 1 << 4, 1 << 3, 1 << 1
DATA = 0x8000
ER, WP, EAR, WAP, LR, UR, PBC, SSB = 0x02, 0x04, 0x05, 0x06, 0x40, 0x41, 0x44, 0x45


def idle_chip(handlers=None, irqs=()):
    """A chip whose thread sleeps for ever."""
    emulator = machine([WFI, 0xE7FD], handlers)
    poke(emulator, NVIC_ISER, sum(1 << n for n in irqs))
    return emulator


def let(emulator, cycles):
    """Let time pass."""
    end = emulator.cycles + cycles
    while emulator.cycles < end:
        stop = emulator.run(end - emulator.cycles, stop_when_idle=False)
        if stop is Stop.RESET:
            return stop
        assert stop is Stop.BUDGET, (stop, emulator.fault)
    return Stop.BUDGET


def clock_channel(emulator, channel, generator=0):
    poke(emulator, GCLK + 2, 1 << 14 | generator << 8 | channel, 2)


def byte(emulator, address):
    return emulator.read(address, 1)[0]


def half(emulator, address):
    return int.from_bytes(emulator.read(address, 2), "little")


# Clocks


def test_clock_after_reset():
    """OSC8M divided by 8: 1 MHz, ready."""
    emulator = idle_chip()
    assert emulator.cpu_hz == MHZ
    assert word(emulator, PCLKSR) & OSC8MRDY


def test_oscillator_prescaler_and_cpu_divider():
    """OSC8M.PRESC, GENDIV and CPUSEL each divide; virtual time goes on through the changes."""
    emulator = idle_chip()
    poke(emulator, SYSCTRL + 0x20, 0x87070082)
    assert emulator.cpu_hz == 8 * MHZ
    poke(emulator, GCLK + 8, 5 << 8)
    assert emulator.cpu_hz == 8 * MHZ / 5
    poke(emulator, PM + 8, 2, 1)
    assert emulator.cpu_hz == 8 * MHZ / 5 / 4
    before = emulator.seconds
    let(emulator, 4000)
    assert emulator.seconds - before == pytest.approx(0.01, rel=1e-3)


def test_dfll_open_loop():
    """Enabled, it is ready after its start-up time and gives 48 MHz at the calibrated coarse value."""
    emulator = idle_chip()
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    poke(emulator, SYSCTRL + 0x24, 2, 2)
    assert not word(emulator, PCLKSR) & DFLLRDY
    let(emulator, 20)
    assert word(emulator, PCLKSR) & DFLLRDY
    poke(emulator, GCLK + 4, 1 << 16 | 7 << 8)
    assert emulator.cpu_hz == 48 * MHZ


def test_dfll_that_was_never_started():
    """A switch to a source that does not run leaves the old clock and SYNCBUSY."""
    emulator = idle_chip()
    poke(emulator, GCLK + 4, 1 << 16 | 7 << 8)
    assert emulator.cpu_hz == MHZ
    assert byte(emulator, GCLK + 1) & 0x80
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    poke(emulator, SYSCTRL + 0x24, 2, 2)
    let(emulator, 20)
    assert emulator.cpu_hz == 48 * MHZ
    assert not byte(emulator, GCLK + 1) & 0x80


def test_dfll_closed_loop_on_the_crystal():
    """32,768 Hz times 1464 is 47.972 MHz; the crystal needs its start-up time, the loop its lock time."""
    emulator = idle_chip()
    poke(emulator, NVMCTRL_CTRLB, flash_mode(1))
    poke(emulator, SYSCTRL + 0x14, 0x0C | 2, 2)
    assert not word(emulator, PCLKSR) & XOSC32KRDY
    let(emulator, 1000)
    assert word(emulator, PCLKSR) & XOSC32KRDY
    poke(emulator, GCLK + 4, 1 << 16 | 5 << 8 | 1)
    clock_channel(emulator, 0, 1)
    poke(emulator, SYSCTRL + 0x24, 0, 2)
    poke(emulator, SYSCTRL + 0x2C, 1464)
    poke(emulator, SYSCTRL + 0x24, 2 | 4, 2)
    let(emulator, 1000)
    assert word(emulator, PCLKSR) >> 4 & 0xD == 0xD
    poke(emulator, GCLK + 4, 1 << 16 | 7 << 8)
    assert emulator.cpu_hz == 32768 * 1464


@pytest.mark.parametrize("offset", [0x28, 0x2C])
def test_dfll_takes_no_writes_on_demand(offset):
    """Erratum: DFLLVAL and DFLLMUL must not be written while ONDEMAND is set."""
    emulator = idle_chip()
    with pytest.raises(UsageError, match="UNCLOCKED"):
        poke(emulator, SYSCTRL + offset, 0)
    poke(emulator, SYSCTRL + 0x24, 0, 2)
    poke(emulator, SYSCTRL + offset, 0)


def test_gclk_write_lock():
    """CLKCTRL.WRTLOCK keeps a channel as it is."""
    emulator = idle_chip()
    poke(emulator, GCLK + 2, 1 << 15 | 1 << 14 | 0x14, 2)
    poke(emulator, GCLK + 2, 0x14, 2)
    assert half(emulator, GCLK + 2) == 1 << 15 | 1 << 14 | 0x14


# Flash


def nvm(emulator, command):
    poke(emulator, NVM, 0xA500 | command, 2)


def store(emulator, address, value):
    """A word written over the bus, which for flash means into the page buffer."""
    emulator._bus(address, 4, value)


def programmer():
    emulator = machine([B_SELF])
    emulator.load(DATA, bytes(range(256)))
    emulator.set_register("pc", RAM_BASE)
    emulator.load(RAM_BASE, assemble([B_SELF]))
    return emulator


def ready(emulator):
    return byte(emulator, NVM + 0x14) & 1


def test_row_erase_takes_six_milliseconds():
    """READY falls, rises after 6 ms, and the row's 256 bytes are ones, no more and no less."""
    emulator = programmer()
    poke(emulator, NVM + 0x1C, (DATA + 0x40) // 2)
    nvm(emulator, ER)
    let(emulator, 5990)
    assert not ready(emulator)
    let(emulator, 20)
    assert ready(emulator)
    assert emulator.read(DATA, 256) == b"\xff" * 256
    assert emulator.read(DATA - 1, 1) == b"\xff"
    assert emulator.read(DATA + 0x100, 1) == b"\xff"


def test_page_write_only_clears_bits():
    """A page goes through the buffer in 2.5 ms; what was 0 stays 0."""
    emulator = programmer()
    for offset in range(0, 64, 4):
        store(emulator, DATA + offset, 0xF0F0F0F0)
    nvm(emulator, WP)
    assert not ready(emulator)
    let(emulator, 2490)
    assert not ready(emulator)
    let(emulator, 20)
    assert ready(emulator)
    assert emulator.read(DATA, 64) == bytes(i & 0xF0 for i in range(64))
    assert emulator.read(DATA + 0x40, 64) == bytes(range(64, 128))


def test_page_buffer_is_cleared_by_pbc_and_by_writing():
    """After PBC, and after a write, the buffer holds ones again: writing it changes nothing."""
    emulator = programmer()
    store(emulator, DATA, 0)
    assert half(emulator, NVM + 0x18) & 2
    nvm(emulator, PBC)
    assert not half(emulator, NVM + 0x18) & 2
    nvm(emulator, WP)
    let(emulator, 3000)
    assert emulator.read(DATA, 64) == bytes(range(64))


def test_last_word_of_a_page_writes_it_unless_manw():
    """With MANW clear the store to a page's end starts the write."""
    emulator = programmer()
    poke(emulator, NVMCTRL_CTRLB, 0)
    store(emulator, DATA + 0x3C, 0)
    assert not ready(emulator)
    let(emulator, 3000)
    assert emulator.read(DATA + 0x3C, 4) == bytes(4)


def test_locked_region_refuses():
    """LR locks a sixteenth of the flash until UR or reset: LOCKE and ERROR, contents stay."""
    emulator = programmer()
    poke(emulator, NVM + 0x1C, DATA // 2)
    nvm(emulator, LR)
    assert half(emulator, NVM + 0x20) == 0xFFFB
    nvm(emulator, ER)
    assert byte(emulator, NVM + 0x14) & 2
    assert half(emulator, NVM + 0x18) & 8
    assert emulator.read(DATA, 256) == bytes(range(256))
    nvm(emulator, UR)
    nvm(emulator, ER)
    let(emulator, 6100)
    assert emulator.read(DATA, 1) == b"\xff"


@pytest.mark.parametrize(("bootprot", "size"), [(7, 0), (6, 512), (2, 8192), (0, 32768)])
def test_boot_section_refuses(bootprot, size):
    """BOOTPROT in the user row protects the beginning of the flash from the next reset on."""
    emulator = programmer()
    emulator.load(0x804000, bytes([0xF8 | bootprot]))
    emulator.reset()
    for address, refused in ((0, size > 0), (size - 256, size > 0), (size, False)):
        if address < 0:
            continue
        poke(emulator, NVM + 0x1C, address // 2)
        nvm(emulator, ER)
        assert bool(half(emulator, NVM + 0x18) & 8) == refused
        poke(emulator, NVM + 0x18, 8, 2)
        if not refused:
            let(emulator, 6100)


@pytest.mark.parametrize("value", [0x0002, 0xA400 | ER, 0xA500 | 0x7F, 0xA500 | 0x01])
def test_bad_command_is_a_programming_error(value):
    """Without the key or with an unknown command PROGE and ERROR rise."""
    emulator = programmer()
    poke(emulator, NVM, value, 2)
    assert half(emulator, NVM + 0x18) & 4
    assert byte(emulator, NVM + 0x14) & 2
    poke(emulator, NVM + 0x18, 0x1C, 2)
    poke(emulator, NVM + 0x14, 2, 1)
    assert half(emulator, NVM + 0x18) & 4 == 0
    assert byte(emulator, NVM + 0x14) & 2 == 0


def test_user_row():
    """EAR and WAP change the user row; lock bits take effect with the next reset."""
    emulator = programmer()
    poke(emulator, NVM + 0x1C, 0x804000 // 2)
    nvm(emulator, EAR)
    let(emulator, 6100)
    assert emulator.read(0x804000, 8) == b"\xff" * 8
    store(emulator, 0x804004, 0xFFF0FFFF)
    nvm(emulator, WAP)
    let(emulator, 3000)
    assert emulator.read(0x804004, 4) == b"\xff\xff\xf0\xff"
    emulator.reset()
    assert half(emulator, NVM + 0x20) == 0xFFF0


def test_flash_ready_interrupt():
    """READY raises the interrupt when it is enabled."""
    emulator = programmer()
    poke(emulator, NVM + 0x1C, DATA // 2)
    nvm(emulator, ER)
    poke(emulator, NVM + 0x10, 1, 1)
    poke(emulator, NVIC_ISER, 1 << 5)
    emulator.run(7000, stop_when_idle=False)
    assert emulator.registers()["xpsr"] & 0x3F == IRQ0 + 5


def test_flash_parameters_and_calibration():
    """PARAM has the page count and size; the DFLL's coarse value lies in the calibration area."""
    emulator = idle_chip()
    assert word(emulator, NVM + 8) == 3 << 16 | 4096
    assert word(emulator, 0x806024) >> 26 == 31


def test_execution_from_flash_waits_for_the_flash():
    """Code in flash that misses the cache while a row is erased stands still until it is done."""
    emulator = machine([0x8001, *[NOP] * 60])  # strh r1, [r0]
    poke(emulator, NVM + 0x1C, DATA // 2)
    emulator.set_register("r0", NVM)
    emulator.set_register("r1", 0xA500 | ER)
    assert emulator.run(1 << 30) is Stop.BKPT
    assert 6000 <= emulator.cycles < 6200


# Pins


def test_port_registers():
    """Set, clear and toggle act on their bits; IN shows outputs, pulls and driven pins with INEN."""
    emulator = idle_chip()
    poke(emulator, PORT + 0x08, 0x30)
    poke(emulator, PORT + 0x18, 0x70)
    poke(emulator, PORT + 0x1C, 0x10)
    assert [word(emulator, PORT + at) for at in (0, 0x10)] == [0x30, 0x60]
    assert word(emulator, PORT + 0x20) == 0
    poke(emulator, PORT + 0x28, 1 << 30 | 2 << 16 | 0x00F0)
    assert word(emulator, PORT + 0x20) == 0x20
    poke(emulator, PORT + 0x40 + 6, 6, 1)
    assert word(emulator, PORT + 0x20) == 0x60
    emulator.drive_pin("PA07", True)
    assert word(emulator, PORT + 0x20) == 0xE0
    assert word(emulator, 0x60000020) == 0xE0
    assert emulator.pin("PA05")


def test_pin_multiplexer():
    """WRCONFIG writes functions of the upper half in one go."""
    emulator = idle_chip()
    poke(emulator, PORT + 0x28, 1 << 31 | 1 << 30 | 1 << 28 | 2 << 24 | 1 << 16 | 0x00C0)
    assert byte(emulator, PORT + 0x30 + 11) == 0x22
    assert [byte(emulator, PORT + 0x40 + pin) for pin in (21, 22, 23)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("sense", "levels", "flagged"),
    [(1, [1], True), (1, [1, 0], True), (2, [1], False), (2, [1, 0], True), (3, [1], True), (4, [1], True),
     (4, [], False), (5, [1], True), (0, [1, 0], False)],
)  # fmt: skip
def test_external_interrupt(sense, levels, flagged):
    """Rising, falling, both edges, high and low level of PA05 on line 5."""
    emulator = idle_chip()
    clock_channel(emulator, 5)
    poke(emulator, PORT + 0x40 + 5, 1, 1)
    emulator.drive_pin("PA05", False)
    poke(emulator, EIC + 0x18, sense << 20)
    poke(emulator, EIC, 2, 1)
    for level in levels:
        emulator.drive_pin("PA05", bool(level))
    assert bool(word(emulator, EIC + 0x10) & 1 << 5) is flagged


def test_edges_need_the_generic_clock():
    """Without its clock the controller sees levels only."""
    emulator = idle_chip()
    poke(emulator, PORT + 0x40 + 5, 1, 1)
    poke(emulator, EIC + 0x18, 1 << 20)
    poke(emulator, EIC, 2, 1)
    emulator.drive_pin("PA05", True)
    assert word(emulator, EIC + 0x10) == 0


def test_external_interrupt_wakes():
    """A pin ends the firmware's sleep through the NVIC."""
    emulator = idle_chip(irqs=[4])
    clock_channel(emulator, 5)
    poke(emulator, PORT + 0x40 + 5, 1, 1)
    poke(emulator, EIC + 0x18, 1 << 20)
    poke(emulator, EIC + 0x0C, 1 << 5)
    poke(emulator, EIC, 2, 1)
    assert emulator.run(100) is Stop.IDLE
    emulator.drive_pin("PA05", True)
    emulator.run(16)
    assert emulator.registers()["xpsr"] & 0x3F == IRQ0 + 4


def test_nmi_pin():
    """PA08 raises NMI."""
    emulator = idle_chip()
    clock_channel(emulator, 5)
    poke(emulator, PORT + 0x40 + 8, 1, 1)
    poke(emulator, EIC + 2, 1, 1)
    emulator.drive_pin("PA08", True)
    emulator.run(16)
    assert emulator.registers()["xpsr"] & 0x3F == 2


# Timers


def start_timer(emulator, base, mode=0, prescaler=0, wave=0, channel=0x1B):
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    clock_channel(emulator, channel)
    poke(emulator, base, mode << 2 | wave << 5 | prescaler << 8, 2)
    poke(emulator, base, 2 | mode << 2 | wave << 5 | prescaler << 8, 2)
    begun = emulator.cycles
    poke(emulator, base + 2, 1 << 15 | 1 << 14 | 0x10, 2)
    return begun


@pytest.mark.parametrize(("prescaler", "divider"), [(0, 1), (1, 2), (4, 16), (7, 1024)])
def test_timer_counts_its_clock(prescaler, divider):
    """A 16-bit counter on the CPU's generator counts cycles over the prescaler, exactly."""
    emulator = idle_chip()
    begun = start_timer(emulator, TC3, prescaler=prescaler)
    for cycles in (10, 999, 12_345):
        let(emulator, cycles)
        assert half(emulator, TC3 + 0x10) == (emulator.cycles - begun) // divider & 0xFFFF


def test_32_bit_timer_is_a_cycle_counter():
    """TC4 and TC5 together count beyond 16 bits; TC5 is the slave."""
    emulator = idle_chip()
    begun = start_timer(emulator, TC4, mode=2, channel=0x1C)
    let(emulator, 1_000_000)
    assert word(emulator, TC4 + 0x10) == emulator.cycles - begun
    assert byte(emulator, TC5 + 0x0F) & 0x10


def test_count_needs_a_read_request():
    """Without READREQ the register shows the value of the last request."""
    emulator = idle_chip()
    begun = start_timer(emulator, TC3)
    poke(emulator, TC3 + 2, 1 << 15 | 0x10, 2)
    first = half(emulator, TC3 + 0x10)
    assert first == emulator.cycles - begun
    let(emulator, 500)
    assert half(emulator, TC3 + 0x10) == first


@pytest.mark.parametrize("source", [0, 4, 5])
def test_timer_interrupts(source):
    """Overflow, CC0 and CC1 each interrupt at their tick, once a round."""
    emulator = idle_chip(handlers={IRQ0 + 18: [BX_LR]}, irqs=[18])
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    clock_channel(emulator, 0x1B)
    poke(emulator, TC3 + 0x18, 999, 2)
    poke(emulator, TC3 + 0x1A, 300, 2)
    poke(emulator, TC3 + 0x0D, 1 << source, 1)
    start_timer(emulator, TC3, wave=1)
    entries = []
    end = emulator.cycles + 5000
    while emulator.cycles < end:
        emulator.run(1, stop_when_idle=False)
        if emulator.registers()["pc"] == handler_at(IRQ0 + 18) and byte(emulator, TC3 + 0x0E):
            entries.append(emulator.cycles)
            poke(emulator, TC3 + 0x0E, 0xFF, 1)
    assert len(entries) >= 4
    assert {b - a for a, b in itertools.pairwise(entries)} == {1000}


def test_timer_counts_down_and_once():
    """DIR counts from the top down; ONESHOT stops at the wrap with STATUS.STOP and OVF."""
    emulator = idle_chip()
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    clock_channel(emulator, 0x1B)
    poke(emulator, TC3 + 0x18, 499, 2)
    poke(emulator, TC3 + 5, 1 | 4, 1)
    begun = start_timer(emulator, TC3, wave=1)
    let(emulator, 100)
    assert half(emulator, TC3 + 0x10) == 499 - (emulator.cycles - begun)
    let(emulator, 1000)
    assert byte(emulator, TC3 + 0x0F) & 8
    assert byte(emulator, TC3 + 0x0E) & 1
    stopped = half(emulator, TC3 + 0x10)
    let(emulator, 100)
    assert half(emulator, TC3 + 0x10) == stopped


def test_timer_without_clock_stays_busy():
    """Without its generic clock a written register never synchronizes, and the next write faults."""
    emulator = idle_chip()
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    poke(emulator, TC3, 2, 2)
    let(emulator, 10_000)
    assert byte(emulator, TC3 + 0x0F) & 0x80
    with pytest.raises(UsageError, match="UNCLOCKED"):
        poke(emulator, TC3 + 0x10, 0, 2)


def slow_clock(emulator, channel):
    """A generic clock of 1,024 Hz out of OSCULP32K."""
    poke(emulator, GCLK + 8, 32 << 8 | 3)
    poke(emulator, GCLK + 4, 1 << 16 | 3 << 8 | 3)
    clock_channel(emulator, channel, 3)


def test_rtc_counts_seconds():
    """32-bit mode with prescaler 1024 counts seconds of virtual time; CMP0 interrupts."""
    emulator = idle_chip(irqs=[3])
    slow_clock(emulator, 4)
    poke(emulator, RTC + 0x18, 3)
    poke(emulator, RTC, 10 << 8 | 2, 2)
    poke(emulator, RTC + 2, 0xC010, 2)
    let(emulator, 2_500_000)
    assert word(emulator, RTC + 0x10) == 2
    poke(emulator, RTC + 7, 1, 1)
    emulator.run(10_000_000, stop_when_idle=False)
    assert emulator.registers()["xpsr"] & 0x3F == IRQ0 + 3
    assert byte(emulator, RTC + 8) & 1


def calendar(second, minute, hour, day, month, year):
    return second | minute << 6 | hour << 12 | day << 17 | month << 22 | year << 26


@pytest.mark.parametrize(
    ("before", "seconds", "after"),
    [
        (calendar(58, 59, 23, 28, 2, 0), 2, calendar(0, 0, 0, 29, 2, 0)),
        (calendar(58, 59, 23, 28, 2, 1), 2, calendar(0, 0, 0, 1, 3, 1)),
        (calendar(59, 59, 23, 31, 12, 7), 1, calendar(0, 0, 0, 1, 1, 8)),
        (calendar(5, 30, 12, 15, 6, 3), 86400 * 3 + 61, calendar(6, 31, 12, 18, 6, 3)),
    ],
)
def test_rtc_calendar(before, seconds, after):
    """Seconds carry into minutes, hours, days, months and years, leap years included."""
    emulator = idle_chip()
    slow_clock(emulator, 4)
    poke(emulator, RTC, 2 << 2, 2)
    poke(emulator, RTC + 0x10, before)
    poke(emulator, RTC, 10 << 8 | 2 << 2 | 2, 2)
    poke(emulator, RTC + 2, 0xC010, 2)
    let(emulator, seconds * MHZ + 100_000)
    assert word(emulator, RTC + 0x10) == after


def test_watchdog_resets():
    """Without clearing, the period of 8 clocks of 1,024 Hz ends in a reset by WDT; clearing prolongs it."""
    emulator = idle_chip()
    slow_clock(emulator, 3)
    poke(emulator, WDT + 1, 0, 1)
    poke(emulator, WDT, 2, 1)
    for _ in range(5):
        let(emulator, 6000)
        poke(emulator, WDT + 8, 0xA5, 1)
    assert let(emulator, 9000) is Stop.RESET
    assert byte(emulator, PM + 0x38) == 0x20


def test_watchdog_wrong_key_resets_at_once():
    """CLEAR with another value than 0xA5 resets."""
    emulator = idle_chip()
    slow_clock(emulator, 3)
    poke(emulator, WDT, 2, 1)
    poke(emulator, WDT + 8, 0x5A, 1)
    assert let(emulator, 10) is Stop.RESET


def test_watchdog_window():
    """In window mode clearing in the closed window resets, in the open one not."""
    emulator = idle_chip()
    slow_clock(emulator, 3)
    poke(emulator, WDT + 1, 0x00, 1)
    poke(emulator, WDT, 6, 1)
    let(emulator, 10_000)
    poke(emulator, WDT + 8, 0xA5, 1)
    let(emulator, 6000)
    poke(emulator, WDT + 8, 0xA5, 1)
    assert let(emulator, 10) is Stop.RESET


def test_watchdog_early_warning():
    """The early warning interrupts before the reset."""
    emulator = idle_chip(irqs=[2])
    slow_clock(emulator, 3)
    poke(emulator, WDT + 1, 1, 1)
    poke(emulator, WDT + 2, 0, 1)
    poke(emulator, WDT + 5, 1, 1)
    poke(emulator, WDT, 2, 1)
    emulator.run(12_000, stop_when_idle=False)
    assert emulator.registers()["xpsr"] & 0x3F == IRQ0 + 2


# Trace buffer, identification


def test_micro_trace_buffer():
    """Jumps leave packets of source and destination; the first one is marked; positions wrap."""
    emulator = machine([NOP, 0xE002, NOP, NOP, NOP, NOP, 0xE7FB])  # b +8 -> 6: ... b back
    poke(emulator, MTB, 0x1000)
    poke(emulator, MTB + 4, 1 << 31 | 0)
    for _ in range(7):
        emulator.run(1)
    packets = [word(emulator, RAM_BASE + 0x1000 + 4 * i) for i in range(4)]
    assert packets == [CODE + 2, CODE + 10 | 1, CODE + 12, CODE + 6]
    assert word(emulator, MTB) == 0x1000 | 4
    assert word(emulator, MTB + 0xC) == RAM_BASE


def test_micro_trace_of_an_exception():
    """Entry and return are marked as not being branches of the program."""
    emulator = machine([NOP, NOP, NOP], {IRQ0: [BX_LR]})
    poke(emulator, NVIC_ISER, 1)
    poke(emulator, MTB + 4, 1 << 31 | 4)
    poke(emulator, 0xE000E200, 1)
    for _ in range(3):
        emulator.run(1)
    handler = handler_at(IRQ0)
    packets = [word(emulator, RAM_BASE + 4 * i) for i in range(6)]
    assert packets == [CODE | 1, handler | 1, handler, 0xFFFFFFF8, 0xFFFFFFF8 | 1, CODE]


def test_identification():
    """DSU.DID is the chip's; the serial number's four words lie at their addresses."""
    emulator = Emulator(chip("atsamd21g18a"), (0x11, 0x22, 0x33, 0x44))
    assert word(emulator, DSU + 0x18) == chip("atsamd21g18a").device_id
    assert [word(emulator, a) for a in (0x80A00C, 0x80A040, 0x80A044, 0x80A048)] == [0x11, 0x22, 0x33, 0x44]


def test_dsu_crc():
    """The DSU's CRC is that of IEEE 802.3 without the final inversion; the DSU is protected after reset."""
    emulator = programmer()
    with pytest.raises(UsageError, match="PROTECTED"):
        poke(emulator, DSU + 4, DATA)
    poke(emulator, 0x41000000, 2)
    poke(emulator, DSU + 4, DATA)
    poke(emulator, DSU + 8, 256)
    poke(emulator, DSU + 0xC, 0xFFFFFFFF)
    poke(emulator, DSU, 4, 1)
    assert byte(emulator, DSU + 1) & 1
    assert word(emulator, DSU + 0xC) ^ 0xFFFFFFFF == zlib.crc32(bytes(range(256)))


def test_unmodelled_register_is_logged_once_with_its_name():
    """Each register once for each direction, with a count and the first place."""
    emulator = machine([0x6801, 0x6801, 0x6001, NOP])
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    emulator.set_register("r0", 0x42004400)
    assert emulator.run(100) is Stop.BKPT
    read, written = emulator.unmodelled
    assert (read.name, read.is_write, read.count, read.pc) == ("AC.CTRLA", False, 2, CODE)
    assert (written.is_write, written.count, written.pc) == (True, 1, CODE + 4)


# USART


def usart(emulator, n=3, baud=65536 - 503 * 0, control=0):
    base = 0x42000800 + 0x400 * n
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    clock_channel(emulator, 0x14 + n)
    poke(emulator, base, 0x40100004 | control)
    poke(emulator, base + 4, 3 << 16)
    poke(emulator, base + 0x0C, baud, 2)
    poke(emulator, base, 0x40100006 | control)
    return base


BAUD_9600 = round(65536 * (1 - 16 * 9600 / MHZ))


def test_usart_frame_takes_its_time():
    """A byte leaves 10 bit times after it was written; DRE at once, TXC at the end of the stop bit."""
    emulator = idle_chip()
    base = usart(emulator, baud=BAUD_9600)
    poke(emulator, base + 0x28, 0x41, 2)
    assert byte(emulator, base + 0x18) & 3 == 1
    poke(emulator, base + 0x28, 0x42, 2)
    assert byte(emulator, base + 0x18) & 3 == 0
    let(emulator, 1041)
    assert emulator.uart_receive(3) == b""
    let(emulator, 3)
    assert emulator.uart_receive(3) == b"A"
    assert byte(emulator, base + 0x18) & 3 == 1
    let(emulator, 1045)
    assert emulator.uart_receive(3) == b"B"
    assert byte(emulator, base + 0x18) & 3 == 3


@pytest.mark.parametrize("size", [1, 2, 4])
def test_usart_data_in_every_width(size):
    """DATA takes bytes, halfwords and words."""
    emulator = idle_chip()
    base = usart(emulator, baud=BAUD_9600)
    poke(emulator, base + 0x28, 0x41, size)
    emulator.uart_send(3, b"z")
    let(emulator, 3000)
    assert emulator.uart_receive(3) == b"A"
    assert emulator.read(base + 0x28, size) == b"z" + bytes(size - 1)


def test_usart_overrun():
    """Two bytes wait in the buffer and one in the shift register; the next destroys that one and BUFOVF says so."""
    emulator = idle_chip()
    base = usart(emulator, baud=BAUD_9600)
    emulator.uart_send(3, b"abc")
    let(emulator, 6000)
    assert half(emulator, base + 0x1A) & 4 == 0
    emulator.uart_send(3, b"d")
    let(emulator, 3000)
    assert half(emulator, base + 0x1A) & 4
    assert byte(emulator, base + 0x18) & 0x80
    assert bytes(byte(emulator, base + 0x28) for _ in range(3)) == b"abd"
    assert byte(emulator, base + 0x18) & 4 == 0


def test_usart_receive_interrupt_wakes():
    """RXC interrupts the sleeping core when the stop bit has ended."""
    emulator = idle_chip(irqs=[12])
    base = usart(emulator, baud=BAUD_9600)
    poke(emulator, base + 0x16, 4, 1)
    assert emulator.run(100) is Stop.IDLE
    emulator.uart_send(3, b"x")
    emulator.run(5000)
    assert emulator.registers()["xpsr"] & 0x3F == IRQ0 + 12


@pytest.mark.parametrize(("percent", "garbled"), [(-3.5, True), (-2.5, False), (0, False), (2.5, False), (3.5, True)])
def test_usart_speed_mismatch_garbles(percent, garbled):
    """Beyond 3 % between BAUD and the host's speed bytes do not come through, either way."""
    emulator = idle_chip()
    base = usart(emulator, baud=BAUD_9600)
    emulator.set_host_baud(3, round(9600 * (1 + percent / 100)))
    poke(emulator, base + 0x28, 0x55, 2)
    emulator.uart_send(3, b"U")
    let(emulator, 3000)
    assert (emulator.uart_receive(3) != b"U") is garbled
    assert (byte(emulator, base + 0x28) != 0x55) is garbled


def test_usart_fractional_baud():
    """Fractional mode: f / (16 (BAUD + FP / 8))."""
    emulator = idle_chip()
    usart(emulator, baud=6 | 4 << 13, control=1 << 13)
    assert emulator.uart_baud(3) == pytest.approx(MHZ / 16 / 6.5)


def test_usart_registers_are_protected_while_enabled():
    """BAUD and the mode do not change while the USART is enabled."""
    emulator = idle_chip()
    base = usart(emulator, baud=BAUD_9600)
    poke(emulator, base + 0x0C, 0, 2)
    assert half(emulator, base + 0x0C) == BAUD_9600


def test_usart_without_generic_clock():
    """Nothing is sent, and SYNCBUSY stays."""
    emulator = idle_chip()
    base = 0x42001400
    poke(emulator, PM + 0x20, 0xFFFFFFFF)
    poke(emulator, base, 0x40100006)
    poke(emulator, base + 4, 3 << 16)
    poke(emulator, base + 0x28, 0x41, 2)
    let(emulator, 100_000)
    assert emulator.uart_receive(3) == b""
    assert word(emulator, base + 0x1C) != 0


def test_polling_firmware_gets_its_bytes_after_a_second():
    """Firmware that never sleeps is fed at line rate once it has run for a virtual second."""
    emulator = machine([0x7E01, 0x0749, 0xD5FC, 0x8D01, 0xBE00])  # l: ldrb r1, [r0, #0x18]; lsls #29; bpl l; ldrh
    base = usart(emulator, baud=BAUD_9600)
    emulator.set_register("r0", base)
    emulator.uart_send(3, b"q")
    assert emulator.run(10_000_000) is Stop.BKPT
    assert emulator.seconds == pytest.approx(1.0, abs=0.002)
    assert emulator.registers()["r1"] == ord("q")
    assert emulator.fault is None or emulator.fault.kind is FaultKind.NONE
