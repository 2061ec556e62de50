"""Rigs by name and file, and the emulated one: flash, talk, crash, vanish."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact

from hil.chips import Board, chip
from hil.codegen import emit_c
from hil.errors import (
    DeviceRefusal,
    FirmwareFault,
    FlashError,
    LinkTimeout,
    PortLost,
    RigNotFound,
    UnexpectedReset,
    UsageError,
    WrongFirmware,
)
from hil.firmware import Firmware, compile_firmware, find_compiler
from hil.link.device import Device
from hil.link.schema import Crash
from hil.quant import run_twin
from hil.rig import Rig, load_rig, load_rig_file, rig_files
from hil.rig.emulator import EmulatorRig
from hil.trace import Tier

ARTEFACT = make_artefact(seed=31)
FEATURES = np.random.default_rng(4).integers(-(1 << 15), 1 << 15, (40, 5)).astype(np.int16)

RIG_TOML = """
name = "mine"
kind = "emulator"
serial = "00000001000000020000000300000004"
timeout_s = 2
"""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return compile_firmware(
        emit_c(ARTEFACT),
        chip=chip("atsamd21j18a"),
        board=Board(),
        compiler=find_compiler(),
        optimize="2",
        out=tmp_path_factory.mktemp("firmware"),
    )


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorRig]:
    """An emulated rig with a short patience."""
    (tmp_path / "mine.toml").write_text(RIG_TOML)
    made = load_rig(tmp_path / "mine.toml")
    assert isinstance(made, EmulatorRig)
    with made:
        yield made


@pytest.fixture
def device(emulator: EmulatorRig, firmware: Firmware) -> Device:
    emulator.flash(firmware)
    return emulator.open()


def run_for_ever(device: Device) -> None:
    """Long enough for anything to happen meanwhile."""
    for _ in range(10_000):
        device.run_sequence(FEATURES)


def test_the_emulator_is_known_by_name() -> None:
    """Its file is shipped; the rig says what its numbers are worth and why it was chosen."""
    assert "emulator" in rig_files()
    rig: Rig = load_rig("emulator")
    assert (rig.name, rig.tier, rig.chip, rig.clock) == ("emulator", Tier.CYCLE_MODEL, "atsamd21j18a", "open-loop")
    assert rig.reason
    assert rig.sha256 == load_rig_file("emulator").sha256()


def test_an_unknown_rig_lists_the_known_ones() -> None:
    """With the nearest name."""
    with pytest.raises(RigNotFound, match="emulater: no such rig; did you mean 'emulator'"):
        load_rig("emulater")


def test_a_missing_rig_file_is_a_usage_error(tmp_path: Path) -> None:
    """A path, not a name."""
    with pytest.raises(UsageError, match="no such file"):
        load_rig(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind", "knid"), "unknown key 'knid'; did you mean 'kind'"),
        (('"emulator"', '"boad"'), "none of 'board', 'renode', 'emulator'; did you mean 'board'"),
        (("00000004", "0000000"), "serial = .* is not 32"),
        (("timeout_s = 2", "timeout_s = 0"), "timeout_s = 0"),
        (("timeout_s = 2", "bauds = [100]"), r"bauds = \[100\]"),
        (("timeout_s = 2", 'chip = "atsamd21j19a"'), "unknown chip 'atsamd21j19a'; did you mean"),
        (("timeout_s = 2", "[board]\nsercon = 3"), r"unknown key 'sercon' in \[board\]; did you mean 'sercom'"),
    ],
)
def test_a_wrong_rig_file_says_what_is_wrong(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    """Key, section, value and file."""
    path = tmp_path / "mine.toml"
    path.write_text(RIG_TOML.replace(*change))
    with pytest.raises(UsageError, match=words):
        load_rig_file(path)


def test_the_firmware_answers_as_who_it_is(device: Device, firmware: Firmware) -> None:
    """Build, artefact, clock, serial number and shape."""
    hello = device.hello(firmware.build_id, ARTEFACT.sha256())
    assert (hello.inputs, hello.states, hello.outputs, hello.layers) == (5, 7, 3, 2)
    assert hello.clock_hz == 48_000_000
    assert hello.serial == "00000001000000020000000300000004"
    assert hello.device_id == chip("atsamd21j18a").device_id
    assert hello.nvm_ctrlb >> 1 & 15 == 1


def test_every_step_equals_the_twin(device: Device) -> None:
    """States, logits, saturations; cycles of every step, no interrupt in any window."""
    device.hello()
    got, expected = device.run_sequence(FEATURES), run_twin(ARTEFACT, FEATURES)
    assert (got.states_q15 == expected.states_q15).all()
    assert (got.logits == expected.logits).all()
    assert got.saturated == expected.saturated
    assert got.tier is Tier.CYCLE_MODEL
    assert got.cycles is not None
    assert (got.cycles > 100).all()
    assert got.interrupts is not None
    assert not got.interrupts.any()
    assert got.output_cycles is not None
    status = device.status()
    assert 0 < status.stack_bytes < status.stack_size
    assert (device.repetitions, status.bad_frames, status.overruns) == (0, 0, 0)


def test_inner_values_equal_the_twin(device: Device) -> None:
    """Sums, gates, candidates and states of the last step, for each layer."""
    device.hello()
    device.replay(FEATURES[:6])
    for layer, expected in enumerate(run_twin(ARTEFACT, FEATURES[:6], detail=True).layers):
        got = device.inspect(layer)
        for name in ("acc_q17", "z_q15", "g_q15", "h_q15"):
            assert (getattr(got, name)[0] == getattr(expected, name)[-1]).all(), name
    with pytest.raises(DeviceRefusal, match="BAD_INDEX"):
        device.inspect(2)


def test_the_same_run_gives_the_same_cycles(emulator: EmulatorRig, firmware: Firmware) -> None:
    """Flashed and run three times: one list of cycles."""
    lists = []
    for _ in range(3):
        emulator.flash(firmware)
        device = emulator.open()
        device.hello()
        cycles = device.run_sequence(FEATURES).cycles
        assert cycles is not None
        lists.append(cycles.tolist())
    assert lists[0] == lists[1] == lists[2]


def test_line_speeds(device: Device) -> None:
    """Faster, and back; a speed that the clock cannot make is refused and the old one stays."""
    device.hello()
    for baud in (500_000, 1_000_000, 115_200):
        device.set_baud(baud)
        assert device.hello().baud == baud
    with pytest.raises(DeviceRefusal, match="BAD_VALUE"):
        device.set_baud(20_000_000)
    assert device.echo(b"still here") == b"still here"


def test_a_reset_on_request(device: Device) -> None:
    """BOOT gives the cause (system reset request), then HELLO starts anew."""
    device.hello()
    assert device.reset() == 0x40
    assert device.hello().reset_cause == 0x40


def test_firmware_of_another_build_is_refused(device: Device, firmware: Firmware) -> None:
    """Before the first sequence."""
    with pytest.raises(WrongFirmware, match="mine: the firmware that answers has build_id"):
        device.hello("0" * 32, ARTEFACT.sha256())


def test_firmware_for_another_chip_or_wiring_is_refused(emulator: EmulatorRig, firmware: Firmware) -> None:
    """Before anything is loaded."""
    with pytest.raises(UsageError, match="is for atsamd21g18a, this rig has atsamd21j18a"):
        emulator.flash(replace(firmware, chip=chip("atsamd21g18a")))
    with pytest.raises(UsageError, match="another wiring"):
        emulator.flash(replace(firmware, board=Board(sercom=0)))
    assert emulator.board is None


def test_an_elf_that_is_none_is_a_flash_error(emulator: EmulatorRig, firmware: Firmware, tmp_path: Path) -> None:
    """Missing, or not an ELF."""
    (tmp_path / "bad.elf").write_bytes(b"no elf")
    for name in ("bad.elf", "none.elf"):
        with pytest.raises(FlashError, match=name):
            emulator.flash(replace(firmware, elf=tmp_path / name))


def test_a_rig_that_was_not_flashed_cannot_be_opened(emulator: EmulatorRig) -> None:
    """The message says what to do."""
    with pytest.raises(RigNotFound, match="flash a firmware first"):
        emulator.open()


def test_a_pulled_cable_in_mid_run_is_named(emulator: EmulatorRig, device: Device) -> None:
    """The pty closes while sequences run."""
    device.hello()
    assert emulator.board is not None
    threading.Timer(0.1, emulator.board.vanish).start()
    with pytest.raises(PortLost, match="mine: the serial port vanished while"):
        run_for_ever(device)


def test_a_reset_in_mid_run_is_named(emulator: EmulatorRig, device: Device) -> None:
    """Somebody presses the button while sequences run."""
    device.hello()
    assert emulator.board is not None
    threading.Timer(0.1, emulator.board.reset).start()
    with pytest.raises(UnexpectedReset) as caught:
        run_for_ever(device)
    assert caught.value.cause == 0x10


def test_a_hard_fault_carries_its_registers(device: Device) -> None:
    """The firmware's handler answers; pc is in the function that faulted."""
    device.hello()
    with pytest.raises(FirmwareFault, match="HardFault in port_crash") as caught:
        device.crash(Crash.HARD_FAULT)
    assert {"r0", "pc", "lr", "xpsr", "sp"} <= caught.value.registers.keys()


def test_a_lockup_is_named_by_the_emulator(device: Device) -> None:
    """The core cannot answer any more: the emulator says so."""
    device.hello()
    with pytest.raises(FirmwareFault, match="locked up"):
        device.crash(Crash.LOCKUP)


def test_a_hang_is_silence(device: Device) -> None:
    """The deadline passes, with what was waited for."""
    device.hello()
    device._talk.timeout_s = 0.3
    with pytest.raises(LinkTimeout, match="mine: no FAULT frame"):
        device.crash(Crash.HANG)


def test_closing_twice_is_harmless(emulator: EmulatorRig, firmware: Firmware) -> None:
    """And a closed rig can be flashed again."""
    emulator.flash(firmware)
    emulator.close()
    emulator.close()
    emulator.flash(firmware)
    assert emulator.open().hello().inputs == 5
