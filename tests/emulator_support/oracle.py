"""Unicorn beside the emulator: the same memory, the same start, compared afterwards."""

from __future__ import annotations

import unicorn
from unicorn import arm_const

from hil.chips import FLASH_BASE, RAM_BASE, chip
from hil.emulator import Emulator, Stop

CHIP = chip("atsamd21j18a")
REGISTERS = [
    *(getattr(arm_const, f"UC_ARM_REG_R{i}") for i in range(13)),
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_LR,
    arm_const.UC_ARM_REG_PC,
    arm_const.UC_ARM_REG_XPSR,
]
NAMES = (*(f"r{i}" for i in range(13)), "sp", "lr", "pc", "xpsr")
BKPT = 0xBE00


def make_oracle() -> unicorn.Uc:
    """A Cortex-M0 with the chip's memories and nothing else."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M0)
    uc.mem_map(FLASH_BASE, CHIP.flash_bytes)
    uc.mem_map(RAM_BASE, CHIP.ram_bytes)
    return uc


class Pair:
    """Both machines; `load` and `run` do the same to each."""

    def __init__(self):
        self.oracle, self.emulator = make_oracle(), Emulator(CHIP)
        self.oracle.mem_write(FLASH_BASE, b"\xff" * CHIP.flash_bytes)  # erased: a literal may lie behind the code

    def load(self, address, data):
        self.oracle.mem_write(address, data)
        if address < CHIP.flash_bytes:
            self.oracle.ctl_flush_tb()
        self.emulator.load(address, data)

    def run(self, begin, end):
        """From ``begin`` up to the BKPT at ``end``."""
        self.emulator.set_register("pc", begin)
        stop = self.emulator.run(1 << 40)
        assert stop is Stop.BKPT, f"{stop.name} at {self.emulator.registers()['pc']:#x}: {self.emulator.fault}"
        assert self.emulator.registers()["pc"] == end
        self.oracle.emu_start(begin | 1, end)

    def ram(self):
        """Contents of both RAMs, oracle first."""
        return (
            bytes(self.oracle.mem_read(RAM_BASE, CHIP.ram_bytes)),
            self.emulator.read(RAM_BASE, CHIP.ram_bytes),
        )

    def registers(self):
        """Registers of both, oracle first; of xPSR the flags."""
        expected = {name: self.oracle.reg_read(r) for name, r in zip(NAMES, REGISTERS, strict=True)}
        got = {name: self.emulator.registers()[name] for name in NAMES}
        expected["xpsr"] >>= 28
        got["xpsr"] >>= 28
        return expected, got
