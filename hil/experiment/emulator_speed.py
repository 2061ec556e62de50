"""
The same programs on the emulated chip and on Unicorn without hooks, timed in turns.

Time is the thread's on its processor: other processes do not count.
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.chips import FLASH_BASE, RAM_BASE, chip
from hil.emulator import Emulator, Stop, elf_segments
from hil.errors import ToolError
from hil.firmware import Compiler
from hil.firmware.compiler import run_tool
from hil.firmware.sources import LINKER_SCRIPT, firmware_tree, linker_script, staged

CHIP = chip("atsamd21j18a")
REQUIRED = {"dot": 0.4, "soft_float": 0.25}
"""Smallest speed relative to Unicorn that is accepted: int8 x int16 dot products, soft-float code."""
REPEATS = {"dot": 500, "soft_float": 1000, "straight": 50_000}
"""Programs, and how often each does its work: about 50 million instructions."""
_FOLDER, _START, _SCRIPT = "speed", "speed/start.c", "speed.ld"
_CTRLB, _OPTIMIZE = 0x41004004, "2"
_FOREVER = 1 << 60


@dataclass(frozen=True)
class Speed:
    """
    Best of some runs.

    Attributes:
        program: Its name.
        instructions, cycles: Executed; cycles with one wait state.
        emulator, emulator_0ws, oracle: Instructions a second with 1 wait state, with none, and Unicorn's.
    """

    program: str
    instructions: int
    cycles: int
    emulator: float
    emulator_0ws: float
    oracle: float

    @property
    def ratio(self) -> float:
        """The slower of the two settings against Unicorn."""
        return min(self.emulator, self.emulator_0ws) / self.oracle

    @property
    def fast_enough(self) -> bool:
        """Not below `REQUIRED`."""
        return self.ratio >= REQUIRED.get(self.program, 0)


def has_oracle() -> bool:
    """Unicorn is installed."""
    return importlib.util.find_spec("unicorn") is not None


def compile_speed(program: str, compiler: Compiler, folder: Path, scale: float = 1.0) -> bytes:
    """
    The ELF of one of `REPEATS`.

    Raises:
        ToolError: The compiler failed.
    """
    files = firmware_tree([_FOLDER, "port/samd21"])
    script = linker_script(files[LINKER_SCRIPT], CHIP.flash_bytes, CHIP.ram_bytes)
    sources = (_START, f"{_FOLDER}/{program}.c")
    kept = {name: files[name] for name in sources} | {_SCRIPT: script}
    flags = [f"-DSPEED_REPEATS={max(1, int(REPEATS[program] * scale))}u"]
    with staged(kept, folder) as place:
        for source in sources:
            run_tool(compiler.compile_command(source, f"{source}.o", _OPTIMIZE, flags), f"compiling {source}", place)
        elf = f"{program}.elf"
        link = compiler.link_command([f"{source}.o" for source in sources], _SCRIPT, elf, _OPTIMIZE)
        run_tool(link, f"linking {program}", place)
        return (place / elf).read_bytes()


def measure_speed(
    program: str, elf: bytes, rounds: int = 3, told: Callable[[int, int], None] = lambda done, total: None
) -> Speed:
    """
    Time a program in turns; the best of each counts.

    Args:
        program: Its name.
        elf: From `compile_speed`.
        rounds: How many turns.
        told: Gets the number of turns done, and of all.

    Raises:
        ToolError: Unicorn is not installed, or the two do not agree about where the program ends.
    """
    segments = elf_segments(elf)
    times: list[tuple[float, float, float]] = []
    for turn in range(rounds):
        one, emulator = _emulate(segments, 1)
        none, _ = _emulate(segments, 0)
        times.append((one, none, _oracle(segments, emulator)))
        told(turn + 1, rounds)
    best = [emulator.instructions / min(column) for column in zip(*times, strict=True)]
    return Speed(program, emulator.instructions, emulator.cycles, *best)


def _emulate(segments: list[tuple[int, bytes]], wait_states: int) -> tuple[float, Emulator]:
    emulator = Emulator(CHIP)
    for address, contents in segments:
        emulator.load(address, contents)
    emulator.reset()
    emulator.write(_CTRLB, (wait_states << 1).to_bytes(4, "little"))
    begun = time.thread_time()
    stop = emulator.run(_FOREVER)
    spent = time.thread_time() - begun
    if stop is not Stop.BKPT:
        raise ToolError(f"the emulator stopped with {stop.name} ({emulator.fault})")
    return spent, emulator


def _oracle(segments: list[tuple[int, bytes]], done: Emulator) -> float:
    """Seconds that Unicorn takes up to where the emulator has stopped; both must have computed the same."""
    if not has_oracle():
        raise ToolError("Unicorn is not installed, which the emulator is measured against: pip install unicorn")
    unicorn: Any = importlib.import_module("unicorn")
    arm_const: Any = importlib.import_module("unicorn.arm_const")
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M0)
    uc.mem_map(FLASH_BASE, CHIP.flash_bytes)
    uc.mem_map(RAM_BASE, CHIP.ram_bytes)
    uc.mem_write(RAM_BASE, bytes(CHIP.ram_bytes))
    for address, contents in segments:
        uc.mem_write(address, contents)
    stack, start = struct.unpack("<II", uc.mem_read(FLASH_BASE, 8))
    uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
    begun = time.thread_time()
    uc.emu_start(start, done.registers()["pc"])
    spent = time.thread_time() - begun
    ours = [done.registers()[f"r{i}"] for i in range(13)]
    theirs = [uc.reg_read(getattr(arm_const, f"UC_ARM_REG_R{i}")) for i in range(8)]
    if ours[:8] != theirs:
        raise ToolError(f"the emulator and Unicorn differ: {ours[:8]} and {theirs}")
    return spent
