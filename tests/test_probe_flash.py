"""Flashing through pyOCD: what is written is proved, and each way to fail is reported for what it is."""

import hashlib
import os
import struct
import time

import pytest
from probe_pack import make_pack
from probe_support import J18A, SERIALS, Debugger, compile_program

from hil.chips import CHIPS
from hil.errors import (
    ChipProtected,
    FitError,
    FlashDiffers,
    FlashError,
    FlashLocked,
    PowerLost,
    RigNotFound,
    ToolError,
    UsageError,
)
from hil.probe import BoardPlan
from hil.probe.algorithm import flash_algorithm
from hil.probe.client import Busy
from hil.probe.flash import Pack, _error, flash_through_pyocd
from hil.probe.folder import FOLDER_VARIABLE
from hil.probe.process import BoardProcess, Child
from hil.probe.wire import NRESET

UID = SERIALS[0]
NVM, USER_ROW = 0x41004000, 0x804000
ERASE_AUX, WRITE_AUX, CLEAR_BUFFER, SECURE = 0x05, 0x06, 0x44, 0x45
HALT, DHCSR, RESET, AIRCR = 0xA05F0003, 0xE000EDF0, 0x05FA0004, 0xE000ED0C
DSU_CTRL, CHIP_ERASE, RELEASE = 0x41002100, 0x10, 0x02
USER_ROW_AS_SHIPPED = (0xD8E0C7FF, 0xFFFFFC5D)
KIB = 1024


def elf_file(path, *segments):
    """A little-endian Arm ELF file with nothing but these (address, bytes)."""
    header = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 0, 0x05000000, 52, 32, len(segments), 40, 0, 0)
    at, table, body = 52 + 32 * len(segments), b"", b""
    for address, data in segments:
        table += struct.pack("<8I", 1, at + len(body), address, address, len(data), len(data), 5, 4)
        body += data
    path.write_bytes(header + table + body)
    return path


def noise(n, seed=1):
    """Bytes that are neither erased nor all the same."""
    return b"".join(hashlib.sha256(bytes([seed, i & 0xFF, i >> 8])).digest() for i in range(n // 32 + 1))[:n]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For programs, and for this module's probes alone."""
    made = tmp_path_factory.mktemp("f")
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(made / "probes")
    yield made
    os.environ.pop(FOLDER_VARIABLE)
    if before is not None:
        os.environ[FOLDER_VARIABLE] = before


@pytest.fixture(scope="module")
def small(folder):
    """A program of 600 bytes in two pieces, the second not at the start of a row."""
    return elf_file(folder / "small.elf", (0, noise(400)), (0x1010, noise(200, 2)))


@pytest.fixture(scope="module")
def process(folder):
    with BoardProcess(BoardPlan(serial=UID)) as made:
        yield made


@pytest.fixture
def board(process):
    """With power, its flash erased, its user row as shipped."""
    process.tell(what="power", on=True)
    with Debugger(UID) as debugger:
        debugger.write(DSU_CTRL, CHIP_ERASE, 1)
        debugger.client.pins(NRESET, 0)
        debugger.client.pins(NRESET, NRESET)
        debugger.write(DSU_CTRL + 1, RELEASE, 1)
        write_user_row(debugger, USER_ROW_AS_SHIPPED)
    return process


def flash(path, **more):
    return flash_through_pyocd(path, UID, J18A, rig="bench", **more)


def flash_contents(address, n):
    with Debugger(UID) as debugger:
        return b"".join(debugger.read(at).to_bytes(4, "little") for at in range(address, address + n, 4))


def nvm_command(debugger, command, address):
    """From outside, until the controller is ready again."""
    debugger.write(NVM + 0x1C, address // 2)
    debugger.write(NVM, 0xA500 | command, 2)
    while not debugger.read(NVM + 0x14, 1) & 1:
        pass


def write_user_row(debugger, words):
    """If it is another; then a reset, with which it comes into force."""
    if tuple(debugger.read(USER_ROW + 4 * i) for i in range(2)) == words:
        return
    debugger.write(DHCSR, HALT)
    nvm_command(debugger, ERASE_AUX, USER_ROW)
    nvm_command(debugger, CLEAR_BUFFER, USER_ROW)
    for i, word in enumerate(words):
        debugger.write(USER_ROW + 4 * i, word)
    nvm_command(debugger, WRITE_AUX, USER_ROW)
    debugger.write(AIRCR, RESET)


def test_32_kilobytes_in_how_many_seconds_and_cycles(folder, board, capsys):
    """Written, verified, and started; printed: wall time, cycles and virtual time, which silicon takes as well."""
    told = []
    path = elf_file(folder / "k32.elf", (0, noise(32 * KIB)))
    done = flash(path, progress=lambda bytes_done, total, doing: told.append((doing, bytes_done, total)))
    with capsys.disabled():
        print(f"\n32 KiB through pyOCD: {done}")
    assert done.written
    assert done.bytes == 32 * KIB
    assert 128 * 6e-3 + 512 * 2.5e-3 < done.chip_seconds < 3.5
    assert done.cycles == pytest.approx(done.chip_seconds * 1e6, rel=0.01)
    assert flash_contents(0, 1024) == noise(32 * KIB)[:1024]
    assert list(dict.fromkeys(doing for doing, _, _ in told)) == [
        "connecting", "comparing", "erasing", "programming", "verifying",
    ]  # fmt: skip
    assert told[-1][2] == 32 * KIB


def test_what_is_there_already_is_not_written_again(folder, board, small):
    """Read back and compared: nothing is erased, and only a reset runs. One different byte is reason to write."""
    first, second = flash(small), flash(small)
    assert (first.written, second.written) == (True, False)
    assert second.chip_seconds < 0.01
    assert "there already" in str(second)
    assert flash_contents(0x1000, 16 + 200) == b"\xff" * 16 + noise(200, 2)
    other = bytearray(noise(400))
    other[399] ^= 1
    assert flash(elf_file(folder / "other.elf", (0, bytes(other)), (0x1010, noise(200, 2)))).written


def test_a_bit_that_flips_before_verification_is_found(board, small):
    """Named by address and value, one byte of all."""
    board.tell(what="weak_bit", address=0x105, bit=3)
    with pytest.raises(FlashDiffers, match=r"0x00000105") as caught:
        flash(small)
    written = noise(400)[0x105]
    assert (caught.value.address, caught.value.expected, caught.value.got) == (0x105, written, written ^ 8)
    assert caught.value.bytes == 1


def test_power_that_fails_in_the_middle_is_reported_as_that(board, small):
    """Three rows, erased after 18 ms and written after 45. Then nobody answers; with power back it goes well."""
    for seconds, doing in ((0.005, "erasing"), (0.03, "programming")):
        board.tell(what="power", on=True)
        board.tell(what="power", on=False, after_s=seconds)
        with pytest.raises(PowerLost, match=f"while {doing}"):
            flash(small)
    with pytest.raises(RigNotFound, match="no chip answers"):
        flash(small)
    board.tell(what="power", on=True)
    assert flash(small).written


def test_a_locked_region_is_reported_as_that(board, small):
    """Lock bit 0 in the user row, in force after a reset; what is there stays, even its neighbours."""
    flash(small)
    with Debugger(UID) as debugger:
        write_user_row(debugger, (USER_ROW_AS_SHIPPED[0], USER_ROW_AS_SHIPPED[1] & ~(1 << 16)))
    before = flash_contents(0, 1024)
    with pytest.raises(FlashLocked, match="locked against writing") as caught:
        flash(elf_file(small.parent / "locked.elf", (0x200, noise(300, 3))))
    assert caught.value.address == 0x200
    assert flash_contents(0, 1024) == before


def test_a_protected_chip_is_refused_and_erased_on_request(board, small):
    """With the security bit nothing is read or written; --chip-erase, which the message offers, ends that."""
    with Debugger(UID) as debugger:
        debugger.write(NVM, 0xA500 | SECURE, 2)
    with pytest.raises(ChipProtected, match="--chip-erase"):
        flash(small)
    assert board.tell(what="state")["protected"]
    done = flash(small, chip_erase=True)
    assert (done.written, done.erased) == (True, True)
    assert not board.tell(what="state")["protected"]


def test_a_chip_can_be_caught_in_reset(board, small):
    """Cold-plugged: the core comes out of reset into the vector catch, and is let go of in the end."""
    assert flash(small, under_reset=True).written
    assert not board.tell(what="state")["halted"]


def test_the_program_runs_afterwards(folder, board):
    """Not halted, and its cycles go on."""
    flash(compile_program(folder))
    first = board.tell(what="state")
    assert not first["halted"]
    assert board.tell(what="state")["cycles"] > first["cycles"]


def test_an_unknown_probe_is_an_error_at_once(board, small):
    """The attached ones are named; a part of an id is not enough."""
    for uid in ("nothing-here", UID[-6:]):
        with pytest.raises(RigNotFound, match=UID):
            flash_through_pyocd(small, uid, J18A, rig="bench")


def test_a_probe_in_use_is_an_error_at_once(board, small):
    """With what to do."""
    with Debugger(UID), pytest.raises(FlashError, match="in use by another debugger"):
        flash(small)


def test_the_deadline_ends_what_hangs(board, small):
    """Together with the process, so that the probe is free again."""
    began = time.monotonic()
    with pytest.raises(FlashError, match="time was up"):
        flash(small, deadline_s=0.2)
    assert time.monotonic() - began < 5
    while time.monotonic() - began < 10:
        try:
            Debugger(UID).client.close()
            return
        except Busy:
            time.sleep(0.01)
    pytest.fail("the probe stays taken")


def test_a_child_that_dies_is_a_tools_error(board, small, monkeypatch):
    """With the end of its log."""
    monkeypatch.setitem(os.environ, "PYTHONHOME", "/nowhere")
    with pytest.raises(ToolError, match="without a word"):
        flash(small)


@pytest.mark.parametrize(
    ("address", "size", "error"),
    [(0x3FFF8, 8, None), (0x3FFFC, 8, FitError), (0x20000000, 8, UsageError), (0x40000, 4, UsageError)],
)
def test_only_flash_is_flashed(folder, board, address, size, error):
    """Up to its last byte."""
    path = elf_file(folder / "edge.elf", (address, noise(size)))
    if error is None:
        assert flash(path).written
    else:
        with pytest.raises(error):
            flash(path)


def test_a_program_for_a_larger_chip_does_not_fit(folder):
    """128 KB of an xxx17A."""
    path = elf_file(folder / "large.elf", (0, noise(64)), (0x1FFF0, noise(32)))
    with pytest.raises(FitError, match="131072"):
        flash_through_pyocd(path, UID, CHIPS["atsamd21e17a"], rig="bench")


def test_a_pack_is_the_file_that_was_named(folder, small):
    """By its hash; another or none is refused before anything is done."""
    path = folder / "vendor.pack"
    path.write_bytes(b"contents")
    Pack(path, hashlib.sha256(b"contents").hexdigest().upper()).check()
    for pack in (Pack(path, "0" * 64), Pack(folder / "none.pack", "0" * 64)):
        with pytest.raises(UsageError, match="pack"):
            flash(small, pack=pack)


def test_a_vendors_pack_replaces_the_target(folder, board, small):
    """Its memory map and its algorithm, which lies elsewhere in RAM; verified as ever."""
    path = make_pack(folder)
    pack = Pack(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert flash(small, pack=pack).written
    with Debugger(UID) as debugger:
        debugger.write(DHCSR, HALT)
        assert debugger.read(0x20000000) != flash_algorithm()["instructions"][0]
        debugger.write(NVM, 0xA500 | SECURE, 2)
    with pytest.raises(ChipProtected):
        flash(small, pack=pack)
    assert flash(small, pack=pack, chip_erase=True).written
    assert flash_contents(0, 400) == noise(400)


def test_every_result_of_the_algorithm_has_words():
    """Also one that nobody knows."""
    for code in (1, 2, 4, 5, 6, 7, 99):
        error = _error({"failed": "algorithm", "code": code, "address": 64, "text": "odd"}, "bench", "erasing", "")
        assert type(error) is FlashError
        assert "0x00000040" in str(error)


def test_what_a_child_says_besides_json_is_ignored(tmp_path):
    """And its end ends the conversation."""
    (tmp_path / "chatty.py").write_text("import json; print('hm'); print(json.dumps({'a': 1}))")
    child = Child("chatty", None, cwd=tmp_path)
    assert list(child.said(time.monotonic() + 20)) == [{"a": 1}]
    child.end()
    assert child.process.returncode is not None
