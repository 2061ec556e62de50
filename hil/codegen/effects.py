"""The micro-benchmarks of `hil calibrate`: one for each effect of docs/cycle-model.md, as Armv6-M assembly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Effect:
    """
    One effect of the cycle model.

    Attributes:
        name: Identifier, in C too.
        assumption: Number of its row in docs/cycle-model.md.
        text: What one operation is.
        place: Where the code lies: ``"ram"`` (no wait states) or ``"flash"``.
        body: Assembly, repeated ``copies`` times; r0 to r7 are free, labels are numbers.
        copies: How often.
        per_copy: Operations in one body.
        setup, teardown: Before and behind it; they are part of the base that is subtracted.
    """

    name: str
    assumption: int
    text: str
    place: Literal["ram", "flash"]
    body: str
    copies: int
    per_copy: int = 1
    setup: str = ""
    teardown: str = ""

    @property
    def operations(self) -> int:
        """How often the effect happens in one call."""
        return self.copies * self.per_copy


_MIXED = "adds r1, r2; eors r3, r1; subs r2, #3; lsls r3, r3, #1"
_BUFFER = "ldr r0, =calibrate_buffer; movs r1, #0; str r0, [r0]"
_ROUNDS = 50
_NVM_READY = "ldr r0, =0x41004014; 9: ldrb r1, [r0]; lsrs r1, r1, #1; bcc 9b"
_TC_WAIT = "8: ldrb r1, [r5, #15]; cmp r1, #127; bhi 8b"
_TC_RESET = f"movs r1, #1; strh r1, [r5]; {_TC_WAIT}"
_TC_ON = (  # TC3 counts the CPU's clock in 16 bits
    "ldr r0, =0x40000420; ldr r1, [r0]; ldr r2, =0x800; orrs r1, r2; str r1, [r0]; "
    "ldr r0, =0x40000c02; ldr r1, =0x401b; strh r1, [r0]; "
    f"ldr r5, =0x42002c00; {_TC_RESET}; movs r1, #2; strh r1, [r5]; {_TC_WAIT}"
)
_TC_OFF = (
    f"ldr r5, =0x42002c00; {_TC_RESET}; ldr r0, =0x40000420; ldr r1, [r0]; ldr r2, =0x800; bics r1, r2; str r1, [r0]"
)
_TC_IRQ_ON = "ldr r0, =0xe000e100; ldr r1, =0x40000; str r1, [r0]; movs r1, #1; strb r1, [r5, #13]"
_TC_IRQ_OFF = "ldr r0, =0xe000e180; ldr r1, =0x40000; str r1, [r0]; ldr r0, =0xe000e280; str r1, [r0]"
_IRQ8_ON = "ldr r2, =0xe000e100; movs r3, #1; lsls r3, r3, #8; str r3, [r2]"
_IRQ8_OFF = "ldr r2, =0xe000e180; movs r3, #1; lsls r3, r3, #8; str r3, [r2]"
_PENDSV = "ldr r0, =0xe000ed04; ldr r1, =0x10000000"
_PENDSV_LATE = "ldr r0, =0xe000ed20; ldr r1, =0xc00000; str r1, [r0]"
_PENDSV_EQUAL = "ldr r0, =0xe000ed20; movs r1, #0; str r1, [r0]"


def _mode(wait_states: int, read_mode: int = 0, cache_off: bool = False) -> str:
    """NVMCTRL.CTRLB with MANW; r6 and r7 keep the old one."""
    value = wait_states << 1 | 0x80 | read_mode << 16 | cache_off << 18
    return f"ldr r6, =0x41004004; ldr r7, [r6]; ldr r0, ={value:#x}; str r0, [r6]"


_OLD_MODE = "str r7, [r6]"
_SLOW = (  # CPU and buses at half their speed, where flash needs no wait state
    "ldr r5, =0x40000400; movs r0, #1; strb r0, [r5, #9]; strb r0, [r5, #10]; strb r0, [r5, #11]; "
    f"strb r0, [r5, #8]; nop; nop; {_mode(0)}"
)
_FAST = (
    f"{_OLD_MODE}; ldr r5, =0x40000400; movs r0, #0; strb r0, [r5, #8]; nop; nop; "
    "strb r0, [r5, #9]; strb r0, [r5, #10]; strb r0, [r5, #11]"
)


def _loop(lines: int) -> str:
    """A loop of so many lines of flash, from the beginning of one."""
    nops = "; ".join(["nop"] * (4 * lines - 2))
    return f"movs r4, #{_ROUNDS}; b 1f; .balign 64; 1: {nops}; subs r4, #1; bne 1b"


def _flash_loop(name: str, assumption: int, lines: int, text: str, setup: str = "", teardown: str = "") -> Effect:
    return Effect(name, assumption, text, "flash", _loop(lines), 1, _ROUNDS, setup, teardown)


def _ram(name: str, assumption: int, text: str, body: str, copies: int, per_copy: int = 1, **more: str) -> Effect:
    return Effect(name, assumption, text, "ram", body, copies, per_copy, **more)


_CORE = (
    _ram("data_processing", 1, "ADDS, EORS, SUBS, LSLS", _MIXED, 16, 4),
    _ram("multiply", 1, "MULS", "muls r1, r2", 64),
    _ram("extend", 1, "SXTH, REV", "sxth r1, r2; rev r3, r2", 32, 2),
    _ram("load_word", 2, "LDR from RAM", "ldr r1, [r0, #4]", 64, setup=_BUFFER),
    _ram("load_byte", 2, "LDRB from RAM", "ldrb r1, [r0, #5]", 64, setup=_BUFFER),
    _ram("store_word", 2, "STR to RAM", "str r1, [r0, #4]", 64, setup=_BUFFER),
    _ram("store_half", 2, "STRH to RAM", "strh r1, [r0, #6]", 64, setup=_BUFFER),
    _ram("port_load", 2, "LDR from PORT by the I/O port", "ldr r1, [r0]", 64, setup="ldr r0, =0x60000000"),
    _ram(
        "port_store", 2, "STR to PORT by the I/O port", "str r1, [r0, #28]", 64,
        setup="ldr r0, =0x60000000; movs r1, #0",
    ),
    _ram("port_load_apb", 3, "LDR from PORT by the bridge B", "ldr r1, [r0]", 64, setup="ldr r0, =0x41004400"),
    _ram("apb_a_load", 3, "LDR from PM by the bridge A", "ldr r1, [r0, #20]", 64, setup="ldr r0, =0x40000400"),
    _ram("apb_b_load", 3, "LDR from NVMCTRL by the bridge B", "ldr r1, [r0, #8]", 64, setup="ldr r0, =0x41004000"),
    _ram(
        "apb_c_load", 3, "LDRH from SERCOM by the bridge C", "ldrh r1, [r0, #12]", 64,
        setup="ldr r0, =0x42000800 + 0x400 * BOARD_SERCOM",
    ),
    _ram("ldm_1", 4, "LDM of 1 register", "ldm r0!, {r1}", 32, setup=_BUFFER),
    _ram("ldm_4", 4, "LDM of 4 registers", "ldm r0!, {r1-r4}", 32, setup=_BUFFER),
    _ram("ldm_8", 4, "LDM of 8 registers", "ldm r0, {r0-r7}", 32, setup=_BUFFER),
    _ram("stm_4", 4, "STM of 4 registers", "stm r0!, {r1-r4}", 32, setup=_BUFFER),
    _ram("push_pop_8", 4, "PUSH and POP of 8 registers", "push {r0-r7}; pop {r0-r7}", 32),
    _ram("pop_pc", 4, "BL, PUSH {LR}, POP {PC}, B", "bl 2f; b 3f; 2: push {lr}; pop {pc}; 3:", 32),
    _ram("branch", 5, "B", "b 1f; 1:", 64),
    _ram("branch_taken", 5, "BNE taken", "bne 1f; 1:", 64, setup="movs r1, #1"),
    _ram("branch_not_taken", 5, "BEQ not taken", "beq 1f; 1:", 64, setup="movs r1, #1"),
    _ram("call", 5, "BL, BX LR, B", "bl 2f; b 3f; 2: bx lr; 3:", 32),
    _ram("write_to_pc", 5, "MOV, ADDS, MOV PC", "mov r1, pc; adds r1, #2; mov pc, r1", 32),
    _ram("mrs", 6, "MRS", "mrs r1, primask", 64),
    _ram("msr", 6, "MSR", "msr primask, r1", 64, setup="movs r1, #0"),
    _ram("dmb", 6, "DMB", "dmb", 64),
    _ram("dsb", 6, "DSB", "dsb", 64),
    _ram("isb", 6, "ISB", "isb", 64),
    _ram("cps", 6, "CPSID, CPSIE", "cpsid i; cpsie i", 32, 2),
    _ram("sev_wfe", 6, "SEV, WFE", "sev; wfe", 32),
    _ram(
        "wfi", 6, "WFI with an interrupt pending", "wfi", 16,
        setup=f"cpsid i; {_PENDSV}; str r1, [r0]",
        teardown="ldr r0, =0xe000ed04; ldr r1, =0x08000000; str r1, [r0]; cpsie i",
    ),
    _ram("svc", 8, "SVC, BX LR", "svc #0", 16),
    _ram(
        "pendsv", 8, "STR to ICSR, entry, PUSH {R4, LR}, POP {R4, PC}, DSB, ISB", "str r1, [r0]; dsb; isb", 16,
        setup=_PENDSV,
    ),
    _ram(
        "tail_chain", 9, "PendSV and an interrupt together, CPSID, 2 STR, CPSIE, ISB",
        "cpsid i; str r1, [r0]; str r3, [r2, #0]; cpsie i; isb", 16,
        setup=f"{_IRQ8_ON}; {_PENDSV}; ldr r2, =0xe000e200", teardown=_IRQ8_OFF,
    ),
    _ram(
        "late_arrival", 10, "TC3's interrupt 0 to 47 cycles later against PendSV",
        f"movs r4, #0; 1: ldr r1, =0xffec; subs r1, r1, r4; strh r1, [r5, #16]; {_TC_WAIT}; "
        f"{_PENDSV}; str r1, [r0]; {'; '.join(['nop'] * 80)}; adds r4, #1; cmp r4, #48; bne 1b",
        1, 48, setup=f"{_PENDSV_LATE}; {_TC_ON}; {_TC_IRQ_ON}", teardown=f"{_TC_IRQ_OFF}; {_TC_OFF}; {_PENDSV_EQUAL}",
    ),
    _ram(
        "list_interrupted", 11, "TC3's interrupt 0 to 47 cycles later against LDM of 7",
        f"movs r4, #0; 1: ldr r1, =0xffc4; subs r1, r1, r4; strh r1, [r5, #16]; {_TC_WAIT}; push {{r4, r5}}; "
        f"ldr r0, =calibrate_buffer; {'; '.join(['ldm r0!, {r1-r7}'] * 12)}; pop {{r4, r5}}; "
        "adds r4, #1; cmp r4, #48; bne 1b",
        1, 48, setup=f"{_TC_ON}; {_TC_IRQ_ON}", teardown=f"{_TC_IRQ_OFF}; {_TC_OFF}",
    ),
)  # fmt: skip

_SHOWN = "a loop of {} lines, as the firmware sets flash"
_LITERAL_ROUND = "; ".join(f"ldr r1, [r0, #{8 * line}]" for line in range(4, 8))
_FAR_ROUND = "; ".join(f"ldr r1, [r0, #{8 * line}]" for line in range(16))

_FLASH = (
    _flash_loop("loop_1", 13, 1, _SHOWN.format(1)),
    _flash_loop("loop_8", 13, 8, _SHOWN.format(8)),
    _flash_loop("loop_9", 13, 9, _SHOWN.format(9)),
    _flash_loop("loop_15", 13, 15, _SHOWN.format(15)),
    _flash_loop("loop_15_slow", 14, 15, "a loop of 15 lines at half the clock, 0 wait states", _SLOW, _FAST),
    _flash_loop("loop_15_rws2", 14, 15, "a loop of 15 lines, 2 wait states", _mode(2), _OLD_MODE),
    _flash_loop("loop_15_rws3", 14, 15, "a loop of 15 lines, 3 wait states", _mode(3), _OLD_MODE),
    _flash_loop("loop_8_low_power", 15, 8, "a loop of 8 lines, LOW_POWER", _mode(1, 1), _OLD_MODE),
    _flash_loop("loop_15_low_power", 15, 15, "a loop of 15 lines, LOW_POWER", _mode(1, 1), _OLD_MODE),
    _flash_loop("loop_8_deterministic", 15, 8, "a loop of 8 lines, DETERMINISTIC", _mode(1, 2), _OLD_MODE),
    _flash_loop("loop_1_no_cache", 16, 1, "a loop of 1 line, cache off", _mode(1, 0, True), _OLD_MODE),
    _flash_loop("loop_8_no_cache", 16, 8, "a loop of 8 lines, cache off", _mode(1, 0, True), _OLD_MODE),
    Effect(
        "within_a_line", 17, "2 NOP, SUBS, BNE in one line, DETERMINISTIC", "flash", _loop(1), 1, _ROUNDS,
        _mode(2, 2), _OLD_MODE,
    ),
    Effect(
        "data_cached", 18, "a loop of 2 lines that loads from 4 other lines", "flash",
        f"movs r4, #{_ROUNDS}; b 1f; .balign 64; 1: {_LITERAL_ROUND}; subs r4, #1; bne 1b", 1, _ROUNDS,
        "ldr r0, =calibrate_lines",
    ),
    Effect(
        "data_not_cached", 18, "a loop of 5 lines that loads from 16 lines", "flash",
        f"movs r4, #{_ROUNDS}; b 1f; .balign 64; 1: {_FAR_ROUND}; subs r4, #1; bne 1b", 1, _ROUNDS,
        "ldr r0, =calibrate_lines",
    ),
    _ram("ram_loop", 19, "the loop of 15 lines, in RAM", _loop(15).replace("b 1f; .balign 64; ", ""), 1, _ROUNDS),
    Effect(
        "invalidate", 20, "INVALL, then 8 lines twice", "flash",
        f"ldr r2, =0x41004000; ldr r3, =0xa546; strh r3, [r2]; {_NVM_READY}; movs r4, #2; b 1f; .balign 64; 1: "
        + "; ".join(["nop"] * 30) + "; subs r4, #1; bne 1b", 1, 1,
    ),
    Effect(
        "row_erase", 21, "erase of a row, code in RAM", "ram",
        f"ldr r2, =0x41004000; ldr r3, =calibrate_row; lsrs r3, r3, #1; str r3, [r2, #28]; ldr r3, =0xa502; "
        f"strh r3, [r2]; {_NVM_READY}", 1,
    ),
    Effect(
        "page_write", 21, "the same, then a page filled and written", "ram",
        f"ldr r2, =0x41004000; ldr r3, =calibrate_row; lsrs r3, r3, #1; str r3, [r2, #28]; ldr r3, =0xa502; "
        f"strh r3, [r2]; {_NVM_READY}; ldr r3, =0xa544; strh r3, [r2]; {_NVM_READY}; ldr r3, =calibrate_row; "
        "movs r4, #16; 1: stm r3!, {r4}; subs r4, #1; bne 1b; "
        f"ldr r3, =calibrate_row; lsrs r3, r3, #1; str r3, [r2, #28]; ldr r3, =0xa504; strh r3, [r2]; {_NVM_READY}", 1,
    ),
)  # fmt: skip

_TIME = (
    _ram(
        "synchronization", 28, "a write to TC3.CTRLBSET until SYNCBUSY ends",
        f"movs r1, #0; strb r1, [r5, #5]; {_TC_WAIT}", 8, setup=_TC_ON, teardown=_TC_OFF,
    ),
    _ram(
        "asleep", 30, "WFI that TC3 ends after 2,000 cycles",
        f"cpsid i; movs r1, #4; strb r1, [r5, #5]; {_TC_WAIT}; ldr r1, =0xf830; strh r1, [r5, #16]; {_TC_WAIT}; "
        "wfi; movs r1, #0x3b; strb r1, [r5, #14]; "
        "ldr r0, =0xe000e280; ldr r1, =0x40000; str r1, [r0]; cpsie i", 1,
        setup=f"{_TC_ON}; {_TC_IRQ_ON}", teardown=f"{_TC_IRQ_OFF}; {_TC_OFF}",
    ),
)  # fmt: skip

EFFECTS: tuple[Effect, ...] = (*_CORE, *_FLASH, *_TIME)
"""In the order of docs/cycle-model.md."""
