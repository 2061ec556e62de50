"""Each effect of the cycle model, measured on a rig against the same ELF on the emulated chip."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hil.chips import chip
from hil.codegen import CalibrationKernel, calibration_kernels, emit_calibration
from hil.errors import DeviceError, RigError
from hil.experiment.device_stages import RigName, opened_rig
from hil.experiment.progress import Progress
from hil.experiment.run import connect
from hil.experiment.workspace import Workspace, write_text
from hil.firmware import Firmware, compile_firmware, find_compiler
from hil.link.device import Benched
from hil.rig import Rig, model_of
from hil.trace import Tier

CALIBRATION = "calibration.json"
_OPTIMIZE = "2"


@dataclass(frozen=True)
class EffectError:
    """
    One effect.

    Attributes:
        name, assumption, text: As `hil.codegen.effects.Effect`.
        operations: How often it happens in one call.
        measured, modelled: Cycles of each call, from the cleared cache.
        measured_base, modelled_base: The same without the effect.
    """

    name: str
    assumption: int
    text: str
    operations: int
    measured: tuple[int, ...]
    modelled: tuple[int, ...]
    measured_base: tuple[int, ...]
    modelled_base: tuple[int, ...]

    @property
    def per_operation(self) -> tuple[float, float]:
        """Measured and modelled cycles of one operation: medians of the calls, the base subtracted."""
        pairs = ((self.measured, self.measured_base), (self.modelled, self.modelled_base))
        measured, modelled = ((statistics.median(a) - statistics.median(b)) / self.operations for a, b in pairs)
        return measured, modelled

    @property
    def error_cycles(self) -> float:
        """What the model says too much (above 0) or too little for one call, base included."""
        return statistics.median(self.modelled) - statistics.median(self.measured)

    @property
    def error_percent(self) -> float:
        """The same as a share of what was measured."""
        return 100 * self.error_cycles / max(1, statistics.median(self.measured))


@dataclass(frozen=True)
class Calibration:
    """
    A rig's table of errors.

    Attributes:
        rig, rig_reason, tier: What was measured, and what its cycles are worth.
        chip, serial, device_id: Of the chip that answered.
        compiler, elf_sha256: Of the program, the same on both.
        clock_hz, nvm_ctrlb: As the firmware had set them.
        effects: In the order of docs/cycle-model.md.
    """

    rig: str
    rig_reason: str
    tier: Tier
    chip: str
    serial: str
    device_id: int
    compiler: str
    elf_sha256: str
    clock_hz: int
    nvm_ctrlb: int
    effects: tuple[EffectError, ...]

    @property
    def worst(self) -> EffectError:
        """The effect with the largest error, in percent."""
        return max(self.effects, key=lambda effect: abs(effect.error_percent))

    def to_json(self) -> str:
        """The error table: the fields, and what follows from them."""
        table = dataclasses.asdict(self)
        for row, effect in zip(table["effects"], self.effects, strict=True):
            row["measured_per_operation"], row["modelled_per_operation"] = effect.per_operation
            row |= {"error_cycles": effect.error_cycles, "error_percent": effect.error_percent}
        return json.dumps(table | {"worst_error_percent": self.worst.error_percent}, indent=1, sort_keys=True) + "\n"


def run_calibration(
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    *,
    effects: Sequence[str] = (),
    repeats: int = 8,
    fast_load: bool = False,
) -> Calibration:
    """
    Build the micro-benchmarks, run them on a rig and on the emulated chip, and leave ``calibration.json``.

    Args:
        ws: Folder for the program and the table.
        rig_name, compiler, fast_load: As `hil.experiment.device_stages.run_bench`.
        effects: Names; empty: all.
        repeats: Calls of each kernel.

    Raises:
        UsageError: No such effect.
        RigError, DeviceError: The rig failed, or an interrupt fell into a window; names the effect.
    """
    kernels = calibration_kernels(effects)
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        with ws.progress.task("compiling") as update:
            firmware = compile_firmware(
                emit_calibration(kernels),
                chip=chip(rig.chip),
                board=rig.wiring,
                compiler=find_compiler(compiler),
                optimize=_OPTIMIZE,
                out=ws.path("calibrate"),
                progress=update,
            )
        done = calibrate(firmware, rig, model_of(rig), kernels, repeats, ws.progress)
    write_text(ws.path(CALIBRATION), done.to_json())
    return done


def calibrate(
    firmware: Firmware,
    rig: Rig,
    model: Rig,
    kernels: Sequence[CalibrationKernel],
    repeats: int,
    progress: Progress,
) -> Calibration:
    """
    Measure the kernels on two rigs; ``model`` is closed afterwards.

    Args:
        firmware: Built from ``emit_calibration(kernels)``.
        rig: Not yet flashed; left open.
        model: The emulated chip, likewise.
        kernels, repeats: What is measured.
        progress: Where to show it.

    Raises:
        RigError, DeviceError: As `run_calibration`.
    """
    rig.flash(firmware)
    device, hello = connect(rig, firmware)
    measured = _measure(rig, device.bench, kernels, repeats, progress)
    with model:
        model.flash(firmware)
        modelled = _measure(model, connect(model, firmware)[0].bench, kernels, repeats, progress)
    effects = tuple(
        EffectError(
            kernel.effect.name,
            kernel.effect.assumption,
            kernel.effect.text,
            kernel.effect.operations,
            measured[kernel.name],
            modelled[kernel.name],
            measured[kernel.base],
            modelled[kernel.base],
        )
        for kernel in kernels
        if kernel.effect is not None
    )
    return Calibration(
        rig=rig.name,
        rig_reason=rig.reason,
        tier=rig.tier,
        chip=rig.chip,
        serial=hello.serial,
        device_id=hello.device_id,
        compiler=f"{firmware.compiler_version}, -O{firmware.optimize}",
        elf_sha256=firmware.elf_sha256,
        clock_hz=hello.clock_hz,
        nvm_ctrlb=hello.nvm_ctrlb,
        effects=effects,
    )


def _measure(
    rig: Rig,
    bench: Callable[[int, int], Benched],
    kernels: Sequence[CalibrationKernel],
    repeats: int,
    progress: Progress,
) -> dict[str, tuple[int, ...]]:
    """Cycles of every call, by kernel."""
    cycles = {}
    with progress.task(f"effects on {rig.name}") as update:
        for i, kernel in enumerate(kernels):
            try:
                done = bench(i, repeats)
            except (RigError, DeviceError):
                progress.say(
                    f"{rig.name}: failed at {kernel.name}; name the other effects with --effect to leave it out"
                )
                raise
            if done.interrupts:
                raise DeviceError(f"{rig.name}: {done.interrupts} interrupts fell into the windows of {kernel.name}")
            cycles[kernel.name] = done.cycles
            update(i + 1, len(kernels), kernel.name)
    return cycles
