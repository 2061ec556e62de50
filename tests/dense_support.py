"""Generated dense code and the dense kernels as a program for the chip, called one by one on the emulated chip."""

import numpy as np
from event_support import EventChip
from kernel_support import FIRMWARE

from hil.codegen.layout import pack_bias, pack_bias16, pack_codes, pack_compact, pair_shift
from hil.codegen.straight import straight_code
from hil.firmware import find_compiler
from hil.firmware.compiler import run_tool

KERNELS = (
    *("compact.c", "compact_armv6m.S", "rows.c", "rows_armv6m.S", "float_gru.c", "float_math.c"),
    *("embedded_gru.c", "embedded_gru_armv6m.S", "softsign.c", "softsign_lines.c"),
)
FUNCTIONS = ("compact_sum", "compact_add", "rows_sum", "embedded_gru_update", "float_gru_step")
SCRIPT = """\
ENTRY(reset_handler)
PHDRS { flash PT_LOAD; ram PT_LOAD; }
SECTIONS
{
    .text 0x400 : { *(.text*) *(.rodata*) } :flash
    .ramfunc 0x20005000 : { *(.ramfunc*) } :ram
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.note*) }
}
"""


def build_dense(folder, compiler, matrices, tree=FIRMWARE, change=lambda text: text):
    """ELF of the dense kernels and of straight code; matrices by name are (rows, inputs, options of the generator)."""
    found = find_compiler(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    codes = {
        name: straight_code(name, rows.weight_q2, rows.bias_q17, inputs, **options)
        for name, (rows, inputs, options) in matrices.items()
    }
    sources = [tree / "kernels" / name for name in KERNELS]
    for name, code in codes.items():
        sources.append(folder / f"{name}.S")
        sources[-1].write_text(change(code.text))
    names = (*FUNCTIONS, *codes)
    entry = "".join(f"void {name}(void);\n" for name in names)
    entry += f"void (*const keep[])(void) = {{{', '.join(names)}}};\nvoid reset_handler(void);\n"
    entry += "void reset_handler(void) { for (unsigned i = 0; i < sizeof keep / sizeof *keep; i++) keep[i](); }\n"
    sources.append(folder / "entry.c")
    sources[-1].write_text(entry)
    (folder / "script.ld").write_text(SCRIPT)
    objects = []
    for source in sources:
        objects.append(str(folder / f"{source.name}.o"))
        run_tool(found.compile_command(str(source), objects[-1], "2", ["-I", str(tree)]), "compiling")
    elf = folder / "dense.elf"
    run_tool(found.link_command(objects, str(folder / "script.ld"), str(elf), "2"), "linking")
    return elf.read_bytes(), codes


class DenseChip(EventChip):
    """Functions of such a program."""

    def straight(self, name, code, x, h):
        """Sums by generated code."""
        self.forget()
        arrays = x, h, np.full(code.start.size, 0x5A5A5A5A), code.start
        places = [self.put(a.astype(t)) for a, t in zip(arrays, (np.int16, np.int16, np.int32, np.int32), strict=True)]
        self.call(name, *places)
        return self.get(places[2], np.int32, code.start.size)

    def compact(self, rows, x, h):
        """Sums of packed 3-bit codes."""
        self.forget()
        places = [self.put(pack_compact(rows.weight_q2)), self.put(pack_bias16(rows.bias_q17))]
        matrix = self.put(np.array([*places, rows.outputs], np.uint32))
        acc = self.put(np.zeros(rows.outputs, np.int32))
        self.call("compact_sum", matrix, self.put(x), x.size, self.put(h), h.size, acc)
        return self.get(acc, np.int32, rows.outputs)

    def packed4(self, rows, x, h):
        """Sums of four rows in a word."""
        self.forget()
        places = [self.put(pack_codes(rows.weight_q2, x.size)), self.put(pack_bias(rows.bias_q17))]
        matrix = self.put(np.array([*places, rows.outputs], np.uint32))
        acc = self.put(np.zeros(-(-rows.outputs // 4) * 4, np.int32))
        self.call("rows_sum", matrix, self.put(x), x.size, self.put(h), h.size, acc)
        return self.get(acc, np.int32, -(-rows.outputs // 4) * 4)[: rows.outputs]

    def update(self, rows, acc, h):
        """Gates and state of an eGRU layer: the new state."""
        self.forget()
        layer = self.put(np.array([self.put(pair_shift(rows.shift)), 1 | h.size << 16], np.uint32))
        places = [self.put(acc.astype(np.int32)), self.put(h), self.put(np.zeros_like(h))]
        self.call("embedded_gru_update", layer, self.put(np.array(places, np.uint32)))
        return self.get(places[1], np.int16, h.size)
