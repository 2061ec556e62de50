"""`hil calibrate`: micro-benchmarks of the cycle model on a rig against the same ELF on the emulated chip."""

from __future__ import annotations

import json

import pytest
from elftools.elf.elffile import ELFFile

from hil.chips import chip
from hil.cli import EXIT_USAGE, run
from hil.codegen import calibration_kernels, emit_calibration
from hil.codegen.calibration import RAM_CODE_BYTES
from hil.codegen.effects import EFFECTS
from hil.errors import UsageError
from hil.experiment.calibrate import CALIBRATION, calibrate, run_calibration
from hil.experiment.progress import Quiet
from hil.experiment.workspace import Workspace
from hil.firmware import load_firmware
from hil.rig import load_rig, load_rig_file, model_of
from hil.rig.emulator import EmulatorRig
from hil.trace import Tier

PER_OPERATION = {
    "data_processing": 1, "multiply": 1, "extend": 1, "load_word": 2, "store_half": 2, "port_load": 1, "port_store": 1,
    "port_load_apb": 2, "apb_c_load": 2, "ldm_1": 2, "ldm_4": 5, "ldm_8": 9, "stm_4": 5, "push_pop_8": 18, "pop_pc": 11,
    "branch": 2, "branch_taken": 2, "branch_not_taken": 1, "call": 7, "write_to_pc": 4, "mrs": 3, "msr": 3, "dsb": 3,
    "cps": 1, "sev_wfe": 3, "wfi": 2,
}  # fmt: skip
"""What the timing table says; these run in RAM."""
MISSES_AROUND = 3
"""The call's own lines of flash may collide with the kernel's entry in the table, which lies elsewhere for the base."""
CTRLB, THREE_WAIT_STATES = 0x41004004, 3 << 1 | 0x80


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calibrate")


@pytest.fixture(scope="module")
def done(folder):
    """Everything on the emulator."""
    return run_calibration(Workspace(folder, Quiet()), "emulator", None, repeats=2, fast_load=True)


def test_on_the_emulator_every_error_is_zero(done):
    """Call by call, over the link, for every effect and every base."""
    assert [effect.name for effect in done.effects] == [effect.name for effect in EFFECTS]
    for effect in done.effects:
        assert effect.measured == effect.modelled, effect.name
        assert effect.measured_base == effect.modelled_base, effect.name
        assert (effect.error_cycles, effect.error_percent) == (0, 0)
    assert done.tier is Tier.CYCLE_MODEL


def test_micro_benchmarks_measure_what_they_say(done):
    """All operations of a call cost what the timing table says, but for the flash around them."""
    effects = {effect.name: effect for effect in done.effects}
    for name, cycles in PER_OPERATION.items():
        total = effects[name].per_operation[0] * effects[name].operations
        assert abs(total - cycles * effects[name].operations) <= MISSES_AROUND, name


def test_flash_effects_show_the_cache(done):
    """8 lines stay in the cache, of 9 two fight, of 15 fourteen do; one cycle a miss at one wait state."""
    got = {effect.name: effect.per_operation[0] for effect in done.effects}
    body = {lines: 4 * lines + 1 for lines in (8, 9, 15)}
    assert got["loop_8"] == pytest.approx(body[8], abs=0.5)
    assert got["loop_9"] == pytest.approx(body[9] + 2, abs=0.5)
    assert got["loop_15"] == pytest.approx(body[15] + 14, abs=0.5)
    assert got["loop_15_rws3"] == pytest.approx(body[15] + 3 * 14, abs=0.5)
    assert got["loop_15_slow"] == pytest.approx(body[15], abs=0.5)
    assert got["ram_loop"] == pytest.approx(body[15], abs=0.5)
    assert got["row_erase"] == pytest.approx(0.006 * done.clock_hz, rel=0.001)


def test_every_assumption_that_cycles_can_show_has_an_effect():
    """Rows of docs/cycle-model.md without one are those that cancel, that are times of a clock, or that are faults."""
    assert set(range(1, 32)) - {e.assumption for e in EFFECTS} == {7, 12, 22, 23, 24, 25, 26, 27, 29, 31}


def test_the_error_table(done, folder):
    """JSON with each call, each difference and what the chip said of itself; equal runs write equal files."""
    table = json.loads((folder / CALIBRATION).read_text())
    assert table["rig"] == "emulator"
    assert table["tier"] == "cycle-model"
    assert table["worst_error_percent"] == 0
    assert table["serial"] == load_rig_file("emulator").serial
    by_name = {row["name"]: row for row in table["effects"]}
    assert by_name["multiply"]["measured_per_operation"] == pytest.approx(1, abs=0.05)
    assert by_name["multiply"]["operations"] == 64
    assert len(by_name["multiply"]["measured"]) == 2


class ThreeWaitStates(EmulatorRig):
    """A chip whose flash is slower than the firmware and the model believe."""

    def open(self):
        device = super().open()
        device.hello()
        self.board.ask(lambda emulator: emulator.write(CTRLB, THREE_WAIT_STATES.to_bytes(4, "little")))
        return device


def test_a_rig_that_differs_is_told_apart(done, folder):
    """With slower flash the loops in flash are off by their misses, code in RAM by nothing, and the table says so."""
    names = ("multiply", "loop_8", "loop_15")
    kernels = calibration_kernels()
    firmware = load_firmware(folder / "calibrate")
    with ThreeWaitStates(load_rig_file("emulator"), "a test", fast_load=True) as rig:
        found = calibrate(firmware, rig, model_of(load_rig_file("emulator")), kernels, 1, Quiet())
    effects = {effect.name: effect for effect in found.effects}
    measured, modelled = zip(*(effects[name].per_operation for name in names), strict=True)
    assert modelled == pytest.approx((1, 33, 75), abs=0.5)
    assert measured == pytest.approx((1, 33, 61 + 3 * 14), abs=1)
    assert effects["loop_15"].error_cycles < -1000
    assert found.worst.error_percent < -20


def test_kernels_in_ram_fit_their_room(done, folder):
    """No kernel is longer than the buffer it is copied to."""
    with (folder / "calibrate" / "firmware.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        for kernel in calibration_kernels():
            begin, end = (
                table.get_symbol_by_name(f"calibrate_{kernel.name}{suffix}")[0]["st_value"] & ~1
                for suffix in ("", "_end")
            )
            if kernel.effect and kernel.effect.place == "ram":
                assert 0 < end - begin <= RAM_CODE_BYTES, kernel.name


def test_some_effects_bring_their_bases_only():
    """Two effects of one base share it; what is not needed is not compiled."""
    kernels = calibration_kernels(["multiply", "extend", "loop_8"])
    assert [kernel.name for kernel in kernels] == [
        "base_of_multiply", "multiply", "extend", "base_of_loop_8", "loop_8",
    ]  # fmt: skip
    assert emit_calibration(kernels) == emit_calibration(kernels)
    with pytest.raises(UsageError, match="no effect 'lopp_8'; did you mean 'loop_8'"):
        calibration_kernels(["lopp_8"])


def test_through_pyocd_on_a_smaller_chip(tmp_path):
    """The chip is the rig's, flashed as a board is; the model has the same."""
    (tmp_path / "small.toml").write_text('name = "small"\nkind = "emulator"\nchip = "atsamd21g17a"\n')
    rig = tmp_path / "small.toml"
    small = run_calibration(Workspace(tmp_path, Quiet()), str(rig), None, effects=["row_erase", "mrs"], repeats=1)
    assert small.chip == chip("atsamd21g17a").name
    assert small.worst.error_cycles == 0
    assert load_rig(str(rig)).chip == small.chip


def test_command(tmp_path, capsys):
    """`hil calibrate` prints measured and modelled cycles and says where the table is; a limit of 0 holds."""
    out = str(tmp_path / "out")
    arguments = ["calibrate", "--fast-load", "--out", out, "--effect", "pop_pc", "--repeats", "1", "--limit", "0"]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    assert "0 of 1 effects differ; the model is right in every cycle" in text
    assert "pop_pc" in text
    assert "11.00" in text
    assert (tmp_path / "out" / CALIBRATION).is_file()
    assert run(["calibrate", "--effect", "nothing"]) == EXIT_USAGE
