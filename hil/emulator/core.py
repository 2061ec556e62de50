"""The emulated chip: one object is one SAMD21, run by the compiled core."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi

from hil.chips import FLASH_BASE, RAM_BASE, Chip
from hil.emulator.build_core import CORE, SOURCES
from hil.emulator.elf import elf_segments
from hil.emulator.register_names import REGISTERS
from hil.errors import FitError, ToolError, UsageError

POWER_ON, PIN_RESET = 0x01, 0x10
"""Values of PM.RCAUSE."""


class Stop(enum.IntEnum):
    """Why `Emulator.run` returned."""

    BUDGET = 0
    """The cycles asked for have passed."""
    IDLE = 1
    """Asleep, and nothing is under way but free-running timers: the firmware wants input."""
    BKPT = 2
    """On a BKPT instruction, not yet carried out."""
    LOCKUP = 3
    """A fault inside the fault handler; only a reset helps."""
    RESET = 4
    """The firmware or the watchdog has reset the chip."""
    WATCH = 5
    """A watchpoint was hit."""
    HUNG = 6
    """In a branch to itself, and nothing is under way but free-running timers."""
    HALT = 7
    """On a breakpoint."""
    CATCH = 8
    """On the first instruction of the HardFault handler, where the debugger wants to stop."""


class FaultKind(enum.IntEnum):
    """What went wrong when the core last took a HardFault (``emu_fault_kind`` in emu.h)."""

    NONE = 0
    UNALIGNED = 1
    UNMAPPED = 2
    UNDEFINED = 3
    EXECUTE_NEVER = 4
    THUMB_BIT = 5
    UNCLOCKED = 6
    SVC_PRIORITY = 7
    BKPT = 8
    WRITE_FLASH = 9
    WAIT_STATES = 10
    EXCEPTION_RETURN = 11
    PROTECTED = 12


@dataclass(frozen=True)
class Fault:
    """
    The last fault since reset.

    Attributes:
        kind: What.
        address: Of the access, or of the instruction.
        count: Faults since reset.
        registers: ``r0`` ... ``r12``, ``sp``, ``lr``, ``pc``, ``xpsr`` at the fault.
    """

    kind: FaultKind
    address: int
    count: int
    registers: dict[str, int]


@dataclass(frozen=True)
class Unmodelled:
    """Accesses to one register that is not modelled; ``pc`` is of the first one."""

    address: int
    is_write: bool
    pc: int
    count: int

    @property
    def name(self) -> str:
        """Such as ``"ADC.CTRLA"``."""
        return register_name(self.address)

    def __str__(self) -> str:
        what, times = "write to" if self.is_write else "read of", "once" if self.count == 1 else f"{self.count} times"
        return f"not modelled: {what} {self.name} ({self.address:#010x}), {times}, first at {self.pc:#010x}"


def register_name(address: int) -> str:
    """``PERIPHERAL.REGISTER`` for the register that holds ``address``; the address itself outside of all."""
    block = max((base, name) for name, (base, _) in REGISTERS.items() if base <= address or base == 0x40000000)[1]
    base, text = REGISTERS[block]
    offsets = {int(offset, 16): name for offset, name in (entry.split(":") for entry in text.split())}
    below = [offset for offset in offsets if offset <= address - base < offset + 4]
    return f"{block}.{offsets[max(below)]}" if below else f"{address:#010x}"


_REGISTERS = (
    *(f"r{i}" for i in range(13)),
    *("sp", "lr", "pc", "xpsr", "msp", "psp", "primask", "control"),
)
_STOP_WHEN_IDLE = 1


@functools.cache
def _load() -> tuple[Any, Any]:
    """The core and its cffi types; compiled first if need be."""
    ffi = cffi.FFI()
    header = (SOURCES / "emu.h").read_text()
    ffi.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
    path = CORE.ready()
    try:
        return ffi, ffi.dlopen(str(path))
    except OSError as error:
        raise ToolError(f"{path}: the emulator's core cannot be loaded ({error}). Delete it and try again.") from error


class Emulator:
    """
    One chip after power-on, its flash erased.

    Calls on one object must not overlap; different objects are independent and may run in
    different threads (the core runs without the interpreter lock).

    Attributes:
        chip: Which.

    Raises:
        ToolError: The core has to be compiled and cannot be.
    """

    def __init__(self, chip: Chip, serial: tuple[int, int, int, int] = (0, 0, 0, 0)):
        self.chip = chip
        self._ffi, self._lib = _load()
        timers = 5 if chip.name.startswith("atsamd21j") else 3
        emu = self._lib.emu_new(chip.flash_bytes, chip.ram_bytes, chip.device_id, list(serial), chip.sercoms, timers)
        if emu == self._ffi.NULL:
            raise ToolError(f"the emulator cannot make an {chip.name}: out of memory, or sizes that it does not know")
        self._emu = self._ffi.gc(emu, self._lib.emu_free)

    @property
    def handle(self) -> tuple[Any, Any, Any]:
        """The core's cffi types, functions and chip, for the other parts of this package."""
        return self._ffi, self._lib, self._emu

    def load(self, address: int, data: bytes) -> None:
        """
        Write memory as a programmer does, without erasing first; `reset` starts it.

        Raises:
            UsageError: Part of it lies outside flash, RAM and user row.
        """
        done = self._lib.emu_poke(self._emu, address, data, len(data))
        if done != len(data):
            raise UsageError(f"{len(data)} bytes at {address:#010x} do not fit the memory of an {self.chip.name}")

    def load_elf(self, source: Path | str | bytes) -> None:
        """
        Erase the flash, load a program's segments at their load addresses, and reset as at power-on.

        Raises:
            UsageError: It is no ELF for this core, or (`FitError`) does not fit; the chip is unchanged.
        """
        segments = elf_segments(source)
        for address, contents in segments:
            self._check_fit(address, contents)
        self.load(FLASH_BASE, b"\xff" * self.chip.flash_bytes)
        self._lib.emu_forget_ram(self._emu)
        for address, contents in segments:
            self.load(address, contents)
        self._lib.emu_reset(self._emu, POWER_ON)

    def _check_fit(self, address: int, contents: bytes) -> None:
        memories = (("flash", FLASH_BASE, self.chip.flash_bytes), ("ram", RAM_BASE, self.chip.ram_bytes))
        for memory, base, size in memories:
            if base <= address < base + max(size, 1 << 24):
                needed = address - base + len(contents)
                if needed > size:
                    raise FitError(memory, needed, size, {f"segment at {address:#010x}": len(contents)})
                return
        raise UsageError(f"a segment of {len(contents)} bytes at {address:#010x} lies in no memory of the chip")

    def reset(self, cause: int = PIN_RESET) -> None:
        """Reset; ``cause`` is what PM.RCAUSE will say.  `POWER_ON` also loses the RAM."""
        if cause == POWER_ON:
            self._lib.emu_forget_ram(self._emu)
        self._lib.emu_reset(self._emu, cause)

    def run(self, cycles: int, stop_when_idle: bool = True) -> Stop:
        """
        Run for at least ``cycles`` CPU cycles (at most one instruction more), or until something stops it.

        Args:
            cycles: Budget.
            stop_when_idle: Return `Stop.IDLE` when only input from the host or a free-running
                timer could wake the firmware; otherwise sleep on until the budget is used up.
        """
        flags = _STOP_WHEN_IDLE if stop_when_idle else 0
        return Stop(self._lib.emu_run(self._emu, max(0, min(cycles, 1 << 62)), flags))

    def read(self, address: int, n: int) -> bytes:
        """
        Read memory or registers as a debug probe does, without cost in cycles.

        Raises:
            UsageError: The access faults.
        """
        buffer = self._ffi.new("uint8_t[]", max(n, 1))
        if self._lib.emu_peek(self._emu, address, buffer, n) == n:
            return bytes(self._ffi.buffer(buffer, n))
        return b"".join(self._bus(at, size, None) for at, size in _accesses(address, n))

    def write(self, address: int, data: bytes) -> None:
        """
        Write memory (flash too, directly) or registers as a debug probe does, without cost in cycles.

        Raises:
            UsageError: The access faults.
        """
        if self._lib.emu_poke(self._emu, address, data, len(data)) == len(data):
            return
        for at, size in _accesses(address, len(data)):
            self._bus(at, size, int.from_bytes(data[at - address : at - address + size], "little"))

    def _bus(self, address: int, size: int, value: int | None) -> bytes:
        if value is None:
            out = self._ffi.new("uint32_t *")
            fault = self._lib.emu_bus_read(self._emu, address, size, out)
            result = int(out[0]).to_bytes(4, "little")[:size]
        else:
            fault = self._lib.emu_bus_write(self._emu, address, size, value)
            result = b""
        if fault:
            doing = "read" if value is None else "write"
            raise UsageError(f"a {doing} of {size} bytes at {address:#010x} faults ({FaultKind(fault).name})")
        return result

    def registers(self) -> dict[str, int]:
        """``r0`` ... ``r12``, ``sp``, ``lr``, ``pc``, ``xpsr``, ``msp``, ``psp``, ``primask``, ``control``."""
        return {name: int(self._lib.emu_get_register(self._emu, i)) for i, name in enumerate(_REGISTERS)}

    def set_register(self, name: str, value: int) -> None:
        """Set one of `registers`."""
        self._lib.emu_set_register(self._emu, _REGISTERS.index(name), value & 0xFFFFFFFF)

    @property
    def cycles(self) -> int:
        """CPU cycles since reset."""
        return int(self._lib.emu_cycles(self._emu))

    @property
    def instructions(self) -> int:
        """Instructions since reset."""
        return int(self._lib.emu_instructions(self._emu))

    @property
    def seconds(self) -> float:
        """Virtual time since power-on; goes on through resets and changes of the clock."""
        return int(self._lib.emu_time_ps(self._emu)) * 1e-12

    @property
    def cpu_hz(self) -> float:
        """The CPU's clock, as the clock registers make it."""
        return int(self._lib.emu_cpu_millihertz(self._emu)) * 1e-3

    @property
    def asleep(self) -> bool:
        """In WFI or WFE."""
        return bool(self._lib.emu_asleep(self._emu))

    def uart_send(self, sercom: int, data: bytes) -> None:
        """Queue bytes for the device; they arrive at its pace (docs/cycle-model.md, "The line")."""
        if self._lib.emu_uart_send(self._emu, sercom, data, len(data)) != 0:
            raise UsageError(f"an {self.chip.name} has no SERCOM{sercom}")

    def uart_receive(self, sercom: int) -> bytes:
        """Bytes that the device has sent completely and that were not taken yet."""
        n = int(self._lib.emu_uart_waiting(self._emu, sercom))
        if n == 0:
            return b""
        buffer = self._ffi.new("uint8_t[]", n)
        got = self._lib.emu_uart_receive(self._emu, sercom, buffer, n)
        return bytes(self._ffi.buffer(buffer, got))

    def uart_queued(self, sercom: int) -> int:
        """Bytes of `uart_send` that have not arrived yet."""
        return int(self._lib.emu_uart_queued(self._emu, sercom))

    def uart_baud(self, sercom: int) -> float:
        """Speed that BAUD and the clock make, 0 while the SERCOM is no enabled USART."""
        return int(self._lib.emu_uart_baud_millihertz(self._emu, sercom)) * 1e-3

    def set_host_baud(self, sercom: int, baud: int) -> None:
        """Speed of the host's end; more than 3 % off, bytes are garbled.  0: not compared."""
        self._lib.emu_uart_host_baud(self._emu, sercom, baud)

    def set_line_rate(self, on: bool) -> None:
        """
        Whether the host's bytes follow each other at the line's rate whatever the firmware does, as on a wire.

        Off (the default) they arrive only while the firmware waits for them, so that what it does depends on the
        bytes alone; on, it also depends on when they are sent.
        """
        self._lib.emu_uart_line_rate(self._emu, int(on))

    def drive_pin(self, pin: str, level: bool | None) -> None:
        """Drive a pin such as ``"PA08"`` from outside; None lets go of it."""
        self._lib.emu_pin_drive(self._emu, *_pin(pin), -1 if level is None else int(level))

    def pin(self, pin: str) -> bool:
        """Level of a pin: the chip's output, what drives it outside, or its pull."""
        return bool(self._lib.emu_pin_level(self._emu, *_pin(pin)))

    def set_debugger(self, attached: bool) -> None:
        """With a debugger (the default) BKPT stops `run`; without one it is a HardFault."""
        self._lib.emu_set_debugger(self._emu, int(attached))

    @property
    def fault(self) -> Fault | None:
        """The last fault since reset."""
        return self._fault(self._lib.emu_fault_get)

    @property
    def fault_before(self) -> Fault | None:
        """The fault before the last one: after a lockup what its handler was dealing with."""
        return self._fault(self._lib.emu_fault_before)

    def _fault(self, get: Any) -> Fault | None:
        raw = self._ffi.new("struct emu_fault *")
        get(self._emu, raw)
        if raw.kind == 0:
            return None
        registers = dict(zip(_REGISTERS[:17], (int(x) for x in raw.registers), strict=True))
        return Fault(FaultKind(raw.kind), int(raw.address), int(raw.count), registers)

    @property
    def unmodelled(self) -> list[Unmodelled]:
        """Accesses to registers that are not modelled, in order of their first use since power-on."""
        found = []
        raw = self._ffi.new("struct emu_unmodelled *")
        for i in range(int(self._lib.emu_unmodelled_count(self._emu))):
            self._lib.emu_unmodelled_get(self._emu, i, raw)
            found.append(Unmodelled(int(raw.address), bool(raw.is_write), int(raw.pc), int(raw.count)))
        return found


def _pin(name: str) -> tuple[int, int]:
    """Group and number of a pin."""
    group, number = name[:2].upper(), name[2:]
    if group not in ("PA", "PB") or not number.isdigit() or int(number) > 31:
        raise UsageError(f"{name!r} is no pin; PA00 to PB31 are")
    return int(group == "PB"), int(number)


def _accesses(address: int, n: int) -> Iterator[tuple[int, int]]:
    """Aligned accesses of 4, 2 or 1 bytes that cover ``n`` bytes."""
    end = address + n
    while address < end:
        size = next(s for s in (4, 2, 1) if address % s == 0 and address + s <= end)
        yield address, size
        address += size
