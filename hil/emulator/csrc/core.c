/* core.c -- the dispatcher between the loops, events and exceptions; reset. */
#include <string.h>

#include "ops.h"
#include "state.h"

enum {
    SCR_SEVONPEND = 0x10,
    PROTECT_DSU = 2, /* PAC1.WP after reset */
    RTC_READREQ_RESET = 0x10,
    /* Cycles that one line can take at most, without wait states: four PUSH of nine registers. */
    LINE_CYCLES = 4 * 13,
    /* Flash accesses in one line at most: four LDM of eight words, and the line itself. */
    LINE_ACCESSES = 4 * 9 + 2
};

void core_fault(struct emu *e, uint32_t kind, uint32_t address) {
    e->fault_kind = kind;
    e->fault_address = address;
    e->request = REQUEST_FAULT;
    e->attention = 1;
}

void core_record_fault(struct emu *e) {
    struct emu_fault *f = &e->last_fault;
    e->fault_before = *f;
    f->kind = e->fault_kind;
    f->address = e->fault_address;
    f->pc = e->r[15];
    f->sp = e->r[13];
    f->count++;
    memcpy(f->registers, e->r, sizeof e->r);
    f->registers[16] = exception_xpsr(e);
}

static void take_fault(struct emu *e) {
    core_record_fault(e);
    e->request = REQUEST_NONE;
    exception_hardfault(e);
    e->caught = e->debug && e->debugger.setup.catch_fault && !e->locked;
}

static void supervisor_call(struct emu *e) {
    if (exception_preempts(e, EXC_SVC)) {
        e->pending |= 1u << EXC_SVC;
        return;
    }
    core_fault(e, EMU_FAULT_SVC_PRIORITY, e->r[15]);
    take_fault(e);
}

static void fall_asleep(struct emu *e, bool for_event) {
    if (for_event && e->event_register) {
        e->event_register = false;
        return;
    }
    e->sleeping = true;
    e->sleeps_for_event = for_event;
    e->last_sleep_ps = time_now_ps(e);
}

/* Act on what a loop has asked for. True: emu_run returns e->stop. */
static bool answer_request(struct emu *e) {
    uint32_t what = e->request;
    e->request = REQUEST_NONE;
    switch (what) {
    case REQUEST_FAULT: take_fault(e); return false;
    case REQUEST_SVC: supervisor_call(e); return false;
    case REQUEST_EXCEPTION_RETURN: exception_return(e); return false;
    case REQUEST_WFI: fall_asleep(e, false); return false;
    case REQUEST_WFE: fall_asleep(e, true); return false;
    case REQUEST_SPIN:
        e->spinning = true;
        mtb_spin(e, e->r[15]);
        return false;
    case REQUEST_BKPT:
        if (e->debug) {
            e->stop = EMU_BKPT;
            return true;
        }
        core_fault(e, EMU_FAULT_BKPT, e->r[15]);
        take_fault(e);
        return false;
    default: return false;
    }
}

static void forget_stale(struct emu *e) {
    for (uint32_t line = e->stale_from; line <= e->stale_to && e->stale_from <= e->stale_to; line++) {
        decode_forget(e, RAM_LINE0 + line);
    }
    e->stale_from = ~0u;
    e->stale_to = 0;
}

static void run_loop(struct emu *e, uint64_t until) {
    uint64_t room = LINE_CYCLES + (uint64_t)LINE_ACCESSES * (e->miss_cost + e->hit_cost);
    bool fast = !e->slow && e->thumb && until - e->cycles > room && address_half(e, e->r[15]) != ~0u &&
                e->nvm.pending_command == 0;
    if (fast) {
        fast_run(e, until - room);
        if (e->rare && e->cycles < until && e->request == REQUEST_NONE) slow_run(e, e->cycles + 1);
        e->rare = false;
    } else {
        slow_run(e, until);
    }
    if (e->stale_from <= e->stale_to) forget_stale(e);
}

/* Let time pass while the core sleeps or branches to itself. True: emu_run returns e->stop. */
static bool wait_for_event(struct emu *e, uint64_t until, uint32_t flags) {
    bool sound = event_sound_flows(e); /* then bytes of the host arrive whenever the core waits */
    bool idle = (sound || event_only_free_running(e)) && !sercom_offer(e) && !sound;
    if (idle && (flags & EMU_STOP_WHEN_IDLE)) {
        e->stop = e->sleeping ? EMU_IDLE : EMU_HUNG;
        return true;
    }
    uint64_t next = e->next_event < until ? e->next_event : until;
    if (next <= e->cycles) return false;
    if (e->spinning) { /* whole rounds of the loop */
        uint64_t round = 2 + (e->r[15] < e->flash_bytes ? e->hit_cost : 0);
        uint64_t rounds = (next - e->cycles + round - 1) / round;
        e->instructions += rounds;
        next = e->cycles + rounds * round;
    }
    e->cycles = next;
    if (UNLIKELY(e->slow)) observe_sleep(e);
    return false;
}

/* With SEVONPEND whatever becomes pending, enabled or not, is an event; what stays pending is none. */
static void note_pending(struct emu *e) {
    uint64_t newly = e->pending & ~e->was_pending;
    e->was_pending = e->pending;
    if (newly != 0 && (e->scr & SCR_SEVONPEND)) e->event_register = true;
}

static bool wakes(struct emu *e) {
    if (!e->sleeps_for_event) return exception_would_wake(e);
    bool wake = e->event_register || exception_can_enter(e);
    if (wake) e->event_register = false;
    return wake;
}

/* Reading flash faster than its wait states allow returns garbage, so nothing can run, not even the handler. */
static void check_flash_speed(struct emu *e) {
    if (!e->flash_too_fast || e->sleeping || e->r[15] >= e->flash_bytes) return;
    core_fault(e, EMU_FAULT_WAIT_STATES, e->r[15]);
    core_record_fault(e);
    e->request = REQUEST_NONE;
    e->locked = true;
}

/* Cycle up to which nothing can happen. Bytes that wait are offered to firmware that only polls. */
static uint64_t quiet_until(struct emu *e, uint64_t until) {
    uint64_t poll = sercom_polling_ps(e);
    if (poll != NEVER) {
        uint64_t cycle = time_cycle_of(e, poll);
        if (cycle <= e->cycles) {
            sercom_offer(e);
        } else if (cycle < until) {
            until = cycle;
        }
    }
    return e->next_event < until ? e->next_event : until;
}

int emu_run(struct emu *e, uint64_t cycles, uint32_t flags) {
    uint64_t until = cycles > NEVER / 4 ? NEVER / 2 : e->cycles + cycles;
    for (;;) {
        e->attention = 0;
        event_service(e);
        note_pending(e);
        if (e->reset_requested) {
            emu_reset(e, e->reset_cause);
            return EMU_RESET;
        }
        check_flash_speed(e);
        if (e->locked) return EMU_LOCKUP;
        if (UNLIKELY(e->caught)) {
            e->caught = false;
            return EMU_CATCH;
        }
        if (e->request != REQUEST_NONE) {
            if (answer_request(e)) return e->stop;
            continue;
        }
        if (e->cycles >= until) return EMU_BUDGET;
        if (e->sleeping && wakes(e)) e->sleeping = false;
        if (e->sleeping || e->spinning) e->last_sleep_ps = time_now_ps(e);
        if (exception_can_enter(e)) {
            e->sleeping = e->spinning = false;
            exception_enter_pending(e);
        } else if (e->sleeping || e->spinning) {
            if (wait_for_event(e, until, flags)) return e->stop;
        } else {
            run_loop(e, quiet_until(e, until));
        }
    }
}

/* Noise, the same every time. */
void emu_forget_ram(struct emu *e) {
    uint32_t x = 0x9E3779B9;
    for (uint32_t i = 0; i < MAX_RAM; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        e->ram[i] = (uint8_t)x;
    }
    decode_forget_range(e, RAM_BASE, e->ram_bytes);
}

static void reset_core(struct emu *e) {
    memset(e->r, 0, sizeof e->r);
    memset(e->priority, 0, sizeof e->priority);
    e->pending = e->was_pending = e->active = e->irq_enabled = e->irq_level = 0;
    e->primask = e->control = e->ipsr = e->vtor = e->scr = e->other_sp = 0;
    e->systick = (struct systick){0};
    e->caught = false;
    e->sleeping = e->spinning = e->event_register = e->locked = e->rare = e->reset_requested = false;
    e->request = REQUEST_NONE;
    e->fetch_line = NO_LINE;
    exception_set_apsr(e, 0);
    e->r[14] = 0xFFFFFFFF;
    memcpy(&e->r[13], e->flash, 4);
    memcpy(&e->r[15], e->flash + 4, 4);
    e->r[13] &= ~3u;
    e->thumb = e->r[15] & 1;
    e->r[15] &= ~1u;
}

void emu_reset(struct emu *e, uint32_t cause) {
    e->clock_ps = e->last_sleep_ps = time_now_ps(e);
    e->clock_cycle = e->cycles = e->instructions = 0;
    e->reset_cause = cause;
    e->last_fault = e->fault_before = (struct emu_fault){0};
    e->fault_kind = EMU_FAULT_NONE;
    for (uint32_t i = 0; i < EVENTS; i++) e->when_ps[i] = NEVER;
    reset_core(e);
    memset(e->write_protect, 0, sizeof e->write_protect);
    e->write_protect[1] = PROTECT_DSU;
    observe_reset(e);
    nvm_reset(e);
    for (uint32_t i = 0; i < TIMERS; i++) tc_reset(e, i);
    e->rtc = (struct rtc){.read_request = RTC_READREQ_RESET};
    clock_reset(e);
    port_reset(e);
    eic_reset(e);
    dsu_reset(e);
    mtb_reset(e);
    wdt_reset(e);
    evsys_reset(e);
    dmac_reset(e);
    adc_reset(e);
    i2s_reset(e);
    for (uint32_t i = 0; i < SERCOMS; i++) {
        e->sercom[i].arrival_ps = NEVER;
        sercom_reset(e, i);
    }
    e->irq_level = e->pending = 0;
    event_update(e);
}
