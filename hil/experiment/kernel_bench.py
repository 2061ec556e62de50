"""``hil bench kernels``: every way to sum an eGRU's rows, by shape, zeros, activity, compiler and wait states."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from hil.chips import chip
from hil.codegen.bench_kernel import STEPS
from hil.codegen.bench_rows import ACTIVITY, active_values, emit_rows_bench, pruned_rows
from hil.codegen.layers import EGRU_KERNELS
from hil.config import from_table
from hil.errors import DeviceError, ToolError, UsageError, suggest
from hil.experiment.bench import FLOAT_GRU, GRU8, bench_sources
from hil.experiment.run import connect
from hil.experiment.tune import belongs_to_layer
from hil.experiment.workspace import Workspace, write_text
from hil.firmware import Compiler, Firmware, compile_firmware, find_compiler, part_bytes
from hil.layer_build import LayerBuild
from hil.rig import Rig
from hil.trace import Tier

SHAPES = ((32, 32), (32, 64), (16, 128))
ZEROS = (0.14, 0.5, 0.8, 0.95)
KERNELS = tuple(name for name in EGRU_KERNELS if name != "deltas")
WHOLE_STEPS = (FLOAT_GRU, "float_lstm_step", GRU8, "event_gru_step", "event_embedded_gru_step")
"""Beside the sums: cells from inputs to state, once for each shape; event-driven ones at a tenth of columns."""
RESULT = "kernels.json"
CACHE = "kernels"
IN_RAM = 4096


@dataclass(frozen=True)
class Case:
    """
    What is measured.

    Attributes:
        kernel: A name of `KERNELS` or `WHOLE_STEPS`.
        inputs, units: D and H.
        zeros: Share of the weights that are 0; of no meaning for `WHOLE_STEPS`.
        compiler: ``"gcc"`` or ``"zig"``.
        wait_states: 1 at 48 MHz, 0 at 24 MHz.
        ram_bytes: Code that may run from RAM, as `hil.layer_build.LayerBuild`.
    """

    kernel: str
    inputs: int
    units: int
    zeros: float
    compiler: str
    wait_states: int
    ram_bytes: int = 0

    @property
    def whole(self) -> bool:
        """A whole step is what is measured."""
        return self.kernel in WHOLE_STEPS

    @property
    def title(self) -> str:
        return f"{self.kernel} +{self.ram_bytes >> 10} KB RAM" if self.ram_bytes else self.kernel


@dataclass(frozen=True)
class KernelCost:
    """
    A case as measured.

    Attributes:
        case: What it was.
        compiler_version: Of its compiler.
        cycles: Of the sums, for each share of `ACTIVITY`; of whole steps for `WHOLE_STEPS`.
        update_cycles: Of gates and state after sums of dense values; 0 for those.
        flash_bytes, ram_bytes: Of weights, code and buffers of the sums; of the whole program for those.
        stack_bytes: Ever used by the program, the link included.
    """

    case: Case
    compiler_version: str
    cycles: tuple[int, ...]
    update_cycles: int
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int

    @property
    def step_cycles(self) -> int:
        """Of a whole step of dense values; for `WHOLE_STEPS` the median of all calls but the first."""
        return int(median(self.cycles[1:])) if self.case.whole else self.cycles[-1] + self.update_cycles


@dataclass(frozen=True)
class Line:
    """Cycles over active nonzero weights: slope, intercept, and the largest distance of a measured point."""

    slope: float
    intercept: float
    residual: float


@dataclass(frozen=True)
class KernelBench:
    """All cases of a rig."""

    rig: str
    tier: Tier
    costs: tuple[KernelCost, ...]

    def to_json(self) -> str:
        """With lines and crossovers beside what they were computed from."""
        table = dataclasses.asdict(self)
        for row, cost in zip(table["costs"], self.costs, strict=True):
            row |= derived(cost, self.costs)
        return json.dumps({**table, "activity": ACTIVITY}, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class _Place:
    ws: Workspace
    rig: Rig
    objects: dict[str, bytes] = field(default_factory=dict)


def cases(
    shapes: Sequence[tuple[int, int]],
    zeros: Sequence[float],
    kernels: Sequence[str],
    compilers: Sequence[str],
    wait_states: Sequence[int],
) -> Iterator[Case]:
    """
    Every combination; with wait states `straight` with `IN_RAM` of its code in RAM as well; `WHOLE_STEPS` once each.

    Raises:
        UsageError: No such kernel.
    """
    for kernel in kernels:
        if kernel not in KERNELS:
            raise UsageError(f"no kernel {kernel!r}{suggest(kernel, KERNELS)}. Known: {', '.join(KERNELS)}")
    for inputs, units in shapes:
        for compiler in compilers:
            for waits in wait_states:
                yield from (Case(k, inputs, units, z, compiler, waits) for z in zeros for k in kernels)
                if waits and "straight" in kernels:
                    yield from (Case("straight", inputs, units, z, compiler, waits, IN_RAM) for z in zeros)
                yield from (Case(kernel, inputs, units, 0.0, compiler, waits) for kernel in WHOLE_STEPS)


def bench_kernels(ws: Workspace, rig: Rig, wanted: Sequence[Case]) -> KernelBench:
    """
    Measure cases on a rig and leave ``kernels.json``; what was measured before with the same content is kept.

    Args:
        ws: Folder for programs and results.
        rig: Not yet flashed.
        wanted: See `cases`; those of a compiler that is not installed are left out, and said.

    Raises:
        HilError: As compiling, flashing and measuring.
    """
    place, costs, missing = _Place(ws, rig), [], set[str]()
    with ws.progress.task(f"kernels on {rig.name}") as update:
        for i, case in enumerate(wanted):
            update(i, len(wanted), f"{case.kernel} D={case.inputs} H={case.units} {case.zeros:.0%} {case.compiler}")
            if case.compiler in missing:
                continue
            try:
                compiler = find_compiler(case.compiler)
            except ToolError as error:
                missing.add(case.compiler)
                ws.progress.say(f"left out: {error}")
                continue
            costs.append(_measured(place, case, compiler))
    done = KernelBench(rig.name, rig.tier, tuple(costs))
    write_text(ws.path(RESULT), done.to_json())
    return done


def _measured(place: _Place, case: Case, compiler: Compiler) -> KernelCost:
    if case.whole:
        sources = bench_sources(case.inputs, case.units, (case.kernel,))
    else:
        rows = pruned_rows(case.inputs, case.units, case.zeros)
        sources = emit_rows_bench(rows, case.inputs, LayerBuild(case.kernel, case.ram_bytes))
    content = json.dumps(
        [sorted(sources.items()), compiler.version, case.wait_states, place.rig.chip, place.rig.sha256]
    )
    path = place.ws.path(CACHE) / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    if place.rig.tier is not Tier.SILICON and path.is_file():
        return from_table(json.loads(path.read_text(encoding="utf-8")), KernelCost, str(path))
    firmware = compile_firmware(
        sources,
        chip=chip(place.rig.chip),
        board=place.rig.wiring,
        compiler=compiler,
        optimize="2",
        out=place.ws.path(CACHE) / "firmware",
        half_clock=case.wait_states == 0,
        known=place.objects,
    )
    cost = _run(place.rig, firmware, case)
    write_text(path, json.dumps(dataclasses.asdict(cost), sort_keys=True) + "\n")
    return cost


def _run(rig: Rig, firmware: Firmware, case: Case) -> KernelCost:
    rig.flash(firmware)
    device, _ = connect(rig, firmware)
    calls = [device.bench(0, STEPS)]
    calls += [] if case.whole else [device.bench(1, 1)]
    if any(call.interrupts for call in calls):
        raise DeviceError(f"{rig.name}: interrupts fell into the windows of {case.kernel}: no measurement")
    program = firmware.flash_bytes, firmware.ram_bytes
    flash, ram = program if case.whole else part_bytes(firmware.elf, belongs_to_layer)
    return KernelCost(
        case,
        firmware.compiler_version,
        calls[0].cycles,
        0 if case.whole else calls[1].cycles[0],
        flash,
        ram,
        device.status().stack_bytes,
    )


def active_weights(case: Case) -> list[int]:
    """Nonzero weights in active columns, for each share of `ACTIVITY`."""
    weight = pruned_rows(case.inputs, case.units, case.zeros).weight_q2
    return [int(np.count_nonzero(weight[:, row != 0])) for row in active_values(weight.shape[1])]


def line(cost: KernelCost) -> Line:
    """By least squares over the shares of `ACTIVITY`."""
    x, y = np.array(active_weights(cost.case), float), np.array(cost.cycles, float)
    slope, intercept = np.polyfit(x, y, 1)
    return Line(float(slope), float(intercept), float(np.abs(y - slope * x - intercept).max()))


def crossover(cost: KernelCost, dense: KernelCost) -> float:
    """Share of active columns from which the dense kernel is as fast as this one; 1.0: never below."""
    fitted, columns = line(cost), active_weights(cost.case)[-1]
    return float(np.clip((max(dense.cycles) - fitted.intercept) / (fitted.slope * columns), 0.0, 1.0))


def derived(cost: KernelCost, costs: Sequence[KernelCost]) -> dict[str, object]:
    """What follows from a case: cycles a step, a weight and an active weight, the line, the gain over the float GRU."""
    case = cost.case
    step = cost.step_cycles
    found: dict[str, object] = {"step_cycles": step}
    for other in costs:
        ours = dataclasses.replace(case, kernel=FLOAT_GRU, zeros=0.0, ram_bytes=0)
        if other.case == ours:
            found["times_fewer_than_float_gru"] = other.step_cycles / step
    return found if case.whole else found | _of_sums(cost, costs)


def _of_sums(cost: KernelCost, costs: Sequence[KernelCost]) -> dict[str, object]:
    case = cost.case
    weights = 2 * case.units * (case.inputs + case.units)
    found: dict[str, object] = {
        "cycles_per_weight": cost.cycles[-1] / weights,
        "cycles_per_active_weight": cost.cycles[-1] / max(1, active_weights(case)[-1]),
        "flash_bytes_per_weight": cost.flash_bytes / weights,
        "line": dataclasses.asdict(line(cost)),
    }
    if case.kernel == "events":
        straight = dataclasses.replace(case, kernel="straight", ram_bytes=0)
        for other in costs:
            if other.case == straight:
                found["crossover_with_straight"] = crossover(cost, other)
    return found
