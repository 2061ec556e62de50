"""Generated event code and the event kernels as a program for the chip, called one by one on the emulated chip."""

import functools

import numpy as np
from emulator_support.build import symbol
from emulator_support.machine import CHIP, NVMCTRL_CTRLB, SYST_CSR, SYST_CVR, SYST_RVR, flash_mode, poke
from kernel_support import FIRMWARE

from hil.codegen.event_code import event_code
from hil.emulator import Emulator, Stop
from hil.firmware import find_compiler
from hil.firmware.compiler import run_tool

HEAP, STACK, RETURN = 0x2000_0000, 0x2000_7000, 0x0003_FF00
WEIGHTS, BIAS = 0x0002_0000, 0x0003_8000
HANDLER, COUNTER = 0x0003_FE00, 0x2000_7F00
COUNT = bytes.fromhex("0248016801310160 7047 0000 007f0020".replace(" ", ""))
"""ldr r0, [pc, #8]; ldr r1, [r0]; adds r1, #1; str r1, [r0]; bx lr; and the counter's address."""
PRESERVED = ("r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
SCRIPT = """\
ENTRY(reset_handler)
SECTIONS
{
    .text 0x400 : { *(.text*) *(.rodata*) }
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.note*) }
}
"""
KERNELS = (
    *("events.c", "events_armv6m.S", "event_embedded_gru.c", "event_embedded_gru_armv6m.S"),
    *("softsign.c", "softsign_lines.c", "float_gru.c", "float_math.c"),
)
FUNCTIONS = (
    *("events_append", "events_append_changes", "event_embedded_gru_step", "event_embedded_gru_list"),
    *("event_embedded_gru_sum", "event_embedded_gru_update", "float_gru_step"),
)
EVENT = np.dtype([("value", "<i4"), ("where", "<u4")])


def build_events(folder, compiler, matrices, tree=FIRMWARE):
    """ELF of the event kernels and of code for matrices by name; `deltas` belong to a name that ends in ``_deltas``."""
    found = find_compiler(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    codes = {name: event_code(name, w, deltas=name.endswith("_deltas")) for name, w in matrices.items()}
    sources = [tree / "kernels" / name for name in KERNELS]
    for name, code in codes.items():
        sources.append(folder / f"{name}.S")
        sources[-1].write_text(code.text)
    names = (*FUNCTIONS, *codes)
    entry = (
        "".join(f"void {name}(void);\n" for name in names) + f"void (*const keep[])(void) = {{{', '.join(names)}}};\n"
    )
    sources.append(folder / "entry.c")
    entry += "void reset_handler(void);\n"
    entry += "void reset_handler(void) { for (unsigned i = 0; i < sizeof keep / sizeof *keep; i++) keep[i](); }\n"
    sources[-1].write_text(entry)
    (folder / "script.ld").write_text(SCRIPT)
    objects = []
    for source in sources:
        objects.append(str(folder / f"{source.name}.o"))
        run_tool(found.compile_command(str(source), objects[-1], "2", ["-I", str(tree)]), "compiling")
    elf = folder / "events.elf"
    run_tool(found.link_command(objects, str(folder / "script.ld"), str(elf), "2"), "linking")
    return elf.read_bytes(), codes


@functools.lru_cache(maxsize=256)
def address_of(elf, name):
    """Of a symbol."""
    return symbol(elf, name)


class EventChip:
    """Functions of such a program; `cycles` are those of the last call."""

    def __init__(self, elf, wait_states=0):
        self._elf = elf
        self._emulator = Emulator(CHIP)
        self._emulator.load_elf(elf)
        poke(self._emulator, NVMCTRL_CTRLB, flash_mode(wait_states))
        self._emulator.load(RETURN, b"\x00\xbe")
        self._next = HEAP
        self.cycles = self.units = 0
        self.buffers, self.pointers, self.x = {}, (0, 0), 0

    def with_interrupts(self, period):
        """Another chip of the same program on which SysTick interrupts every so many cycles."""
        other = type(self)(self._elf)
        vectors = [0] * 16
        vectors[0], vectors[15] = STACK, HANDLER | 1
        other._emulator.load(0, b"".join(word.to_bytes(4, "little") for word in vectors))
        other._emulator.load(HANDLER, COUNT)
        poke(other._emulator, SYST_RVR, period)
        poke(other._emulator, SYST_CVR, 0)
        poke(other._emulator, SYST_CSR, 7)
        return other

    @property
    def interrupts(self):
        """Counted by the handler."""
        return int.from_bytes(self._emulator.read(COUNTER, 4), "little")

    def put(self, array):
        """Copy an array to RAM, between words that must not change; returns its address."""
        data = np.ascontiguousarray(array).tobytes()
        address = self._next + 4
        self._emulator.load(self._next, b"\xa5" * 4 + data + b"\xa5" * 4)
        self._next = (address + len(data) + 7) & ~3
        assert self._next < STACK - 0x400
        return address

    def get(self, address, dtype, shape):
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert self._emulator.read(address - 4, 4) == self._emulator.read(address + count, 4) == b"\xa5" * 4
        return np.frombuffer(self._emulator.read(address, count), dtype).reshape(shape).copy()

    def forget(self):
        """Begin again at the bottom of RAM."""
        self._next = HEAP

    def call(self, name, *arguments):
        """Call a function; it must restore what the procedure call standard says, sp above all."""
        emulator = self._emulator
        if arguments[4:]:
            emulator.load(STACK, b"".join(int(value).to_bytes(4, "little") for value in arguments[4:]))
        for i, value in enumerate(arguments[:4]):
            emulator.set_register(f"r{i}", int(value) & 0xFFFFFFFF)
        marks = {register: 0x5A5A0000 + i for i, register in enumerate(PRESERVED)}
        entry = address_of(self._elf, name) & ~1
        for register, value in {**marks, "sp": STACK, "lr": RETURN | 1, "pc": entry}.items():
            emulator.set_register(register, value)
        before = emulator.cycles
        assert emulator.run(1 << 30) is Stop.BKPT, emulator.fault
        self.cycles = emulator.cycles - before
        after = emulator.registers()
        assert {register: after[register] for register in marks} == marks
        assert after["sp"] == STACK
        return after["r0"]

    def layer(self, layer, code, name):
        """Put an event eGRU layer that runs on a generated function, at the start of a sequence."""
        self.forget()
        inputs, units = layer.inputs, layer.units
        self.units = units
        shift = np.ascontiguousarray(layer.rows.shift.reshape(2, -1).T).astype(np.uint8)
        tables = [self.put(array) for array in (code.where, layer.rows.bias_q17, shift, layer.threshold_q15)]
        function = address_of(self._elf, name) | 1
        parts = [function, *tables, inputs | units << 16]
        lists = self.put(np.zeros(inputs + units + 1, EVENT))
        zeros = [np.zeros(2 * units, np.int32), np.zeros(units, np.int16), np.zeros(units, np.int16)]
        self.buffers = {"list": lists, "spoken": self.put(np.array([lists], np.uint32))}
        self.buffers |= dict(zip(("acc", "h", "y"), map(self.put, zeros), strict=True))
        self.pointers = self.put(np.array(parts, np.uint32)), self.put(np.array([*self.buffers.values()], np.uint32))
        self.x = self.put(np.zeros(inputs + 1, np.int16))

    def set(self, address, array):
        """Overwrite an array that was put."""
        self._emulator.load(address, np.ascontiguousarray(array).tobytes())

    def step(self, x):
        """One step of the layer: acc, h and y after it."""
        self.set(self.x, x)
        self.call("event_embedded_gru_step", self.pointers[0], self.x, self.pointers[1])
        return self.inner()

    def inner(self):
        """acc, h and y of the layer."""
        sizes = (("acc", np.int32, 2 * self.units), ("h", np.int16, self.units), ("y", np.int16, self.units))
        return tuple(self.get(self.buffers[name], dtype, count) for name, dtype, count in sizes)

    def say(self, y, where):
        """Let the last step have given these outputs."""
        events = np.array(events_of(y, where[: y.size], 0)[:-1], EVENT)
        self.set(self.buffers["list"], events)
        self.set(self.buffers["spoken"], np.array([self.buffers["list"] + events.nbytes], np.uint32))

    def listed(self):
        """Outputs in the list."""
        (end,) = self.get(self.buffers["spoken"], np.uint32, 1)
        data = self._emulator.read(self.buffers["list"], int(end) - self.buffers["list"])
        return [tuple(event) for event in np.frombuffer(data, EVENT).tolist()]

    def float_gru(self, rng, inputs, units):
        """Cycles of one step of the baseline with weights in flash."""
        weight, bias = (rng.normal(0, 0.1, n).astype(np.float32) for n in (3 * units * (inputs + units), 3 * units))
        self._emulator.load(WEIGHTS, weight.tobytes())
        self._emulator.load(BIAS, bias.tobytes())
        self.forget()
        layer = self.put(np.array([WEIGHTS, BIAS, inputs | units << 16], np.uint32))
        x, h = (self.put(rng.normal(0, 0.5, n).astype(np.float32)) for n in (inputs, units))
        self.call("float_gru_step", layer, x, h, self.put(np.zeros(3 * units, np.float32)))
        return self.cycles

    def sum(self, name, events, start, deltas=None):
        """Sums of a generated function, and its start after the call; lists are (value, where) and are ended."""
        self.forget()
        lists = [0 if part is None else self.put(np.array(part, EVENT)) for part in (events, deltas)]
        begin, acc = self.put(start.astype(np.int32)), self.put(np.zeros_like(start, np.int32))
        self.call(name, lists[0], begin, acc, lists[1])
        return self.get(acc, np.int32, start.shape), self.get(begin, np.int32, start.shape)


def events_of(values, where, end):
    """A list of the values that are not 0."""
    return [(int(v), int(w)) for v, w in zip(values, where, strict=True) if v] + [(0, int(end))]
