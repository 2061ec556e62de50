"""Benches of the sound path: cycles of the front ends, and bytes a second on the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.artefact import FrontEnd
from hil.codegen.bench_sound import CMSIS_FFT, CMSIS_MFCC, FRONT_ENDS, OWN_FFT
from hil.errors import DeviceError, ToolError
from hil.experiment.bench import Bench
from hil.experiment.device_stages import RigName, run_bench
from hil.experiment.progress import Progress
from hil.experiment.run import connect
from hil.experiment.workspace import Workspace
from hil.firmware import Firmware, cmsis_dsp
from hil.firmware.cmsis_dsp import VERSION
from hil.link.audio import echo_stream
from hil.rig import Rig
from hil.trace import Tier

LINE_BITS = 10
"""8N1: bits on the line for each byte."""
ECHO_BYTES = 480
"""Payload of a request: it and its answer fit `hil.link.schema.MAX_STREAM_REPLY`."""
ECHO_REQUESTS = 40
"""Of one part of the measurement."""
PARTS = 12
DEFAULT_BAUD = 500_000


@dataclass(frozen=True)
class SoundCost:
    """
    One kernel of the sound path.

    Attributes:
        name: Of the kernel.
        text: What it does in words.
        cycles: Of each call.
        load: Share of the CPU that it takes, median over frames; None for a part of a front end.
    """

    name: str
    text: str
    cycles: tuple[int, ...]
    load: float | None


def bench_frontends(
    ws: Workspace, rig_name: RigName, compiler: str | None, repeats: int, fast_load: bool = False
) -> tuple[Bench, tuple[SoundCost, ...]]:
    """
    Cycles per frame of the front ends and of their FFT, beside CMSIS-DSP's.

    Where CMSIS-DSP cannot be had that is said, and the others are measured.

    Raises:
        HilError: As `hil.experiment.device_stages.run_bench`.
    """
    names, library = (*FRONT_ENDS, *OWN_FFT), None
    try:
        with ws.progress.task(f"CMSIS-DSP {VERSION}"):
            library = cmsis_dsp()
        names += (*CMSIS_FFT, *CMSIS_MFCC)
    except ToolError as error:
        ws.progress.say(f"without CMSIS-DSP's: {error}")
    done = run_bench(
        ws,
        rig_name,
        compiler,
        inputs=8,
        units=8,
        kernels=names,
        repeats=repeats,
        fast_load=fast_load,
        library=library,
    )
    return done, tuple(_cost(name, done) for name in names)


def _cost(name: str, bench: Bench) -> SoundCost:
    cycles, per_s = bench.cycles[name], None
    if name in FRONT_ENDS:
        text, per_s = _shape(FRONT_ENDS[name].kind, FRONT_ENDS[name])
    elif name in CMSIS_MFCC:
        text, per_s = _shape("arm_mfcc_q15", FRONT_ENDS[CMSIS_MFCC[name]])
    elif name in OWN_FFT:
        text = f"FFT and powers, {OWN_FFT[name]}"
    else:
        text = f"arm_rfft_q15, {CMSIS_FFT[name]}"
    return SoundCost(name, text, cycles, per_s and float(np.median(cycles)) * per_s / bench.clock_hz)


def _shape(what: str, fe: FrontEnd) -> tuple[str, float]:
    """In words, and frames a second."""
    running = ", running mean" if fe.mean_shift else ""
    return f"{what} {fe.rate_hz // 1000} kHz {fe.window}/{fe.hop}, {fe.features}{running}", fe.rate_hz / fe.hop


@dataclass(frozen=True)
class LinkSpeed:
    """
    Payload through ECHO, several requests under way.

    Attributes:
        rig, tier: Where, and what the clock is worth.
        baud: Line speed.
        bytes_per_s: Payload in one direction; as much comes back in the other at the same time.  Of the fastest part:
            a host that is late to send does not count against the line.
        slowest_bytes_per_s: Of the slowest part.
        limit_bytes_per_s: What the line can carry in one direction.
        repetitions, overruns: Requests sent again, bytes lost in the device.
    """

    rig: str
    tier: Tier
    baud: int
    bytes_per_s: float
    slowest_bytes_per_s: float
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
    speeds = []
    with progress.task(f"bytes through {rig.name} at {baud:,} baud") as update:
        for part in range(PARTS):
            before = device.status().uptime_ms
            total = echo_stream(device, pieces)
            elapsed_ms = device.status().uptime_ms - before
            if elapsed_ms <= 0:
                raise DeviceError(f"{rig.name}: the device's clock stood still for {total} bytes")
            speeds.append(1000 * total / elapsed_ms)
            update(part + 1, PARTS)
    limit = baud / LINE_BITS
    overruns = device.status().overruns
    return LinkSpeed(rig.name, rig.tier, baud, max(speeds), min(speeds), limit, device.repetitions, overruns)
