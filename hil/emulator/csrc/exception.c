/* exception.c -- entering and leaving exceptions, priorities, special registers (Armv6-M ARM, B1.5). */
#include "ops.h"
#include "state.h"

enum {
    ENTRY_CYCLES = 15, EXIT_CYCLES = 13, TAIL_CHAIN_CYCLES = 6,
    /* The vector is chosen after the eight words are stacked: what becomes pending before
     * that moment and is more urgent is entered instead (late arrival). */
    VECTOR_CHOSEN_AFTER = 10,
    BRANCH_CYCLES = 2, /* already counted with the BX or POP that returns */
    PRIORITY_NONE = 256,
    SCR_SLEEPONEXIT = 2
};

static int priority_of(const struct emu *e, uint32_t exception) {
    if (exception == EXC_NMI) return -2;
    if (exception == EXC_HARDFAULT) return -1;
    return e->priority[exception];
}

/* Priority that the core runs at. */
static int execution_priority(const struct emu *e) {
    int best = e->primask & 1 ? 0 : PRIORITY_NONE;
    for (uint64_t left = e->active; left; left &= left - 1) {
        int p = priority_of(e, (uint32_t)__builtin_ctzll(left));
        if (p < best) best = p;
    }
    return best;
}

/* Most urgent pending and enabled exception, 0 if there is none. */
static uint32_t most_urgent(const struct emu *e) {
    uint64_t enabled = (e->irq_enabled & ~0xFFFFull) | 0xFFFF;
    uint32_t best = 0;
    int best_priority = PRIORITY_NONE + 1;
    for (uint64_t left = e->pending & enabled & ~e->hidden; left; left &= left - 1) {
        uint32_t exception = (uint32_t)__builtin_ctzll(left);
        int p = priority_of(e, exception);
        if (p < best_priority) {
            best = exception;
            best_priority = p;
        }
    }
    return best;
}

bool exception_preempts(const struct emu *e, uint32_t exception) {
    return priority_of(e, exception) < execution_priority(e);
}

bool exception_can_enter(const struct emu *e) {
    if (e->pending == 0) return false;
    uint32_t exception = most_urgent(e);
    return exception != 0 && exception_preempts(e, exception);
}

/* WFI wakes as if PRIMASK were clear. */
bool exception_would_wake(const struct emu *e) {
    uint32_t exception = most_urgent(e);
    if (exception == 0) return false;
    int best = PRIORITY_NONE;
    for (uint64_t left = e->active; left; left &= left - 1) {
        int p = priority_of(e, (uint32_t)__builtin_ctzll(left));
        if (p < best) best = p;
    }
    return priority_of(e, exception) < best;
}

uint32_t exception_xpsr(const struct emu *e) {
    return (e->nz < 0 ? 1u << 31 : 0) | ((uint32_t)e->nz == 0 ? 1u << 30 : 0) | (e->c & 1) << 29 |
           (e->v >> 31) << 28 | (e->thumb ? 1u << 24 : 0) | e->ipsr;
}

void exception_set_apsr(struct emu *e, uint32_t value) {
    e->nz = (int64_t)(((uint64_t)(value & 0x80000000u) << 32) | (value & 0x40000000u ? 0 : 1));
    e->c = value >> 29 & 1;
    e->v = value << 3;
}

static bool stack_is_process(const struct emu *e) {
    return (e->control & 2) != 0;
}

static void select_stack(struct emu *e, bool process) {
    if (process == stack_is_process(e)) return;
    uint32_t other = e->other_sp;
    e->other_sp = e->r[13];
    e->r[13] = other;
    e->control = process ? e->control | 2 : e->control & ~2u;
}

static uint64_t bit(uint32_t exception) {
    return (uint64_t)1 << exception;
}

/* Choose the vector and branch to it. LR gets `exc_return`. */
static void take(struct emu *e, uint32_t exception, uint32_t exc_return) {
    uint32_t from = e->r[15];
    e->r[14] = exc_return;
    select_stack(e, false);
    e->ipsr = exception;
    e->active |= bit(exception);
    e->pending &= ~bit(exception);
    uint32_t vector = bus_read(e, e->vtor + 4 * exception, 4);
    e->r[15] = vector & ~1u;
    e->thumb = vector & 1;
    e->fetch_line = NO_LINE;
    e->event_register = true;
    if (e->request == REQUEST_FAULT && exception == EXC_HARDFAULT) e->locked = true;
    if (UNLIKELY(e->slow)) observe_entry(e, from, exception);
}

static bool push_frame(struct emu *e, uint32_t return_address) {
    uint32_t xpsr = exception_xpsr(e), at = (e->r[13] - 32) & ~4u;
    uint32_t frame[8] = {e->r[0], e->r[1], e->r[2], e->r[3], e->r[12], e->r[14], return_address,
                         (xpsr & ~0x200u) | (e->r[13] & 4) << 7};
    for (uint32_t i = 0; i < 8; i++) {
        bus_write(e, at + 4 * i, 4, frame[i]);
        if (e->request == REQUEST_FAULT) return false;
    }
    e->r[13] = at;
    return true;
}

static void enter(struct emu *e, uint32_t return_address) {
    uint64_t begun = e->cycles;
    uint32_t exc_return = e->ipsr != 0 ? 0xFFFFFFF1u : stack_is_process(e) ? 0xFFFFFFFDu : 0xFFFFFFF9u;
    if (!push_frame(e, return_address)) { /* a fault while stacking is a HardFault, or lockup inside one */
        core_record_fault(e);
        if (e->active & (bit(EXC_HARDFAULT) | bit(EXC_NMI))) {
            e->locked = true;
            return;
        }
        e->request = REQUEST_NONE;
        e->pending |= bit(EXC_HARDFAULT);
        e->r[13] = (e->r[13] - 32) & ~4u;
    }
    uint64_t stacking_waits = e->cycles - begun;
    e->cycles = begun + stacking_waits + VECTOR_CHOSEN_AFTER;
    event_service(e);
    uint32_t exception = most_urgent(e);
    e->cycles += ENTRY_CYCLES - VECTOR_CHOSEN_AFTER;
    take(e, exception, exc_return);
    e->attention = 1;
}

void exception_enter_pending(struct emu *e) {
    enter(e, e->r[15]);
}

void exception_hardfault(struct emu *e) {
    if (e->active & (bit(EXC_HARDFAULT) | bit(EXC_NMI))) {
        e->locked = true;
        return;
    }
    e->pending |= bit(EXC_HARDFAULT);
    enter(e, e->r[15]);
}

static void pop_frame(struct emu *e, bool process) {
    select_stack(e, process);
    uint32_t frame[8], at = e->r[13];
    for (uint32_t i = 0; i < 8; i++) frame[i] = bus_read(e, at + 4 * i, 4);
    if (e->request == REQUEST_FAULT) return;
    for (uint32_t i = 0; i < 4; i++) e->r[i] = frame[i];
    e->r[12] = frame[4];
    e->r[14] = frame[5];
    e->r[15] = frame[6] & ~1u;
    e->r[13] = (at + 32) | (frame[7] >> 9 & 1) << 2;
    e->thumb = frame[7] >> 24 & 1;
    e->ipsr = frame[7] & 0x3F;
    exception_set_apsr(e, frame[7]);
    e->fetch_line = NO_LINE;
}

/* BX or POP has loaded e->exc_return into the PC in handler mode; its branch cycles are counted. */
void exception_return(struct emu *e) {
    uint32_t value = e->exc_return, exception = e->ipsr;
    bool to_thread = (value & 0xF) != 1, nested = (e->active & ~bit(exception)) != 0;
    bool valid = (value & 0x0FFFFFF0u) == 0x0FFFFFF0u &&
                 ((value & 0xF) == 1 ? nested : ((value & 0xF) == 9 || (value & 0xF) == 0xD) && !nested);
    e->request = REQUEST_NONE;
    e->active &= ~bit(exception);
    e->event_register = true;
    e->cycles -= BRANCH_CYCLES;
    if (exception >= EXC_IRQ0 && e->irq_level & bit(exception)) e->pending |= bit(exception);
    if (!valid) {
        core_fault(e, EMU_FAULT_EXCEPTION_RETURN, value);
        return;
    }
    if (to_thread) e->ipsr = 0;
    if (exception_can_enter(e)) { /* tail-chain: the frame stays where it is */
        e->cycles += TAIL_CHAIN_CYCLES;
        if (UNLIKELY(e->slow)) observe_return(e, value, false);
        take(e, most_urgent(e), value);
        return;
    }
    e->cycles += EXIT_CYCLES;
    pop_frame(e, (value & 0xF) == 0xD);
    if (UNLIKELY(e->slow)) observe_return(e, value, true);
    if (e->request == REQUEST_NONE && (e->ipsr == 0) != to_thread) {
        core_fault(e, EMU_FAULT_EXCEPTION_RETURN, value);
    } else if (e->request == REQUEST_NONE && to_thread && (e->scr & SCR_SLEEPONEXIT)) {
        e->request = REQUEST_WFI;
    }
}

void irq_set_level(struct emu *e, uint32_t irq, bool up) {
    uint64_t mask = bit(EXC_IRQ0 + irq);
    if (up && !(e->irq_level & mask)) {
        e->irq_level |= mask;
        e->pending |= mask;
        e->attention = 1;
    } else if (!up) {
        e->irq_level &= ~mask;
    }
}

uint32_t special_read(const struct emu *e, uint32_t which) {
    bool process = stack_is_process(e);
    if (which < 8) return ((which & 4) == 0 ? exception_xpsr(e) & 0xF0000000u : 0) | (which & 1 ? e->ipsr : 0);
    switch (which) {
    case 8: return process ? e->other_sp : e->r[13];
    case 9: return process ? e->r[13] : e->other_sp;
    case 16: return e->primask;
    case 20: return e->control;
    default: return 0;
    }
}

void special_write(struct emu *e, uint32_t which, uint32_t value) {
    bool process = stack_is_process(e);
    e->attention = 1;
    if (which < 4) exception_set_apsr(e, value);
    if (which == 8) *(process ? &e->other_sp : &e->r[13]) = value & ~3u;
    if (which == 9) *(process ? &e->r[13] : &e->other_sp) = value & ~3u;
    if (which == 16) e->primask = value & 1;
    if (which == 20 && e->ipsr == 0) select_stack(e, value & 2);
}
