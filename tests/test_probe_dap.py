"""The debug port and the access port, against a bus that is written down."""

import pytest

from hil.probe.dap import AP_IDR, CSW_RESET, DPIDR, ROM_BASE, BusFault, DebugPort
from hil.probe.wire import Ack

ABORT, CTRL_STAT, SELECT, RDBUFF = 0x0, 0x4, 0x8, 0xC
CSW, TAR, DRW = 0x0, 0x4, 0xC
POWER = 0x50000000
STICKYERR, READOK = 1 << 5, 1 << 6
BYTE, HALF, WORD, STEP = 0, 1, 2, 1 << 4


class Bus:
    """Remembers writes; reads give the address; 0xBAD00000 and above does not answer."""

    def __init__(self):
        self.written = []

    def read(self, address, size):
        if address >= 0xBAD00000:
            raise BusFault
        return address & ((1 << 8 * size) - 1)

    def write(self, address, size, value):
        if address >= 0xBAD00000:
            raise BusFault
        self.written.append((address, size, value))


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def port(bus):
    made = DebugPort(bus)
    assert made.write_dp(CTRL_STAT, POWER) is Ack.OK
    return made


def select(port, bank, ap=0):
    assert port.write_dp(SELECT, ap << 24 | bank << 4) is Ack.OK


def aim(port, address, size, step=0):
    select(port, 0)
    assert port.write_ap(CSW, CSW_RESET & ~0x37 | size | step) is Ack.OK
    assert port.write_ap(TAR, address) is Ack.OK


def test_it_says_what_it_is(port):
    """DPIDR, and the AP's IDR and BASE in bank 15."""
    assert port.read_dp(0) == (Ack.OK, DPIDR)
    select(port, 0xF)
    assert port.read_ap(0xC) == (Ack.OK, AP_IDR)
    assert port.read_ap(0x8) == (Ack.OK, ROM_BASE)


def test_the_access_port_is_enabled_after_power_on(port):
    """CSW.DeviceEn reads 1."""
    select(port, 0)
    assert port.read_ap(CSW)[1] & 1 << 6


def test_power_requests_are_acknowledged(bus):
    """Each acknowledge follows its own request; without debug power the AP answers FAULT."""
    port = DebugPort(bus)
    assert port.read_ap(CSW)[0] is Ack.FAULT
    port.write_dp(ABORT, 0x1E)
    port.write_dp(CTRL_STAT, 1 << 28)
    assert port.read_dp(CTRL_STAT)[1] >> 28 == 0b0011
    port.write_dp(CTRL_STAT, POWER)
    assert port.read_dp(CTRL_STAT)[1] >> 28 == 0b1111
    assert port.read_ap(CSW)[0] is Ack.OK


def test_an_error_of_the_bus_sticks_until_it_is_cleared(port, bus):
    """The access fails, those behind it fail and do nothing, CTRL/STAT shows it, ABORT.STKERRCLR ends it."""
    aim(port, 0xBAD00000, WORD)
    assert port.read_ap(DRW)[0] is Ack.FAULT
    assert port.write_ap(TAR, 0x20000000) is Ack.FAULT
    assert port.write_ap(DRW, 1) is Ack.FAULT
    assert port.read_dp(RDBUFF)[0] is Ack.FAULT
    assert port.read_dp(CTRL_STAT)[0] is Ack.OK
    assert port.read_dp(CTRL_STAT)[1] & (STICKYERR | READOK) == STICKYERR
    port.write_dp(ABORT, 1 << 1 | 1 << 3 | 1 << 4)
    assert port.read_dp(CTRL_STAT)[1] & STICKYERR
    port.write_dp(ABORT, 1 << 2)
    assert not port.read_dp(CTRL_STAT)[1] & STICKYERR
    assert port.read_ap(TAR) == (Ack.OK, 0xBAD00000)
    assert bus.written == []


def test_a_write_that_fails_sticks_as_well(port):
    """Likewise."""
    aim(port, 0xBAD00000, WORD)
    assert port.write_ap(DRW, 1) is Ack.FAULT
    assert port.read_dp(CTRL_STAT)[1] & STICKYERR


def test_the_address_counts_within_a_kilobyte(port):
    """TAR steps by the size of the access, wraps after 1 KiB, and stands still without ADDRINC."""
    aim(port, 0x200003F8, WORD, STEP)
    assert [port.read_ap(DRW)[1] for _ in range(3)] == [0x200003F8, 0x200003FC, 0x20000000]
    aim(port, 0x20000000, HALF, STEP)
    port.read_ap(DRW)
    assert port.read_ap(TAR)[1] == 0x20000002
    aim(port, 0x20000000, WORD)
    port.read_ap(DRW)
    assert port.read_ap(TAR)[1] == 0x20000000


@pytest.mark.parametrize(("address", "size", "lane"), [(0x101, BYTE, 8), (0x103, BYTE, 24), (0x102, HALF, 16)])
def test_small_accesses_use_their_byte_lanes(port, bus, address, size, lane):
    """Data stands in DRW where it stands in the word."""
    aim(port, address, size)
    mask = 0xFF if size == BYTE else 0xFFFF
    assert port.read_ap(DRW)[1] == (address & mask) << lane
    port.write_ap(DRW, 0x5A5A5A5A)
    assert bus.written == [(address, 1 << size, 0x5A5A5A5A & mask)]


def test_an_access_off_its_boundary_is_an_error(port):
    """A word at an odd address."""
    aim(port, 0x20000002, WORD)
    assert port.read_ap(DRW)[0] is Ack.FAULT


def test_a_size_that_is_not_there_is_not_taken(port):
    """CSW keeps its size for 64 bits, so a debugger sees that it is not supported."""
    aim(port, 0, HALF)
    port.write_ap(CSW, CSW_RESET & ~7 | 3)
    assert port.read_ap(CSW)[1] & 7 == HALF


def test_banked_data_reaches_four_words_at_once(port):
    """BD0 to BD3 are the words of TAR's 16 bytes."""
    aim(port, 0x20000008, WORD)
    select(port, 1)
    assert [port.read_ap(4 * i)[1] for i in range(4)] == [0x20000000 + 4 * i for i in range(4)]


def test_an_access_port_that_is_not_there_reads_as_zero(port):
    """IDR of APSEL 1 to 3, without an error: that is how a debugger finds out."""
    for ap in (1, 2, 3):
        select(port, 0xF, ap)
        assert port.read_ap(0xC) == (Ack.OK, 0)
        assert port.write_ap(CSW, 1) is Ack.OK


def test_the_last_result_can_be_read_again(port):
    """RDBUFF holds what the last read of the AP gave."""
    aim(port, 0x1234, WORD)
    assert port.read_ap(DRW)[1] == 0x1234
    assert port.read_dp(RDBUFF) == (Ack.OK, 0x1234)
