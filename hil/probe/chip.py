"""The emulated chip with what surrounds its core: the debug unit, the reset and clock pins, the power."""

from __future__ import annotations

from dataclasses import dataclass, field

from hil.chips import Chip
from hil.emulator.core import PIN_RESET, POWER_ON, Emulator, Stop
from hil.probe.wire import NRESET, SWCLK

SYSTEM_RESET = 0x40
"""PM.RCAUSE after AIRCR.SYSRESETREQ."""

HALTED, BKPT, DWTTRAP, VCATCH = 1, 2, 4, 8
"""Bits of DFSR: why the core has halted."""

ERASED = 0xFF
ACCESS_CYCLES = 12
"""One SWD transfer of 46 bits at 4 MHz, at the chip's 1 MHz after reset."""

_CAUSES = {Stop.BKPT: BKPT, Stop.HALT: BKPT, Stop.WATCH: DWTTRAP, Stop.CATCH: VCATCH}
_STOP_WHEN_IDLE = 1
_MAX_CYCLES = 1 << 62
_SP, _PC, _XPSR, _PRIMASK, _CONTROL = 13, 15, 16, 19, 20
_LOCKUP_PC = 0xFFFFFFFE


@dataclass
class Setup:
    """
    What the debug unit has been told, as its registers hold it.

    Attributes:
        enabled: C_DEBUGEN.
        mask_interrupts: C_MASKINTS.
        catch_reset, catch_fault: VC_CORERESET, VC_HARDERR.
        compare: BP_CTRL.ENABLE.
        breakpoints: BP_COMP0 to 3.
        watch_address, watch_mask, watch_function: DWT_COMP, DWT_MASK and DWT_FUNCTION 0 and 1.
    """

    enabled: bool = False
    mask_interrupts: bool = False
    catch_reset: bool = False
    catch_fault: bool = False
    compare: bool = False
    breakpoints: list[int] = field(default_factory=lambda: [0] * 4)
    watch_address: list[int] = field(default_factory=lambda: [0] * 2)
    watch_mask: list[int] = field(default_factory=lambda: [0] * 2)
    watch_function: list[int] = field(default_factory=lambda: [0] * 2)


class DebuggedChip(Emulator):
    """
    An `Emulator` that can be halted, stepped, held in reset and cut from its power.

    Attributes:
        setup: Call `configure` after a change.
        halted: In debug state: `run` does nothing.
        causes: DFSR.
        was_reset, has_run: S_RESET_ST and S_RETIRE_ST, until they are read.
        matched: DWT_FUNCTIONn.MATCHED, until it is read.
        extended: DSU.STATUSA.CRSTEXT: the core is held in reset although the pin is high.
        powered: The supply is on.
        power_ups: How often it has come.
        spent_cycles: CPU cycles run since this object was made, through all resets.
    """

    def __init__(self, chip: Chip, serial: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        super().__init__(chip, serial)
        self._fails_at_s: float | None = None
        self._weak: tuple[int, int, bool] | None = None
        self._weak_times = 0
        self._clock_low = self._pin_low = self.halt_pending = False
        self.spent_cycles = 0
        self.power_ups = 0
        self.powered = True
        self._power_up()

    def _power_up(self) -> None:
        self.power_ups += 1
        self.setup = Setup()
        self.halted = self.has_run = self.extended = self.halt_pending = False
        self.was_reset = True
        self.causes = 0
        self.matched = [False, False]
        self.configure()

    # Running

    @property
    def held(self) -> bool:
        """In reset, or without power: the core cannot run."""
        return not self.powered or self._pin_low or self.extended

    @property
    def pin_low(self) -> bool:
        """nRESET is driven low."""
        return self._pin_low

    @property
    def pins(self) -> int:
        """Levels of SWCLK and nRESET, as in `hil.probe.wire`."""
        return SWCLK * (not self._clock_low) | NRESET * (not self._pin_low)

    def run(self, cycles: int, stop_when_idle: bool = True) -> Stop:
        """As `Emulator.run`; `Stop.IDLE` at once while the core is halted or held."""
        if self.held or self.halted:
            return Stop.IDLE
        stop = self._advance(self._powered_cycles(cycles), _STOP_WHEN_IDLE if stop_when_idle else 0)
        if self._fails_at_s is not None and self.seconds >= self._fails_at_s:
            self.cut_power()
        elif stop is Stop.RESET:
            self._leave_reset()
        elif stop in _CAUSES:
            self._enter_debug(_CAUSES[stop])
        return stop

    def _advance(self, cycles: int, flags: int) -> Stop:
        cycles_before, before = self.cycles, self.instructions
        stop = Stop(self._lib.emu_debug_run(self._emu, max(1, min(cycles, _MAX_CYCLES)), flags))
        self.has_run |= stop is Stop.RESET or self.instructions != before
        self.spent_cycles += 0 if stop is Stop.RESET else self.cycles - cycles_before
        bits = int(self._lib.emu_debug_matched(self._emu))
        self.matched = [matched or bool(bits >> i & 1) for i, matched in enumerate(self.matched)]
        return stop

    def configure(self) -> None:
        """Let what is in `setup` take effect."""
        s = self.setup
        raw = self._ffi.new("struct emu_debug *")
        raw.enabled, raw.mask_interrupts, raw.catch_fault = s.enabled, s.mask_interrupts, s.catch_fault
        raw.breakpoints = s.breakpoints if s.compare else [0] * 4
        raw.watch_address, raw.watch_mask, raw.watch_function = s.watch_address, s.watch_mask, s.watch_function
        self._lib.emu_debug_set(self._emu, raw)

    def halt(self) -> None:
        """As C_HALT: at once, or with the first instruction after a reset that is under way."""
        if self.held:
            self.halt_pending = True
        elif not self.halted:
            self._enter_debug(HALTED)

    def resume(self) -> None:
        """Leave debug state."""
        self.halted = self.halt_pending = False

    def step(self) -> None:
        """One instruction, or the entry into an exception; the core halts again."""
        stop = self._advance(1, 0)
        if stop is Stop.RESET:
            self._leave_reset()
        self._enter_debug(_CAUSES.get(stop, HALTED))

    def _enter_debug(self, cause: int) -> None:
        """A sleeping core wakes up, and one in lockup can be given another PC."""
        pc = _LOCKUP_PC if self.locked_up else int(self._lib.emu_get_register(self._emu, _PC))
        self._lib.emu_set_register(self._emu, _PC, pc)
        self.halted = True
        self.causes |= cause
        self._fail_weak_bit()

    @property
    def locked_up(self) -> bool:
        """In lockup."""
        return bool(self._lib.emu_locked_up(self._emu))

    # Registers by the number that DCRSR takes

    def read_register(self, selector: int) -> int:
        """R0 to R15 (15: where execution goes on), xPSR, MSP, PSP; 20: CONTROL and PRIMASK."""
        if selector == _CONTROL:
            control, primask = (int(self._lib.emu_get_register(self._emu, i)) for i in (_CONTROL, _PRIMASK))
            return control << 24 | primask
        return int(self._lib.emu_get_register(self._emu, selector)) if selector < _PRIMASK else 0

    def write_register(self, selector: int, value: int) -> None:
        """Likewise."""
        if selector == _CONTROL:
            self._lib.emu_set_register(self._emu, _CONTROL, value >> 24)
            self._lib.emu_set_register(self._emu, _PRIMASK, value & 1)
        elif selector < _PRIMASK:
            self._lib.emu_set_register(self._emu, selector, value)

    # Bus accesses of the debugger

    def bus_read(self, address: int, size: int) -> int:
        """
        1, 2 or 4 bytes, aligned; a read of flash or RAM leaves no trace in the cache.

        Raises:
            UsageError: Nothing answers there.
        """
        self._let_flash_work()
        return int.from_bytes(self.read(address, size), "little")

    def bus_write(self, address: int, size: int, value: int) -> None:
        """Likewise; a write to flash fills the page buffer."""
        self._let_flash_work()
        self._bus(address, size, value)

    def _let_flash_work(self) -> None:
        """While the core runs, its own cycles are the time that passes."""
        if self.halted or self.held:
            self._lib.emu_debug_wait(self._emu, ACCESS_CYCLES)

    # Reset and power

    def reset(self, cause: int = PIN_RESET) -> None:
        """As `Emulator.reset`; then the core runs, halts or is held as debugger and pins say."""
        super().reset(cause)
        if cause == POWER_ON:
            self._power_up()
        self.halted = False
        self.extended = cause in (PIN_RESET, POWER_ON) and self._clock_low
        if not self.held:
            self._leave_reset()

    def system_reset(self) -> None:
        """As AIRCR.SYSRESETREQ."""
        self.reset(SYSTEM_RESET)

    def _leave_reset(self) -> None:
        self.was_reset = True
        if self.setup.enabled and (self.setup.catch_reset or self.halt_pending):
            self._enter_debug(VCATCH if self.setup.catch_reset else HALTED)
        self.halt_pending = False

    def release(self) -> None:
        """Write one to DSU.STATUSA.CRSTEXT."""
        if self.extended:
            self.extended = False
            if not self.held:
                self._leave_reset()

    def drive(self, *, clock_low: bool, reset_low: bool) -> None:
        """Levels of SWCLK and nRESET."""
        self._clock_low = clock_low
        was_low, self._pin_low = self._pin_low, reset_low
        if was_low and not reset_low:
            self.reset(PIN_RESET)
        if reset_low:
            self.was_reset, self.halted = True, False

    def cut_power(self) -> None:
        """The supply goes; a flash operation under way is left half done."""
        self.powered, self._fails_at_s = False, None
        self._lib.emu_power_loss(self._emu)
        self._power_up()

    def cut_power_after(self, seconds: float | None) -> None:
        """Let the supply go after ``seconds`` of virtual time from now; None: not at all."""
        self._fails_at_s = None if seconds is None else self.seconds + seconds

    def restore_power(self) -> None:
        """The supply comes back; harmless if it is there."""
        if not self.powered:
            self.powered = True
            self.reset(POWER_ON)

    def _powered_cycles(self, cycles: int) -> int:
        if self._fails_at_s is None:
            return cycles
        return min(cycles, int((self._fails_at_s - self.seconds) * self.cpu_hz) + 1)

    # Flash from outside

    def weaken(self, address: int, bit: int, times: int = 1) -> None:
        """Let a bit of the flash flip, ``times`` times, when its byte is written next and the core halts."""
        self._weak, self._weak_times = (address, bit, False), times
        self._fail_weak_bit()

    def _fail_weak_bit(self) -> None:
        if self._weak is None:
            return
        address, bit, was_erased = self._weak
        (byte,) = self.read(address, 1)
        if byte == ERASED:
            self._weak = (address, bit, True)
        elif was_erased:
            self.load(address, bytes([byte ^ 1 << bit]))
            self._weak_times -= 1
            self._weak = (address, bit, False) if self._weak_times > 0 else None

    @property
    def protected(self) -> bool:
        """The security bit is in force."""
        return bool(self._lib.emu_protected(self._emu))

    def erase_chip(self) -> None:
        """What DSU.CTRL.CE does."""
        self._lib.emu_chip_erase(self._emu)
