/* debug.c -- what a debugger stops at, and what it does to the chip from outside (Armv6-M ARM, C1). */
#include <string.h>

#include "ops.h"
#include "state.h"

enum {
    BP_ENABLE = 1,
    BP_LOWER = 1u << 30,
    BP_ADDRESS = 0x1FFFFFFC,
    CODE_END = 0x20000000, /* the breakpoint unit compares addresses below */
    WATCH_PC = 4,
    WATCH_READ = 5,
    WATCH_WRITE = 6,
    WATCH_BOTH = 7,
    MAX_MASK = 31,
    CAUSE_POWER_ON = 0x01,
    ROW = 256,
    PAGE = 64,
    NVM_STATUS_SECURED = 1 << 8,
    CMD_ERASE_ROW = 0x02,
    CMD_WRITE_PAGE = 0x04
};

/* C_MASKINTS hides PendSV, SysTick and the interrupts. */
static const uint64_t MASKABLE = ~0ull << EXC_PENDSV;

void emu_debug_set(struct emu *e, const struct emu_debug *setup) {
    struct debug_unit *d = &e->debugger;
    d->setup = *setup;
    e->debug = setup->enabled != 0;
    e->hidden = setup->enabled && setup->mask_interrupts ? MASKABLE : 0;
    d->comparing = false;
    for (uint32_t i = 0; i < EMU_BREAKPOINTS; i++) d->comparing |= (setup->breakpoints[i] & BP_ENABLE) != 0;
    for (uint32_t i = 0; i < EMU_WATCHPOINTS; i++) d->comparing |= setup->watch_function[i] >= WATCH_PC;
    d->comparing &= e->debug;
}

static bool breakpoint_at(const struct debug_unit *d, uint32_t address) {
    if (address >= CODE_END) return false;
    uint32_t half = (uint32_t)BP_LOWER << (address >> 1 & 1);
    for (uint32_t i = 0; i < EMU_BREAKPOINTS; i++) {
        uint32_t comparator = d->setup.breakpoints[i];
        if (comparator & BP_ENABLE && comparator & half && ((comparator ^ address) & BP_ADDRESS) == 0) return true;
    }
    return false;
}

/* Addresses `from` up to and with `to` against each watchpoint. */
static void compare(struct debug_unit *d, uint32_t from, uint32_t to, uint32_t function, uint32_t other) {
    for (uint32_t i = 0; i < EMU_WATCHPOINTS; i++) {
        uint32_t is = d->setup.watch_function[i], mask = d->setup.watch_mask[i];
        uint32_t span = mask > MAX_MASK ? ~0u : (1u << mask) - 1, first = d->setup.watch_address[i] & ~span;
        if ((is == function || is == other) && from <= first + span && to >= first) d->matched |= 1u << i;
    }
}

void debug_access(struct emu *e, uint32_t address, uint32_t size, bool is_write) {
    compare(&e->debugger, address, address + size - 1, is_write ? WATCH_WRITE : WATCH_READ, WATCH_BOTH);
}

/* Cycles up to which nothing but time passes: one, unless the core sleeps. */
static uint64_t stride(const struct emu *e, uint64_t until) {
    if (!e->sleeping && !e->spinning) return 1;
    uint64_t next = e->next_event < until ? e->next_event : until;
    return next > e->cycles ? next - e->cycles : 1;
}

/* As emu_run, one instruction at a time while anything has to be compared. */
int emu_debug_run(struct emu *e, uint64_t cycles, uint32_t flags) {
    struct debug_unit *d = &e->debugger;
    d->matched = 0;
    if (!d->comparing) return emu_run(e, cycles, flags);
    uint64_t until = e->cycles + cycles;
    int stop = EMU_BUDGET;
    d->watching = true;
    while (stop == EMU_BUDGET && e->cycles < until) {
        uint32_t pc = e->r[15];
        event_service(e);
        bool instruction = !e->sleeping && !e->spinning && !e->locked && e->request == REQUEST_NONE &&
                           !e->reset_requested && !exception_can_enter(e);
        if (instruction && breakpoint_at(d, pc)) {
            stop = EMU_HALT;
            break;
        }
        if (instruction) compare(d, pc, pc, WATCH_PC, WATCH_PC);
        stop = emu_run(e, stride(e, until), flags);
        if (d->matched && stop == EMU_BUDGET) stop = EMU_WATCH;
    }
    d->watching = false;
    return stop;
}

void emu_debug_wait(struct emu *e, uint64_t cycles) {
    if (e->nvm.pending_command == 0) return;
    e->cycles += cycles;
    event_service(e);
}

uint32_t emu_debug_matched(struct emu *e) {
    return e->debugger.matched;
}

int emu_locked_up(struct emu *e) {
    return e->locked;
}

int emu_protected(struct emu *e) {
    return (e->nvm.status & NVM_STATUS_SECURED) != 0;
}

void emu_chip_erase(struct emu *e) {
    emu_forget_ram(e);
    memset(e->flash, 0xFF, e->flash_bytes);
    decode_forget_range(e, 0, e->flash_bytes);
    e->nvm.pending_command = 0;
    e->nvm.secured = false;
}

/* Half of what was to be erased or written has been. What real silicon leaves is not defined. */
static void leave_half_done(struct emu *e) {
    uint32_t address = e->nvm.pending_address;
    if (e->nvm.pending_command == CMD_ERASE_ROW) {
        memset(e->flash + (address & ~(uint32_t)(ROW - 1)), 0xFF, ROW / 2);
    } else if (e->nvm.pending_command == CMD_WRITE_PAGE) {
        uint8_t *page = e->flash + (address & ~(uint32_t)(PAGE - 1));
        for (uint32_t i = 0; i < PAGE / 2; i++) page[i] &= e->nvm.page[i];
    }
    decode_forget_range(e, address & ~(uint32_t)(ROW - 1), ROW);
}

void emu_power_loss(struct emu *e) {
    leave_half_done(e);
    emu_forget_ram(e);
    emu_reset(e, CAUSE_POWER_ON);
}
