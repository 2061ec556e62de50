"""Dense sums as instructions and as packed 3-bit codes: exactness, cycles, bytes, interrupts, by both compilers."""

import re
import shutil

import numpy as np
import pytest
from dense_support import DenseChip, build_dense
from kernel_support import FIRMWARE, host_differences, random_artefact, random_q15, random_rows

from hil.artefact import Rows
from hil.codegen import emit_c, kernels_of, layers_of
from hil.codegen.layout import pack_bias16, pack_compact
from hil.codegen.straight import CHUNK_COLUMNS, TILE_ROWS, column_code, straight_code
from hil.errors import ToolError
from hil.fixed import MAX_FAN_IN
from hil.layer_build import LayerBuild
from hil.quant import embedded_gru_step, row_sums_q17, run_twin

LEVELS = (-4, -2, -1, 1, 2, 4)
SHAPES = [(1, 1, 0), (1, 0, 1), (2, 3, 2), (5, 4, 4), (7, 6, 1), (8, 5, 9), (13, 7, 7), (14, 2, 6), (27, 31, 33)]
D, H = 32, 64
WEIGHTS = 2 * H * (D + H)


def pruned(seed, zeros, rows=2 * H, columns=D + H):
    """Rows with a share of zeros, the other levels equally often."""
    rng = np.random.default_rng(seed)
    weight = rng.choice(LEVELS, (rows, columns))
    weight[rng.random(weight.shape) < zeros] = 0
    plain = random_rows(rng, rows, columns)
    return Rows(weight.astype(np.int8), plain.bias_q17, plain.shift)


def matrices():
    rng = np.random.default_rng(2)
    made = {f"s{r}_{d}_{e}": (random_rows(rng, r, d + e), d, {}) for r, d, e in SHAPES}
    made["narrow"] = (random_rows(rng, 20, 9), 4, {"tile_rows": 4})
    made["wide"] = (random_rows(rng, 15, 2 * CHUNK_COLUMNS + 3), CHUNK_COLUMNS + 9, {})
    made["in_ram"] = (random_rows(rng, 30, 12), 5, {"ram_bytes": 500})
    made["all_in_ram"] = (random_rows(rng, 5, 6), 2, {"ram_bytes": 1 << 14})
    made["empty"] = (Rows(np.zeros((3, 4), np.int8), 32 * np.arange(3, dtype=np.int32), np.zeros(3, np.int8)), 2, {})
    made |= {f"z{int(100 * z)}": (pruned(1, z), D, {}) for z in (1 / 7, 0.4)}
    return made | {"z14_ram": (pruned(1, 1 / 7), D, {"ram_bytes": 4096})}


MATRICES = matrices()


@pytest.fixture(scope="module", params=["gcc", "zig"])
def program(request, tmp_path_factory):
    try:
        return build_dense(tmp_path_factory.mktemp(f"dense-{request.param}"), request.param, MATRICES)
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chip(program):
    return DenseChip(program[0])


def inputs_of(name, seed=1, *, extreme=False):
    rows, inputs, _ = MATRICES[name]
    u = random_q15(np.random.default_rng(seed), rows.inputs, extreme=extreme)
    return rows, u, u[:inputs], u[inputs:]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_every_kernel_gives_the_sums_of_the_twin(program, chip, name, extreme):
    """Instructions, packed codes and four rows in a word: any shape, all of sp and r4-r11 restored."""
    rows, u, x, h = inputs_of(name, extreme=extreme)
    expected = row_sums_q17(u, rows)
    np.testing.assert_array_equal(chip.straight(name, program[1][name], x, h), expected)
    np.testing.assert_array_equal(chip.compact(rows, x, h), expected)
    np.testing.assert_array_equal(chip.packed4(rows, x, h), expected)


@pytest.mark.parametrize("name", MATRICES)
def test_the_generator_knows_its_cycles(program, chip, name):
    """At 0 wait states the emulated chip takes exactly as many as the generator has counted, and BX to it none."""
    _, _, x, h = inputs_of(name)
    code = program[1][name]
    chip.straight(name, code, x, h)
    assert chip.cycles == code.cycles
    assert bool(code.ram_bytes) == ("ram" in name)


def test_a_weight_costs_at_most_1_40_cycles_and_1_65_with_a_wait_state(program, chip):
    """D = 32, H = 64, a seventh of the weights 0: everything between values in RAM and sums in RAM."""
    _, _, x, h = inputs_of("z14")
    chip.straight("z14", program[1]["z14"], x, h)
    assert chip.cycles <= 1.36 * WEIGHTS
    waiting = DenseChip(program[0], wait_states=1)
    waiting.straight("z14", program[1]["z14"], x, h)
    in_flash = waiting.cycles
    assert in_flash <= 1.65 * WEIGHTS
    waiting.straight("z14_ram", program[1]["z14_ram"], x, h)
    assert 490 < in_flash - waiting.cycles < 512, "one cycle for each 8 bytes"


@pytest.mark.parametrize(("name", "most"), [("z14", 20_800), ("z40", 17_000)])
def test_a_whole_step(program, chip, name, most):
    """Sums, gates and state at 0 wait states; at a seventh of zeros at least 235 times less than the float GRU."""
    rows, _, x, h = inputs_of(name)
    acc = chip.straight(name, program[1][name], x, h)
    cycles = chip.cycles
    after = chip.update(rows, acc, h)
    cycles += chip.cycles
    assert after.tolist() == embedded_gru_step(x, h, rows)[3].tolist()
    assert cycles <= most
    if name == "z14":
        assert chip.float_gru(np.random.default_rng(9), D, H) >= 235 * cycles


def test_the_pointwise_part_costs_at_most_60_cycles_a_unit(chip):
    """Sums of ordinary size; the cycles of a unit beside another."""
    rows, rng = pruned(3, 0.4), np.random.default_rng(4)
    cycles = []
    for units in (32, 64):
        part = Rows(rows.weight_q2[: 2 * units], rows.bias_q17[: 2 * units], np.full(2 * units, 3, np.int8))
        chip.update(part, rng.integers(-(1 << 19), 1 << 19, 2 * units), random_q15(rng, units))
        cycles.append(chip.cycles)
    assert (cycles[1] - cycles[0]) / 32 == 58
    assert cycles[1] <= 60 * 64


def test_packed_codes_cost_at_most_8_cycles_and_0_45_bytes_a_weight(program, chip):
    """D = 32, H = 64, with bias and everything around the inner loop."""
    rows, _, x, h = inputs_of("z14")
    chip.compact(rows, x, h)
    assert chip.cycles <= 8 * WEIGHTS
    assert pack_compact(rows.weight_q2).nbytes + pack_bias16(rows.bias_q17).nbytes <= 0.45 * WEIGHTS


@pytest.mark.parametrize("weight", [-4, 4])
@pytest.mark.parametrize("bias", [-(1 << 20), (1 << 20) - 32])
def test_thousands_of_columns_are_exact(chip, weight, bias):
    """As many columns as fit the chip's RAM, every operand at its limit, in packed codes."""
    columns = min(MAX_FAN_IN, 8000)
    rows = Rows(np.full((1, columns), weight, np.int8), np.full(1, bias, np.int32), np.full(1, 2, np.int8))
    u = np.full(columns, -32768, np.int16)
    assert chip.compact(rows, u[:1], u[1:]).tolist() == row_sums_q17(u, rows).tolist()


@pytest.mark.parametrize("kernel", ["straight", "compact"])
def test_interrupts_may_come_at_any_time(program, chip, kernel):
    """A SysTick exception every 97 cycles changes no sum and no byte outside the stack."""
    rows, u, x, h = inputs_of("s27_31_33")
    taken = chip.with_interrupts(97)
    if kernel == "straight":
        acc = taken.straight("s27_31_33", program[1]["s27_31_33"], x, h)
    else:
        acc = taken.compact(rows, x, h)
    np.testing.assert_array_equal(acc, row_sums_q17(u, rows))
    assert taken.interrupts > 10


def test_no_instruction_masks_interrupts_and_sp_moves_at_the_ends_only():
    """sp is written by push, pop, sub and add at the function's ends; there is no cps and no msr."""
    rows, inputs, options = MATRICES["in_ram"]
    text = straight_code("f", rows.weight_q2, rows.bias_q17, inputs, **options).text
    assert not re.search(r"\b(cps\w*|msr)\b", text)
    writes = [line.strip() for line in re.findall(r"^ +(?:push|pop|mov sp|add sp|sub sp)\b.*$", text, re.M)]
    assert writes == [
        "push {r4-r7, lr}",
        "push {r4-r7}",
        "sub sp, #64",
        "add sp, #64",
        "pop {r4-r7}",
        "pop {r4-r7, pc}",
    ]


@pytest.mark.parametrize(
    ("low", "high", "instructions"),
    [
        ([0] * 7, [0] * 6, 0),
        ([1] * 7, [1] * 6, 13),
        ([-1] * 7, [0] * 6, 7),
        ([-1] * 7, [-1] * 6, 14),
        ([4] * 7, [4] * 6, 14),
        ([1, 2, 4, -1, -2, -4, 0], [0] * 6, 8),
        ([0] * 7, [1, -1, 2, -2, 4, -4], 11),
        ([0] * 7, [2, 2, -2, 1, -1, 0], 8),
    ],
)
def test_a_column_takes_one_addition_a_weight_and_the_fewest_shifts(low, high, instructions):
    """Low rows subtract, so a sign costs them nothing; each further multiple costs one instruction."""
    assert len(column_code(np.array(low, np.int8), np.array(high, np.int8))) == instructions


def test_zeros_cost_nothing_and_tiles_cost_what_they_save():
    """Cycles fall with every share of zeros; smaller tiles are never cheaper."""
    counted = [straight_code("f", r.weight_q2, r.bias_q17, D).cycles for r in (pruned(1, z) for z in (0, 0.5, 0.9, 1))]
    assert counted == sorted(counted, reverse=True)
    rows = pruned(1, 1 / 7)
    by_tile = [straight_code("f", rows.weight_q2, rows.bias_q17, D, tile_rows=n).cycles for n in (13, 11, 8, 5)]
    assert by_tile == sorted(by_tile)
    sizes = [tile.end - tile.first for tile in straight_code("f", rows.weight_q2, rows.bias_q17, D).tiles]
    assert (sum(sizes), max(sizes)) == (2 * H, TILE_ROWS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"adds r3, r3, r7", "subs r3, r3, r7"),
        (r"lsls r7, r7, #1", "lsls r7, r7, #2"),
        (r"rsbs r7, r7, #0", "mvns r7, r7"),
        (r"add r9, r7", "add r10, r7"),
        (r"ldr r7, \[sp, #20\]", "ldr r7, [sp, #24]"),
        (r"asrs r3, r2, #16", "lsrs r3, r2, #16"),
        (r"mov r8, r0", "mov r8, r1"),
        (r"rsbs (r[0-6]), \1, #0", "nop"),
    ],
)
def test_a_wrong_instruction_shows(tmp_path, old, new):
    """One kind of instruction in the generated code is changed: some sum is wrong."""
    rows, u, x, h = inputs_of("s27_31_33")
    changed = []

    def change(text):
        text, count = re.subn(old, new, text)
        changed.append(bool(count))
        return text

    try:
        elf, codes = build_dense(tmp_path, "gcc", {"s27_31_33": MATRICES["s27_31_33"]}, change=change)
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))
    assert changed == [True]
    acc = DenseChip(elf).straight("s27_31_33", codes["s27_31_33"], x, h)
    assert (acc != row_sums_q17(u, rows)).any()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("movs    r2, #0x1c", "movs    r2, #0x18"),
        ("FIELD   lsrs, 13, r9, 32", "FIELD   lsrs, 13, r9, 64"),
        ("FIELD   lsrs, 1, r8, 32", "FIELD   lsrs, 4, r8, 32"),
        ("adds    r4, r6", "subs    r4, r6"),
        ("lsls    r3, r3, #2", "lsls    r3, r3, #1"),
    ],
)
def test_a_wrong_instruction_of_the_packed_loop_shows(tmp_path, old, new):
    """One wrong instruction in compact_armv6m.S is another sum or a lost register."""
    tree = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, tree)
    path = tree / "kernels" / "compact_armv6m.S"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    rows, u, x, h = inputs_of("s27_31_33")
    try:
        chip = DenseChip(build_dense(tmp_path / "build", "gcc", {}, tree)[0])
    except ToolError as error:
        if "not on PATH" not in str(error):
            raise
        pytest.skip(str(error))
    try:
        equal = np.array_equal(chip.compact(rows, x, h), row_sums_q17(u, rows))
    except AssertionError:
        equal = False
    assert not equal


@pytest.mark.parametrize("kernel", ["packed4", "straight", "compact", "events"])
def test_a_model_by_each_kernel_equals_the_twin(tmp_path, kernel):
    """Two eGRU and two dense layers on the host, under the sanitizers: no choice changes a number or the hash."""
    artefact = random_artefact(7, (13, 6), inputs=9, dense=(11, 4))
    build = {name: LayerBuild(kernel) for name, layer in layers_of(artefact).items() if kernel in kernels_of(layer)}
    assert len(build) == 4
    features = random_q15(np.random.default_rng(8), (20, artefact.inputs))
    sources = emit_c(artefact, build=build)
    assert artefact.sha256() in sources["model.c"]
    trace = run_twin(artefact, features, detail=True)
    assert host_differences(tmp_path, artefact, features, trace, sources=sources) == []
