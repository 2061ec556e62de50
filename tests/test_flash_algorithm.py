"""The flash algorithm: what is committed is what its source gives, and it does to the chip what its header says."""

import json
import runpy
import shutil

import pytest

from hil.chips import CHIPS, RAM_BASE
from hil.emulator import Emulator, Stop
from hil.probe.algorithm import ANALYZER, BUFFERS, RESULTS, ROW_BYTES, STACK_END, STACK_TOP, flash_algorithm
from hil.resources import resource

FOLDER = resource("firmware") / "flash_algorithm"
BUILD = runpy.run_path(str(FOLDER / "build.py"))
OK, BAD_ADDRESS, LOCKED, DIFFERS = 0, 1, 3, 6
CTRLB, LOCK, STATUS = 0x41004004, 0x41004020, 0x41004018
MOST_CYCLES = 50_000_000
PAGE = 64


@pytest.fixture(scope="module")
def built():
    return {"zig": BUILD["build"]("zig")}


@pytest.fixture(scope="module", params=["zig", "gcc"])
def blob(request, built):
    """The algorithm as each compiler makes it."""
    if request.param == "zig":
        return json.loads(built["zig"])
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not on PATH")
    return json.loads(BUILD["build"]("gcc"))


class Target:
    """A chip with the algorithm in its RAM, whose functions are called as a debugger calls them."""

    def __init__(self, blob, chip="atsamd21j18a"):
        self.chip = CHIPS[chip]
        self.emulator = Emulator(self.chip)
        self.blob = blob
        code = b"".join(int(word, 16).to_bytes(4, "little") for word in blob["instructions"])
        self.emulator.write(blob["load_address"], code)

    def call(self, name, *arguments):
        values = {f"r{i}": value for i, value in enumerate(arguments)}
        values |= {"sp": STACK_TOP, "lr": self.blob["load_address"] | 1, "pc": self.blob["entries"][name]}
        for register, value in values.items():
            self.emulator.set_register(register, value)
        self.emulator.set_register("xpsr", 1 << 24)
        assert self.emulator.run(MOST_CYCLES) is Stop.BKPT
        assert self.emulator.registers()["pc"] == self.blob["load_address"]
        assert self.emulator.registers()["sp"] == STACK_TOP
        return self.emulator.registers()["r0"]

    def program(self, address, data):
        self.emulator.write(BUFFERS[0], data)
        return self.call("ProgramPage", address, len(data), BUFFERS[0])

    def flash(self, address, n):
        return self.emulator.read(address, n)


@pytest.fixture
def target(blob):
    made = Target(blob)
    assert made.call("Init", 0, 0, 1) == OK
    return made


def test_the_committed_program_is_what_its_source_gives(built):
    """Byte for byte, from the compiler that the package pins."""
    assert built["zig"] == (FOLDER / "flash_algorithm.json").read_text()


def test_the_results_are_those_of_the_header():
    """Every number that the C code returns has a sentence here."""
    lines = (FOLDER / "flash_algorithm.h").read_text().split("enum flash_result {")[1].split("};")[0]
    numbers = [int(line.split("=")[1].split(",")[0].split("/")[0]) for line in lines.splitlines() if "=" in line]
    assert sorted(RESULTS) == [n for n in numbers if n]


def test_a_function_returns_to_a_breakpoint():
    """LR is the load address, so the first halfword there is BKPT #0; the entries are Thumb."""
    algorithm = flash_algorithm()
    assert algorithm["instructions"][0] & 0xFFFF == 0xBE00
    assert all(value & 1 for name, value in algorithm.items() if name.startswith("pc_"))


def test_the_layout_fits_the_smallest_ram(blob):
    """Code, stack, pyOCD's analyzer and both buffers, in this order, within 16 KiB."""
    largest = max(chip.flash_bytes for chip in CHIPS.values())
    crc_bytes = 4 * largest // ROW_BYTES
    spans = [(blob["load_address"], blob["end_address"]), (STACK_END, STACK_TOP), (ANALYZER, ANALYZER + 0x600)]
    spans += [(at, at + max(crc_bytes, ROW_BYTES)) for at in BUFFERS]
    ends = [RAM_BASE, *(end for _, end in spans)]
    assert all(end <= start for end, (start, _) in zip(ends, spans, strict=False))
    assert ends[-1] <= RAM_BASE + min(chip.ram_bytes for chip in CHIPS.values())


def test_erasing_a_row_leaves_its_neighbours(target):
    """256 bytes, no more and no fewer."""
    target.emulator.load(0, bytes(3 * ROW_BYTES))
    assert target.call("EraseSector", ROW_BYTES) == OK
    assert target.flash(0, 3 * ROW_BYTES) == bytes(ROW_BYTES) + b"\xff" * ROW_BYTES + bytes(ROW_BYTES)


@pytest.mark.parametrize("chip", ["atsamd21j18a", "atsamd21e17a"])
def test_the_last_row_is_in_the_flash_and_the_next_is_not(blob, chip):
    """For both sizes, as NVMCTRL.PARAM says."""
    target = Target(blob, chip)
    target.call("Init", 0, 0, 1)
    end = target.chip.flash_bytes
    assert target.call("EraseSector", end - ROW_BYTES) == OK
    assert target.call("EraseSector", end) == BAD_ADDRESS
    assert target.program(end - 4, b"word") == OK
    assert target.program(end - 4, b"two word") == BAD_ADDRESS
    assert target.program(0xFFFFFFFC, b"two word") == BAD_ADDRESS


@pytest.mark.parametrize("address", [1, 4, ROW_BYTES - 1, ROW_BYTES + 4])
def test_only_whole_rows_are_erased(target, address):
    """An address inside a row is refused."""
    assert target.call("EraseSector", address) == BAD_ADDRESS


@pytest.mark.parametrize("size", [4, PAGE - 4, PAGE, PAGE + 4, 256, 1000])
@pytest.mark.parametrize("address", [0, 4, PAGE - 4])
def test_programming_writes_exactly_the_bytes_given(target, address, size):
    """From any word to any word, across pages."""
    data = bytes((7 * i + 3) & 0xFF for i in range(size))
    assert target.program(address, data) == OK
    assert target.flash(0, 2048) == (b"\xff" * address + data).ljust(2048, b"\xff")


@pytest.mark.parametrize(("address", "size"), [(2, 4), (0, 6), (1, 4)])
def test_only_whole_words_are_programmed(target, address, size):
    """Everything else is refused and changes nothing."""
    assert target.program(address, bytes(size)) == BAD_ADDRESS
    assert target.flash(0, 64) == b"\xff" * 64


def test_programming_what_was_not_erased_is_noticed(target):
    """Flash bits only go from 1 to 0: the page reads back different."""
    target.emulator.load(0, b"\x00" * 4)
    assert target.program(0, b"\x01\x02\x03\x04") == DIFFERS


def test_a_locked_region_is_not_touched(target):
    """Erasing and programming say so; the region before it works."""
    region = target.chip.flash_bytes // 16
    target.emulator.write(0x4100401C, (region // 2).to_bytes(4, "little"))
    target.emulator.write(0x41004000, (0xA540).to_bytes(2, "little"))  # lock the region of ADDR
    assert target.emulator.read(LOCK, 2) == (0xFFFD).to_bytes(2, "little")
    target.emulator.load(region, b"kept")
    assert target.call("EraseSector", region) == LOCKED
    assert target.program(region + 64, b"new.") == LOCKED
    assert target.call("EraseChip") == LOCKED
    assert target.flash(region, 4) == b"kept"
    assert target.flash(region + 64, 4) == b"\xff" * 4
    assert target.program(region - 4, b"fine") == OK


def test_erasing_the_chip_erases_all_of_it(blob):
    """Every row of the flash."""
    target = Target(blob, "atsamd21e17a")
    target.call("Init", 0, 0, 1)
    target.emulator.load(0, bytes(target.chip.flash_bytes))
    assert target.call("EraseChip") == OK
    assert target.flash(0, target.chip.flash_bytes) == b"\xff" * target.chip.flash_bytes


def test_verify_finds_the_first_word_that_differs(target):
    """Or returns the address behind the last."""
    data = bytes(range(32))
    target.emulator.load(64, data)
    target.emulator.write(BUFFERS[0], data)
    assert target.call("Verify", 64, 32, BUFFERS[0]) == 96
    target.emulator.load(64 + 17, b"\x00")
    assert target.call("Verify", 64, 32, BUFFERS[0]) == 64 + 16


def test_blank_check_sees_a_single_bit(target):
    """0 for blank, 1 for not."""
    assert target.call("BlankCheck", 0, 256, 0xFF) == 0
    target.emulator.load(255, b"\xfe")
    assert target.call("BlankCheck", 0, 255, 0xFF) == 0
    assert target.call("BlankCheck", 0, 256, 0xFF) == 1


def test_what_init_changes_uninit_restores(blob):
    """CTRLB (cache, manual writes) and PRIMASK are as before; in between interrupts are off."""
    target = Target(blob)
    target.emulator.write(CTRLB, (0x2).to_bytes(4, "little"))
    assert target.call("Init", 0, 0, 2) == OK
    assert target.emulator.registers()["primask"] == 1
    assert target.emulator.read(CTRLB, 4) == (0x40082).to_bytes(4, "little")
    assert target.call("UnInit", 2) == OK
    assert target.emulator.registers()["primask"] == 0
    assert target.emulator.read(CTRLB, 4) == (0x2).to_bytes(4, "little")
