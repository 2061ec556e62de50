"""Cycles of single kernels on a rig, without a model."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hil.artefact import EmbeddedGruLayer
from hil.codegen import BENCH_KERNELS, emit_bench_c
from hil.config import from_table
from hil.errors import DeviceError, UsageError
from hil.experiment.predict import predict_bench
from hil.experiment.progress import Progress
from hil.experiment.run import connect
from hil.firmware import Firmware
from hil.layer_build import LayerBuild
from hil.link.device import Device
from hil.link.schema import MAX_BODY
from hil.rig import Rig
from hil.trace import Tier

EGRU, FLOAT_GRU, GRU8 = "embedded_gru_step", "float_gru_step", "gru8_step"
"""The kernels whose ratios are the point of it."""
MAX_REPEATS = 64
ECHOES = 8
"""Of the largest body, to measure the link."""


@dataclass(frozen=True)
class Bench:
    """
    Measured kernels.

    Attributes:
        rig, rig_reason: Where.
        tier: What the cycles are worth.
        compiler: Name and version.
        clock_hz: CPU clock.
        inputs, units: D and H of the recurrent kernels.
        elf_sha256: Of the program.
        cycles: Of every call, by kernel.
        baud: Line speed.
        predicted: Of a board: what the cycle model says about the same calls of the same ELF.
        link_bytes_per_s: Bodies of ECHO there and back, both counted, by the device's clock.
    """

    rig: str
    rig_reason: str
    tier: Tier
    compiler: str
    clock_hz: int
    inputs: int
    units: int
    elf_sha256: str
    cycles: dict[str, tuple[int, ...]]
    baud: int
    link_bytes_per_s: float
    predicted: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Median cycles of the float GRU step over those of the eGRU step; None unless both were measured."""
        if EGRU not in self.cycles or FLOAT_GRU not in self.cycles:
            return None
        return statistics.median(self.cycles[FLOAT_GRU]) / statistics.median(self.cycles[EGRU])

    def to_json(self) -> str:
        return json.dumps({**dataclasses.asdict(self), "ratio": self.ratio}, indent=1, sort_keys=True) + "\n"


def load_bench(path: Path) -> Bench:
    """Read what `Bench.to_json` wrote.  Raises `UsageError` naming the file and what is wrong."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        table.pop("ratio")
        return from_table({**table, "tier": Tier(table["tier"])}, Bench, str(path))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: is no bench result ({error}). Make it again: `hil bench`") from error


def bench_sources(
    inputs: int, units: int, kernels: Sequence[str], layer: tuple[EmbeddedGruLayer, LayerBuild] | None = None
) -> dict[str, str]:
    """C of the firmware that `measure` takes; kernels in their order; ``layer`` as `hil.codegen.emit_bench_c`."""
    return emit_bench_c(inputs, units, kernels=kernels or BENCH_KERNELS, layer=layer)


def measure(
    firmware: Firmware,
    rig: Rig,
    progress: Progress,
    *,
    inputs: int,
    units: int,
    kernels: Sequence[str] = (),
    repeats: int = 8,
) -> Bench:
    """
    Flash a bench firmware and measure its kernels.

    Args:
        firmware: Built from `bench_sources`.
        rig: Not yet flashed; left open.
        progress: Where to show it.
        inputs, units, kernels: As given to `bench_sources`.
        repeats: Calls of each kernel, 1 to 64; they use different inputs in turn.

    Raises:
        UsageError: ``repeats`` is out of range.
        DeviceError: The firmware has other kernels, or an interrupt fell into a window.
    """
    if not 1 <= repeats <= MAX_REPEATS:
        raise UsageError(f"repeats = {repeats}: must be within 1 and {MAX_REPEATS}")
    names = tuple(kernels) or BENCH_KERNELS
    rig.flash(firmware)
    device, hello = connect(rig, firmware)
    if hello.kernels != len(names):
        raise DeviceError(f"{rig.name}: the firmware has {hello.kernels} kernels, expected {len(names)}")
    cycles = {}
    with progress.task(f"kernels on {rig.name}") as update:
        for i, name in enumerate(names):
            done = device.bench(i, repeats)
            if done.interrupts:
                raise DeviceError(
                    f"{rig.name}: {done.interrupts} interrupts fell into the windows of {name}: no measurement"
                )
            cycles[name] = done.cycles
            update(i + 1, len(names), name)
    throughput = _throughput(device)
    predicted = predict_bench(rig, firmware, len(names), repeats, progress)
    return Bench(
        rig.name,
        rig.reason,
        rig.tier,
        f"{firmware.compiler_version}, -O{firmware.optimize}",
        hello.clock_hz,
        inputs,
        units,
        firmware.elf_sha256,
        cycles,
        hello.baud,
        throughput,
        dict(zip(names, predicted, strict=False)),
    )


def _throughput(device: Device) -> float:
    """Bytes a second of echoed bodies; the device's clock has steps of 1 ms."""
    data = bytes(i % 256 for i in range(MAX_BODY))
    began = device.status().uptime_ms
    for _ in range(ECHOES):
        device.echo(data)
    return 2 * ECHOES * MAX_BODY * 1000 / max(1, device.status().uptime_ms - began)
