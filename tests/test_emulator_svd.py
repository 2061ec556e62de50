"""Register offsets, widths and reset values against the vendor's SVD files."""

import pytest
from emulator_support import svd

from hil.chips import chip
from hil.emulator import Emulator
from hil.errors import UsageError

NOT_MODELLED = {"AC", "DAC", "PTC", "TCC0", "TCC1", "TCC2", "USB"}
MODES = {"COUNT8": 1 << 2, "COUNT16": 0, "COUNT32": 2 << 2}
"""CTRLA.MODE of the timers' clusters."""
LARGEST = {"DSU": 0x2000, "MTB": 0x1000}


@pytest.fixture(scope="module", params=svd.CHIPS)
def described(request):
    """A chip and the registers of its modelled peripherals."""
    try:
        registers = svd.registers(request.param)
    except svd.Unavailable as error:
        pytest.skip(str(error))
    emulator = Emulator(chip(request.param.lower()))
    return emulator, [r for r in registers if r.peripheral not in NOT_MODELLED]


@pytest.fixture(autouse=True)
def after_reset(request):
    """Power-on, then a clock for every peripheral."""
    if "described" in request.fixturenames:
        emulator, _ = request.getfixturevalue("described")
        emulator.reset(1)
        give_clocks(emulator)


def give_clocks(emulator):
    for bridge in range(3):
        emulator.write(0x40000418 + 4 * bridge, b"\xff\xff\xff\xff")


def read(emulator, register):
    return int.from_bytes(emulator.read(register.address, register.size // 8), "little")


def test_every_register_answers_at_its_offset(described):
    """Each register of a modelled peripheral can be read in its own width without an entry in the log."""
    emulator, registers = described
    for register in registers:
        before = len(emulator.unmodelled)
        read(emulator, register)
        assert len(emulator.unmodelled) == before, f"{register.peripheral}.{register.name}"
    assert len(registers) > 400


def test_nothing_answers_between_the_registers(described):
    """Reading a word without a register in it is logged, or refused where no peripheral is."""
    emulator, registers = described
    for base in sorted({r.base for r in registers if r.peripheral not in LARGEST}):
        words = {(r.address - base) & ~3 for r in registers if r.base == base}
        for offset in range(0, 0x400, 4):
            before = len(emulator.unmodelled)
            if offset not in words and before < 250:
                emulator.read(base + offset, 4)
                assert len(emulator.unmodelled) == before + 1, f"{base + offset:#x}"


def test_reset_values(described):
    """Where the SVD has a reset value, the register has it after reset."""
    emulator, registers = described
    checked = 0
    for register in sorted(registers, key=lambda r: r.name == "PER"):  # last: its mode is written, which takes time
        if register.reset is None or (register.peripheral == "PM" and register.name.endswith("MASK")):
            continue
        if register.mode in MODES and register.name == "PER":
            emulator.write(register.base, MODES[register.mode].to_bytes(2, "little"))
        assert read(emulator, register) == register.reset, f"{register.peripheral}.{register.name}"
        checked += 1
    assert checked > 35


def test_clock_masks_after_reset(described):
    """The bridges' masks after reset are the SVD's."""
    emulator, registers = described
    emulator.reset(1)
    masks = [r for r in registers if r.peripheral == "PM" and r.name.endswith("MASK")]
    assert len(masks) == 4
    for register in masks:
        assert read(emulator, register) == register.reset, register.name


def test_peripherals_that_a_chip_lacks(described):
    """What the SVD of a variant does not list (SERCOM4 and 5 of the E18A, TC6 and 7 of E and G) faults."""
    emulator, registers = described
    present = {r.peripheral for r in registers}
    for name, address in [("SERCOM4", 0x42001800), ("SERCOM5", 0x42001C00), ("TC6", 0x42003800), ("TC7", 0x42003C00)]:
        if name in present:
            emulator.read(address, 4)
        else:
            with pytest.raises(UsageError, match="UNMAPPED"):
                emulator.read(address, 4)


def test_names_are_the_files():
    """hil/emulator/register_names.py is what the maker writes today."""
    try:
        assert svd.NAMES.read_text() == svd.names()
    except svd.Unavailable as error:
        pytest.skip(str(error))
