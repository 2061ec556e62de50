"""Which rig runs: what is attached, what stands in, and why."""

from __future__ import annotations

import pytest

from hil.errors import RigError, RigNotFound, SeveralMatch, UsageError
from hil.probe.survey import Probe
from hil.rig import RigRequest, load_rig, load_rig_file, rig_files
from hil.rig.emulator import EmulatorRig
from hil.rig.find import NO_PORT, NO_PROBE, NotHere, choose_board
from hil.rig.ports import Port
from hil.trace import Tier

J18A, G18A, E18A = 0x10010300, 0x10010305, 0x1001030A
XPLAINED = Probe("ATML2130021800001234", "Atmel Corp.", "EDBG CMSIS-DAP", "03eb:2111", device_id=J18A)
ZERO = Probe("ATML2280021800005678", "Atmel Corp.", "EDBG CMSIS-DAP", "03eb:2157", device_id=G18A)
BARE = Probe("0240000032044e45", "ARM", "DAPLink CMSIS-DAP", "0d28:0204", device_id=E18A)
EMULATED = Probe("00beef", "hil", "emulated ATSAMD21J18A", emulated=True, port="/dev/null", device_id=J18A)


def port_of(probe, device="/dev/ttyACM0"):
    return Port(device, "EDBG Virtual COM Port", probe.usb, probe.uid)


@pytest.fixture
def nothing_attached(monkeypatch):
    """A machine without probes."""
    monkeypatch.setattr("hil.rig.find.survey", lambda wanted, deadline_s: [])
    monkeypatch.delenv("RENODE", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_board_that_is_attached_decides_chip_and_wiring():
    """Probe by its USB ids, chip by its DSU.DID, port by the probe's serial number."""
    file = load_rig_file("samd21")
    for probe, name, chip, sercom in (
        (XPLAINED, "SAM D21 Xplained Pro", "atsamd21j18a", 3),
        (ZERO, "Arduino Zero", "atsamd21g18a", 5),
        (BARE, "bare ATSAMD21E18A", "atsamd21e18a", 3),
    ):
        found = choose_board(file, [EMULATED, probe], [Port("/dev/ttyS0"), port_of(probe)])
        assert (found.variant.name, found.variant.chip, found.variant.board.sercom) == (name, chip, sercom)
        assert (found.probe, found.port) == (probe, "/dev/ttyACM0")


def test_what_is_not_attached_is_said_in_few_words():
    """No probe; an emulated one, which has to be called by its id; a probe without a port."""
    file = load_rig_file("samd21")
    for probes, words in (([], NO_PROBE), ([EMULATED], NO_PROBE), ([XPLAINED], NO_PORT)):
        with pytest.raises(NotHere) as caught:
            choose_board(file, probes, [Port("/dev/ttyS0")])
        assert str(caught.value) == words


def test_a_probe_with_a_foreign_chip_is_no_such_board():
    """The chip's DID is shown."""
    with pytest.raises(NotHere, match=r"no probe with such a chip .*DID 0x00001234"):
        choose_board(load_rig_file("samd21"), [Probe("1", usb="0d28:0204", device_id=0x1234)], [])


def test_two_boards_that_fit_are_an_error_with_both():
    """Ids, products and variants, and what to do; never a guess."""
    with pytest.raises(SeveralMatch) as caught:
        choose_board(load_rig_file("samd21"), [XPLAINED, ZERO], [port_of(XPLAINED), port_of(ZERO)])
    assert len(caught.value.candidates) == 2
    for words in (XPLAINED.uid, ZERO.uid, "Arduino Zero", 'probe = "ID"'):
        assert words in str(caught.value)


def test_two_ports_of_one_probe_are_an_error_with_both():
    """As of a probe with two serial ports."""
    with pytest.raises(SeveralMatch, match=r"ports of the probe's USB device.*/dev/ttyACM0.*/dev/ttyACM1"):
        choose_board(load_rig_file("samd21"), [ZERO], [port_of(ZERO), port_of(ZERO, "/dev/ttyACM1")])


def rig_file(tmp_path, lines):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\nkind = "board"\n{lines}\n')
    return load_rig_file(path)


def test_a_port_can_be_named_in_every_way(tmp_path):
    """By USB ids, with a serial number, by device, by URL."""
    ports = [port_of(XPLAINED, "/dev/ttyACM7"), Port("/dev/ttyUSB0", usb="0403:6001", serial_number="A1")]
    for spec, expected in (
        ("usb:0403:6001", "/dev/ttyUSB0"),
        ("usb:0403:6001:a1", "/dev/ttyUSB0"),
        ("/dev/null", "/dev/null"),
        ("socket://bench:4000", "socket://bench:4000"),
        ("rfc2217://bench:4000", "rfc2217://bench:4000"),
    ):
        assert choose_board(rig_file(tmp_path, f'port = "{spec}"'), [XPLAINED], ports).port == expected
    for spec in ("usb:0403:6001:b2", "/dev/none"):
        with pytest.raises(NotHere, match=f"{NO_PORT} .{spec} of {XPLAINED.uid}"):
            choose_board(rig_file(tmp_path, f'port = "{spec}"'), [XPLAINED], ports)


def test_a_board_called_by_its_id_must_have_the_files_chip(tmp_path):
    """The bench is another one than described: nothing stands in for that."""
    file = rig_file(tmp_path, f'probe = "{ZERO.uid}"\nchip = "atsamd21j18a"\nfallback = ["emulator"]')
    with pytest.raises(RigError, match=r"another chip than the file says: .*atsamd21g18a.*expected atsamd21j18a"):
        choose_board(file, [ZERO], [port_of(ZERO)])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('probe_usb = ["3eb:2111"]', "expected vendor and product id"),
        ('port = "usb:1"', "usb:VENDOR:PRODUCT"),
        ('port = ""', "must not be empty"),
        ('fallback = ["mine"]', "cannot stand in for itself"),
        ('fallback = ["renod"]', "no such rig; did you mean 'renode'"),
        ('features = ["cycels"]', "none of .*; did you mean 'cycles'"),
        ("bauds = [500000, 230400]", "must rise"),
        ("[stages]\nflash_s = 0", "flash_s = 0"),
        ("[stages]\nflsh_s = 1", r"unknown key 'flsh_s' in \[stages\]; did you mean 'flash_s'"),
        ("[hooks]\npower = 'x'", r"unknown key 'power' in \[hooks\]"),
        ('[[variants]]\nname = "a"\nprobes = "x"', r"unknown key 'probes' in \[variants\]; did you mean 'probe'"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, lines, words):
    """Key, section, value, and the nearest known word."""
    with pytest.raises(UsageError, match=words):
        rig_file(tmp_path, lines)


def test_the_template_is_a_valid_file_and_no_rig(tmp_path):
    """Whoever copies it has a rig."""
    assert "template" not in rig_files()
    path = tmp_path / "copy.toml"
    path.write_text((rig_files()["emulator"].parent / "template.toml").read_text())
    assert load_rig_file(path).kind == "board"


def test_without_a_board_what_stands_in_says_why(nothing_attached):
    """Name and tier are those of the rig that runs; the reason lists what was passed over."""
    rig = load_rig("samd21")
    assert (rig.name, rig.tier) == ("emulator", Tier.CYCLE_MODEL)
    assert rig.reason == "--rig samd21; samd21: no probe; renode: renode not found"


def test_what_stands_in_runs_the_very_same_program(nothing_attached):
    """Chip and wiring are those of the board that was asked for."""
    rig = load_rig("samd21")
    board = load_rig_file("samd21").variants[0]
    assert (rig.chip, rig.wiring) == (board.chip, board.board)
    assert isinstance(rig, EmulatorRig)
    assert rig.clock == "xosc32k"


def test_no_fallback_makes_it_an_error(nothing_attached):
    """By the option, and by an empty list in the file."""
    for request in (RigRequest("samd21", fallback=False),):
        with pytest.raises(RigNotFound, match="samd21: no probe, and --no-fallback keeps renode and emulator from"):
            load_rig(request)
    with pytest.raises(RigNotFound, match="renode: renode not found, and its file names no fallback"):
        load_rig("renode")
