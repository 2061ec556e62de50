"""Kernels and generated models as programs of the host, with sanitizers, for tests."""

import functools
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from hil.artefact import (
    Artefact,
    ByteRows,
    DenseLayer,
    EmbeddedGruLayer,
    EventEmbeddedGruLayer,
    EventGruLayer,
    FrontEnd,
    Gru8Layer,
    Rows,
)
from hil.artefact.byte_layers import SUM_LIMIT
from hil.codegen import emit_c
from hil.codegen.byte_rows import pack_byte_codes
from hil.codegen.layout import pack_bias, pack_codes, pack_shift, pair_shift
from hil.fixed import WEIGHT_LEVELS_Q2
from hil.quant import embedded_gru_step
from hil.quant.cells import TRACES
from hil.resources import resource

TESTS = Path(__file__).parent
FIRMWARE = resource("firmware")
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
SOFTSIGN, EMBEDDED_GRU, DENSE_RELU, DENSE_LINEAR, READOUT_SUM, FLOAT_FUNCTION, FLOAT_GRU, LIMITS = range(8)
FLOAT_LSTM, GATES, GRU8, BYTE_DENSE_RELU, BYTE_DENSE_LINEAR, EVENT_GRU = range(8, 14)
FLOAT_FUNCTIONS = ("float_exp", "float_tanh", "float_sigmoid")


def host_compiler():
    for name in (os.environ.get("CC"), "gcc", "clang", "cc"):
        if name and shutil.which(name):
            return name
    raise RuntimeError("no C compiler on PATH: install gcc or clang")


@functools.cache
def sanitizer_flags():
    """ASan and UBSan where the compiler has their libraries, else nothing; `test_kernels.py` says which."""
    probe = [host_compiler(), *SANITIZERS, "-x", "c", "-", "-o", os.devnull]
    done = subprocess.run(probe, input=b"int main(void) { return 0; }", capture_output=True)
    return SANITIZERS if done.returncode == 0 else []


def kernel_sources(tree=FIRMWARE):
    return sorted((tree / "kernels").glob("*.[cS]"))


OBJECTS = {}
"""Object files of this test run, by the text of the source and of the tree's headers."""


def compile_object(source, target, tree, headers):
    key = (source.read_text(), headers)
    if key not in OBJECTS:
        flags = [*WARNINGS, "-O1", "-ffp-contract=off", *sanitizer_flags(), "-I", str(tree)]
        subprocess.run([host_compiler(), *flags, "-c", str(source), "-o", str(target)], check=True)
        OBJECTS[key] = target.read_bytes()
    target.write_bytes(OBJECTS[key])
    return str(target)


def build_program(program, sources, tree=FIRMWARE):
    """Compile `sources` and every kernel of `tree` into one program of the host."""
    folder = program.parent / f"{program.name}-objects"
    folder.mkdir(parents=True)
    headers = tuple(path.read_text() for path in sorted(tree.glob("*/*.h")))
    files = [*sources, *kernel_sources(tree)]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda file: compile_object(file, folder / f"{file.name}.o", tree, headers), files))
    subprocess.run([host_compiler(), *sanitizer_flags(), *objects, "-lm", "-o", str(program)], check=True)
    return program


class Kernels:
    """
    The kernels behind a pipe: one method for each, arrays in and out.

    A sanitizer's finding ends the program; the next answer is then short and its report is raised.
    """

    def __init__(self, program):
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()
        assert self._process.returncode == 0, "the kernel driver failed"

    def _ask(self, operation, sizes, arrays, *results):
        """`results` are (dtype, shape); returns one array for each."""
        request = np.array([operation, *sizes], np.uint32).tobytes() + b"".join(
            np.ascontiguousarray(array).tobytes() for array in arrays
        )
        writer = threading.Thread(target=self._send, args=(request,))
        writer.start()
        wanted = [np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in results]
        answer = self._process.stdout.read(sum(wanted))
        writer.join()
        if len(answer) != sum(wanted):
            raise AssertionError(self._process.stderr.read().decode())
        parts = np.split(np.frombuffer(answer, np.uint8), np.cumsum(wanted)[:-1])
        return [part.view(dtype).reshape(shape) for part, (dtype, shape) in zip(parts, results, strict=True)]

    def _send(self, request):
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the short answer tells

    def softsign_q15(self, v):
        return self._ask(SOFTSIGN, [v.size], [v.astype(np.int32)], (np.int16, v.shape))[0]

    def embedded_gru(self, x, h, rows):
        """x [T, D] -> acc [T, 2H], h_before [T, H], h [T, H]."""
        (steps, inputs), units = x.shape, h.size
        step = np.dtype([("acc", np.int32, 2 * units), ("before", np.int16, units), ("h", np.int16, units)])
        arrays = [*packed(rows, inputs), pair_shift(rows.shift), h, x]
        out = self._ask(EMBEDDED_GRU, [inputs, units, steps], arrays, (step, (steps,)))[0]
        return tuple(out[name].reshape(steps, -1) for name in ("acc", "before", "h"))

    def dense(self, u, rows, activation):
        operation, dtype = (DENSE_RELU, np.int16) if activation == "relu" else (DENSE_LINEAR, np.int32)
        return self._ask(
            operation,
            [u.size, rows.outputs],
            [*packed(rows, u.size), pack_shift(rows.shift), u],
            (dtype, (rows.outputs,)),
        )[0]

    def readout_sum(self, h, steps, shift):
        """h [H] added `steps` times -> readout [H], clipped."""
        readout, clipped = self._ask(READOUT_SUM, [h.size, steps, shift], [h], (np.int16, h.shape), (np.uint32, (1,)))
        return readout, int(clipped[0])

    def float_function(self, name, x):
        return self._ask(FLOAT_FUNCTION, [FLOAT_FUNCTIONS.index(name), x.size], [x], (np.float32, x.shape))[0]

    def float_gru(self, x, weight, bias):
        """x [T, D] -> h [T, H]."""
        (steps, inputs), units = x.shape, bias.size // 3
        return self._ask(FLOAT_GRU, [inputs, units, steps], [weight, bias, x], (np.float32, (steps, units)))[0]

    def float_lstm(self, x, weight, bias):
        """x [T, D] -> h [T, H]."""
        (steps, inputs), units = x.shape, bias.size // 4
        return self._ask(FLOAT_LSTM, [inputs, units, steps], [weight, bias, x], (np.float32, (steps, units)))[0]

    def gates(self, v):
        """tanh of Q13 and sigmoid of the same as Q12."""
        return self._ask(GATES, [v.size], [v.astype(np.int32)], (np.int32, (2, *v.shape)))[0]

    def gru8(self, x, h, layer):
        """x [T, D] -> acc [T, 4H], h_before [T, H], h [T, H]."""
        (steps, inputs), units = x.shape, h.size
        step = np.dtype([("acc", np.int32, 4 * units), ("before", np.int16, units), ("h", np.int16, units)])
        out = self._ask(GRU8, [inputs, units, steps], [*packed_gru8(layer), h, x], (step, (steps,)))[0]
        return tuple(out[name].reshape(steps, -1) for name in ("acc", "before", "h"))

    def event_gru(self, x, y, h, layer):
        """x [T, D] -> acc [T, 4H], y [T, H], h [T, H]."""
        (steps, inputs), units = x.shape, h.size
        step = np.dtype([("acc", np.int32, 4 * units), ("y", np.int16, units), ("h", np.int16, units)])
        arrays = [*packed_gru8(layer), layer.threshold_q15, h, y, x]
        out = self._ask(EVENT_GRU, [inputs, units, steps], arrays, (step, (steps,)))[0]
        return tuple(out[name].reshape(steps, -1) for name in ("acc", "y", "h"))

    def byte_dense(self, u, rows, activation):
        operation, dtype = (BYTE_DENSE_RELU, np.int16) if activation == "relu" else (BYTE_DENSE_LINEAR, np.int32)
        return self._ask(operation, [u.size, rows.outputs], [*packed(rows, u.size), u], (dtype, (rows.outputs,)))[0]

    def limits(self):
        names = ("ROWS_BLOCK", "ROWS_MAX_FAN_IN", "READOUT_SUM_MAX_STEPS")
        return dict(zip(names, self._ask(LIMITS, [], [], (np.uint32, (3,)))[0].tolist(), strict=True))


def packed(rows, inputs):
    """Arrays of a `struct rows` or `struct byte_rows`, as the generator lays them out; `inputs` columns are x's."""
    if isinstance(rows, ByteRows):
        return pack_byte_codes(rows.weight, inputs), pack_bias(rows.bias), pack_shift(rows.shift)
    return pack_codes(rows.weight, inputs), pack_bias(rows.bias)


def packed_gru8(layer):
    """Arrays of the three matrices of a `struct gru8`."""
    parts = ((layer.gates, layer.inputs), (layer.candidate_x, layer.inputs), (layer.candidate_h, layer.units))
    return [array for rows, inputs in parts for array in packed(rows, inputs)]


def twin_steps(x, h, rows):
    """acc, h_before and h of each step."""
    out = []
    for features in x:
        acc, _, _, after = embedded_gru_step(features, h, rows)
        out.append((acc, h, after))
        h = after
    return [np.stack(part) for part in zip(*out, strict=True)]


def run_model(program, artefact, features):
    """
    A sequence through a program built from `model.c` and `model_driver.c`.

    Returns:
        Two runs: steps (by layer what INNER shows, and h_before; states [T, S]), logits [O], saturated.
    """
    done = subprocess.run([program], input=features.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    fields = [
        (f"{name}{i}", dtype, (n * layer.units,))
        for i, layer in enumerate(artefact.recurrent)
        for _, name, dtype, n in (*TRACES[layer.cell].INNER, ("", "before", "<i2", 1))
        if name != "before" or not isinstance(layer, EventEmbeddedGruLayer)
    ]
    step = np.dtype([*fields, ("states", np.int16, (artefact.state_units,))])
    run = np.dtype(
        [
            ("steps", step, (len(features),)),
            ("logits", np.int32, (len(artefact.labels),)),
            ("saturated", np.uint32),
        ]
    )
    return np.frombuffer(done.stdout, run, count=2)


def build_model(folder, sources, tree=FIRMWARE):
    """Write generated sources and build them with `model_driver.c`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in sources.items():
        (folder / name).write_text(text)
        paths += [folder / name] if name.endswith((".c", ".S")) else []
    inner = sorted((tree / "app").glob("inner*.c"))
    return build_program(folder / "model", [*paths, TESTS / "model_driver.c", *inner], tree)


def model_differences(artefact, features, trace, runs):
    """Names of the values in which a host run differs from the twin's detailed trace."""
    differences = []
    for run in runs:
        steps = run["steps"]
        expected = {"states": trace.states_q15}
        for i, layer in enumerate(trace.layers):
            before = np.vstack([np.zeros_like(layer.h_q15[:1]), layer.h_q15[:-1]])
            expected |= {f"{name}{i}": getattr(layer, name) for _, name, _, _ in layer.INNER} | {f"before{i}": before}
        expected = {name: value for name, value in expected.items() if name in steps.dtype.names}
        differences += [name for name, value in expected.items() if not np.array_equal(steps[name], value)]
        differences += [] if np.array_equal(run["logits"], trace.logits) else ["logits"]
        differences += [] if run["saturated"] == trace.saturated else ["saturated"]
    return differences


def random_rows(rng, outputs, inputs, *, extreme=False):
    """Rows of the canonical arithmetic; `extreme` takes the largest weights, biases and all shifts."""
    levels = (-4, 4) if extreme else WEIGHT_LEVELS_Q2
    bias = rng.choice([-(1 << 15), (1 << 15) - 1], outputs) if extreme else rng.integers(-(1 << 13), 1 << 13, outputs)
    return Rows(
        weight_q2=rng.choice(levels, (outputs, inputs)).astype(np.int8),
        bias_q17=(bias << 5).astype(np.int32),
        shift=rng.integers(0, 16 if extreme else 6, outputs).astype(np.int8),
    )


def random_q15(rng, shape, *, extreme=False):
    """int16 over the whole range, or only its ends, 0 and +-1."""
    if extreme:
        return rng.choice([-32768, -32767, -1, 0, 1, 32766, 32767], shape).astype(np.int16)
    return rng.integers(-32768, 32768, shape).astype(np.int16)


def random_layer(rng, inputs, units, *, extreme=False, events=False):
    """An eGRU layer, or an event eGRU layer with thresholds near 0 or anywhere."""
    rows = random_rows(rng, 2 * units, inputs + units, extreme=extreme)
    if not events:
        return EmbeddedGruLayer(rows)
    threshold = rng.choice([1, 2, 32767], units) if extreme else rng.integers(1, 6000, units)
    return EventEmbeddedGruLayer(rows, threshold.astype(np.int16))


def random_artefact(seed, hidden, *, inputs=5, dense=(6, 3), readout_shift=3, extreme=False, events=False):
    """A model of any number of layers."""
    rng = np.random.default_rng(seed)
    widths = (inputs, *hidden)
    recurrent = tuple(
        random_layer(rng, d, h, extreme=extreme, events=events) for d, h in zip(widths, hidden, strict=False)
    )
    chain = (hidden[-1], *dense)
    layers = tuple(
        DenseLayer(random_rows(rng, o, i, extreme=extreme), "linear" if n == len(dense) else "relu")
        for n, (i, o) in enumerate(zip(chain, dense, strict=False), start=1)
    )
    return Artefact(
        name="random",
        labels=tuple(f"class{i}" for i in range(dense[-1])),
        frontend=FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, 9, 2, np.zeros(inputs, np.int16)),
        recurrent=recurrent,
        readout_shift=readout_shift,
        dense=layers,
    )


def host_differences(folder, artefact, features, trace, *, sources=None, tree=FIRMWARE):
    """Build a model (its own sources by default), run it, and name what differs from the twin."""
    program = build_model(folder, sources or emit_c(artefact), tree)
    return model_differences(artefact, features, trace, run_model(program, artefact, features))


def random_byte_rows(rng, outputs, inputs, *, extreme=False, gates=True):
    """8-bit rows; `extreme` takes the largest weights, biases up to the rule's bound and all shifts."""
    levels = (-127, 127) if extreme else np.arange(-127, 128)
    weight = rng.choice(levels, (outputs, inputs)).astype(np.int8)
    room = SUM_LIMIT - (np.abs(weight.astype(np.int64)).sum(axis=1) << 15)
    assert (room >= 0).all(), "too many inputs for such weights"
    bias = rng.choice([-1, 1], outputs) * room if extreme else rng.integers(-(1 << 21), 1 << 21, outputs)
    shift = rng.integers(0, 16, outputs) if extreme else rng.integers(8, 14, outputs) if gates else np.full(outputs, 9)
    return ByteRows(weight, bias.astype(np.int32), shift.astype(np.int8))


def random_gru8(rng, inputs, units, *, extreme=False):
    D, H = inputs, units
    return Gru8Layer(*(random_byte_rows(rng, *s, extreme=extreme) for s in ((2 * H, D + H), (H, D), (H, H))))


def random_gru8_artefact(seed, hidden, *, inputs=5, dense=(6, 3), readout_shift=3, extreme=False):
    """A model of GRUs and dense layers in 8-bit weights."""
    rng = np.random.default_rng(seed)
    plain = random_artefact(seed, hidden, inputs=inputs, dense=dense, readout_shift=readout_shift)
    widths = (inputs, *hidden)
    return replace(
        plain,
        recurrent=tuple(random_gru8(rng, d, h, extreme=extreme) for d, h in zip(widths, hidden, strict=False)),
        dense=tuple(
            DenseLayer(
                random_byte_rows(rng, layer.rows.outputs, layer.rows.inputs, extreme=extreme, gates=False),
                layer.activation,
            )
            for layer in plain.dense
        ),
    )


def random_event_gru(rng, inputs, units, *, extreme=False):
    gru = random_gru8(rng, inputs, units, extreme=extreme)
    threshold = rng.choice([1, 32767], units) if extreme else rng.integers(1, 12000, units)
    return EventGruLayer(gru.gates, gru.candidate_x, gru.candidate_h, threshold.astype(np.int16))


def random_event_gru_artefact(seed, hidden, **shape):
    """A model of EGRUs and dense layers in 8-bit weights."""
    rng = np.random.default_rng(seed)
    plain = random_gru8_artefact(seed, hidden, **shape)
    widths = (plain.inputs, *hidden)
    layers = tuple(random_event_gru(rng, d, h) for d, h in zip(widths, hidden, strict=False))
    return replace(plain, recurrent=layers)
