"""A result as lines of text: what terminal and page both show."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hil.experiment.predict import error_percent
from hil.experiment.result import Result
from hil.experiment.work import step_macs, step_weights, zero_share
from hil.trace import Tier

EGRU_STEP, FLOAT_GRU_STEP, GRU8_STEP = "embedded_gru_step", "float_gru_step", "gru8_step"
"""Kernels of `hil.codegen.BENCH_KERNELS` whose ratios are the gains."""

DENSE_ACTIVITY = 0.9
"""A layer with more outputs that are not 0 is no event layer."""

WORTH = {
    Tier.SILICON: "measured on a chip",
    Tier.CYCLE_MODEL: "counted by the built-in emulator's model of core and flash; no chip ran",
    Tier.TRACE_PRICED: "executed instructions priced with the core's timing table, without flash effects; no chip ran",
    Tier.INSTRUCTION_COUNT: "executed instructions, not cycles; no chip ran",
    Tier.HOST: "the integer twin on the host; no device ran",
}
"""What a tier's numbers are, in words."""


@dataclass(frozen=True)
class Fact:
    """
    One line of the table.

    Attributes:
        group: Heading it belongs under.
        name: What it is.
        value: With its unit.
        tier: What it is worth, or None where the question does not arise (sizes, hashes).
        good: True or False for a verdict, None otherwise.
    """

    group: str
    name: str
    value: str
    tier: Tier | None = None
    good: bool | None = None


def facts(result: Result) -> tuple[Fact, ...]:
    """Every line of a result's table, in order of display."""
    return (
        *_accuracy(result),
        *_activity(result),
        *_exactness(result),
        *_work(result),
        *_cost(result),
        *_gain(result),
        *_memory(result),
        *_run(result),
    )


def summary(result: Result) -> str:
    """One line: exactness, cycles, sizes, tier."""
    verdict = "bit-exact" if result.bit_exact else "NOT bit-exact: equal"
    parts = [
        f"{verdict} in {result.steps_exact:,} of {result.steps:,} steps "
        f"and {result.outputs_exact:,} of {result.outputs:,} outputs",
        _step_cost(result) + _gain_in_words(result),
        f"{_kilobytes(result.parameter_bytes)} of parameters, {_kilobytes(result.flash_bytes)} as code",
        f"tier: {result.tier.value}",
    ]
    if "; " in result.rig_reason:  # another rig was asked for
        parts.append(f"ran on {result.rig}, {result.rig_reason}")
    return "; ".join(parts)


def first_difference(result: Result) -> str:
    """Where a device that is not bit-exact first left its twin."""
    if result.first_difference is None:
        wrong = result.steps - result.steps_exact, result.outputs - result.outputs_exact
        return f"{result.rig}: {wrong[0]:,} steps and {wrong[1]:,} outputs differ from the twin"
    return f"{result.rig}: {result.first_difference}"


def unit(tier: Tier) -> str:
    """What a tier counts."""
    return "instructions" if tier is Tier.INSTRUCTION_COUNT else "cycles"


def milliseconds(cycles: float, clock_hz: int) -> str:
    """Three significant digits, so that neither 2 ms nor 2 us loses its meaning."""
    ms = 1000 * cycles / clock_hz
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:#.3g}"


def whole(value: float) -> str:
    """A count with thousands separators; a median between two counts keeps its half."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def clock(clock_hz: int) -> str:
    return f"{clock_hz / 1e6:g} MHz"


def clips_of(accuracy: float, count: int) -> str:
    """``" (277 of 300)"``, or nothing if the accuracy is not a count out of so many."""
    correct = round(accuracy * count)
    return f" ({correct:,} of {count:,})" if count and abs(correct / count - accuracy) < 1e-6 else ""


def _accuracy(result: Result) -> Iterator[Fact]:
    for model, accuracy in result.accuracy.items():
        tier = result.tier if model == "device" else Tier.HOST
        value = f"{100 * accuracy:.1f} %{clips_of(accuracy, result.outputs)}"
        yield Fact("Accuracy on the test clips", model, value, tier)


def _activity(result: Result) -> Iterator[Fact]:
    """Only where a layer is silent at times: a dense one speaks practically always."""
    if result.activity and min(result.activity) < DENSE_ACTIVITY:
        for layer, activity in enumerate(result.activity):
            yield Fact("Units that speak in a step", f"layer {layer}", f"{100 * activity:.1f} %", Tier.HOST)


def _work(result: Result) -> Iterator[Fact]:
    """Weights and events of each matrix, the products that are left, and how far cycles follow them."""
    matrices = result.matrices
    if not matrices:
        return
    group = "Work of a step"
    for m in matrices:
        once = "" if m.per == "step" else ", once a sequence"
        value = f"{m.nonzero:,} of {m.weights:,} weights are not 0, {100 * m.density:.1f} % of their inputs{once}"
        yield Fact(group, m.name, value, Tier.HOST)
    macs, weights = step_macs(matrices), step_weights(matrices)
    yield Fact(group, "weights that are 0, all layers", f"{100 * zero_share(matrices):.1f} %", Tier.HOST)
    value = f"{macs:,.0f} of {weights:,} = {100 * macs / weights:.1f} %"
    yield Fact(group, "effective multiply-accumulates, recurrent layers", value, Tier.HOST)
    if result.cycles and macs:
        each = f"{statistics.mean(result.cycles) / macs:,.2f}"
        yield Fact(group, f"{unit(result.tier)} a step for each of them, mean", each, result.tier)


def _exactness(result: Result) -> Iterator[Fact]:
    counts = (("steps", result.steps_exact, result.steps), ("outputs", result.outputs_exact, result.outputs))
    for name, exact, compared in counts:
        value = f"bit-exact {exact:,} of {compared:,} {name}"
        yield Fact("Device against twin", name, value, result.tier, exact == compared)


def _cost(result: Result) -> Iterator[Fact]:
    group = f"Cost of a step ({unit(result.tier)})"
    if result.cycles:
        for name, pick in (("min", min), ("median", statistics.median), ("max", max)):
            yield Fact(group, name, _with_time(pick(result.cycles), result), result.tier)
    else:
        yield Fact(group, "median", "no valid window", result.tier, False)
    yield from _prediction(result, group)
    if result.output_cycles:
        name = "readout and output layers, median"
        yield Fact(group, name, _with_time(statistics.median(result.output_cycles), result), result.tier)
    yield Fact(group, "empty window, already subtracted", whole(result.overhead_cycles), result.tier)
    yield Fact(group, "windows left out (interrupt inside)", whole(result.void_windows), result.tier)


def _prediction(result: Result, group: str) -> Iterator[Fact]:
    """The cycle model beside what was measured, and how far off it is."""
    if not result.predicted_cycles:
        return
    model = Tier.CYCLE_MODEL
    said, measured = statistics.median(result.predicted_cycles), statistics.median(result.predicted_for)
    yield Fact(group, "the cycle model's prediction, median", _with_time(said, result), model)
    pairs = zip(result.predicted_for, result.predicted_cycles, strict=True)
    worst = max((error_percent(m, p) for m, p in pairs), key=abs)
    value = f"{error_percent(measured, said):+.2f} % in the median, {worst:+.2f} % at most in a step"
    yield Fact(group, "error of the prediction", value, model)


def _gain(result: Result) -> Iterator[Fact]:
    shape = f" (D={result.bench_shape[0]}, H={result.bench_shape[1]})" if len(result.bench_shape) == 2 else ""
    group = f"Kernels{shape}, median {unit(result.tier)} a call"
    for name, cycles in result.bench.items():
        if cycles:
            yield Fact(group, name, _with_time(statistics.median(cycles), result), result.tier)
    ratio = gain(result)
    if ratio is not None:
        value = f"{ratio:,.1f} times fewer {unit(result.tier)}"
        yield Fact(group, "gain: eGRU step over float GRU step", value, result.tier)
    honest = gain(result, GRU8_STEP)
    if honest is not None:
        value = f"{honest:,.2f} times fewer {unit(result.tier)}"
        yield Fact(group, "gain: eGRU step over int8 GRU step", value, result.tier)


def gain(result: Result, other: str = FLOAT_GRU_STEP) -> float | None:
    """Median of another step over that of the eGRU step of the same shape; None unless both were benched."""
    if not (result.bench.get(EGRU_STEP) and result.bench.get(other)):
        return None
    return statistics.median(result.bench[other]) / statistics.median(result.bench[EGRU_STEP])


def _gain_in_words(result: Result) -> str:
    ratio = gain(result)
    return "" if ratio is None else f", one layer {ratio:,.0f} times fewer than the float GRU's"


def _memory(result: Result) -> Iterator[Fact]:
    less = ""
    if result.float_parameter_bytes and result.parameter_bytes:
        ratio = result.float_parameter_bytes / result.parameter_bytes
        less = f" (float GRU: {result.float_parameter_bytes:,}, {ratio:.1f} times more)"
    group = "Memory"
    yield Fact(group, "parameters, packed", f"{result.parameter_bytes:,} bytes{less}")
    yield Fact(group, "flash, whole program", f"{result.flash_bytes:,} bytes")
    yield Fact(group, "RAM without stack", f"{result.ram_bytes:,} bytes")
    yield Fact(group, "stack high-water mark", f"{result.stack_bytes:,} bytes", result.tier)


def _run(result: Result) -> Iterator[Fact]:
    group = "Run"
    yield Fact(group, "tier", f"{result.tier.value}: {WORTH[result.tier]}")
    yield Fact(group, "rig", f"{result.rig} ({result.rig_reason})" if result.rig_reason else result.rig)
    yield Fact(group, "compiler", result.compiler)
    yield Fact(group, "clock", clock(result.clock_hz))
    yield Fact(group, "requests sent again", whole(result.repetitions))
    for name, digest in result.hashes.items():
        yield Fact("Hashes", name, digest)


def _with_time(cycles: float, result: Result) -> str:
    if result.tier is Tier.INSTRUCTION_COUNT:
        return whole(cycles)
    return f"{whole(cycles)} = {milliseconds(cycles, result.clock_hz)} ms at {clock(result.clock_hz)}"


def _step_cost(result: Result) -> str:
    if not result.cycles:
        return "no valid window"
    median = statistics.median(result.cycles)
    count = f"{whole(median)} {unit(result.tier)} a step (median)"
    if result.tier is Tier.INSTRUCTION_COUNT:
        return count
    return f"{count}, {milliseconds(median, result.clock_hz)} ms at {clock(result.clock_hz)}"


def _kilobytes(size: int) -> str:
    return f"{size / 1000:.1f} kB" if size < 10_000 else f"{size / 1000:.0f} kB"


def grouped(lines: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Lines by heading, both in order."""
    groups: dict[str, list[Fact]] = {}
    for line in lines:
        groups.setdefault(line.group, []).append(line)
    return groups
