"""Small programs in machine code on a fresh emulated chip."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from hil.chips import RAM_BASE, chip
from hil.emulator import Emulator

CHIP = chip("atsamd21j18a")
CODE, HANDLERS, HANDLER_BYTES = 0x400, 0x1000, 0x80
STACK = RAM_BASE + 0x4000
NOP, WFI, WFE, SEV, BKPT, BX_LR, CPSID, CPSIE = 0xBF00, 0xBF30, 0xBF20, 0xBF40, 0xBE00, 0x4770, 0xB672, 0xB662
B_SELF = 0xE7FE
NMI, HARDFAULT, SVC, PENDSV, SYSTICK, IRQ0 = 2, 3, 11, 14, 15, 16
SYST_CSR, SYST_RVR, SYST_CVR = 0xE000E010, 0xE000E014, 0xE000E018
NVIC_ISER, NVIC_ICER, NVIC_ISPR, NVIC_IPR = 0xE000E100, 0xE000E180, 0xE000E200, 0xE000E400
ICSR, SCR, SHPR2, SHPR3 = 0xE000ED04, 0xE000ED10, 0xE000ED1C, 0xE000ED20
NVMCTRL_CTRLB = 0x41004004


def handler_at(exception: int) -> int:
    """Address of the handler of an exception."""
    return HANDLERS + HANDLER_BYTES * exception


def assemble(code: Sequence[int]) -> bytes:
    """Halfwords to bytes."""
    return struct.pack(f"<{len(code)}H", *code)


def machine(
    code: Sequence[int],
    handlers: Mapping[int, Sequence[int]] | None = None,
    at: int = CODE,
    chip=CHIP,
) -> Emulator:
    """A chip that stands before ``code``; other exceptions end in their own endless loop."""
    emulator = Emulator(chip)
    vectors = [STACK, at | 1, *(handler_at(n) | 1 for n in range(2, 48))]
    emulator.load(0, struct.pack("<48I", *vectors))
    for n in range(2, 48):
        emulator.load(handler_at(n), assemble((handlers or {}).get(n, [B_SELF])))
    emulator.load(at, assemble([*code, BKPT]))
    emulator.reset()
    return emulator


def word(emulator: Emulator, address: int) -> int:
    """A word as a debugger reads it."""
    return int.from_bytes(emulator.read(address, 4), "little")


def poke(emulator: Emulator, address: int, value: int, size: int = 4) -> None:
    """A bus write as a debugger makes it."""
    emulator.write(address, value.to_bytes(size, "little"))


def step(emulator: Emulator, **registers: int) -> int:
    """One instruction with registers set before; the cycles that it took."""
    for name, value in registers.items():
        emulator.set_register(name, value)
    before = emulator.cycles
    emulator.run(1)
    return emulator.cycles - before


def flash_mode(wait_states: int, read_mode: int = 0, cache_off: bool = False) -> int:
    """A value for NVMCTRL.CTRLB."""
    return 1 << 7 | wait_states << 1 | read_mode << 16 | int(cache_off) << 18
