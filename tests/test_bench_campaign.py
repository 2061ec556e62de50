"""The fault campaign of docs/bench.md on an emulated bench: a verdict for each fault, and the next run is well."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

import numpy as np
import pytest
from bench_support import ARTEFACT, board_process, compile_bench_firmware, quick_survey, write_rig

from hil.chips import chip
from hil.errors import (
    FirmwareFault,
    FirmwareHung,
    FlashDiffers,
    FlashError,
    LinkTimeout,
    PortLost,
    ProbeLost,
    Quarantined,
    ToolError,
    UnexpectedReset,
    WrongFirmware,
)
from hil.experiment.examine import examined
from hil.experiment.progress import Quiet
from hil.experiment.workspace import write_text
from hil.link.schema import Crash
from hil.probe.flash import flash_through_pyocd
from hil.quant import run_twin
from hil.rig import connect, load_rig
from hil.rig.recovery import release

UID = "bench-campaign"
FEATURES = np.random.default_rng(4).integers(-(1 << 15), 1 << 15, (12, 5)).astype(np.int16)
EXPECTED = run_twin(ARTEFACT, FEATURES)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Locks and quarantines of this test alone."""
    monkeypatch.setenv("HIL_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setattr("hil.rig.find.survey", quick_survey)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_bench_firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="module")
def board():
    with board_process(UID) as process:
        yield process


def run(rig, firmware):
    """One run; the connection, for what the test does next."""
    report = rig.flash(firmware)
    made = connect(rig, firmware)
    got = made.device.run_sequence(FEATURES)
    assert (got.states_q15 == EXPECTED.states_q15).all()
    return report, made


def fail(tmp_path, firmware, error, words, action, patience_s=0.5):
    """A run up to its failure, examined as an experiment's is; then another one, which is well.  What was told."""
    path = write_rig(tmp_path, UID)
    with load_rig(path) as rig:
        _, made = run(rig, firmware)
        made.device.conversation.timeout_s = patience_s
        with pytest.raises(error, match=words), examined(rig, made.device, firmware, Quiet(), tmp_path):
            action(made.device)
    with load_rig(path) as rig:
        run(rig, firmware)
    told = tmp_path / "crash.txt"
    return told.read_text() if told.exists() else ""


def run_for_ever(device):
    """Long enough for anything to happen meanwhile."""
    for _ in range(10_000):
        device.run_sequence(FEATURES)


def test_a_fault_is_told_with_evidence(board, firmware, tmp_path):
    """Registers, source line, stack, jumps, frames, and the memory as a file."""
    told = fail(tmp_path, firmware, FirmwareFault, "HardFault in port_crash", lambda d: d.crash(Crash.HARD_FAULT))
    for words in (
        "bench (cycle-model)",
        "HardFault",
        "at port_crash+",
        "(port/samd21/fault.c:",
        "pc 0000",
        "of 2048 bytes were used",
        "last jumps (micro trace buffer), oldest first:",
        "-> fault_handler",
        "(exception)",
        "last frames:",
        "> CRASH",
        "crash-ram.bin",
    ):
        assert words in told, told
    assert (tmp_path / "crash-ram.bin").stat().st_size == chip("atsamd21j18a").ram_bytes


def test_a_lockup_is_told_apart(board, firmware, tmp_path):
    """The core cannot report it: the debugger sees it, and finds what the core had stacked."""
    told = fail(tmp_path, firmware, FirmwareFault, r"port_crash.*locked up", lambda d: d.crash(Crash.LOCKUP))
    assert "locked up: a fault inside the fault handler" in told


def test_a_hang_is_told_apart(board, firmware, tmp_path):
    """The core runs, where, and that interrupts are off."""
    words = r"hangs in port_crash.* with interrupts off"
    told = fail(tmp_path, firmware, FirmwareHung, words, lambda d: d.crash(Crash.HANG))
    assert "it runs in port_crash and answers nothing, interrupts off" in told
    assert "16 times" in told


def test_silence_of_a_firmware_that_waits_is_the_lines_fault(board, firmware, tmp_path):
    """The core sleeps: what was said did not arrive."""

    def wait_for_nothing(device):
        device.conversation.next(time.monotonic() + 0.2, "nothing")

    fail(tmp_path, firmware, LinkTimeout, "it is alive, the line is not", wait_for_nothing)


def test_a_reset_in_mid_run_is_told(board, firmware, tmp_path):
    """With its cause; void, not a failure of the model."""

    def press(device):
        threading.Timer(0.1, lambda: board.tell(what="button")).start()
        run_for_ever(device)

    assert fail(tmp_path, firmware, UnexpectedReset, r"PM\.RCAUSE 0x10", press, patience_s=5) == ""


def test_another_build_is_refused_before_the_first_sequence(board, firmware, tmp_path):
    """Somebody has flashed something else behind the rig's back."""
    other = compile_bench_firmware(tmp_path / "other", optimize="s")
    with load_rig(write_rig(tmp_path, UID)) as rig:
        rig.flash(firmware)
        flash_through_pyocd(other.elf, UID, other.chip, rig="bench")
        with pytest.raises(WrongFirmware, match="build_id"):
            connect(rig, firmware)
        run(rig, firmware)


def test_garbage_before_hello_does_no_harm(board, firmware, tmp_path):
    """Noise, half a frame, zeros: dropped."""
    with load_rig(write_rig(tmp_path, UID)) as rig:
        rig.flash(firmware)
        board.tell(what="noise", data="ff00f1810004a5a5" * 20 + "f1")
        made = connect(rig, firmware)
        assert (made.device.run_sequence(FEATURES).states_q15 == EXPECTED.states_q15).all()


def test_a_flash_error_that_goes_away_is_recovered_and_told(board, firmware, tmp_path):
    """One rung of the ladder."""
    other = compile_bench_firmware(tmp_path / "other", optimize="s")
    with load_rig(write_rig(tmp_path, UID)) as rig:
        rig.flash(other)
        board.tell(what="weak_bit", address=0x200, bit=0)
        report, _ = run(rig, firmware)
    assert report.notes
    assert "recovered: verification: 0x00000200" in report.notes[0]
    assert "then reset through the probe, and it was flashed" in report.notes[0]


def test_a_flash_error_that_stays_puts_the_board_into_quarantine(board, firmware, tmp_path):
    """After every rung; the next run is refused until somebody has looked."""
    other = compile_bench_firmware(tmp_path / "other", optimize="s")
    hook = f'[hooks]\npower_cycle = "echo $HIL_PROBE > cycled; mv cycled {tmp_path}/cycled"'
    path = write_rig(tmp_path, UID, more="")
    path.write_text(path.read_text() + hook)
    with load_rig(path) as rig:
        rig.flash(other)
        board.tell(what="weak_bit", address=0x200, bit=0, times=9)
        with pytest.raises(FlashDiffers) as caught:
            rig.flash(firmware)
    for words in ("Tried: reset through the probe", "connect under reset", "power-cycle", "put into quarantine"):
        assert words in str(caught.value)
    assert (tmp_path / "cycled").read_text().strip() == UID
    board.tell(what="weak_bit", address=0x3FF00, bit=0)  # none that matters
    with load_rig(path) as rig, pytest.raises(Quarantined, match="hil doctor bench --release"):
        rig.flash(firmware)
    assert release(UID)
    with load_rig(path) as rig:
        run(rig, firmware)


def test_a_stuck_pyocd_is_ended_at_the_deadline(board, firmware, tmp_path, monkeypatch):
    """The probe takes orders and answers nothing: a verdict all the same, with what was tried."""
    monkeypatch.setattr("hil.rig.recovery._FLASH_BYTES_PER_S", 1 << 20)
    path = write_rig(tmp_path, UID)
    path.write_text(path.read_text().replace("flash_s = 30", "flash_s = 2").replace("recover_s = 15", "recover_s = 2"))
    with load_rig(path) as rig:
        os.kill(board.announcement.pid, signal.SIGSTOP)
        try:
            with pytest.raises(
                (FlashError, ToolError),
                match=r"(time was up|did not come back|cannot be opened).*Tried: reset through the probe",
            ):
                rig.flash(firmware)
        finally:
            os.kill(board.announcement.pid, signal.SIGCONT)
    release(UID)
    with load_rig(write_rig(tmp_path, UID)) as rig:
        run(rig, firmware)


def test_a_probe_that_vanishes_while_flashing(firmware, tmp_path):
    """Its process is killed in mid-work; plugged in again, the next run is well."""
    uid = "bench-vanishing"
    with board_process(uid) as victim:

        def pull():
            while not victim.tell(what="state")["halted"]:
                time.sleep(0.01)
            os.kill(victim.announcement.pid, signal.SIGKILL)

        with load_rig(write_rig(tmp_path, uid)) as rig:
            puller = threading.Thread(target=pull)
            puller.start()
            with pytest.raises(ProbeLost, match="the debug probe vanished while"):
                rig.flash(firmware)
            puller.join()
    with board_process(uid), load_rig(write_rig(tmp_path, uid)) as rig:
        run(rig, firmware)


def test_a_port_that_vanishes_in_mid_stream(firmware, tmp_path):
    """As a pulled cable; plugged in again, the next run is well."""
    uid = "bench-unplugged"
    with board_process(uid) as victim, load_rig(write_rig(tmp_path, uid)) as rig:
        _, made = run(rig, firmware)
        threading.Timer(0.1, lambda: victim.tell(what="pull_cable")).start()
        with pytest.raises(PortLost, match="the serial port vanished while"):
            run_for_ever(made.device)
    with board_process(uid), load_rig(write_rig(tmp_path, uid)) as rig:
        run(rig, firmware)


def test_a_full_disk_leaves_the_last_report_as_it_was(tmp_path):
    """The system refuses to write more: an error, no part of a file, and the next report is written."""
    path = tmp_path / "result.json"
    write_text(path, "old")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "old"
    write_text(path, "x" * 10_000)
    assert path.stat().st_size == 10_000
