"""`hil doctor` and `hil rigs` on an emulated bench; baud negotiation; probes and ports on another machine."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time

import pytest
import serial
from bench_support import board_process, compile_bench_firmware, quick_survey, write_rig
from probe_support import environment

from hil.cli import attached, run
from hil.errors import Quarantined
from hil.probe.folder import FOLDER_VARIABLE, probe_folder
from hil.probe.survey import survey
from hil.rig import connect, load_rig
from hil.rig.recovery import quarantine
from hil.trace import Tier


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Locks and quarantines of this test alone."""
    monkeypatch.setenv("HIL_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("hil.rig.find.survey", quick_survey)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_bench_firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="module")
def board():
    with board_process("bench-doctor") as process:
        yield process


def test_the_doctor_looks_at_a_board(board, firmware, tmp_path, capsys):
    """Flash contents, frames lost of so many, bytes a second at each speed."""
    path = write_rig(tmp_path, "bench-doctor", more="bauds = [500000]")
    with load_rig(path) as rig:
        rig.flash(firmware)
        connect(rig, firmware)
    assert run(["doctor", str(path), "--frames", "300"]) == 0
    said = capsys.readouterr().out
    assert f"hil's firmware, build {firmware.build_id}, artefact" in said
    assert "0 of 300 frames lost or damaged at 500,000 baud" in said
    for baud in ("115,200", "500,000"):
        assert re.search(rf"ok .*{baud} baud.*payload bytes a second each way, \d+% of the line", said)
    assert "virtual: not compared with the host's" in said


def test_the_doctor_names_a_speed_that_fails(board, tmp_path, capsys):
    """With what to do; the run itself goes on at the speed before."""
    board.tell(what="bad_line", good_up_to=230_400)
    try:
        path = write_rig(tmp_path, "bench-doctor", more="bauds = [230400, 500000]")
        assert run(["doctor", str(path), "--frames", "100"]) == 4
    finally:
        board.tell(what="bad_line", good_up_to=None)
    said = capsys.readouterr().out
    assert "0 of 100 frames lost or damaged at 230,400 baud" in said
    assert re.search(r"note.*the line works at 230,400 baud and not at 500,000", said)
    assert re.search(r"NO .*500,000 baud.*Take it out of `bauds`", said)


def test_the_speed_falls_back_when_frames_fail(board, firmware, tmp_path):
    """To the last good one, or to that after reset; told; the line works."""
    path = write_rig(tmp_path, "bench-doctor", more="bauds = [230400, 500000, 1000000]")
    for limit, expected in ((500_000, 500_000), (None, 1_000_000)):
        board.tell(what="bad_line", good_up_to=limit)
        with load_rig(path) as rig:
            rig.flash(firmware)
            made = connect(rig, firmware)
            assert made.hello.baud == expected
            assert bool(made.notes) == (limit is not None)
            assert made.device.echo(bytes(1000)) == bytes(1000)


def test_quarantine_is_lifted_by_the_doctor(board, firmware, tmp_path, capsys):
    """By the rig's name; a rig that is no board has none."""
    path = write_rig(tmp_path, "bench-doctor")
    quarantine("bench-doctor", "a test", ["nothing"])
    with load_rig(path) as rig, pytest.raises(Quarantined, match="in quarantine since"):
        rig.flash(firmware)
    assert run(["doctor", str(path), "--release"]) == 0
    assert "probe bench-doctor is out of quarantine" in capsys.readouterr().out
    assert run(["doctor", str(path), "--release"]) == 0
    assert "was not in quarantine" in capsys.readouterr().out
    assert run(["doctor", "emulator", "--release"]) == 2


def test_rigs_say_what_is_here_now(board, tmp_path, monkeypatch, capsys):
    """A board's file in the current folder, with its probe and port; what is shipped and not attached."""
    (tmp_path / "rigs").mkdir()
    write_rig(tmp_path, "bench-doctor").rename(tmp_path / "rigs" / "bench.toml")
    monkeypatch.chdir(tmp_path)
    assert run(["rigs"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"bench .*bench, probe bench-doctor, port /dev/pts/\d+ \(emulated, cycle-model\)", said)
    assert re.search(r"emulator .*always", said)
    assert re.search(r"samd21 .*no probe", said)
    assert re.search(r"^debug probes: .*bench-doctor \(hil emulated ATSAMD21J18A", said, re.MULTILINE)
    assert "template" not in said


def test_a_probe_that_this_user_may_not_open_comes_with_its_rule(tmp_path, monkeypatch, capsys):
    """The udev rule for exactly what is attached."""
    monkeypatch.setattr(attached, "_usb_nodes", lambda: iter([("03eb:2111", str(tmp_path / "none"))]))
    assert run(["doctor"]) == 4
    said = capsys.readouterr().out
    assert 'SUBSYSTEM=="usb", ATTRS{idVendor}=="03eb", ATTRS{idProduct}=="2111", MODE="0660", TAG+="uaccess"' in said
    assert "/etc/udev/rules.d/50-hil-probes.rules" in said
    assert "udevadm control --reload" in said


def test_a_bench_on_another_machine(board, firmware, tmp_path, monkeypatch):
    """A probe through `pyocd server`, a port through a socket; still no silicon, and still exact."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(probe_folder()))
    monkeypatch.setattr("hil.rig.find.survey", survey)
    probe_port, line_port = free_port(), free_port()
    command = [sys.executable, "-m", "pyocd", "server", "--uid", "bench-doctor", "-p", str(probe_port)]
    server = subprocess.Popen(
        command, env=environment(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    ended = threading.Event()
    bridge = threading.Thread(target=serve_line, args=(board.announcement.port, line_port, ended))
    bridge.start()
    try:
        wait_for(probe_port)
        path = write_rig(tmp_path, f"remote:localhost:{probe_port}", f"socket://localhost:{line_port}")
        with load_rig(path) as rig:
            assert rig.tier is Tier.CYCLE_MODEL
            rig.flash(firmware)
            made = connect(rig, firmware)
            assert made.hello.build_id == firmware.build_id
            assert made.device.echo(b"from afar") == b"from afar"
    finally:
        ended.set()
        bridge.join()
        server.kill()
        server.communicate()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)


def serve_line(port, number, ended):
    """Bytes between a serial port and whoever connects, as ser2net does."""
    with socket.create_server(("127.0.0.1", number)) as listener:
        listener.settimeout(0.1)
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client, serial.Serial(port, 115_200, timeout=0.01) as line:
                client.settimeout(0.01)
                pass_on(client, line, ended)


def pass_on(client, line, ended):
    while not ended.is_set():
        try:
            data = client.recv(4096)
            if not data:
                return
            line.write(data)
        except TimeoutError:
            pass
        client.sendall(line.read(line.in_waiting or 1))
