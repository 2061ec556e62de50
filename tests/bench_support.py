"""What the tests of the bench share: an emulated board in a process of its own, described as a real board is."""

from __future__ import annotations

from pathlib import Path

from conftest import make_artefact

from hil.chips import chip
from hil.codegen import emit_c
from hil.firmware import Firmware, compile_firmware, find_compiler
from hil.probe import BoardPlan, announcements
from hil.probe.process import BoardProcess
from hil.probe.survey import Probe
from hil.rig import RigFile, load_rig_file

ARTEFACT = make_artefact(seed=31)
SERIAL = "0000beec000000010000000200000003"

RIG_TOML = """
name = "bench"
kind = "board"
chip = "atsamd21j18a"
probe = "{uid}"
port = "{port}"
timeout_s = 2
features = ["exact", "cycles", "sound", "clock", "debug"]
{more}

[stages]
flash_s = 30
recover_s = 15
hook_s = 15
"""


def compile_bench_firmware(folder: Path, optimize: str = "2") -> Firmware:
    """A small model's program for the bench."""
    return compile_firmware(
        emit_c(ARTEFACT),
        chip=chip("atsamd21j18a"),
        board=load_rig_file("emulator").board,
        compiler=find_compiler(),
        optimize=optimize,
        out=folder,
    )


def board_process(uid: str, **plan: object) -> BoardProcess:
    """As `hil emulate --probe`."""
    return BoardProcess(BoardPlan(**{"uid": uid, "serial": SERIAL, **plan}))


def quick_survey(wanted: object = (), deadline_s: float = 0.0) -> list[Probe]:
    """What `hil.probe.survey.survey` finds on an emulated bench, a second sooner: without pyOCD."""
    return [
        Probe(found.uid, "hil", found.chip, emulated=True, port=found.port, device_id=chip(found.chip).device_id)
        for found in announcements()
    ]


def write_rig(folder: Path, uid: str, port: str = "probe", more: str = "") -> Path:
    """A rig file of kind ``board`` for an emulated board."""
    path = folder / "bench.toml"
    path.write_text(RIG_TOML.format(uid=uid, port=port, more=more))
    return path


def read_rig(folder: Path, uid: str, port: str = "probe", more: str = "") -> RigFile:
    """The same, read."""
    return load_rig_file(write_rig(folder, uid, port, more))
