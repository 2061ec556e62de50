"""Kernels by measurement: each layer by each of its kernels on a rig, then the best model under a budget."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, DenseLayer
from hil.chips import chip
from hil.codegen import kernels_of, layers_of
from hil.codegen.bench_kernel import STEPS
from hil.codegen.bench_layers import INPUTS, LAYER, emit_layer_bench
from hil.config import from_table
from hil.errors import DeviceError, UsageError
from hil.experiment.run import connect
from hil.experiment.workspace import Workspace, write_text
from hil.firmware import Compiler, compile_firmware, part_bytes
from hil.layer_build import LayerBuild
from hil.quant import run_twin
from hil.rig import Rig
from hil.trace import Tier

CACHE = "tune"
"""Folder of measurements by content."""
RAM_STEPS = (1024, 2048, 4096, 8192, 16384)
TILE_ROWS = (13, 10)
SHARED = ("rows_", "compact_", "events_", "embedded_gru_", "event_embedded_gru_", "event_gru_", "gru8_", "dense_")
"""Functions that layers share, by how they begin."""

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Candidate:
    """
    A layer by one of its kernels.

    Attributes:
        layer: Its name.
        choice: Its kernel.
        cycles: Median of its calls.
        flash_bytes, ram_bytes: Of its weights, code and buffers, and of the shared functions that it calls.
    """

    layer: str
    choice: LayerBuild
    cycles: float
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Point:
    """
    A model with a choice for every layer.

    Attributes:
        build: By layer.
        cycles: A time step, the dense layers shared out over a clip.
        flash_bytes, ram_bytes: Of all layers.
    """

    build: dict[str, LayerBuild]
    cycles: float
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Budget:
    """What the layers may take; None: whatever the chip has."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None

    def allows(self, point: Point) -> bool:
        return all(
            most is None or used <= most
            for most, used in ((self.flash_bytes, point.flash_bytes), (self.ram_bytes, point.ram_bytes))
        )


@dataclass(frozen=True)
class Bench:
    """
    Where candidates are measured.

    Attributes:
        ws: Whose folder keeps what was measured.
        rig: Not yet flashed.
        compiler, optimize, chip_name: Of the programs.
        objects: Compiled once for all programs (`hil.firmware.compile_firmware`).
    """

    ws: Workspace
    rig: Rig
    compiler: Compiler
    optimize: str
    chip_name: str
    objects: dict[str, bytes] = field(default_factory=dict)


def choices_for(artefact: Artefact, name: str, budget: Budget) -> Iterator[LayerBuild]:
    """What is worth measuring for a layer: every kernel, from flash and RAM, with more and fewer rows at a time."""
    layer = layers_of(artefact)[name]
    most = RAM_STEPS[-1] if budget.ram_bytes is None else budget.ram_bytes
    for kernel in kernels_of(layer):
        if kernel == "reference":
            continue
        if kernel == "straight":
            for rows in TILE_ROWS:
                yield LayerBuild(kernel, rows=rows)
            yield from (LayerBuild(kernel, ram_bytes=ram) for ram in (1, *RAM_STEPS) if ram <= most)
            continue
        yield LayerBuild(kernel)
        if kernel == "compact" or not isinstance(layer, DenseLayer):
            yield LayerBuild(kernel, ram_bytes=1)


def inputs_of_layers(artefact: Artefact, features: Int16 | None) -> dict[str, Int16]:
    """
    What the layers see: [STEPS, D] int16 by layer.

    Args:
        artefact: The model.
        features: [T, D] of a clip, whose middle is taken; None: noise in its place.
    """
    rng = np.random.default_rng(1)
    if features is None or len(features) < STEPS:
        features = rng.integers(-16384, 16384, (2 * STEPS, artefact.inputs)).astype(np.int16)
    trace = run_twin(artefact, features, detail=True)
    first = (len(features) - STEPS) // 2
    seen, x = {}, features
    for i, inner in enumerate(trace.layers):
        seen[f"recurrent.{i}"] = x[first : first + STEPS]
        x = getattr(inner, "y_q15", inner.h_q15)
    for i, layer in enumerate(artefact.dense):
        wide = layer.rows.inputs
        part = x[first : first + STEPS] if i == 0 else rng.integers(0, 16384, (STEPS, wide)).astype(np.int16)
        seen[f"dense.{i}"] = part
    return {name: np.ascontiguousarray(part) for name, part in seen.items()}


def measure_candidates(
    bench: Bench, artefact: Artefact, features: Int16 | None, budget: Budget
) -> tuple[Candidate, ...]:
    """
    Measure every layer by every kernel; what was measured before, with the same content, is taken from the cache.

    A candidate whose layer alone does not fit the chip is left out, and said.

    Raises:
        HilError: As compiling, flashing and measuring.
    """
    values = inputs_of_layers(artefact, features)
    wanted = [(name, choice) for name in values for choice in choices_for(artefact, name, budget)]
    done: list[Candidate] = []
    with bench.ws.progress.task(f"kernels on {bench.rig.name}") as update:
        for i, (name, choice) in enumerate(wanted):
            update(i, len(wanted), f"{name} {choice.kernel}")
            sources = emit_layer_bench(layers_of(artefact)[name], choice, values[name])
            done.append(_measured(bench, name, choice, sources))
    return tuple(done)


def _measured(bench: Bench, name: str, choice: LayerBuild, sources: Mapping[str, str]) -> Candidate:
    built_for = (bench.compiler.version, bench.optimize, bench.chip_name, bench.rig.sha256)
    content = json.dumps([sorted(sources.items()), built_for])
    path = bench.ws.path(CACHE) / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    if bench.rig.tier is not Tier.SILICON and (known := _known(path)) is not None:
        return dataclasses.replace(known, layer=name, choice=choice)
    firmware = compile_firmware(
        sources,
        chip=chip(bench.chip_name),
        board=bench.rig.wiring,
        compiler=bench.compiler,
        optimize=bench.optimize,
        out=bench.ws.path(CACHE) / "firmware",
        known=bench.objects,
    )
    flash, ram = part_bytes(firmware.elf, belongs_to_layer)
    bench.rig.flash(firmware)
    device, _ = connect(bench.rig, firmware)
    calls = device.bench(0, STEPS)
    if calls.interrupts:
        raise DeviceError(f"{bench.rig.name}: {calls.interrupts} interrupts fell into the windows of {name}")
    candidate = Candidate(name, choice, statistics.median(calls.cycles), flash, ram)
    write_text(path, json.dumps(dataclasses.asdict(candidate), sort_keys=True) + "\n")
    return candidate


def belongs_to_layer(symbol: str) -> bool:
    """Whether a function or object of a bench firmware counts as the layer's."""
    own = symbol.startswith(f"{LAYER}_") or symbol == LAYER
    return (own and not symbol.startswith(INPUTS)) or symbol.startswith(SHARED)


def _known(path: Path) -> Candidate | None:
    try:
        return from_table(json.loads(path.read_text(encoding="utf-8")), Candidate, str(path))
    except (OSError, ValueError, UsageError):
        return None


def front(candidates: Sequence[Candidate], frames: int) -> tuple[Point, ...]:
    """
    The models than which none is better in cycles, flash and RAM at once; fewest cycles first.

    Args:
        candidates: Of every layer at least one.
        frames: Time steps of a clip: a dense layer runs once in so many.
    """
    points = [Point({}, 0.0, 0, 0)]
    for name in dict.fromkeys(candidate.layer for candidate in candidates):
        share = 1 / frames if name.startswith("dense.") else 1.0
        mine = [candidate for candidate in candidates if candidate.layer == name]
        points = _best(
            Point(
                {**point.build, name: c.choice},
                point.cycles + share * c.cycles,
                point.flash_bytes + c.flash_bytes,
                point.ram_bytes + c.ram_bytes,
            )
            for point in points
            for c in mine
        )
    return tuple(points)


def _best(points: Iterator[Point]) -> list[Point]:
    """Without those that another one beats; of equals the first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cycles, p.flash_bytes, p.ram_bytes)):
        if not any(k.flash_bytes <= point.flash_bytes and k.ram_bytes <= point.ram_bytes for k in kept):
            kept.append(point)
    return kept


def choose(points: Sequence[Point], budget: Budget) -> Point:
    """
    The fastest point of a front that the budget allows.

    Raises:
        UsageError: None is; the smallest ones are named.
    """
    for point in points:
        if budget.allows(point):
            return point
    flash, ram = min(p.flash_bytes for p in points), min(p.ram_bytes for p in points)
    raise UsageError(
        f"no kernels fit the budget: the layers take at least {flash:,} bytes of flash, at least {ram:,} of RAM. "
        "Give more --flash or --ram."
    )
