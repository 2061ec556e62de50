"""Sound on the command line: decisions as they come, and the benches of the sound path."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hil.artefact import Artefact
from hil.cli.common import opened
from hil.experiment.bench import Bench
from hil.experiment.device_stages import RigName
from hil.experiment.listen import AudioRun, Stream
from hil.experiment.sound_bench import LinkSpeed, SoundCost, bench_frontends, bench_link
from hil.experiment.workspace import Workspace
from hil.link.audio import Heard
from hil.recipe import Recipe

SHOWN = 3
"""Differences that are printed."""


def run_clips(recipe: Recipe, ws: Workspace, rig: RigName, compiler: str | None, fast_load: bool) -> int:
    """``hil run --mode audio``; returns the exit code."""
    from hil.experiment.listen_stages import make_audio_run

    run = make_audio_run(recipe, ws, rig, compiler, fast_load)
    _show_audio_run(run)
    return 0 if run.exact else 1


def run_inputs(
    recipe: Recipe, ws: Workspace, rig: RigName, compiler: str | None, files: Sequence[Path], fast_load: bool
) -> int:
    """``hil run --input``; returns the exit code."""
    from hil.experiment import listen_stages

    console = Console()

    def show(artefact: Artefact, name: str, heard: Heard) -> None:
        fe = artefact.sound
        for decision in heard.decisions:
            at = (decision.frame * fe.hop + fe.window) / fe.rate_hz
            mark = "  DETECTED" if decision.triggered else ""
            label, lead = artefact.labels[decision.label], decision.margin_q15 / (1 << 15)
            line = f"{name} {at:8.3f} s  {label:<12} lead {lead:7.3f}{mark}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    streams = listen_stages.run_inputs(recipe, ws, rig, compiler, files, show, fast_load)
    _show_streams(streams, console)
    return 0 if all(stream.exact for stream in streams) else 1


def _show_audio_run(run: AudioRun) -> None:
    console = Console()
    exact = sum(stream.decisions == stream.expected and len(stream.decisions) == 1 for stream in run.streams)
    vectors, total = sum(s.vectors_exact for s in run.streams), sum(s.vectors for s in run.streams)
    _show_differences(run.streams, console)
    console.print(
        f"audio: bit-exact in {vectors:,} of {total:,} feature vectors and {exact} of {len(run.streams)} outputs; "
        f"{run.correct} of {len(run.streams)} clips right; {run.repetitions} requests sent again, "
        f"{run.bad_frames} damaged frames, {run.overruns} bytes lost in the device",
        highlight=False,
        soft_wrap=True,
    )


def _show_streams(streams: Sequence[Stream], console: Console) -> None:
    decisions = sum(len(s.decisions) for s in streams)
    detected = sum(d.triggered for s in streams for d in s.decisions)
    vectors, total = sum(s.vectors_exact for s in streams), sum(s.vectors for s in streams)
    _show_differences(streams, console)
    verdict = "all as the twin" if all(s.exact for s in streams) else "NOT all as the twin"
    console.print(
        f"{decisions} decisions, {detected} detections, {verdict}; {vectors:,} of {total:,} feature vectors bit-exact",
        highlight=False,
        soft_wrap=True,
    )


def _show_differences(streams: Sequence[Stream], console: Console) -> None:
    for first in [stream.first for stream in streams if stream.first][:SHOWN]:
        console.print(f"differs: {first}", highlight=False, markup=False, soft_wrap=True)


def show_frontend_bench(ws: Workspace, rig: RigName, compiler: str | None, repeats: int, fast_load: bool) -> None:
    """``hil bench frontend``."""
    bench, costs = bench_frontends(ws, rig, compiler, repeats, fast_load)
    _show_costs(bench, costs)


def _show_costs(bench: Bench, costs: Sequence[SoundCost]) -> None:
    table = Table(title=f"{bench.rig} ({bench.tier.value}), cycles of one frame, {bench.compiler}")
    table.add_column("window/hop, bands; points", ratio=1)
    for heading in ("min", "median", "max", f"of {bench.clock_hz / 1e6:g} MHz"):
        table.add_column(heading, justify="right")
    for cost in costs:
        median = statistics.median(cost.cycles)
        load = "" if cost.load is None else f"{cost.load:.1%}"
        table.add_row(cost.text, f"{min(cost.cycles):,}", f"{median:,.0f}", f"{max(cost.cycles):,}", load)
    Console().print(table)
    if any(cost.name.startswith("arm_") for cost in costs):
        note = "arm_rfft_q15 (without powers) and arm_mfcc_q15 (with its 13 cosines) are CMSIS-DSP's."
        Console().print(note, highlight=False, soft_wrap=True)


def show_link_bench(ws: Workspace, rig_name: RigName, compiler: str | None, baud: int | None, fast_load: bool) -> None:
    """``hil bench link``."""
    from hil.experiment.device_stages import compile_bench, opened_rig
    from hil.experiment.sound_bench import DEFAULT_BAUD

    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = compile_bench(ws, rig, compiler, inputs=8, units=8, kernels=("softsign_q15",))
        speed = bench_link(firmware, rig, baud or DEFAULT_BAUD, ws.progress)
    _show_speed(speed)


def _show_speed(speed: LinkSpeed) -> None:
    Console().print(
        f"link: {speed.bytes_per_s:,.0f} payload bytes a second each way at {speed.baud:,} baud, {speed.share:.1%} of "
        f"the line's {speed.limit_bytes_per_s:,.0f} (slowest part {speed.slowest_bytes_per_s:,.0f}); "
        f"{speed.repetitions} requests sent again, {speed.overruns} bytes lost in the device ({speed.tier.value})",
        highlight=False,
        soft_wrap=True,
    )


def show_microphone_bench(folder: Path, compiler: str | None) -> int:
    """``hil bench microphone``; returns the exit code."""
    from hil.chips import Microphone
    from hil.experiment import microphone_bench as bench
    from hil.firmware import find_compiler

    microphone = Microphone("adc", 8000, oversampling=32)
    with opened(folder, force=False) as ws:
        costs = bench.bench_microphone(bench.cases(), microphone, find_compiler(compiler), folder, ws.progress)
    table = Table(title=f"emulator ({costs[0].tier.value}), ADC at 8 kHz, % of 48 MHz")
    table.add_column("what", no_wrap=True)
    for heading in ("sample", "front", "net", "rest", "busy", "sleep", "lost", "~mA"):
        table.add_column(heading, justify="right")
    for cost in costs:
        shares = (cost.sampling, cost.features, cost.network, cost.rest, cost.busy, cost.asleep)
        table.add_row(
            cost.name, *(f"{s / 10:.1f}" for s in shares), str(cost.lost + cost.unsent), f"{cost.estimated_ma:.2f}"
        )
    console = Console()
    console.print(table)
    console.print(
        f"mA: an estimate from typical currents of the data sheet ({bench.ACTIVE_MA} mA active, {bench.IDLE_MA} mA in "
        "IDLE0, 3.3 V, 25 degrees), without converter, microphone and line; not measured.",
        highlight=False,
        soft_wrap=True,
    )
    return 0
