"""``hil bench kernels``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hil.experiment.kernel_bench import (
    KERNELS,
    RESULT,
    SHAPES,
    ZEROS,
    KernelBench,
    KernelCost,
    bench_kernels,
    cases,
    derived,
)
from hil.experiment.workspace import Workspace, write_text
from hil.firmware.compiler import NAMES

if TYPE_CHECKING:
    from hil.rig import RigRequest

PLOT = "kernels.svg"
_WIDTH = 150
"""Columns of the table; a narrower terminal scrolls or folds it, a file has all of it."""
_HEADINGS = (
    *("zeros", "10 %", "dense", "/weight", "/active", "step", "float GRU /", "slope", "fixed"),
    *("crossover", "flash", "RAM", "stack"),
)


def show_kernel_bench(
    ws: Workspace,
    rig: RigRequest,
    compiler: str | None,
    inputs: int | None,
    units: int | None,
    kernels: Sequence[str],
    fast_load: bool,
) -> None:
    """Measure, and show tables by shape; JSON and plot stay in the folder."""
    from hil.experiment.device_stages import opened_rig
    from hil.report.kernel_plots import kernels_svg

    shapes = SHAPES if inputs is None and units is None else ((inputs or SHAPES[1][0], units or SHAPES[1][1]),)
    wanted = list(cases(shapes, ZEROS, kernels or KERNELS, (compiler,) if compiler else NAMES, (0, 1)))
    with opened_rig(ws, rig, fast_load=fast_load) as opened:
        done = bench_kernels(ws, opened, wanted)
    write_text(ws.path(PLOT), kernels_svg(done))
    _show(done)
    Console().print(f"{ws.path(RESULT)}, plot: {ws.path(PLOT)}", highlight=False, soft_wrap=True)


def _show(bench: KernelBench) -> None:
    groups: dict[tuple[int, int, str, int], list[KernelCost]] = {}
    for cost in bench.costs:
        key = cost.case.inputs, cost.case.units, cost.compiler_version, cost.case.wait_states
        groups.setdefault(key, []).append(cost)
    for (inputs, units, compiler, waits), costs in groups.items():
        table = Table(title=f"D={inputs}, H={units}, {waits} wait states, {bench.rig} ({bench.tier.value}), {compiler}")
        table.add_column("kernel", no_wrap=True)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right")
        for cost in costs:
            table.add_row(*(_whole_step if cost.case.whole else _cells)(cost, costs))
        Console(width=max(Console().width, _WIDTH)).print(table)


def _whole_step(cost: KernelCost, costs: Sequence[KernelCost]) -> tuple[str, ...]:
    found = derived(cost, costs)
    gain = f"{found.get('times_fewer_than_float_gru', 0):.1f}"
    sizes = f"{cost.flash_bytes:,}", f"{cost.ram_bytes:,}", f"{cost.stack_bytes:,}"
    return (cost.case.title, *[""] * 5, f"{found['step_cycles']:,}", gain, *[""] * 3, *sizes)


def _cells(cost: KernelCost, costs: Sequence[KernelCost]) -> tuple[str, ...]:
    found = derived(cost, costs)
    line = found["line"]
    assert isinstance(line, dict)
    crossing = found.get("crossover_with_straight")
    return (
        cost.case.title,
        f"{cost.case.zeros:.0%}",
        f"{cost.cycles[2]:,}",
        f"{cost.cycles[-1]:,}",
        f"{found['cycles_per_weight']:.3f}",
        f"{found['cycles_per_active_weight']:.2f}",
        f"{found['step_cycles']:,}",
        f"{found.get('times_fewer_than_float_gru', 0):.0f}",
        f"{line['slope']:.2f}",
        f"{line['intercept']:,.0f}",
        "" if crossing is None else f"{crossing:.0%}",
        f"{cost.flash_bytes:,}",
        f"{cost.ram_bytes:,}",
        f"{cost.stack_bytes:,}",
    )
