"""The SAMD21 variants as pyOCD targets, for any probe, board or emulator alike."""

from __future__ import annotations

import logging
import time
from typing import Any

from pyocd.core import exceptions
from pyocd.core.memory_map import FlashRegion, MemoryMap, RamRegion
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.coresight.coresight_target import CoreSightTarget
from pyocd.coresight.dap import DebugPort
from pyocd.probe.debug_probe import DebugProbe
from pyocd.target import TARGET
from pyocd.utility.sequencer import CallSequence

from hil.chips import CHIPS, FLASH_BASE, RAM_BASE, Chip
from hil.probe.algorithm import ROW_BYTES, flash_algorithm
from hil.probe.dsu import CRSTEXT, CTRL_CE, DONE, DSU, EXTERNAL, FAIL, PERR, PROT

_LOG = logging.getLogger(__name__)
_CTRL, _STATUS_A, _STATUS_B = (DSU + EXTERNAL + offset for offset in (0, 1, 2))
_ERASE_TIMEOUT_S = 10.0
_POLL_S = 0.005
UNLOCK_OPTION = "auto_unlock"

PROTECTED = (
    "the chip is protected by its security bit: its memory cannot be read or written. "
    "Erasing all of it removes the protection: `hil flash --chip-erase`, or `pyocd erase --mass -O auto_unlock=true`"
)


class Samd21DebugPort(DebugPort):  # type: ignore[misc]
    """A debug port behind whose reset pin the DSU may hold the core (data sheet, "CPU Reset Extension")."""

    def reset(self, *, send_notifications: bool = True) -> None:
        """Hardware reset, after which the core runs, or halts if the vector is caught."""
        super().reset(send_notifications=send_notifications)
        release_core(self)

    def assert_reset(self, asserted: bool, *, send_notifications: bool = True) -> None:
        """Likewise, once the pin goes up."""
        super().assert_reset(asserted, send_notifications=send_notifications)
        if not asserted:
            release_core(self)


class Samd21(CoreSightTarget):  # type: ignore[misc]
    """One variant; a subclass for each names its ``CHIP``."""

    VENDOR = "Microchip"
    PART_FAMILIES = ("SAMD21",)
    CHIP: Chip

    def __init__(self, session: Session) -> None:
        super().__init__(session, memory_map(self.CHIP))
        self.part_number = self.CHIP.name.upper()
        self.dp = Samd21DebugPort(session.probe, self)

    def create_init_sequence(self) -> CallSequence:
        """Looks at the DSU before anything that a protected chip or a core in reset would not answer."""
        sequence = super().create_init_sequence()
        sequence.wrap_task("discovery", lambda found: found.insert_after("create_aps", ("check_dsu", self.check_dsu)))
        return sequence

    def pre_connect(self) -> None:
        """Under reset means cold-plugging: nothing answers in reset, so SWCLK low makes the DSU hold the core."""
        if self.session.options.get("connect_mode") != "under-reset":
            super().pre_connect()
            return
        _LOG.info("Cold-plugging: the core stays in reset")
        self.dp.assert_reset(True)
        _clock_low(self.session.probe)
        time.sleep(self.session.options.get("reset.hold_time"))
        self.session.probe.assert_reset(False)

    def check_dsu(self) -> None:
        """
        Let go of a core that the DSU holds for no reason, and see to the security bit.

        Raises:
            TargetError: The chip is protected, and ``auto_unlock`` was not set by the user.
        """
        if self.session.options.get("connect_mode") != "under-reset":
            release_core(self.dp)
        if not is_protected(self.dp):
            return
        options = self.session.options
        if not (options.is_set(UNLOCK_OPTION) and options.get(UNLOCK_OPTION)):
            raise exceptions.TargetError(PROTECTED)
        _LOG.warning("%s is protected: erasing all of it", self.part_number)
        self.erase_through_dsu()

    def erase_through_dsu(self) -> None:
        """
        Chip erase, as the data sheet recommends after cold-plugging; then a reset, which ends the protection.

        Raises:
            FlashEraseFailure: It failed, or takes longer than ten seconds.
        """
        _dsu_write(self.dp, _STATUS_A, DONE | FAIL | PERR)
        _dsu_write(self.dp, _CTRL, CTRL_CE)
        deadline = time.monotonic() + _ERASE_TIMEOUT_S
        while not (status := _dsu_read(self.dp, _STATUS_A)) & DONE:
            if time.monotonic() > deadline:
                raise exceptions.FlashEraseFailure(f"chip erase not done within {_ERASE_TIMEOUT_S:g} s")
            time.sleep(_POLL_S)
        if status & (FAIL | PERR):
            raise exceptions.FlashEraseFailure(f"chip erase failed (DSU.STATUSA {status:#04x})")
        self.dp.reset()
        if is_protected(self.dp):
            raise exceptions.FlashEraseFailure("the chip is still protected after the chip erase")

    def mass_erase(self) -> None:
        """What ``pyocd erase --mass`` and the commander's ``unlock`` do."""
        self.erase_through_dsu()
        self.reset_and_halt()

    def post_connect(self) -> None:
        """After cold-plugging the vector is caught by now: let go of the core."""
        if self.session.options.get("connect_mode") != "under-reset":
            super().post_connect()
            return
        release_core(self.dp)
        for core in self.cores.values():
            core.clear_reset_catch(Target.ResetType.HARDWARE)


def is_protected(dp: DebugPort) -> bool:
    """DSU.STATUSB.PROT."""
    return bool(_dsu_read(dp, _STATUS_B) & PROT)


def release_core(dp: DebugPort) -> None:
    """Clear DSU.STATUSA.CRSTEXT if it is set."""
    if dp.aps and _dsu_read(dp, _STATUS_A) & CRSTEXT:
        _dsu_write(dp, _STATUS_A, CRSTEXT)


def _clock_low(probe: DebugProbe) -> None:
    """Most adapters idle with SWCLK low; one that can be told so is."""
    pins, pin = DebugProbe.PinGroup.PROTOCOL_PINS, DebugProbe.ProtocolPin.SWCLK_TCK
    if DebugProbe.Capability.PIN_ACCESS in probe.capabilities and probe.get_accessible_pins(pins)[1] & pin:
        probe.write_pins(pins, pin, 0)


def _ap(dp: DebugPort) -> Any:
    return next(iter(dp.aps.values()))


def _dsu_read(dp: DebugPort, address: int) -> int:
    return int(_ap(dp).read_memory(address, 8))


def _dsu_write(dp: DebugPort, address: int, value: int) -> None:
    _ap(dp).write_memory(address, value, 8)


def memory_map(chip: Chip) -> MemoryMap:
    """Flash by rows, with the algorithm, and RAM."""
    flash = FlashRegion(
        name="flash",
        start=FLASH_BASE,
        length=chip.flash_bytes,
        sector_size=ROW_BYTES,
        page_size=ROW_BYTES,
        is_boot_memory=True,
        erased_byte_value=0xFF,
        algo=flash_algorithm(),
    )
    return MemoryMap(flash, RamRegion(name="ram", start=RAM_BASE, length=chip.ram_bytes))


def register() -> None:
    """Add one target for each chip, as ``pyocd list --targets`` shows them."""
    for chip in CHIPS.values():
        TARGET[chip.name] = type(chip.name.upper(), (Samd21,), {"CHIP": chip, "__doc__": f"{chip.name.upper()}."})
