"""The flash algorithm: where it lies in RAM, how pyOCD is told of it, and what its results mean."""

from __future__ import annotations

import json
from typing import Any

from hil.resources import resource

BLOB = "flash_algorithm/flash_algorithm.json"

ROW_BYTES = 256
"""What is erased at a time."""

STACK_END, STACK_TOP = 0x20000400, 0x20000800
"""Behind the program's kilobyte; the C functions take well below 200 bytes."""

ANALYZER = 0x20000800
"""pyOCD's CRC program, 0x600 bytes."""

BUFFERS = (0x20001000, 0x20002000)
"""Of 4 KiB, so that the CRC of each of 1024 rows fits; the second ends within the 16 KiB of the xxx17A."""

RESULTS = {
    1: "the address is outside the flash or not on a word or row",
    2: "the flash controller did not become ready",
    3: "the region is locked (NVMCTRL.LOCK) or belongs to the boot section; nothing in it was changed",
    4: "the flash controller refused the command (STATUS.PROGE)",
    5: "the flash memory itself failed (STATUS.NVME)",
    6: "reads back different from what was written: not erased before, or worn out",
    7: "the chip is no SAMD21: its flash pages are not 64 bytes",
}
"""Results of the functions in ``firmware/flash_algorithm/flash_algorithm.h``; 0 is success."""

LOCKED = 3


def flash_algorithm() -> dict[str, Any]:
    """The dictionary that pyOCD's ``FlashRegion(algo=…)`` takes."""
    blob = json.loads((resource("firmware") / BLOB).read_text(encoding="utf-8"))
    entry = blob["entries"]
    return {
        "load_address": blob["load_address"],
        "instructions": [int(word, 16) for word in blob["instructions"]],
        "pc_init": entry["Init"],
        "pc_unInit": entry["UnInit"],
        "pc_program_page": entry["ProgramPage"],
        "pc_erase_sector": entry["EraseSector"],
        "pc_eraseAll": entry["EraseChip"],
        "static_base": blob["load_address"],
        "begin_stack": STACK_TOP,
        "end_stack": STACK_END,
        "page_buffers": list(BUFFERS),
        "min_program_length": 4,
        "analyzer_supported": True,
        "analyzer_address": ANALYZER,
    }
