/* counter.c -- what timers share: ticks of their clock and synchronization with it. */
#include "ops.h"
#include "state.h"

/* Data sheet, "Synchronization": 5 to 6 cycles of the generic clock and 2 to 3 of the bus clock. */
enum { SYNC_GENERIC_CYCLES = 6, SYNC_BUS_CYCLES = 2 };

uint64_t counter_ticks(const struct emu *e, const struct counter *c, uint64_t microhertz) {
    return c->running && microhertz != 0 ? time_ticks_in(time_now_ps(e) - c->base_ps, microhertz) : 0;
}

/* When the counter has made `ticks` ticks since its base. */
uint64_t counter_time_of(const struct counter *c, uint64_t ticks, uint64_t microhertz) {
    return microhertz != 0 ? c->base_ps + time_of_ticks(ticks, microhertz) : NEVER;
}

void counter_start(struct emu *e, struct counter *c, uint64_t value) {
    c->base_ps = time_now_ps(e);
    c->base = value;
    c->seen = 0;
}

void sync_begin(struct emu *e, struct sync *s) {
    s->pending = true;
    s->since_ps = time_now_ps(e);
}

static uint64_t sync_end(const struct emu *e, const struct sync *s, uint64_t microhertz) {
    if (microhertz == 0) return NEVER;
    return s->since_ps + time_of_ticks(SYNC_GENERIC_CYCLES, microhertz) +
           time_of_ticks(SYNC_BUS_CYCLES, e->cpu_microhertz);
}

bool sync_busy(const struct emu *e, const struct sync *s, uint64_t microhertz) {
    return s->pending && time_now_ps(e) < sync_end(e, s, microhertz);
}

/* An access while busy stalls the bus. Without the clock it would stall for ever: a fault. */
bool sync_wait(struct emu *e, struct sync *s, uint64_t microhertz, uint32_t address) {
    if (!sync_busy(e, s, microhertz)) {
        s->pending = false;
        return true;
    }
    if (microhertz == 0) {
        core_fault(e, EMU_FAULT_UNCLOCKED, address);
        return false;
    }
    uint64_t end = time_cycle_of(e, sync_end(e, s, microhertz));
    e->stalled += end - e->cycles;
    e->cycles = end;
    s->pending = false;
    e->attention = 1;
    return true;
}
