"""The board rig on an emulated bench: probe by its id, port by its path, everything as on silicon but the tier."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from bench_support import ARTEFACT, SERIAL, board_process, compile_bench_firmware, write_rig

from hil.errors import PortBusy, RigBusy, RigError, RigNotFound
from hil.quant import run_twin
from hil.rig import RigRequest, connect, load_rig, predictor_of
from hil.rig.board import BoardRig
from hil.trace import Tier

FEATURES = np.random.default_rng(4).integers(-(1 << 15), 1 << 15, (12, 5)).astype(np.int16)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Locks of this test alone."""
    monkeypatch.setenv("HIL_LOCK_DIR", str(tmp_path / "locks"))


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_bench_firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="module")
def emulated():
    with board_process("bench-board") as process:
        yield process


def test_an_emulated_board_is_used_as_a_board_and_never_called_silicon(emulated, firmware, tmp_path):
    """Flashed through its probe, talked to through its port, bit-exact; the tier is the emulator's."""
    path = write_rig(tmp_path, "bench-board", emulated.announcement.port, 'fallback = ["emulator"]')
    with load_rig(path) as rig:
        assert isinstance(rig, BoardRig)
        assert (rig.name, rig.tier) == ("bench", Tier.CYCLE_MODEL)
        assert "clock" not in rig.features
        assert "through pyOCD" in rig.flash(firmware).how
        made = connect(rig, firmware)
        assert made.hello.serial == SERIAL
        got = made.device.run_sequence(FEATURES)
    assert (got.states_q15 == run_twin(ARTEFACT, FEATURES).states_q15).all()
    assert got.tier is Tier.CYCLE_MODEL


def test_the_model_predicts_an_emulated_board_exactly(emulated, firmware, tmp_path):
    """Same ELF, same inputs: the same cycles, step by step."""
    with load_rig(write_rig(tmp_path, "bench-board")) as rig:
        model = predictor_of(rig)
        assert model is not None
        assert predictor_of(model) is None
        cycles = []
        for one in (rig, model):
            with one:
                one.flash(firmware)
                cycles.append(connect(one, firmware).device.run_sequence(FEATURES).cycles.tolist())
    assert cycles[0] == cycles[1]


def test_a_second_run_is_told_who_has_the_board(emulated, firmware, tmp_path):
    """At once, and with the process; the first run is not disturbed; afterwards the board is free."""
    path = write_rig(tmp_path, "bench-board")
    with load_rig(path) as first:
        first.flash(firmware)
        made = connect(first, firmware)
        with load_rig(path) as second, pytest.raises(RigBusy, match=f"process {os.getpid()} of .*rig bench"):
            second.flash(firmware)
        assert made.device.echo(b"still here") == b"still here"
    with load_rig(path) as third:
        assert "was there already" in third.flash(firmware).how


def test_a_port_that_another_program_holds_names_it(emulated, firmware, tmp_path):
    """By a look at /proc."""
    port = emulated.announcement.port
    hold = f"import serial, sys; p = serial.Serial({port!r}, exclusive=True); print(flush=True); sys.stdin.read()"
    with load_rig(write_rig(tmp_path, "bench-board")) as rig:
        rig.flash(firmware)
        with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout.readline()
            with pytest.raises(PortBusy, match=f"{port} is in use by .*process {other.pid} .*import serial"):
                rig.open()
            other.stdin.close()
            other.wait()
        assert connect(rig, firmware).device.echo(b"free") == b"free"


def test_the_port_of_another_board_is_noticed(emulated, firmware, tmp_path):
    """The same program on both: the chips' serial numbers tell them apart."""
    with board_process("bench-other", serial="0" * 31 + "7") as other:
        with load_rig(write_rig(tmp_path, "bench-other")) as rig:
            rig.flash(firmware)
        with load_rig(write_rig(tmp_path, "bench-board", other.announcement.port)) as rig:
            rig.flash(firmware)
            with pytest.raises(RigError, match=f"another board than the probe: chip 0{{31}}7 answers.*{SERIAL}"):
                connect(rig, firmware)


def test_a_missing_board_is_not_there(tmp_path):
    """Its probe's id is the file's; nothing else stands in unless the file says so."""
    path = write_rig(tmp_path, "bench-none")
    with pytest.raises(RigNotFound, match="bench: no probe, and its file names no fallback"):
        load_rig(path)
    path = write_rig(tmp_path, "bench-none", more='fallback = ["emulator"]')
    assert load_rig(path).reason.endswith("; bench: no probe")
    with pytest.raises(RigNotFound, match="no probe, and --no-fallback keeps emulator from"):
        load_rig(RigRequest(str(path), fallback=False))


def test_a_pulled_port_is_a_probe_without_a_port(emulated, firmware, tmp_path):
    """Told apart from a board that is not attached at all."""
    with pytest.raises(RigNotFound, match="bench: probe found, no port"):
        load_rig(write_rig(tmp_path, "bench-board", "/dev/none"))
