"""Kernels compiled for the Cortex-M0+ and called one by one in Unicorn, for tests."""

import struct

import numpy as np
from elftools.elf.elffile import ELFFile
from kernel_support import FIRMWARE, packed
from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn.arm_const import (
    UC_ARM_REG_LR,
    UC_ARM_REG_R0,
    UC_ARM_REG_R4,
    UC_ARM_REG_R5,
    UC_ARM_REG_R6,
    UC_ARM_REG_R7,
    UC_ARM_REG_R8,
    UC_ARM_REG_R9,
    UC_ARM_REG_R10,
    UC_ARM_REG_R11,
    UC_ARM_REG_SP,
)

from hil.codegen.layout import pack_shift, pair_shift
from hil.firmware import find_compiler
from hil.firmware.compiler import run_tool

CODE, RAM, STACK_TOP, STOP = 0x0000_0000, 0x2000_0000, 0x2000_8000, 0x000F_0000
HEAP = STACK_TOP
PRESERVED = (
    *(UC_ARM_REG_R4, UC_ARM_REG_R5, UC_ARM_REG_R6, UC_ARM_REG_R7),
    *(UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11, UC_ARM_REG_SP),
)
FUNCTIONS = (
    *("softsign_q15", "rows_sum", "embedded_gru_step", "dense_relu", "dense_linear"),
    *("readout_sum_add", "readout_sum_read"),
    *("float_exp", "float_tanh", "float_sigmoid", "float_gru_step", "float_lstm_step"),
    *("call_gates_tanh", "gru8_step", "event_gru_step", "byte_dense_relu", "byte_dense_linear"),
)
SCRIPT = """\
ENTRY(reset_handler)
SECTIONS
{
    .text 0x100 : { *(.text*) *(.rodata*) }
    .data 0x20000000 : { *(.data*) *(.bss*) }
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.note*) }
}
"""
HEADERS = (
    *("byte_dense", "event_gru", "dense", "embedded_gru", "float_gru", "float_lstm", "float_math", "gates", "gru8"),
    *("readout_sum", "rows", "softsign"),
)
INLINED = """\
#include "kernels/gates.h"
int32_t call_gates_tanh(int32_t v);
int32_t call_gates_tanh(int32_t v) { return gates_tanh_q15(v); }
"""
"""Functions of headers; in a file of their own, or the compiler sees that the array calls them by another type."""


def build_armv6m(folder, name, tree=FIRMWARE):
    """All kernels of `tree` as one program for the chip; by gcc or zig; raises `ToolError` if it is missing."""
    compiler = find_compiler(name)
    entry = "".join(f'#include "kernels/{header}.h"\n' for header in HEADERS)
    entry += "int32_t call_gates_tanh(int32_t v);\n"
    keep = ", ".join(f"(void (*)(void)){function}" for function in FUNCTIONS)
    entry += f"void reset_handler(void);\nvoid (*const keep[])(void) = {{{keep}}};\n"
    entry += "void reset_handler(void) { for (unsigned i = 0; i < sizeof keep / sizeof *keep; i++) keep[i](); }\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entry.c").write_text(entry)
    (folder / "inlined.c").write_text(INLINED)
    (folder / "script.ld").write_text(SCRIPT)
    objects = []
    for source in (folder / "entry.c", folder / "inlined.c", *sorted((tree / "kernels").glob("*.[cS]"))):
        objects.append(str(folder / f"{source.name}.o"))
        more = ["-I", str(tree), "-Wno-cast-function-type"]
        run_tool(compiler.compile_command(str(source), objects[-1], "2", more), "compiling a kernel")
    elf = folder / "kernels.elf"
    run_tool(compiler.link_command(objects, str(folder / "script.ld"), str(elf), "2"), "linking kernels")
    return elf


class KernelFault(Exception):
    """A kernel read or wrote where nothing is, or did not restore a register."""


class Armv6mKernels:
    """One method for each kernel, arrays in and out, like `kernel_support.Kernels`."""

    def __init__(self, elf_path):
        self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._uc.mem_map(CODE, 1 << 20)
        self._uc.mem_map(RAM, 1 << 20)
        with elf_path.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self._uc.mem_write(segment["p_vaddr"], segment.data())
            symbols = elf.get_section_by_name(".symtab")
            self._address = {name: symbols.get_symbol_by_name(name)[0]["st_value"] for name in FUNCTIONS}
        self._next = HEAP

    def _put(self, array, gap=4):
        """Copy an array to the chip's RAM, aligned to 4 and to nothing more; returns its address."""
        data = np.ascontiguousarray(array).tobytes()
        address = self._next
        self._uc.mem_write(address, data)
        self._next = (address + len(data) + gap + 3) & ~3
        assert self._next < RAM + (1 << 20), "the arrays of a test do not fit"
        return address

    def _get(self, address, dtype, shape):
        count = int(np.prod(shape))
        data = self._uc.mem_read(address, count * np.dtype(dtype).itemsize)
        return np.frombuffer(bytes(data), dtype).reshape(shape).copy()

    def _call(self, name, *arguments):
        """Call a function by the procedure call standard and check what it promises to keep."""
        words = [argument & 0xFFFFFFFF for argument in arguments]
        stack = STACK_TOP - 8 * ((max(0, len(words) - 4) + 1) // 2)
        self._uc.mem_write(stack, b"".join(struct.pack("<I", word) for word in words[4:]))
        marks = [0x5A5A0000 + i for i in range(len(PRESERVED) - 1)] + [stack]
        for register, value in zip(PRESERVED, marks, strict=True):
            self._uc.reg_write(register, value)
        for i, word in enumerate(words[:4]):
            self._uc.reg_write(UC_ARM_REG_R0 + i, word)
        self._uc.reg_write(UC_ARM_REG_LR, STOP | 1)
        try:
            self._uc.emu_start(self._address[name] | 1, STOP)
        except UcError as error:
            raise KernelFault(f"{name}: {error}") from error
        if [self._uc.reg_read(register) for register in PRESERVED] != marks:
            raise KernelFault(f"{name} lost a register")
        return self._uc.reg_read(UC_ARM_REG_R0)

    def _rows(self, rows, inputs):
        """Address of a `struct rows`; its arrays are put."""
        addresses = [self._put(array) for array in packed(rows, inputs)]
        return self._put(np.array([*addresses, rows.outputs], np.uint32))

    def _byte_rows(self, rows, inputs):
        """Bytes of a `struct byte_rows`; its arrays are put."""
        addresses = [self._put(array) for array in packed(rows, inputs)]
        return struct.pack("<IIIHxx", *addresses, rows.outputs)

    def softsign_q15(self, v):
        return np.array([self._call("softsign_q15", int(value)) for value in v], np.uint32).astype(np.int16)

    def embedded_gru(self, x, h, rows):
        """x [T, D] -> acc [T, 2H], h_before [T, H], h [T, H]."""
        self._next = HEAP
        (steps, inputs), units = x.shape, h.size
        matrix = self._rows(rows, inputs)
        layer = self._put(np.array([self._put(pair_shift(rows.shift)), inputs | units << 16], np.uint32))
        acc = self._put(np.zeros(2 * units + 3, np.int32))
        buffers = (acc, self._put(h), self._put(np.zeros_like(h)))
        state = self._put(np.array(buffers, np.uint32))
        features = self._put(np.zeros(inputs, np.int16))
        out = []
        for step in range(steps):
            self._uc.mem_write(features, x[step].tobytes())
            self._call("embedded_gru_step", layer, matrix, features, state)
            values = zip(buffers, (np.int32, np.int16, np.int16), (2 * units, units, units), strict=True)
            after_acc, after, before = (self._get(*value) for value in values)
            out.append((after_acc, before, after))
        return tuple(np.stack(part) for part in zip(*out, strict=True))

    def dense(self, u, rows, activation):
        self._next = HEAP
        matrix, shift = self._rows(rows, u.size), self._put(pack_shift(rows.shift))
        acc, y = (self._put(np.zeros(rows.outputs + 3, np.int32)) for _ in range(2))
        self._call("rows_sum", matrix, self._put(u), u.size, 0, 0, acc)
        self._call(f"dense_{activation}", acc, shift, rows.outputs, y)
        return self._get(y, np.int16 if activation == "relu" else np.int32, (rows.outputs,))

    def gates(self, v):
        """tanh of Q13."""
        return np.array([self._call("call_gates_tanh", int(value)) for value in v], np.uint32).astype(np.int32)

    def gru8(self, x, h, layer):
        """x [T, D] -> acc [T, 4H], h_before [T, H], h [T, H]."""
        self._next = HEAP
        (steps, inputs), units = x.shape, h.size
        parts = ((layer.gates, inputs), (layer.candidate_x, inputs), (layer.candidate_h, units))
        data = b"".join(self._byte_rows(rows, columns) for rows, columns in parts) + struct.pack("<HH", inputs, units)
        address = self._put(np.frombuffer(data, np.uint8))
        padded = [-(-rows.outputs // 4) * 4 for rows, _ in parts]
        acc = self._put(np.zeros(sum(padded), np.int32))
        buffers = (acc, self._put(h), self._put(np.zeros_like(h)))
        state = self._put(np.array(buffers, np.uint32))
        features = self._put(np.zeros(inputs, np.int16))
        out = []
        for step in range(steps):
            self._uc.mem_write(features, x[step].tobytes())
            self._call("gru8_step", address, features, state)
            groups = np.split(self._get(acc, np.int32, (sum(padded),)), np.cumsum(padded)[:-1])
            sums = np.concatenate([g[: r.outputs] for g, (r, _) in zip(groups, parts, strict=True)])
            out.append((sums, self._get(buffers[2], np.int16, (units,)), self._get(buffers[1], np.int16, (units,))))
        return tuple(np.stack(part) for part in zip(*out, strict=True))

    def event_gru(self, x, y, h, layer):
        """x [T, D] -> acc [T, 4H], y [T, H], h [T, H]."""
        self._next = HEAP
        (steps, inputs), units = x.shape, h.size
        parts = ((layer.gates, inputs), (layer.candidate_x, inputs), (layer.candidate_h, units))
        where = self._put((4 * np.arange(max(inputs, units))).astype(np.uint16))
        gru = b"".join(self._byte_rows(rows, columns) for rows, columns in parts) + struct.pack("<HH", inputs, units)
        pointers = struct.pack("<II", self._put(layer.threshold_q15), where)
        address = self._put(np.frombuffer(gru + pointers, np.uint8))
        padded = [-(-rows.outputs // 4) * 4 for rows, _ in parts]
        events = [event for i in np.flatnonzero(y) for event in (int(y[i]), 4 * int(i))]
        y_list = self._put(np.array([*events, *[0] * (2 * units + 2 - len(events))], np.int32))
        x_list, end = self._put(np.zeros(2 * inputs + 2, np.int32)), self._put(np.array([y_list + 4 * len(events)]))
        acc = self._put(np.zeros(sum(padded), np.int32))
        h_at, before, y_at = self._put(h), self._put(np.zeros_like(h)), self._put(y)
        state = self._put(np.array((x_list, y_list, end, acc, h_at, before, y_at), np.uint32))
        features = self._put(np.zeros(inputs, np.int16))
        out = []
        for step in range(steps):
            self._uc.mem_write(features, x[step].tobytes())
            self._call("event_gru_step", address, features, state)
            groups = np.split(self._get(acc, np.int32, (sum(padded),)), np.cumsum(padded)[:-1])
            sums = np.concatenate([g[: r.outputs] for g, (r, _) in zip(groups, parts, strict=True)])
            out.append((sums, self._get(y_at, np.int16, (units,)), self._get(h_at, np.int16, (units,))))
        return tuple(np.stack(part) for part in zip(*out, strict=True))

    def byte_dense(self, u, rows, activation):
        self._next = HEAP
        layer = self._put(np.frombuffer(self._byte_rows(rows, u.size), np.uint8))
        acc, y = (self._put(np.zeros(rows.outputs + 3, np.int32)) for _ in range(2))
        self._call(f"byte_dense_{activation}", layer, self._put(u), u.size, acc, y)
        return self._get(y, np.int16 if activation == "relu" else np.int32, (rows.outputs,))

    def readout_sum(self, h, steps, shift):
        self._next = HEAP
        total, states, readout = self._put(np.zeros(h.size, np.int32)), self._put(h), self._put(np.zeros_like(h))
        for _ in range(steps):
            self._call("readout_sum_add", total, states, h.size)
        clipped = self._call("readout_sum_read", total, h.size, shift, readout)
        return self._get(readout, np.int16, h.shape), clipped

    def float_function(self, name, x):
        return np.array([self._call(name, int(word)) for word in x.view(np.uint32)], np.uint32).view(np.float32)

    def float_lstm(self, x, weight, bias):
        """x [T, D] -> h [T, H]."""
        self._next = HEAP
        (steps, inputs), units = x.shape, bias.size // 4
        layer = self._put(np.array([self._put(weight), self._put(bias), inputs | units << 16], np.uint32))
        h, c, scratch = (self._put(np.zeros(n * units, np.float32)) for n in (1, 1, 4))
        out = []
        for step in range(steps):
            self._call("float_lstm_step", layer, self._put(x[step]), h, c, scratch)
            out.append(self._get(h, np.float32, (units,)))
        return np.stack(out)

    def float_gru(self, x, weight, bias):
        """x [T, D] -> h [T, H]."""
        self._next = HEAP
        (steps, inputs), units = x.shape, bias.size // 3
        layer = self._put(np.array([self._put(weight), self._put(bias), inputs | units << 16], np.uint32))
        h, scratch = self._put(np.zeros(units, np.float32)), self._put(np.zeros(3 * units, np.float32))
        out = []
        for step in range(steps):
            self._call("float_gru_step", layer, self._put(x[step]), h, scratch)
            out.append(self._get(h, np.float32, (units,)))
        return np.stack(out)
