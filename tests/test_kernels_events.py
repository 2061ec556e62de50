"""Sums over events: the reference on the host; generated code on the emulated chip, by both compilers."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from event_support import EVENT, EventChip, build_events, events_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_support import FIRMWARE, TESTS, build_program, host_differences, random_artefact, random_layer, random_q15

from hil.codegen.event_code import BLOCK_ROWS, block_bounds, column_code, event_code
from hil.errors import ToolError
from hil.quant import event_embedded_gru_step, run_twin, sent_inputs

LEVELS = (-4, -2, -1, 0, 1, 2, 4)
SMALL_CYCLES, BENCH_FIXED = 227, 745
"""Cycles of 3 events at R = 20, C = 6 and of an empty list at R = 128, 0 wait states; the code is assembly."""
MARGINAL = 2.1
"""At most so many cycles for an active nonzero weight, interrupts enabled, at 0 wait states."""
SHAPES = [(1, 1), (2, 3), (5, 4), (6, 4), (9, 2), (10, 5), (11, 7), (20, 6), (41, 9), (128, 96)]
LAYERS = [(1, 2), (5, 4), (12, 7)]
STEP, GAIN = 8100, 650
"""A whole step at D = 32, H = 64 and 10 % of columns active, at 0 wait states, and against the float GRU."""
PROPERTY = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def matrices():
    """Random weights with 0 to 95 % zeros, and columns of one sign and size each."""
    rng = np.random.default_rng(3)
    made = {}
    for i, (rows, columns) in enumerate(SHAPES):
        weight = rng.choice(LEVELS, (rows, columns))
        weight[rng.random(weight.shape) < (0, 0.5, 0.95)[i % 3] * (i < 9)] = 0
        made[f"rows{rows}"] = weight.astype(np.int8)
    for units, inputs in LAYERS:
        made[f"layer{units}"] = rng.choice(LEVELS, (2 * units, inputs + units)).astype(np.int8)
    made["same"] = np.tile(np.array(LEVELS, np.int8), (13, 1))
    return made | {f"{name}_deltas": made[name] for name in ("rows11", "rows41")}


MATRICES = matrices()


@pytest.fixture(scope="module", params=["gcc", "zig"])
def program(request, tmp_path_factory):
    try:
        return build_events(tmp_path_factory.mktemp(f"events-{request.param}"), request.param, MATRICES)
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chip(program):
    return EventChip(program[0])


def dense(weight, values):
    return weight.astype(np.int64) @ np.asarray(values, np.int64)


@pytest.mark.parametrize("name", [name for name in MATRICES if not name.endswith("deltas")])
def test_generated_code_adds_exactly_the_columns_listed(program, chip, name):
    """Every activity, values at the ends of Q15, any order; start stays, sp and r4-r11 stay."""
    weight, code = MATRICES[name], program[1][name]
    rng = np.random.default_rng(4)
    for active in (0, 1, weight.shape[1] // 2, weight.shape[1]):
        for extreme in (False, True):
            values = random_q15(rng, weight.shape[1], extreme=extreme)
            values[rng.permutation(weight.shape[1])[active:]] = 0
            start = rng.integers(-(1 << 29), 1 << 29, weight.shape[0])
            events = events_of(values, code.where[:-1], code.where[-1])
            shuffled = [*rng.permutation(np.array(events[:-1], np.int64).reshape(-1, 2)).tolist(), events[-1]]
            acc, kept = chip.sum(name, [tuple(event) for event in shuffled], start)
            np.testing.assert_array_equal(acc, start + dense(weight, values))
            np.testing.assert_array_equal(kept, start)


@pytest.mark.parametrize("name", ["rows11", "rows41"])
@pytest.mark.parametrize("least", [0, 3000])
def test_changes_of_the_inputs_are_the_dense_layer_on_what_was_sent(program, chip, name, least):
    """Twelve steps of drifting inputs: an input that is not sent keeps its last value in the sums; no bit drifts."""
    weight, code = MATRICES[name], program[1][f"{name}_deltas"]
    columns = weight.shape[1]
    changing = columns // 2 + 1
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.integers(-4000, 4000, (12, changing)), axis=0).astype(np.int16)
    x[6] = rng.choice([-32768, 32767], changing)
    u = random_q15(rng, (12, columns - changing)) * (rng.random((12, columns - changing)) < 0.4)
    bias = rng.integers(-(1 << 20), 1 << 20, weight.shape[0])
    sent, start = sent_inputs(x, least), bias
    for t in range(12):
        change = sent[t].astype(np.int64) - (sent[t - 1] if t else 0)
        deltas = events_of(change, code.where[:changing], code.where[columns])
        events = events_of(u[t], code.where[changing:columns], code.where[columns + 1])
        acc, start = chip.sum(f"{name}_deltas", events, start, deltas)
        np.testing.assert_array_equal(start, bias + dense(weight[:, :changing], sent[t]))
        np.testing.assert_array_equal(acc, start + dense(weight[:, changing:], u[t]))
    assert least == 0 or (sent != x).any()


@PROPERTY
@given(count=st.integers(0, 17), seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_the_list_holds_what_is_not_zero(chip, count, seed, share):
    """In order, for odd and even counts; nothing beside the list and nothing after the values is touched."""
    rng = np.random.default_rng(seed)
    x = random_q15(rng, count, extreme=True) * (rng.random(count) < share)
    where = rng.integers(0, 1 << 16, count).astype(np.uint16)
    chip.forget()
    spare = np.array([-1], np.int16)  # not 0, so that an odd count shows
    values, places = chip.put(np.concatenate([x.astype(np.int16), spare])), chip.put(where)
    expected = events_of(x, where, 0)[:-1]
    area = chip.put(np.zeros(len(expected), EVENT))
    assert chip.call("events_append", area, values, count, places) == area + 8 * len(expected)
    assert [tuple(e) for e in chip.get(area, EVENT, len(expected)).tolist()] == expected


@pytest.mark.parametrize(("units", "inputs"), LAYERS)
@pytest.mark.parametrize("extreme", [False, True])
def test_a_whole_step_equals_its_twin(program, chip, units, inputs, extreme):
    """Sums, states and outputs of 25 steps, by generated sums and the pointwise part in assembly, every shift."""
    name = f"layer{units}"
    rng = np.random.default_rng(units)
    layer = random_layer(rng, inputs, units, extreme=extreme, events=True)
    layer = replace(layer, rows=replace(layer.rows, weight_q2=MATRICES[name]))
    chip.layer(layer, program[1][name], name)
    h = y = np.zeros(units, np.int16)
    spoken = 0
    for _ in range(25):
        x = random_q15(rng, inputs, extreme=extreme) * (rng.random(inputs) < 0.7).astype(np.int16)
        acc, _, _, h, y = event_embedded_gru_step(x, h, y, layer.rows, layer.threshold_q15)
        for got, want in zip(chip.step(x), (acc, h, y), strict=True):
            np.testing.assert_array_equal(got, want)
        spoken += np.count_nonzero(y)
    assert 0 < spoken < 25 * units or units == 1


@PROPERTY
@given(seed=st.integers(0, 2**32), units=st.integers(1, 12), bits=st.integers(4, 29))
def test_gates_threshold_and_list_equal_their_twin(program, chip, seed, units, bits):
    """Random sums, states and thresholds; list and outputs hold the same values."""
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, 1, units, extreme=bool(seed % 2), events=True)
    where = rng.integers(0, 1 << 16, units + 2).astype(np.uint16)
    chip.layer(layer, replace(program[1]["same"], where=where), "same")
    acc = rng.integers(-(1 << bits), 1 << bits, 2 * units).astype(np.int32)
    h = random_q15(rng, units)
    chip.set(chip.buffers["acc"], acc)
    chip.set(chip.buffers["h"], h)
    chip.call("event_embedded_gru_update", *chip.pointers)
    bias_only = replace(layer.rows, weight_q2=np.zeros_like(layer.rows.weight_q2), bias_q17=acc)
    zeros = np.zeros(units, np.int16)
    *_, after, y = event_embedded_gru_step(zeros[:1], h, zeros, bias_only, layer.threshold_q15)
    _, got_h, got_y = chip.inner()
    np.testing.assert_array_equal(got_h, after)
    np.testing.assert_array_equal(got_y, y)
    assert chip.listed() == events_of(y, where[1:-1], 0)[:-1]


def test_a_step_at_a_tenth_of_the_columns_is_far_below_the_float_gru(program, chip):
    """D = 32, H = 64, threshold and lists included: at most 8,100 cycles, and 650 times fewer than the float GRU."""
    rng = np.random.default_rng(9)
    layer = random_layer(rng, 32, 64, events=True)
    layer = replace(layer, rows=replace(layer.rows, weight_q2=MATRICES["rows128"]))
    chip.layer(layer, program[1]["rows128"], "rows128")
    x, y = np.zeros(32, np.int16), np.zeros(64, np.int16)
    x[[3, 10, 31]], y[[0, 7, 20, 41, 50, 62, 63]] = 9000, 12000
    chip.say(y, program[1]["rows128"].where[32:])
    chip.step(x)
    step = chip.cycles
    assert step <= STEP
    assert chip.float_gru(rng, 32, 64) >= GAIN * step


def test_logits_accumulate_by_event(program, chip):
    """With acc as its own start the sums go on from step to step: in the end they are W times the summed outputs."""
    weight, code = MATRICES["rows10"], program[1]["rows10"]
    rng = np.random.default_rng(10)
    y = random_q15(rng, (30, weight.shape[1])) * (rng.random((30, weight.shape[1])) < 0.1)
    bias = rng.integers(-(1 << 20), 1 << 20, 10)
    chip.forget()
    acc = chip.put(bias.astype(np.int32))
    for step in y:
        events = chip.put(np.array(events_of(step, code.where[:-1], code.where[-1]), EVENT))
        chip.call("rows10", events, acc, acc, 0)
    np.testing.assert_array_equal(chip.get(acc, np.int32, 10), bias + dense(weight, y.astype(np.int64).sum(axis=0)))


def test_cycles_of_a_small_case(program, chip):
    """Three events at R = 20, C = 6: the count is the compiler's business nowhere."""
    weight, code = MATRICES["rows20"], program[1]["rows20"]
    values = np.array([0, 7, 0, -3, 0, 9])
    chip.sum("rows20", events_of(values, code.where[:-1], code.where[-1]), np.zeros(len(weight)))
    assert chip.cycles == SMALL_CYCLES


def test_an_active_nonzero_weight_costs_two_cycles(program, chip):
    """At D = 32, H = 64 cycles are a straight line over active nonzero weights, of at most 2.1 each."""
    weight, code = MATRICES["rows128"], program[1]["rows128"]
    rng = np.random.default_rng(6)
    points = []
    for active in (0, 5, 10, 19, 48, 96):
        values = np.zeros(96, np.int64)
        chosen = rng.permutation(96)[:active]
        values[chosen] = rng.integers(1, 32767, active)
        chip.sum("rows128", events_of(values, code.where[:-1], code.where[-1]), np.zeros(128))
        points.append((np.count_nonzero(weight[:, chosen]), chip.cycles))
    slope, fixed = np.polyfit(*np.array(points, float).T, 1)
    assert points[0][1] == BENCH_FIXED
    assert slope <= MARGINAL
    assert max(abs(cycles - slope * n - fixed) for n, cycles in points) < 0.01 * points[-1][1]


def test_interrupts_may_come_at_any_time(program, chip):
    """A SysTick exception every 97 cycles changes no sum and no byte outside the stack."""
    weight, code = MATRICES["rows41"], program[1]["rows41"]
    values = np.arange(1, 10) * 1000
    events = events_of(values, code.where[:-1], code.where[-1])
    taken = chip.with_interrupts(97)
    acc, _ = taken.sum("rows41", events, np.zeros(41))
    np.testing.assert_array_equal(acc, dense(weight, values))
    assert taken.interrupts > 3


def test_no_instruction_masks_interrupts_or_moves_the_stack_pointer():
    """sp is written by push, pop and add at the function's ends only; there is no cps and no msr."""
    text = event_code("f", MATRICES["rows41"], deltas=True).text
    assert not re.search(r"\b(cps\w*|msr)\b", text)
    writes = re.findall(r"^ +(?:push|pop|mov sp|add sp|sub sp|add\s+sp)\b.*$", text, re.M)
    assert [line.strip() for line in writes] == [
        *("push {r4-r7, lr}", "push {r4-r7}", "push {r0-r3}"),
        *("add sp, #16", "pop {r4-r7}", "pop {r4-r7, pc}"),
    ]


def test_blocks_are_as_few_and_as_equal_as_can_be():
    for rows in range(1, 300):
        sizes = [end - first for first, end in block_bounds(rows)]
        assert sum(sizes) == rows
        assert len(sizes) == -(-rows // BLOCK_ROWS)
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("column", "instructions"),
    [
        ([0] * 10, 0),
        ([1] * 10, 10),
        ([-1] * 5, 5),
        ([-1] * 10, 11),
        ([4] * 10, 11),
        ([1, 1, 1, 1, 1, 2, 2, 2, 2, 2], 11),
        ([2, -2, 2, -2, 2, 2, 2, 2, 2, 2], 11),
        ([1, 2, 4, 1, 2, 4, -4, -2, -1, 1], 14),
    ],
)
def test_a_column_takes_one_addition_a_weight_and_the_fewest_shifts(column, instructions):
    """Low rows subtract, so a sign costs them nothing; each further multiple costs one instruction."""
    assert len(column_code(np.array(column, np.int8))) == instructions


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"adds r3, r3, r1", "subs r3, r3, r1"),
        (r"lsls r1, r1, #1", "lsls r1, r1, #2"),
        (r"rsbs r2, r1, #0", "movs r2, r1"),
        (r"add r9, r1", "add r10, r1"),
        (r"str r0, \[sp, #8\]", "nop"),
        (r"mov r8, r3", "mov r8, r4"),
        (r"adds r0, #20", "adds r0, #16"),
    ],
)
def test_a_wrong_instruction_shows(tmp_path, monkeypatch, old, new):
    """One instruction of the generated code is changed: some sum is wrong."""
    weight = np.random.default_rng(8).choice([w for w in LEVELS if w], (41, 9)).astype(np.int8)
    good = event_code("rows41", weight)
    text, count = re.subn(old, new, good.text, count=1)
    assert count
    monkeypatch.setattr("event_support.event_code", lambda *_, **__: type(good)(text, good.where, good.blocks))
    try:
        elf, _ = build_events(tmp_path, "gcc", {"rows41": weight})
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))
    values = np.arange(1, 10) * 1001
    start = np.arange(41) * 1000003
    acc, _ = EventChip(elf).sum("rows41", events_of(values, good.where[:-1], good.where[-1]), start)
    assert (acc != start + dense(weight, values)).any()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("host") / "events", [TESTS / "event_driver.c"])


@PROPERTY
@given(
    rows=st.integers(1, 30),
    changing=st.integers(0, 9),
    others=st.integers(0, 9),
    least=st.sampled_from([0, 1, 500, 32767]),
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
)
def test_the_reference_equals_its_twin(host, rows, changing, others, least, seed, extreme):
    """Sums over changes and events on the host, under sanitizers, are the dense sums of what was sent."""
    rng = np.random.default_rng(seed)
    weight = rng.choice(LEVELS, (rows, changing + others)).astype(np.int8)
    x, u = (random_q15(rng, (5, n), extreme=extreme) for n in (changing, others))
    u *= rng.random(u.shape) < 0.5
    bias = rng.integers(-(1 << 29), 1 << 29, rows).astype(np.int32)
    request = np.array([rows, changing, others, 5, least], np.uint32).tobytes() + weight.T.tobytes() + bias.tobytes()
    request += b"".join(x[t].tobytes() + u[t].tobytes() for t in range(5))
    done = subprocess.run([host], input=request, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    step = np.dtype([("acc", np.int32, (rows,)), ("sent", np.int16, (changing,))])
    steps = np.frombuffer(done.stdout[: 5 * step.itemsize], step)
    sent = sent_inputs(x, least)
    np.testing.assert_array_equal(steps["sent"], sent)
    expected = bias + np.concatenate([sent, u], axis=1).astype(np.int64) @ weight.T.astype(np.int64)
    np.testing.assert_array_equal(steps["acc"], expected)


@pytest.mark.parametrize("seed", range(3))
def test_models_of_events_on_the_host_equal_their_twin(tmp_path, seed):
    """Whole sequences through generated C under sanitizers: sums, gates, events, states and outputs."""
    artefact = random_artefact(seed, (4 + seed, 3), inputs=4 + seed, events=True, extreme=seed == 2)
    x = random_q15(np.random.default_rng(seed), (20, artefact.inputs), extreme=seed == 2)
    trace = run_twin(artefact, x, detail=True)
    assert 0 < min(trace.activity) <= max(trace.activity) < 1
    assert host_differences(tmp_path, artefact, x, trace) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("event_embedded_gru.c", "c > theta", "c >= theta"),
        ("event_embedded_gru.c", "c -= theta;", "c = 0;"),
        ("event_embedded_gru.c", "y = c;", "y = theta;"),
        ("event_embedded_gru.c", "where[i]}", "where[0]}"),
        ("event_embedded_gru.c", "*state->spoken = list;\n}\n#endif", "}\n#endif"),
        ("events.c", "x_q15[i] != 0", "x_q15[i] > 0"),
    ],
)
def test_a_mutant_of_the_kernels_shows(tmp_path, file, old, new):
    """One change in the C: some sum, state, event or output of a sequence that meets its thresholds is wrong."""
    tree = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, tree)
    source = (tree / "kernels" / file).read_text()
    assert source.count(old) == 1
    (tree / "kernels" / file).write_text(source.replace(old, new))
    artefact = random_artefact(5, (6, 4), inputs=5, events=True)
    artefact = replace(artefact, recurrent=(at_threshold(artefact.recurrent[0]), artefact.recurrent[1]))
    x = random_q15(np.random.default_rng(5), (12, 5))
    trace = run_twin(artefact, x, detail=True)
    assert host_differences(tmp_path / "model", artefact, x, trace, tree=tree) != []


def at_threshold(layer):
    """Unit 0 of the layer stands exactly at its threshold in the first step: no inputs, c by its biases alone."""
    weight, bias = layer.rows.weight_q2.copy(), layer.rows.bias_q17.copy()
    weight[[0, layer.units]] = 0
    bias[[0, layer.units]] = 1 << 15
    rows = replace(layer.rows, weight_q2=weight, bias_q17=bias)
    zeros = np.zeros(layer.units, np.int16)
    silent = np.full(layer.units, 32767, np.int16)
    _, _, _, c, _ = event_embedded_gru_step(np.zeros(layer.inputs, np.int16), zeros, zeros, rows, silent)
    threshold = layer.threshold_q15.copy()
    threshold[0] = c[0]
    assert c[0] > 0
    return replace(layer, rows=rows, threshold_q15=threshold)
