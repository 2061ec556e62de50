"""Benches of the sound path: cycles of the front ends, and bytes a second on the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.codegen import FRONT_ENDS
from hil.errors import DeviceError
from hil.experiment.bench import Bench
from hil.experiment.device_stages import RigName, run_bench
from hil.experiment.progress import Progress
from hil.experiment.run import connect
from hil.experiment.workspace import Workspace
from hil.firmware import Firmware
from hil.link.audio import echo_stream
from hil.rig import Rig
from hil.trace import Tier

LINE_BITS = 10
"""8N1: bits on the line for each byte."""
ECHO_BYTES = 480
"""Payload of a request: it and its answer fit `hil.link.schema.MAX_STREAM_REPLY`."""
ECHO_REQUESTS = 400
DEFAULT_BAUD = 500_000


@dataclass(frozen=True)
class FrontEndCost:
    """
    One front end.

    Attributes:
        name: Of the kernel.
        text: Kind, rate, window, hop and bands in words.
        cycles: Of each call.
        load: Share of the CPU that it takes, median over frames.
    """

    name: str
    text: str
    cycles: tuple[int, ...]
    load: float


def bench_frontends(
    ws: Workspace, rig_name: RigName, compiler: str | None, repeats: int, fast_load: bool = False
) -> tuple[Bench, tuple[FrontEndCost, ...]]:
    """Cycles per frame of the front ends.  Raises as `hil.experiment.device_stages.run_bench`."""
    done = run_bench(
        ws,
        rig_name,
        compiler,
        inputs=8,
        units=8,
        kernels=tuple(FRONT_ENDS),
        repeats=repeats,
        fast_load=fast_load,
    )
    return done, tuple(_cost(name, done) for name in FRONT_ENDS)


def _cost(name: str, bench: Bench) -> FrontEndCost:
    fe, cycles = FRONT_ENDS[name], bench.cycles[name]
    text = f"{fe.kind}, {fe.rate_hz / 1000:g} kHz, window {fe.window}, hop {fe.hop}, {fe.features} bands"
    return FrontEndCost(name, text, cycles, float(np.median(cycles)) * fe.rate_hz / fe.hop / bench.clock_hz)


@dataclass(frozen=True)
class LinkSpeed:
    """
    Payload through ECHO, several requests under way.

    Attributes:
        rig, tier: Where, and what the clock is worth.
        baud: Line speed.
        bytes_per_s: Payload in one direction; as much comes back in the other at the same time.
        limit_bytes_per_s: What the line can carry in one direction.
        repetitions, overruns: Requests sent again, bytes lost in the device.
    """

    rig: str
    tier: Tier
    baud: int
    bytes_per_s: float
    limit_bytes_per_s: float
    repetitions: int
    overruns: int

    @property
    def share(self) -> float:
        return self.bytes_per_s / self.limit_bytes_per_s


def bench_link(firmware: Firmware, rig: Rig, baud: int, progress: Progress) -> LinkSpeed:
    """
    Payload bytes a second of the line, by the device's clock.

    Args:
        firmware: Any of this project's.
        rig: Not yet flashed; left open.
        baud: Line speed to measure at.
        progress: Where to show it.

    Raises:
        DeviceError: The bytes came back different, or the device's clock stood still.
    """
    rig.flash(firmware)
    device, _ = connect(rig, firmware)
    device.set_baud(baud)
    rig.stream()
    rng = np.random.default_rng(1)
    pieces = [rng.integers(0, 256, ECHO_BYTES, dtype=np.uint8).tobytes() for _ in range(ECHO_REQUESTS)]
    with progress.task(f"bytes through {rig.name} at {baud:,} baud"):
        before = device.status()
        total = echo_stream(device, pieces)
        after = device.status()
    elapsed_ms = after.uptime_ms - before.uptime_ms
    if elapsed_ms <= 0:
        raise DeviceError(f"{rig.name}: the device's clock stood still for {total} bytes")
    speed = 1000 * total / elapsed_ms
    return LinkSpeed(rig.name, rig.tier, baud, speed, baud / LINE_BITS, device.repetitions, after.overruns)
