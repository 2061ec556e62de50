"""The core's debug registers and the two comparator units (Armv6-M ARM, C1.6, C1.8, C1.9)."""

from __future__ import annotations

from collections.abc import Callable

from hil.probe.chip import DebuggedChip
from hil.probe.components import BPU, DWT, SCS

AIRCR, DFSR, DHCSR, DCRSR, DCRDR, DEMCR = (SCS + at for at in (0xD0C, 0xD30, 0xDF0, 0xDF4, 0xDF8, 0xDFC))
DWT_CTRL, DWT_PCSR, DWT_COMP0 = DWT, DWT + 0x1C, DWT + 0x20
BP_CTRL, BP_COMP0 = BPU, BPU + 8

C_DEBUGEN, C_HALT, C_STEP, C_MASKINTS = 1, 2, 4, 8
S_REGRDY, S_HALT, S_SLEEP, S_LOCKUP, S_RETIRE_ST, S_RESET_ST = (1 << bit for bit in (16, 17, 18, 19, 24, 25))
VC_CORERESET, VC_HARDERR, DWTENA = 1 << 0, 1 << 10, 1 << 24
FUNCTION_MATCHED = 1 << 24

BREAKPOINTS, WATCHPOINTS = 4, 2
_DEBUG_KEY, _RESET_KEY = 0xA05F, 0x05FA
_SYSRESETREQ = 4
_REGWNR = 1 << 16
_CTRL_KEY = 2
_COMP_WRITABLE = 0xDFFFFFFD
_MAX_MASK = 31
_PCSR_NOTHING = 0xFFFFFFFF


class DebugRegisters:
    """Words in the private peripheral bus that the debugger reaches; what is not here is not this module's."""

    def __init__(self, chip: DebuggedChip) -> None:
        self._chip = chip
        self.power_up()

    def power_up(self) -> None:
        """As after power-on."""
        self._data = 0
        self._trace = False
        self._stepping = False

    def read(self, address: int) -> int | None:
        """None: not a register of this module."""
        chip, s = self._chip, self._chip.setup
        if BP_COMP0 <= address < BP_COMP0 + 4 * BREAKPOINTS:
            return s.breakpoints[(address - BP_COMP0) // 4]
        if DWT_COMP0 <= address < DWT_COMP0 + 0x10 * WATCHPOINTS:
            return self._read_watch(address - DWT_COMP0)
        readers: dict[int, Callable[[], int]] = {
            DHCSR: self._status,
            DFSR: lambda: chip.causes,
            DCRSR: lambda: 0,
            DCRDR: lambda: self._data,
            DEMCR: lambda: VC_CORERESET * s.catch_reset | VC_HARDERR * s.catch_fault | DWTENA * self._trace,
            DWT_CTRL: lambda: WATCHPOINTS << 28,
            DWT_PCSR: lambda: _PCSR_NOTHING if chip.halted or chip.held else chip.read_register(15),
            BP_CTRL: lambda: BREAKPOINTS << 4 | s.compare,
        }
        reader = readers.get(address)
        return reader() if reader else None

    def write(self, address: int, value: int) -> bool:
        """False: not a register of this module."""
        s = self._chip.setup
        if address == AIRCR:
            return self._write_aircr(value)
        if BP_COMP0 <= address < BP_COMP0 + 4 * BREAKPOINTS:
            s.breakpoints[(address - BP_COMP0) // 4] = value & _COMP_WRITABLE
        elif DWT_COMP0 <= address < DWT_COMP0 + 0x10 * WATCHPOINTS:
            self._write_watch(address - DWT_COMP0, value)
        elif address == DHCSR:
            self._control(value)
        elif address == DFSR:
            self._chip.causes &= ~value
        elif address == DCRSR:
            self._transfer(value)
        elif address == DCRDR:
            self._data = value
        elif address == DEMCR:
            s.catch_reset, s.catch_fault = bool(value & VC_CORERESET), bool(value & VC_HARDERR)
            self._trace = bool(value & DWTENA)
        elif address == BP_CTRL:
            s.compare = bool(value & 1) if value & _CTRL_KEY else s.compare
        else:
            return address in (DWT_CTRL, DWT_PCSR)
        self._chip.configure()
        return True

    def _status(self) -> int:
        chip, s = self._chip, self._chip.setup
        value = C_DEBUGEN * s.enabled | C_MASKINTS * s.mask_interrupts | C_STEP * self._stepping | S_REGRDY
        if chip.halted:
            value |= C_HALT | S_HALT
        else:  # a halted core neither sleeps nor is locked up
            value |= C_HALT * chip.halt_pending | S_SLEEP * chip.asleep | S_LOCKUP * chip.locked_up
        value |= S_RETIRE_ST * chip.has_run | S_RESET_ST * (chip.was_reset or chip.held)
        chip.has_run = chip.was_reset = False
        return value

    def _control(self, value: int) -> None:
        chip, s = self._chip, self._chip.setup
        if value >> 16 != _DEBUG_KEY:
            return
        s.enabled = bool(value & C_DEBUGEN)
        s.mask_interrupts = s.enabled and bool(value & C_MASKINTS)
        self._stepping = s.enabled and bool(value & C_STEP)
        chip.configure()
        if not s.enabled:
            chip.resume()
        elif value & C_HALT:
            chip.halt()
        elif chip.halted and self._stepping:
            chip.step()
        else:
            chip.resume()

    def _transfer(self, value: int) -> None:
        """Between DCRDR and a core register; only while the core is halted."""
        if not self._chip.halted:
            return
        if value & _REGWNR:
            self._chip.write_register(value & 0x1F, self._data)
        else:
            self._data = self._chip.read_register(value & 0x1F)

    def _write_aircr(self, value: int) -> bool:
        """True: a system reset has been carried out."""
        if value >> 16 != _RESET_KEY or not value & _SYSRESETREQ:
            return False
        self._chip.system_reset()
        return True

    def _read_watch(self, offset: int) -> int:
        """DWT_COMPn, DWT_MASKn, DWT_FUNCTIONn; a read of the last clears MATCHED."""
        s, n, register = self._chip.setup, offset >> 4, offset & 0xC
        if register == 8:
            matched, self._chip.matched[n] = self._chip.matched[n], False
            return s.watch_function[n] | FUNCTION_MATCHED * matched
        return {0: s.watch_address[n], 4: s.watch_mask[n]}.get(register, 0)

    def _write_watch(self, offset: int, value: int) -> None:
        s, n, register = self._chip.setup, offset >> 4, offset & 0xC
        if register == 0:
            s.watch_address[n] = value
        elif register == 4:
            s.watch_mask[n] = min(value & 0x1F, _MAX_MASK)
        elif register == 8:
            s.watch_function[n] = value & 0xF
            self._chip.matched[n] = False
