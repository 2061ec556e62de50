"""Peripherals of sound: event system, DMA, converter, I2S."""

import struct

import numpy as np
import pytest
from emulator_support.machine import IRQ0, NVIC_ISER, WFI, machine, poke, word

from hil.chips import RAM_BASE
from hil.emulator import Stop
from hil.emulator.sound import Input, feed_microphone, heard, is_over, set_supply
from hil.errors import UsageError

PM, GCLK, DMAC, EVSYS, TC4, ADC, I2S = (
    0x40000400,
    0x40000C00,
    0x41004800,
    0x42000400,
    0x42003000,
    0x42004000,
    0x42005000,
)
DESCRIPTORS, WRITE_BACK, DATA = RAM_BASE + 0x1000, RAM_BASE + 0x1100, RAM_BASE + 0x2000
VALID, BYTE, HALF, WORD, SRCINC, DSTINC, INT, SUSPEND = 1, 0, 1 << 8, 2 << 8, 1 << 10, 1 << 11, 1 << 3, 2 << 3
BEAT, BLOCK, TRANSACTION = 2 << 22, 0, 3 << 22
ADC_READY, I2S_RX0, TC4_OVF = 0x27, 0x29, 0x1B
TERR, TCMPL, SUSP = 1, 2, 4


def chip_with_clocks(handlers=None, irqs=()):
    """At 8 MHz, everything clocked from generator 0, asleep."""
    emulator = machine([WFI, 0xE7FD], handlers)
    poke(emulator, 0x40000820, 0x87070082)
    for bridge in range(3):
        poke(emulator, PM + 0x18 + 4 * bridge, 0xFFFFFFFF)
    for channel in (0x1C, 0x1E, 0x23, *range(0x07, 0x13)):
        poke(emulator, GCLK + 2, 1 << 14 | channel, 2)
    poke(emulator, NVIC_ISER, sum(1 << n for n in irqs))
    return emulator


def let(emulator, cycles):
    end = emulator.cycles + cycles
    while emulator.cycles < end:
        assert emulator.run(end - emulator.cycles, stop_when_idle=False) is Stop.BUDGET


def half(emulator, address):
    return int.from_bytes(emulator.read(address, 2), "little")


def byte(emulator, address):
    return emulator.read(address, 1)[0]


def descriptor(emulator, at, control, count, source, target, after=0):
    """Addresses as the chip wants them: behind the last beat where they step."""
    size = 1 << (control >> 8 & 3)
    source += count * size if control & SRCINC else 0
    target += count * size if control & DSTINC else 0
    emulator.write(at, struct.pack("<HHIII", control, count, source, target, after))


def start_dma(emulator, channel=0, control=BEAT, interrupts=0):
    poke(emulator, DMAC + 0x34, DESCRIPTORS)
    poke(emulator, DMAC + 0x38, WRITE_BACK)
    poke(emulator, DMAC, 0xF02, 2)
    poke(emulator, DMAC + 0x3F, channel, 1)
    poke(emulator, DMAC + 0x44, control)
    poke(emulator, DMAC + 0x4D, interrupts, 1)
    poke(emulator, DMAC + 0x40, 2, 1)


def trigger(emulator, channel=0):
    poke(emulator, DMAC + 0x10, 1 << channel)


def flags(emulator, channel=0):
    poke(emulator, DMAC + 0x3F, channel, 1)
    return byte(emulator, DMAC + 0x4E)


# DMA


@pytest.mark.parametrize(("size", "width"), [(BYTE, 1), (HALF, 2), (WORD, 4)])
def test_block_of_each_width(size, width):
    """One trigger moves a block, and the channel is off behind the last."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes(range(1, 33)))
    descriptor(emulator, DESCRIPTORS, VALID | size | SRCINC | DSTINC, 5, DATA, DATA + 64)
    start_dma(emulator, control=BLOCK)
    trigger(emulator)
    assert emulator.read(DATA + 64, 32) == (
        bytes(range(1, 33))[: 5 * width] + emulator.read(DATA + 64, 32)[5 * width :]
    )
    assert emulator.read(DATA + 64, 5 * width) == bytes(range(1, 33))[: 5 * width]
    assert flags(emulator) == TCMPL
    assert byte(emulator, DMAC + 0x40) == 0


def test_beats_are_counted_in_the_write_back():
    """A trigger of one beat moves one; BTCNT and VALID of the write-back say what is left."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes(range(1, 9)))
    descriptor(emulator, DESCRIPTORS, VALID | SRCINC, 3, DATA, DATA + 64)
    start_dma(emulator)
    left = []
    for _ in range(3):
        trigger(emulator)
        left.append((half(emulator, WRITE_BACK + 2), half(emulator, WRITE_BACK) & 1, byte(emulator, DATA + 64)))
    assert left == [(2, 1, 1), (1, 1, 2), (0, 0, 3)]
    assert emulator.read(DESCRIPTORS, 4) == struct.pack("<HH", VALID | SRCINC, 3)


def test_linked_descriptors_in_a_ring():
    """A double buffer: two blocks that follow each other for ever, an interrupt after each."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes(range(100)))
    second = DESCRIPTORS + 0x80
    descriptor(emulator, DESCRIPTORS, VALID | INT | DSTINC, 2, DATA, DATA + 64, second)
    descriptor(emulator, second, VALID | INT | DSTINC, 2, DATA + 1, DATA + 66, DESCRIPTORS)
    start_dma(emulator)
    seen = []
    for _ in range(6):
        trigger(emulator)
        seen.append(flags(emulator))
        poke(emulator, DMAC + 0x4E, 7, 1)
    assert seen == [0, TCMPL, 0, TCMPL, 0, TCMPL]
    assert emulator.read(DATA + 64, 4) == bytes((0, 0, 1, 1))
    assert byte(emulator, DMAC + 0x40) == 2


def test_transaction_runs_through_all_blocks():
    """One trigger for the whole list."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes(range(1, 9)))
    descriptor(emulator, DESCRIPTORS, VALID | SRCINC | DSTINC, 2, DATA, DATA + 64, DESCRIPTORS + 0x80)
    descriptor(emulator, DESCRIPTORS + 0x80, VALID | SRCINC | DSTINC, 3, DATA + 2, DATA + 66)
    start_dma(emulator, control=TRANSACTION)
    trigger(emulator)
    assert emulator.read(DATA + 64, 5) == bytes((1, 2, 3, 4, 5))
    assert flags(emulator) == TCMPL


def test_invalid_descriptor_suspends_until_it_is_mended():
    """Fetch error, SUSP and TERR; after the resume command the same descriptor is fetched again."""
    emulator = chip_with_clocks()
    descriptor(emulator, DESCRIPTORS, SRCINC | DSTINC, 1, DATA, DATA + 64)
    start_dma(emulator)
    trigger(emulator)
    assert flags(emulator) == TERR | SUSP
    assert byte(emulator, DMAC + 0x4F) & 4
    emulator.write(DATA, b"\x5a")
    poke(emulator, DESCRIPTORS, VALID | SRCINC | DSTINC, 2)
    poke(emulator, DMAC + 0x47, 2, 1)
    trigger(emulator)
    assert byte(emulator, DATA + 64) == 0x5A


def test_bus_error_ends_the_channel():
    """A beat to nowhere: TERR, and the channel is off; the core goes on."""
    emulator = chip_with_clocks()
    descriptor(emulator, DESCRIPTORS, VALID, 1, DATA, 0x30000000)
    start_dma(emulator)
    trigger(emulator)
    assert flags(emulator) == TERR
    assert byte(emulator, DMAC + 0x40) == 0
    assert emulator.fault is None


def test_block_action_suspend():
    """After a block with SUSPEND nothing moves until RESUME."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes((7, 8)))
    descriptor(emulator, DESCRIPTORS, VALID | SUSPEND, 1, DATA, DATA + 64, DESCRIPTORS + 0x80)
    descriptor(emulator, DESCRIPTORS + 0x80, VALID, 1, DATA + 1, DATA + 64)
    start_dma(emulator)
    trigger(emulator)
    trigger(emulator)
    assert (byte(emulator, DATA + 64), flags(emulator)) == (7, SUSP)
    poke(emulator, DMAC + 0x47, 2, 1)
    assert byte(emulator, DATA + 64) == 8


def test_priorities():
    """The higher level goes first, in a level the lower number; a level that is off waits."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes((1, 2, 3)))
    for channel in range(3):
        descriptor(emulator, DESCRIPTORS + 16 * channel, VALID, 1, DATA + channel, DATA + 64)
        start_dma(emulator, channel, BEAT | (1 << 5 if channel == 1 else 0))
    poke(emulator, DMAC + 0x10, 0b111)
    assert byte(emulator, DATA + 64) == 3  # 1 of level 1, then 0, then 2
    emulator.write(DATA + 64, b"\0")
    for channel in range(3):
        poke(emulator, DMAC + 0x3F, channel, 1)
        poke(emulator, DMAC + 0x40, 2, 1)
    poke(emulator, DMAC, 0x202, 2)  # level 1 alone
    poke(emulator, DMAC + 0x10, 0b111)
    assert (byte(emulator, DATA + 64), word(emulator, DMAC + 0x2C)) == (2, 0b101)


def test_dma_interrupt():
    """TCMPL raises interrupt 6, INTPEND names the channel; the handler ends it by clearing the flag."""
    handler = [0x4801, 0x2107, 0x7001, 0x4770, (DMAC + 0x4E) & 0xFFFF, (DMAC + 0x4E) >> 16]
    emulator = chip_with_clocks({IRQ0 + 6: handler}, irqs=(6,))
    descriptor(emulator, DESCRIPTORS + 32, VALID, 1, DATA, DATA + 64)
    start_dma(emulator, 2, interrupts=TCMPL)
    poke(emulator, NVIC_ISER + 0x80, 1 << 6)  # held back
    trigger(emulator, 2)
    assert half(emulator, DMAC + 0x20) == TCMPL << 8 | 2
    assert word(emulator, DMAC + 0x24) == 1 << 2
    poke(emulator, NVIC_ISER, 1 << 6)
    let(emulator, 100)
    assert word(emulator, DMAC + 0x24) == 0


def test_dma_needs_its_clocks():
    """Without AHBMASK.DMAC nothing moves; without APBBMASK.DMAC an access faults."""
    emulator = chip_with_clocks()
    emulator.write(DATA, b"\x11")
    descriptor(emulator, DESCRIPTORS, VALID, 1, DATA, DATA + 64)
    poke(emulator, PM + 0x14, 0x5F)
    start_dma(emulator)
    trigger(emulator)
    assert byte(emulator, DATA + 64) != 0x11
    poke(emulator, PM + 0x1C, 0x6F)
    with pytest.raises(UsageError, match="UNCLOCKED"):
        poke(emulator, DMAC + 0x10, 1)


# Converter


def configure_adc(emulator, average=0, control=0, input_=0x1800, reference=2, gain=0xF, prescaler=0, event=0):
    poke(emulator, ADC + 1, reference, 1)
    poke(emulator, ADC + 2, average, 1)
    poke(emulator, ADC + 4, control | prescaler << 8, 2)
    poke(emulator, ADC + 0x10, input_ | gain << 24)
    poke(emulator, ADC + 0x14, event, 1)
    poke(emulator, ADC, 2, 1)


def convert(emulator, cycles=4000):
    poke(emulator, ADC + 0xC, 2, 1)
    let(emulator, cycles)
    assert byte(emulator, ADC + 0x18) & 1
    return half(emulator, ADC + 0x1A)


@pytest.mark.parametrize(("sample", "code"), [(0, 2048), (-32768, 0), (32767, 4095), (16384, 3072), (-16, 2047)])
def test_microphone_is_centred_at_half_the_supply(sample, code):
    """With half the supply as reference and gain 1/2 the converter spans the supply: (32768 + sample) / 16."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.ADC, np.full(4000, sample, np.int16), 8000)
    configure_adc(emulator)
    assert convert(emulator) == code
    assert heard(emulator, Input.ADC) == 1


@pytest.mark.parametrize(("bits", "select"), [(12, 0), (10, 2), (8, 3)])
def test_resolution(bits, select):
    """Fewer bits are the upper ones."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.ADC, np.full(4000, 12345, np.int16), 8000)
    configure_adc(emulator, control=select << 4)
    assert convert(emulator) == (32768 + 12345) >> (16 - bits)


@pytest.mark.parametrize(("samples", "log2", "shift"), [(4, 2, 0), (16, 4, 0), (64, 6, 0), (16, 4, 4), (1024, 10, 4)])
def test_accumulation(samples, log2, shift):
    """A start makes 2^n conversions; beyond 16 the sum is shifted into 16 bits, then by ADJRES."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.ADC, np.full(4000, 1600, np.int16), 8000)
    configure_adc(emulator, average=shift << 4 | log2, control=1 << 4)
    expected = 2148 * samples >> max(0, log2 - 4) >> shift
    assert convert(emulator, 40_000) == expected


@pytest.mark.parametrize(
    ("average", "gain", "half_cycles"), [(0, 0, 16), (0, 0xF, 17), (4, 0xF, 17 + 15 * 14), (2, 0, 16 + 3 * 12)]
)
def test_conversion_time(average, gain, half_cycles):
    """1 + resolution / 2 + delay gain cycles of CLK_ADC, later conversions of a sum as in free running."""
    emulator = chip_with_clocks()
    configure_adc(emulator, average=average, control=1 << 4, gain=gain)
    poke(emulator, ADC + 0xC, 2, 1)
    let(emulator, half_cycles * 2 - 2)  # CLK_ADC is a quarter of the core's clock
    assert not byte(emulator, ADC + 0x18) & 1
    let(emulator, 4)
    assert byte(emulator, ADC + 0x18) & 1


def test_supply_is_measured_against_the_reference():
    """A quarter of the supply against 1 V: 4096 * 3.0 / 4 = 3072; the band gap 1.1 V is too much."""
    emulator = chip_with_clocks()
    set_supply(emulator, 3000)
    configure_adc(emulator, input_=0x181B, reference=0, gain=0)
    assert convert(emulator) == 3072
    poke(emulator, ADC + 0x10, 0x1819)
    assert convert(emulator) == 4095


def test_differential_and_correction():
    """Positive less negative input, in two's complement; (value - offset) * gain / 2048."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.ADC, np.full(4000, 0, np.int16), 8000)
    configure_adc(emulator, control=1, input_=0x1800 | 0x1A, reference=0, gain=0)  # 0.3 V against ground
    assert convert(emulator) == int(0.3 * 2048)
    poke(emulator, ADC + 4, 9, 2)
    poke(emulator, ADC + 0x24, 1024 | 14 << 16)
    assert convert(emulator) == (614 - 14) // 2


def test_overrun_and_window():
    """A result that nobody took is overwritten and told; the window monitor compares."""
    emulator = chip_with_clocks()
    configure_adc(emulator)
    poke(emulator, ADC + 0x1C, 2000, 2)
    poke(emulator, ADC + 0x20, 2100, 2)
    poke(emulator, ADC + 8, 3, 1)
    poke(emulator, ADC + 0xC, 2, 1)
    let(emulator, 200)
    poke(emulator, ADC + 0xC, 2, 1)
    let(emulator, 200)
    assert byte(emulator, ADC + 0x18) & 7 == 7


def test_free_running_converter_without_clock_or_bus_clock():
    """It runs by itself; without its generic clock the second access that waits hangs the bus."""
    emulator = chip_with_clocks()
    configure_adc(emulator, control=4)
    let(emulator, 1000)
    assert byte(emulator, ADC + 0x18) & 3 == 3
    other = machine([WFI, 0xE7FD])
    poke(other, PM + 0x20, 0xFFFFFFFF)
    poke(other, ADC, 2, 1)
    with pytest.raises(UsageError, match="UNCLOCKED"):
        poke(other, ADC + 4, 0, 2)


# From a timer through the event system into memory


def paced(emulator, period, count=64, average=0):
    """TC4's overflow starts the converter; its results go to memory by DMA."""
    poke(emulator, EVSYS + 4, 0x36 << 16 | 2 << 24)
    poke(emulator, EVSYS + 8, 1 << 8 | 0x17, 2)
    descriptor(emulator, DESCRIPTORS, VALID | HALF | DSTINC, count, ADC + 0x1A, DATA)
    start_dma(emulator, control=BEAT | ADC_READY << 8)
    configure_adc(emulator, average=average, control=1 << 4 if average else 0, event=1)
    poke(emulator, TC4 + 0x18, period - 1, 2)
    poke(emulator, TC4 + 0xA, 1 << 8, 2)
    poke(emulator, TC4, 1 << 5 | 2, 2)


def test_samples_arrive_at_the_timers_rate():
    """8 MHz / 1000: a file at 8 kHz is taken sample by sample, 12 bits of it, without the core."""
    emulator = chip_with_clocks()
    sound = np.random.default_rng(1).integers(-32768, 32768, 80).astype(np.int16)
    feed_microphone(emulator, Input.ADC, sound, 8000)
    paced(emulator, 1000)
    instructions = emulator.instructions
    let(emulator, 66_000)
    got = np.frombuffer(emulator.read(DATA, 128), "<u2")
    assert got.tolist() == ((sound[:64].astype(np.int64) + 32768) >> 4).tolist()
    assert emulator.instructions - instructions < 5
    assert flags(emulator) == TCMPL


def test_time_stands_still_at_the_end_of_the_file():
    """While sound comes the chip is busy; then, with STOP, it wants input, and with silence it goes on."""
    for stop in (True, False):
        emulator = chip_with_clocks()
        feed_microphone(emulator, Input.ADC, np.zeros(20, np.int16), 8000, then_stop=stop)
        paced(emulator, 1000, count=200)
        ended = emulator.run(40_000)
        assert ended is (Stop.IDLE if stop else Stop.BUDGET)
        assert is_over(emulator, Input.ADC)
        assert (emulator.cycles < 25_000) is stop


def test_event_channels():
    """A software event reaches its users; a resynchronized path needs an edge and a clock; DMA listens to events."""
    emulator = chip_with_clocks()
    emulator.write(DATA, bytes((1, 2)))
    descriptor(emulator, DESCRIPTORS, VALID | SRCINC, 2, DATA, DATA + 64)
    start_dma(emulator, control=BEAT | 1 << 3 | 1)
    poke(emulator, EVSYS + 8, 4 << 8 | 0, 2)
    poke(emulator, EVSYS + 4, 3 | 1 << 8 | 1 << 24)  # resynchronized without an edge
    assert byte(emulator, DATA + 64) != 1
    poke(emulator, EVSYS + 4, 3 | 1 << 8 | 1 << 24 | 1 << 26)
    assert byte(emulator, DATA + 64) == 1
    assert word(emulator, EVSYS + 0x18) == 1 << 11
    poke(emulator, GCLK + 2, 0x07 + 3, 2)  # no clock
    poke(emulator, EVSYS + 4, 3 | 1 << 8 | 1 << 24 | 1 << 26)
    assert byte(emulator, DATA + 64) == 1
    poke(emulator, EVSYS + 4, 3 | 1 << 8 | 2 << 24)
    assert byte(emulator, DATA + 64) == 2


def test_timer_overflow_as_a_dma_trigger():
    """A beat for each overflow."""
    emulator = chip_with_clocks()
    descriptor(emulator, DESCRIPTORS, VALID | DSTINC, 50, DATA, DATA + 64)
    poke(emulator, TC4 + 0x18, 999, 2)
    poke(emulator, TC4, 1 << 5 | 2, 2)
    start_dma(emulator, control=BEAT | TC4_OVF << 8)
    let(emulator, 10_500)
    assert half(emulator, WRITE_BACK + 2) == 40


# I2S


def start_i2s(emulator, clock=0x87, serializer=0x00, slots_off=0):
    """Two slots, clock unit 0, serializer 0."""
    poke(emulator, I2S + 4, clock)
    poke(emulator, I2S + 0x20, serializer | slots_off << 16)
    poke(emulator, I2S, 2 | 4 | 16, 1)


@pytest.mark.parametrize(
    ("slot", "size", "bits", "expected"),
    [(3, 0, 32, 0x12340000), (2, 1, 24, 0x123400), (1, 4, 16, 0x1234), (3, 4, 16, 0x1234)],
)
def test_receiver(slot, size, bits, expected):
    """Words of 16, 24 and 32 bits out of slots of as many or more, in the slot's time, by DMA."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.I2S, np.full(4000, 0x1234, np.int16), 8000)
    descriptor(emulator, DESCRIPTORS, VALID | WORD | DSTINC, 20, I2S + 0x30, DATA)
    start_dma(emulator, control=BEAT | I2S_RX0 << 8)
    left = 1 << 7 if 8 * (slot + 1) > bits else 0
    start_i2s(emulator, clock=0x84 | slot, serializer=size << 8 | left, slots_off=2)
    frame = 2 * 8 * (slot + 1)
    let(emulator, 10 * frame)
    words = np.frombuffer(emulator.read(DATA, 36), "<u4")
    assert words.tolist() == [expected] * 9 or words.tolist() == [expected] * 10
    assert half(emulator, WRITE_BACK + 2) == 10
    assert not emulator.unmodelled


def test_both_slots_and_overrun():
    """The microphone is in the first slot; a word that nobody takes is lost and told."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.I2S, np.full(4000, -2, np.int16), 8000)
    start_i2s(emulator)
    let(emulator, 32)
    assert (half(emulator, I2S + 0x14) & 0x11, word(emulator, I2S + 0x30)) == (1, 0xFFFE0000)
    let(emulator, 32)
    assert word(emulator, I2S + 0x30) == 0
    let(emulator, 64)
    assert half(emulator, I2S + 0x14) & 0x11 == 0x11


def test_sign_extension_and_a_bit_too_early():
    """EXTEND by the most significant bit; a receiver without the bit's delay sees half the value."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.I2S, np.full(4000, -256, np.int16), 8000)
    start_i2s(emulator, serializer=4 << 8 | 2 << 13 | 1 << 7)
    let(emulator, 32)
    assert word(emulator, I2S + 0x30) == 0xFFFFFF00
    poke(emulator, I2S, 0, 1)
    start_i2s(emulator, clock=0x07)
    let(emulator, 32)
    assert word(emulator, I2S + 0x30) != 0xFFFFFF00


def test_i2s_what_is_not_modelled_is_told():
    """A transmitter, a clock from outside."""
    emulator = chip_with_clocks()
    poke(emulator, I2S + 0x20, 1)
    poke(emulator, I2S + 4, 1 << 8)
    assert [u.name for u in emulator.unmodelled] == ["I2S.SERCTRL0", "I2S.CLKCTRL0"]


def test_clock_divider_of_the_bit_clock():
    """MCKDIV divides the generic clock by its value plus one."""
    emulator = chip_with_clocks()
    feed_microphone(emulator, Input.I2S, np.zeros(4000, np.int16), 8000)
    start_i2s(emulator, clock=0x87 | 4 << 19)
    let(emulator, 32 * 5 - 4)
    assert not half(emulator, I2S + 0x14) & 1
    let(emulator, 8)
    assert half(emulator, I2S + 0x14) & 1
