/* flash_algorithm.c -- see flash_algorithm.h. Registers: data sheet, "NVMCTRL". */
#include "flash_algorithm.h"

#define NVM_CTRLA (*(volatile uint16_t *)0x41004000u)
#define NVM_CTRLB (*(volatile uint32_t *)0x41004004u)
#define NVM_PARAM (*(volatile uint32_t *)0x41004008u)
#define NVM_INTFLAG (*(volatile uint8_t *)0x41004014u)
#define NVM_STATUS (*(volatile uint16_t *)0x41004018u)
#define NVM_ADDR (*(volatile uint32_t *)0x4100401Cu)
#define NVM_LOCK (*(volatile uint16_t *)0x41004020u)

enum {
    COMMAND_KEY = 0xA500,
    COMMAND_ERASE_ROW = 0x02,
    COMMAND_WRITE_PAGE = 0x04,
    COMMAND_CLEAR_PAGE_BUFFER = 0x44,
    COMMAND_INVALIDATE_CACHE = 0x46,
    CTRLB_MANUAL_WRITE = 1 << 7,
    CTRLB_CACHE_DISABLE = 1 << 18,
    INTFLAG_READY = 1,
    INTFLAG_ERROR = 2,
    STATUS_PROGE = 1 << 2,
    STATUS_LOCKE = 1 << 3,
    STATUS_NVME = 1 << 4,
    PAGE_BYTES = 64,
    PAGE_SIZE_CODE = 3, /* PARAM.PSZ: 8 << 3 bytes */
    ROW_BYTES = 4 * PAGE_BYTES,
    REGIONS = 16, /* of equal size, each with a bit in LOCK: 0 is locked */
    /* A poll takes at least 6 cycles; a row erase at most 6 ms, 288,000 cycles at 48 MHz.
     * Ten times that, and below the debugger's own limit of 10 s at 1 MHz: 500,000 polls of 10 cycles. */
    MAX_POLLS = 500000
};

/* Where a function returns to: the debugger sets LR to the start of the program. */
__asm__(".section .text.return, \"ax\", %progbits\n"
        ".balign 4\n"
        ".global flash_return\n"
        ".thumb_func\n"
        "flash_return:\n"
        "bkpt #0\n"
        "nop\n"
        ".text\n");

/* As found by Init. */
static uint32_t found_control, found_primask;

static uint32_t flash_bytes(void) {
    return (NVM_PARAM & 0xFFFFu) * PAGE_BYTES;
}

static uint32_t wait_ready(void) {
    for (uint32_t polls = 0; polls < MAX_POLLS; polls++) {
        if (NVM_INTFLAG & INTFLAG_READY) return FLASH_OK;
    }
    return FLASH_TIMEOUT;
}

static uint32_t command(uint32_t address, uint32_t what) {
    uint32_t result = wait_ready();
    if (result != FLASH_OK) return result;
    NVM_STATUS = STATUS_PROGE | STATUS_LOCKE | STATUS_NVME;
    NVM_INTFLAG = INTFLAG_ERROR;
    NVM_ADDR = address >> 1; /* in halfwords */
    NVM_CTRLA = (uint16_t)(COMMAND_KEY | what);
    result = wait_ready();
    if (result != FLASH_OK || !(NVM_INTFLAG & INTFLAG_ERROR)) return result;
    uint32_t status = NVM_STATUS;
    if (status & STATUS_LOCKE) return FLASH_LOCKED;
    if (status & STATUS_PROGE) return FLASH_REFUSED;
    return FLASH_FAILED;
}

static uint32_t check(uint32_t address, uint32_t size, uint32_t align) {
    uint32_t bytes = flash_bytes();
    if (address > bytes || size > bytes - address) return FLASH_BAD_ADDRESS;
    return ((address | size) & (align - 1)) ? FLASH_BAD_ADDRESS : FLASH_OK;
}

/* Not 0 if `address` is in a region that is locked. */
static uint32_t locked(uint32_t address) {
    uint32_t region = 0, region_bytes = flash_bytes() / REGIONS;
    while (address >= region_bytes) {
        address -= region_bytes;
        region++;
    }
    return ~(uint32_t)NVM_LOCK & (1u << region);
}

uint32_t Init(uint32_t address, uint32_t clock, uint32_t function) {
    (void)address, (void)clock, (void)function;
    if ((NVM_PARAM >> 16 & 7u) != PAGE_SIZE_CODE) return FLASH_WRONG_CHIP;
    __asm__ volatile("mrs %0, primask\n cpsid i" : "=r"(found_primask)::"memory");
    found_control = NVM_CTRLB;
    NVM_CTRLB = found_control | CTRLB_MANUAL_WRITE | CTRLB_CACHE_DISABLE;
    return wait_ready();
}

uint32_t UnInit(uint32_t function) {
    (void)function;
    uint32_t result = command(0, COMMAND_INVALIDATE_CACHE);
    NVM_CTRLB = found_control;
    __asm__ volatile("msr primask, %0" ::"r"(found_primask) : "memory");
    return result;
}

uint32_t EraseSector(uint32_t address) {
    uint32_t result = check(address, ROW_BYTES, ROW_BYTES);
    if (result != FLASH_OK) return result;
    return locked(address) ? (uint32_t)FLASH_LOCKED : command(address, COMMAND_ERASE_ROW);
}

uint32_t EraseChip(void) {
    uint32_t result = FLASH_OK;
    for (uint32_t at = 0; result == FLASH_OK && at < flash_bytes(); at += ROW_BYTES) result = EraseSector(at);
    return result;
}

/* The part of a page that begins at `address` and has `words` words. */
static uint32_t write_page(uint32_t address, uint32_t words, const uint32_t *data) {
    volatile uint32_t *flash = (volatile uint32_t *)address;
    uint32_t result = command(address, COMMAND_CLEAR_PAGE_BUFFER);
    if (result != FLASH_OK) return result;
    for (uint32_t i = 0; i < words; i++) flash[i] = data[i];
    result = command(address, COMMAND_WRITE_PAGE);
    for (uint32_t i = 0; result == FLASH_OK && i < words; i++) {
        if (flash[i] != data[i]) result = FLASH_DIFFERS;
    }
    return result;
}

uint32_t ProgramPage(uint32_t address, uint32_t size, const uint32_t *data) {
    uint32_t result = check(address, size, sizeof(uint32_t));
    while (result == FLASH_OK && size > 0) {
        uint32_t room = PAGE_BYTES - (address & (PAGE_BYTES - 1)), part = size < room ? size : room;
        result = locked(address) ? (uint32_t)FLASH_LOCKED : write_page(address, part / 4, data);
        address += part;
        size -= part;
        data += part / 4;
    }
    return result;
}

uint32_t Verify(uint32_t address, uint32_t size, const uint32_t *data) {
    const volatile uint32_t *flash = (const volatile uint32_t *)address;
    uint32_t words = size / 4, i = 0;
    while (i < words && flash[i] == data[i]) i++;
    return address + 4 * i;
}

uint32_t BlankCheck(uint32_t address, uint32_t size, uint8_t pattern) {
    const volatile uint8_t *flash = (const volatile uint8_t *)address;
    for (uint32_t i = 0; i < size; i++) {
        if (flash[i] != pattern) return 1;
    }
    return 0;
}
