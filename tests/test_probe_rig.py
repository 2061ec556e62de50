"""The emulated rig, flashed through pyOCD and directly: one program, the same steps in the same cycles."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_artefact

from hil.chips import chip
from hil.codegen import emit_c
from hil.errors import FlashDiffers, ToolError, UsageError
from hil.firmware import compile_firmware, find_compiler
from hil.probe import announcements
from hil.probe.flash import find_pyocd
from hil.rig import load_rig, load_rig_file

ARTEFACT = make_artefact(seed=5)
FEATURES = np.random.default_rng(6).integers(-(1 << 15), 1 << 15, (20, 5)).astype(np.int16)
RIG_TOML = 'name = "mine"\nkind = "emulator"\n'


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_firmware(
        emit_c(ARTEFACT),
        chip=chip("atsamd21j18a"),
        board=load_rig_file("emulator").board,
        compiler=find_compiler(),
        optimize="2",
        out=tmp_path_factory.mktemp("firmware"),
    )


def run(rig):
    device = rig.open()
    device.hello()
    trace = device.run_sequence(FEATURES)
    return trace.cycles.tolist(), trace.logits.tolist(), trace.states_q15.tolist()


def test_both_ways_of_flashing_run_the_same(firmware):
    """Cycles and values, step by step; the report says which way it was, and the rigs are not taken for each other."""
    with load_rig("emulator") as debugged, load_rig("emulator", fast_load=True) as fast:
        through, directly = debugged.flash(firmware), fast.flash(firmware)
        assert run(debugged) == run(fast)
        assert "through pyOCD, read back and compared" in through.how
        assert "--fast-load" in directly.how
        assert debugged.sha256 != fast.sha256


def test_a_program_that_is_there_is_not_written_again(firmware):
    """The second time the flash is read, compared and left; the run is the same."""
    with load_rig("emulator") as rig:
        first, one = rig.flash(firmware), run(rig)
        second, two = rig.flash(firmware), run(rig)
        assert "written through pyOCD" in first.how
        assert "was there already" in second.how
        assert one == two
        assert "written through pyOCD" in rig.flash(replace(firmware, elf=changed(firmware.elf))).how


def changed(elf):
    """The same program with another letter in its build id."""
    data = bytearray(elf.read_bytes())
    at = data.index(bytes.fromhex(_build_id(elf)))
    data[at] ^= 1
    out = elf.with_name("changed.elf")
    out.write_bytes(data)
    return out


def _build_id(elf):
    return json.loads(elf.with_name("firmware.json").read_text())["build_id"]


def test_corrupted_flash_is_the_rigs_fault(firmware):
    """A bit that flips before verification: an error of the bench, not of the firmware."""
    with load_rig("emulator") as rig:
        rig.flash(replace(firmware, elf=changed(firmware.elf)))
        rig.board.ask(lambda chip: chip.weaken(0x200, 0))
        with pytest.raises(FlashDiffers, match="0x00000200"):
            rig.flash(firmware)


def test_chip_erase_is_done_on_request(firmware):
    """And told."""
    with load_rig("emulator", chip_erase=True) as rig:
        assert "after a chip erase" in rig.flash(firmware).how


def test_two_rigs_of_one_file_do_not_disturb_each_other(firmware):
    """Each has a probe of its own, which ends with it."""
    with load_rig("emulator") as one, load_rig("emulator") as other:
        one.flash(firmware)
        other.flash(firmware)
        assert len({found.uid for found in announcements() if found.uid.startswith("rig-")}) >= 2
        assert run(one) == run(other)
        mine = {one._server.announcement.uid, other._server.announcement.uid}
    assert not mine & {found.uid for found in announcements()}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('pack = "a.pack"\n', "go together"),
        (f'pack_sha256 = "{"0" * 64}"\n', "go together"),
        (f'pack = "none.pack"\npack_sha256 = "{"0" * 64}"\n', "cannot be read"),
    ],
)
def test_a_pack_has_a_path_and_a_hash(firmware, tmp_path, lines, words):
    """In the rig's file; checked before anything is done."""
    (tmp_path / "mine.toml").write_text(RIG_TOML + lines)
    with pytest.raises(UsageError, match=words), load_rig(tmp_path / "mine.toml") as rig:
        rig.flash(firmware)


def test_without_pyocd_the_error_says_what_to_install(monkeypatch):
    """And what does without."""
    assert find_pyocd()
    monkeypatch.setitem(sys.modules, "pyocd", None)
    with pytest.raises(ToolError, match=r"hil\[bench\].*--fast-load"):
        find_pyocd()
