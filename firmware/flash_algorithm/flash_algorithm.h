/* flash_algorithm.h -- programs the SAMD21's flash from RAM, called by a debugger.
 *
 * The debugger writes the program to RAM at 0x20000000, sets r0..r2, SP and PC, and sets LR to
 * 0x20000001: the first halfword there is a BKPT, on which the core halts when a function returns.
 * Names and arguments are those of CMSIS flash algorithms. Works at any core clock: every wait is
 * counted in polls, not in time.
 */
#ifndef FLASH_ALGORITHM_H
#define FLASH_ALGORITHM_H

#include <stdint.h>

/* What the functions return; hil.probe.algorithm has the same list. */
enum flash_result {
    FLASH_OK = 0,
    FLASH_BAD_ADDRESS = 1, /* outside the flash, or not on a word, row or page */
    FLASH_TIMEOUT = 2,     /* the controller did not become ready */
    FLASH_LOCKED = 3,      /* in a locked region or in the boot section; nothing was changed */
    FLASH_REFUSED = 4,     /* STATUS.PROGE: the controller did not take the command */
    FLASH_FAILED = 5,      /* STATUS.NVME: the memory itself failed */
    FLASH_DIFFERS = 6,     /* reads back different from what was written: not erased before, or worn out */
    FLASH_WRONG_CHIP = 7   /* pages are not 64 bytes: no SAMD21 */
};

/* Interrupts off, manual page writes, cache off. `clock` and `function` are not used. */
uint32_t Init(uint32_t address, uint32_t clock, uint32_t function);

/* Undo what Init did. */
uint32_t UnInit(uint32_t function);

/* Erase row by row; stops at the first locked one. */
uint32_t EraseChip(void);

/* Erase the row of 256 bytes at `address`. */
uint32_t EraseSector(uint32_t address);

/* Write `size` bytes (a multiple of 4) from the words at `data` to erased flash, 64 bytes at a time. */
uint32_t ProgramPage(uint32_t address, uint32_t size, const uint32_t *data);

/* Address of the first word that differs, or address + size. */
uint32_t Verify(uint32_t address, uint32_t size, const uint32_t *data);

/* 0 if each of `size` bytes is `pattern`, else 1. */
uint32_t BlankCheck(uint32_t address, uint32_t size, uint8_t pattern);

#endif
