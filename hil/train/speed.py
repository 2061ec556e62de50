"""
The event-based GRU's training step beside `torch.nn.GRU`'s, in turns.

With one thread, time is the thread's own on its processor, so that other processes do not count; with more it is the
clock's.  Peak memory is that of a process of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hil.cells import EventGRU, Surrogate
from hil.errors import ToolError

SURROGATE = Surrogate(damping=3.6, support=3.6)
"""Of the language models that the cell was published with."""
DENSE = 1.0
_DENSE_BIAS = 4.0
_BISECTIONS = 20
_WARM_STEPS = 2


@dataclass(frozen=True)
class Workload:
    """Sequences of one training step, and threads of torch."""

    inputs: int = 64
    units: int = 256
    batch: int = 32
    steps: int = 100
    threads: int = 1


@dataclass(frozen=True)
class Variant:
    """
    What is timed.

    Attributes:
        kind: `torch.nn.GRU`, our cell in torch's operations, or in compiled code.
        activity: Share of units that speak in a step; 1 for all.  None for the GRU.
        most: Largest ratio to the GRU that is accepted.
    """

    kind: Literal["nn.GRU", "loop", "fused"]
    activity: float | None = None
    most: float | None = None

    @property
    def title(self) -> str:
        if self.activity is None:
            return "torch.nn.GRU"
        speaking = "all units speak" if self.activity == DENSE else f"{self.activity:.0%} speak"
        return f"EventGRU, {'compiled' if self.kind == 'fused' else 'torch loop'}, {speaking}"


VARIANTS = (
    Variant("nn.GRU"),
    Variant("loop", DENSE),
    Variant("loop", 0.15),
    Variant("fused", DENSE, most=1.0),
    Variant("fused", 0.15, most=0.7),
    Variant("fused", 0.05, most=0.5),
    Variant("fused", 0.01, most=0.5),
)


@dataclass(frozen=True)
class Timing:
    """
    A variant's training step.

    Attributes:
        forward_ms, backward_ms: Medians.
        ratio: Median over rounds of the time of both to the GRU's in the same round.
        events: Share of events that are not 0; None for the GRU.
        wanted: Share of units and steps whose event or surrogate is not 0, which alone need a gradient of their event.
        peak_bytes: Memory above that of the process before the step.
    """

    variant: Variant
    forward_ms: float
    backward_ms: float
    ratio: float
    events: float | None
    wanted: float | None
    peak_bytes: int

    @property
    def fast_enough(self) -> bool:
        return self.variant.most is None or self.ratio <= self.variant.most


def peak_of_a_step(variant: Variant, work: Workload, threshold: float | None) -> int:
    """
    Bytes by which this process grows, at most, in a step; a short step before it has loaded what it needs.

    Args:
        variant: What steps.
        work: Sizes.
        threshold: Of all units, found before; None for the GRU.

    Raises:
        ToolError: This system does not tell.
    """
    torch.set_num_threads(work.threads)
    layer, (x, gradient) = _layer(variant, work, threshold), _inputs(work)
    few = x[:_WARM_STEPS].detach().requires_grad_()
    _step(layer, few, gradient[:_WARM_STEPS], time.perf_counter)
    layer.zero_grad(set_to_none=True)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
    except OSError as error:
        raise ToolError(f"peak memory is not told by this system ({error})") from error
    before = _status("VmRSS")
    _step(layer, x, gradient, time.perf_counter)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def peak_in_a_process(variant: Variant, work: Workload, threshold: float | None) -> int:
    """`peak_of_a_step` where nothing is left from before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak_of_a_step, variant, work, threshold).result()


def measure_training(
    work: Workload,
    variants: Sequence[Variant],
    rounds: int,
    update: Callable[[int, int, str], None],
    peak: Callable[[Variant, Workload, float | None], int] = peak_in_a_process,
) -> list[Timing]:
    """
    Time the variants in turns, the GRU among them.

    Args:
        work: Sizes.
        variants: Which; the first one is the GRU.
        rounds: Times each.
        update: Told steps done, of how many, and at what.
        peak: Measures memory.

    Raises:
        ToolError: This system does not tell a process's memory.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(work.threads)
    total = rounds + 2 * len(variants)
    try:
        layers = []
        for i, variant in enumerate(variants):
            update(i, total, f"thresholds: {variant.title}")
            layers.append(_layer(variant, work))
        x, gradient = _inputs(work)
        times: list[list[tuple[float, float]]] = [[] for _ in variants]
        for done in range(-1, rounds):  # the first round warms up
            update(len(variants) + max(done, 0), total, f"round {done + 1} of {rounds}")
            for layer, kept in zip(layers, times, strict=True):
                spent = _step(layer, x, gradient, time.thread_time if work.threads == 1 else time.perf_counter)
                if done >= 0:
                    kept.append(spent)
        rows = []
        for i, (variant, layer, kept) in enumerate(zip(variants, layers, times, strict=True)):
            update(len(variants) + rounds + i, total, f"memory: {variant.title}")
            ratios = [sum(a) / sum(b) for a, b in zip(kept, times[0], strict=True)]
            forward, backward = (1e3 * statistics.median(part) for part in zip(*kept, strict=True))
            shares, threshold = (None, None), None
            if isinstance(layer, EventGRU):
                shares, threshold = _densities(layer, x), layer.threshold[0].item()
            grown = peak(variant, work, threshold)
            rows.append(Timing(variant, forward, backward, statistics.median(ratios), *shares, grown))
        return rows
    finally:
        torch.set_num_threads(before)


def _inputs(work: Workload) -> tuple[Tensor, Tensor]:
    """Normal inputs [T, N, D], and the gradient that arrives at the output."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(work.steps, work.batch, work.inputs, generator=generator)
    return x.requires_grad_(), torch.randn(work.steps, work.batch, work.units, generator=generator)


def _layer(variant: Variant, work: Workload, threshold: float | None = None) -> nn.Module:
    """
    A layer whose own dynamics give the activity on these inputs.

    All units speak where the candidate's bias is high and thresholds are 0; otherwise one threshold for all is
    searched for, unless it is given.
    """
    torch.manual_seed(1)
    if variant.activity is None:
        return nn.GRU(work.inputs, work.units)
    layer = EventGRU(work.inputs, work.units, surrogate=SURROGATE, fused=variant.kind == "fused")
    with torch.no_grad():
        if variant.activity == DENSE:
            layer.threshold.zero_()
            layer.bias_ih[2 * work.units :] = _DENSE_BIAS
            return layer
        if threshold is not None:
            layer.threshold.fill_(threshold)
            return layer
        x, low, high = _inputs(work)[0], 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            layer.threshold.fill_(middle)
            low, high = (middle, high) if _densities(layer, x)[0] > variant.activity else (low, middle)
    return layer


@torch.no_grad()
def _densities(layer: EventGRU, x: Tensor) -> tuple[float, float]:
    """Shares of events that are not 0, and of those whose gradient is wanted."""
    run = layer.run(x)
    wanted = (run.y != 0) | (layer.surrogate(run.c - layer.threshold.clamp(0, 1)) != 0)
    return (run.y != 0).float().mean().item(), wanted.float().mean().item()


def _step(layer: nn.Module, x: Tensor, gradient: Tensor, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds forward and backward; gradients are dropped before, as an optimizer does."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    begun = clock()
    y = layer(x)[0]
    half = clock()
    y.backward(gradient)
    return half - begun, clock() - half


def as_table(work: Workload, rows: Sequence[Timing]) -> dict[str, Any]:
    """For JSON."""
    return {
        "tier": "host",
        "work": asdict(work),
        "torch": torch.__version__,
        "rows": [{"title": row.variant.title, **asdict(row)} for row in rows],
    }
