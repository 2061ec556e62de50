/* nvm.c -- NVMCTRL, the flash and its auxiliary rows (data sheet, chapter 22). */
#include <string.h>

#include "ops.h"
#include "state.h"

enum { NVM_CTRLA = 0x00, NVM_CTRLB = 0x04, NVM_PARAM = 0x08, NVM_INTENCLR = 0x0C, NVM_INTENSET = 0x10,
       NVM_INTFLAG = 0x14, NVM_STATUS = 0x18, NVM_ADDR = 0x1C, NVM_LOCK = 0x20 };
enum { CMD_ER = 0x02, CMD_WP = 0x04, CMD_EAR = 0x05, CMD_WAP = 0x06, CMD_LR = 0x40, CMD_UR = 0x41,
       CMD_SPRM = 0x42, CMD_CPRM = 0x43, CMD_PBC = 0x44, CMD_SSB = 0x45, CMD_INVALL = 0x46 };
enum { FLAG_READY = 1, FLAG_ERROR = 2 };
enum { STATUS_PRM = 1, STATUS_LOAD = 2, STATUS_PROGE = 4, STATUS_LOCKE = 8, STATUS_NVME = 16, STATUS_SB = 256 };
enum { B_MANW = 1 << 7, B_CACHEDIS = 1 << 18 };
enum { READ_NO_MISS_PENALTY, READ_LOW_POWER, READ_DETERMINISTIC };
enum { PAGE = 64, ROW = 256, REGIONS = 16 };
/* ADDR has 22 bits: the commands for the auxiliary rows take the rest as given. */
enum { AUX_SPACE = 0x00800000, ADDR_MASK = 0x3FFFFF };
enum { USER_ROW = 0x00804000, CALIBRATION = 0x00806000, CALIBRATION_BYTES = 64 };

/* Data sheet, electrical characteristics: row erase 6 ms, page write 2.5 ms. */
static const uint64_t ERASE_PS = 6000000000u, WRITE_PS = 2500000000u;
/* Fastest CPU clock for each wait state above 2.7 V. */
static const uint64_t UHZ_PER_WAIT_STATE = 24000000000000u;
enum { CLOCK_TOLERANCE_PERCENT = 2 };

/* Wait states and cache as CTRLB says; the cache loses its contents when it is off. */
void flash_timing(struct emu *e) {
    uint32_t b = e->nvm.control_b, wait_states = b >> 1 & 15, mode = b >> 16 & 3;
    bool was_hidden = e->cache_off || e->hit_cost != 0;
    if (!was_hidden) memcpy(e->tag_shadow, e->tag, sizeof e->tag);
    e->cache_off = (b & B_CACHEDIS) != 0;
    e->hit_cost = e->cache_off || mode == READ_DETERMINISTIC ? wait_states : 0;
    e->miss_cost = wait_states + (mode == READ_LOW_POWER && !e->cache_off);
    if (e->cache_off) memset(e->tag_shadow, 0x7F, sizeof e->tag_shadow);
    bool hidden = e->cache_off || e->hit_cost != 0;
    for (uint32_t i = 0; i < CACHE_LINES; i++) e->tag[i] = hidden ? NO_LINE : e->tag_shadow[i];
    uint64_t limit = UHZ_PER_WAIT_STATE * (wait_states + 1) / 100 * (100 + CLOCK_TOLERANCE_PERCENT);
    e->flash_too_fast = e->cpu_microhertz > limit;
    e->attention = 1;
}

static void invalidate_cache(struct emu *e) {
    for (uint32_t i = 0; i < CACHE_LINES; i++) e->tag[i] = e->tag_shadow[i] = NO_LINE;
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_NVMCTRL, (e->nvm.flags & e->nvm.interrupts) != 0);
}

static void clear_page(struct emu *e) {
    memset(e->nvm.page, 0xFF, PAGE);
    e->nvm.status &= (uint16_t)~STATUS_LOAD;
}

static void fail(struct emu *e, uint16_t status) {
    e->nvm.status |= status;
    e->nvm.flags |= FLAG_ERROR;
    update_irq(e);
}

static void busy(struct emu *e, uint32_t command, uint64_t ps) {
    e->nvm.pending_command = command;
    e->nvm.pending_address = e->nvm.address * 2;
    e->nvm.flags &= (uint8_t)~FLAG_READY;
    e->nvm.busy_until_ps = time_now_ps(e) + ps;
    event_schedule(e, EVENT_NVM, e->nvm.busy_until_ps);
    update_irq(e);
}

static uint32_t region_of(const struct emu *e, uint32_t address) {
    return address / (e->flash_bytes / REGIONS) % REGIONS;
}

/* Erase or program the page buffer into the main array or the user row. Programming only clears bits. */
static void change(struct emu *e, uint32_t command) {
    uint32_t address = e->nvm.pending_address;
    uint32_t row = address & ~(uint32_t)(ROW - 1), page = address & ~(uint32_t)(PAGE - 1);
    bool aux = command == CMD_EAR || command == CMD_WAP;
    uint8_t *target = aux ? e->nvm.user_row + (command == CMD_EAR ? 0 : (page | AUX_SPACE) - USER_ROW)
                          : e->flash + (command == CMD_ER ? row : page);
    if (command == CMD_ER || command == CMD_EAR) {
        memset(target, 0xFF, ROW);
    } else {
        for (uint32_t i = 0; i < PAGE; i++) target[i] &= e->nvm.page[i];
        clear_page(e);
    }
    if (!aux) decode_forget_range(e, command == CMD_ER ? row : page, command == CMD_ER ? ROW : PAGE);
    invalidate_cache(e);
}

void nvm_event(struct emu *e) {
    change(e, e->nvm.pending_command);
    e->nvm.pending_command = 0;
    e->nvm.flags |= FLAG_READY;
    update_irq(e);
}

/* Cycles until the erase or write under way is done. */
uint32_t nvm_busy_cycles(const struct emu *e) {
    uint64_t end = time_cycle_of(e, e->nvm.busy_until_ps);
    return end > e->cycles ? (uint32_t)(end - e->cycles) : 0;
}

static bool in_user_row(uint32_t address) {
    return address - USER_ROW < ROW;
}

static void command(struct emu *e, uint32_t cmd) {
    uint32_t address = e->nvm.address * 2;
    switch (cmd) {
    case CMD_ER:
    case CMD_WP:
        if (address >= e->flash_bytes) {
            fail(e, STATUS_PROGE);
        } else if (!(e->nvm.lock >> region_of(e, address) & 1) || address < e->nvm.boot_bytes) {
            fail(e, STATUS_LOCKE);
        } else {
            busy(e, cmd, cmd == CMD_ER ? ERASE_PS : WRITE_PS);
        }
        break;
    case CMD_EAR:
    case CMD_WAP:
        if (e->nvm.status & STATUS_SB || !in_user_row(address | AUX_SPACE)) {
            fail(e, STATUS_PROGE);
        } else {
            busy(e, cmd, cmd == CMD_EAR ? ERASE_PS : WRITE_PS);
        }
        break;
    case CMD_LR: e->nvm.lock &= (uint16_t)~(1u << region_of(e, address)); break;
    case CMD_UR: e->nvm.lock |= (uint16_t)(1u << region_of(e, address)); break;
    case CMD_SPRM: e->nvm.status |= STATUS_PRM; break;
    case CMD_CPRM: e->nvm.status &= (uint16_t)~STATUS_PRM; break;
    case CMD_PBC: clear_page(e); break;
    case CMD_SSB:
        e->nvm.status |= STATUS_SB;
        e->nvm.secured = true;
        break;
    case CMD_INVALL: invalidate_cache(e); break;
    default: fail(e, STATUS_PROGE); break;
    }
}

void nvmctrl_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct nvm *n = &e->nvm;
    uint32_t masked = value & lane_mask(lanes);
    (void)index;
    switch (offset) {
    case NVM_CTRLA:
        if ((masked >> 8 & 0xFF) != 0xA5 || !(n->flags & FLAG_READY)) {
            fail(e, STATUS_PROGE);
        } else {
            command(e, masked & 0x7F);
        }
        break;
    case NVM_CTRLB:
        n->control_b = merge(n->control_b, value, lanes) & 0x0007039E;
        flash_timing(e);
        break;
    case NVM_INTENCLR: n->interrupts &= (uint8_t)~masked; break;
    case NVM_INTENSET: n->interrupts |= masked & 3; break;
    case NVM_INTFLAG: n->flags &= (uint8_t)~(masked & FLAG_ERROR); break;
    case NVM_STATUS: n->status &= (uint16_t)~(masked & (STATUS_PROGE | STATUS_LOCKE | STATUS_NVME)); break;
    case NVM_ADDR: n->address = merge(n->address, value, lanes) & ADDR_MASK; break;
    case NVM_PARAM:
    case NVM_LOCK: break;
    default: bus_log(e, 0x41004000 + offset, true); break;
    }
    update_irq(e);
}

uint32_t nvmctrl_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct nvm *n = &e->nvm;
    (void)index;
    (void)lanes;
    switch (offset) {
    case NVM_CTRLA: return 0;
    case NVM_CTRLB: return n->control_b;
    case NVM_PARAM: return 3u << 16 | e->flash_bytes / PAGE; /* pages of 8 << 3 bytes */
    case NVM_INTENCLR:
    case NVM_INTENSET: return n->interrupts;
    case NVM_INTFLAG: return n->flags;
    case NVM_STATUS: return n->status;
    case NVM_ADDR: return n->address;
    case NVM_LOCK: return n->lock;
    default: bus_log(e, 0x41004000 + offset, false); return 0;
    }
}

/* A write to flash fills the page buffer; the last halfword of a page writes it unless MANW is set. */
void nvm_load_page(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    if (address >= e->flash_bytes && !in_user_row(address)) {
        core_fault(e, EMU_FAULT_UNMAPPED, address);
        return;
    }
    for (uint32_t i = 0; i < size; i++) e->nvm.page[(address + i) % PAGE] &= (uint8_t)(value >> 8 * i);
    e->nvm.status |= STATUS_LOAD;
    e->nvm.address = address / 2 & ADDR_MASK;
    if (!(e->nvm.control_b & B_MANW) && (address + size) % PAGE == 0) {
        command(e, in_user_row(address) ? CMD_WAP : CMD_WP);
    }
}

/* The rows beside the main array that can be read, or NULL: reads as ones. */
const uint8_t *nvm_aux(const struct emu *e, uint32_t address, uint32_t size) {
    if (address - USER_ROW <= ROW - size) return e->nvm.user_row + (address - USER_ROW);
    if (address - CALIBRATION <= CALIBRATION_BYTES - size) return e->nvm.calibration + (address - CALIBRATION);
    static const uint32_t serial_at[4] = {0x0080A00C, 0x0080A040, 0x0080A044, 0x0080A048};
    for (uint32_t i = 0; i < 4; i++) {
        if (address - serial_at[i] <= 4 - size) return (const uint8_t *)&e->serial[i] + (address - serial_at[i]);
    }
    return NULL;
}

/* User row as shipped (data sheet, table "NVM User Row Mapping"): no boot loader, nothing locked. */
static const uint8_t USER_ROW_DEFAULT[8] = {0xFF, 0xC7, 0xE0, 0xD8, 0x5D, 0xFC, 0xFF, 0xFF};
enum { DFLL_COARSE = 31, BOOT_LARGEST = 32768 }; /* BOOTPROT 0 to 6: 32 KB down to 512 bytes */

void nvm_power_on(struct emu *e) {
    memset(e->nvm.user_row, 0xFF, ROW);
    memcpy(e->nvm.user_row, USER_ROW_DEFAULT, sizeof USER_ROW_DEFAULT);
    memset(e->nvm.calibration, 0xFF, CALIBRATION_BYTES);
    e->nvm.calibration[0x27] = DFLL_COARSE << 2 | 3; /* bits 58 to 63 of the word at 0x806020 */
}

void nvm_reset(struct emu *e) {
    struct nvm *n = &e->nvm;
    uint32_t bootprot = n->user_row[0] & 7;
    n->boot_bytes = bootprot == 7 ? 0 : BOOT_LARGEST >> bootprot;
    n->control_b = B_MANW;
    n->address = 0;
    n->interrupts = 0;
    n->flags = FLAG_READY;
    n->status = n->secured ? STATUS_SB : 0;
    n->lock = (uint16_t)(n->user_row[6] | n->user_row[7] << 8);
    n->pending_command = 0;
    clear_page(e);
    e->cache_off = false;
    e->hit_cost = 0;
    invalidate_cache(e);
    flash_timing(e);
}
