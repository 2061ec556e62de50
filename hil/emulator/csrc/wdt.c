/* wdt.c -- watchdog timer (data sheet, chapter 18). */
#include "ops.h"
#include "state.h"

enum { CTRL = 0x00, INTEN = 0x04, CLEAR = 0x08 };
enum { C_ENABLE = 2, C_WEN = 4, C_ALWAYSON = 0x80, CLEAR_KEY = 0xA5, STATUS_BUSY = 0x80, RESET_BY_WDT = 0x20 };
enum { CHANNEL_WDT = 3, BASE = 0x40001000, SHORTEST_PERIOD = 8, LONGEST = 11 };

static uint64_t clock_microhertz(const struct emu *e) {
    return gclk_channel_microhertz(e, CHANNEL_WDT);
}

static bool runs(const struct emu *e) {
    return e->wdt.control & (C_ENABLE | C_ALWAYSON);
}

/* Periods of 8 to 16384 cycles of the watchdog's clock. */
static uint64_t period_ps(const struct emu *e, uint32_t code) {
    return time_of_ticks((uint64_t)SHORTEST_PERIOD << (code > LONGEST ? LONGEST : code), clock_microhertz(e));
}

/* In window mode the open window of PER follows the closed one of WINDOW. */
static uint64_t closed_ps(const struct emu *e) {
    return e->wdt.control & C_WEN ? period_ps(e, e->wdt.config >> 4) : 0;
}

static void schedule(struct emu *e) {
    const struct wdt *w = &e->wdt;
    bool on = runs(e) && clock_microhertz(e) != 0;
    uint64_t begin = w->cleared_ps + (on ? closed_ps(e) : 0);
    bool warns = on && w->interrupts != 0 && w->flags == 0 && w->early_warning < (w->config & 15);
    event_schedule(e, EVENT_WDT, on ? begin + period_ps(e, w->config & 15) : NEVER);
    event_schedule(e, EVENT_WDT_EARLY, warns ? begin + period_ps(e, w->early_warning) : NEVER);
}

static void restart(struct emu *e) {
    e->wdt.cleared_ps = time_now_ps(e);
    schedule(e);
}

static void expire(struct emu *e) {
    e->reset_requested = true;
    e->reset_cause = RESET_BY_WDT;
    e->attention = 1;
}

void wdt_event(struct emu *e, bool early) {
    if (!early) {
        expire(e);
        return;
    }
    e->wdt.flags = 1;
    irq_set_level(e, IRQ_WDT, e->wdt.interrupts != 0);
}

/* The watchdog's clock may have changed; the period goes on from its last clearing. */
void wdt_resume(struct emu *e) {
    schedule(e);
}

static void clear(struct emu *e, uint32_t key) {
    if (!runs(e)) return;
    if (key != CLEAR_KEY || time_now_ps(e) < e->wdt.cleared_ps + closed_ps(e)) {
        expire(e);
    } else {
        restart(e);
    }
}

static void control_write(struct emu *e, uint32_t value, uint32_t lanes) {
    struct wdt *w = &e->wdt;
    bool was = runs(e);
    if (w->control & C_ALWAYSON) return;
    if ((lanes & 2) && !was) w->config = (uint8_t)(value >> 8);
    if ((lanes & 4) && !was) w->early_warning = value >> 16 & 15;
    if (lanes & 1) {
        uint32_t bits = was ? C_ENABLE | C_ALWAYSON : C_ENABLE | C_WEN | C_ALWAYSON;
        w->control = (uint8_t)((w->control & ~bits) | (value & bits));
        if (!was && runs(e)) e->wdt.cleared_ps = time_now_ps(e);
    }
}

void wdt_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct wdt *w = &e->wdt;
    uint32_t masked = value & lane_mask(lanes);
    bool synchronized = (offset == CTRL && lanes & 1) || offset == CLEAR;
    (void)index;
    if (synchronized && !sync_wait(e, &w->sync, clock_microhertz(e), BASE + offset)) return;
    switch (offset) {
    case CTRL: control_write(e, value, lanes); break;
    case INTEN:
        w->interrupts = (uint8_t)((w->interrupts & ~masked) | (masked >> 8)) & 1;
        w->flags &= (uint8_t)~(masked >> 16);
        irq_set_level(e, IRQ_WDT, (w->flags & w->interrupts) != 0);
        break;
    case CLEAR:
        if (lanes & 1) clear(e, value & 0xFF);
        break;
    default: bus_log(e, BASE + offset, true); break;
    }
    if (synchronized) sync_begin(e, &w->sync);
    schedule(e);
}

uint32_t wdt_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct wdt *w = &e->wdt;
    (void)index;
    (void)lanes;
    switch (offset) {
    case CTRL: return w->control | (uint32_t)w->config << 8 | (uint32_t)w->early_warning << 16;
    case INTEN:
        return w->interrupts | (uint32_t)w->interrupts << 8 | (uint32_t)w->flags << 16 |
               (sync_busy(e, &w->sync, clock_microhertz(e)) ? (uint32_t)STATUS_BUSY << 24 : 0u);
    case CLEAR: return 0;
    default: bus_log(e, BASE + offset, false); return 0;
    }
}

/* Settings after reset come from bits 25 to 39 of the user row. */
void wdt_reset(struct emu *e) {
    uint64_t row = 0;
    for (uint32_t i = 0; i < 8; i++) row |= (uint64_t)e->nvm.user_row[i] << 8 * i;
    e->wdt = (struct wdt){
        .control = (uint8_t)((row >> 25 & 1) * C_ENABLE | (row >> 26 & 1) * C_ALWAYSON | (row >> 39 & 1) * C_WEN),
        .config = (uint8_t)((row >> 27 & 15) | (row >> 31 & 15) << 4),
        .early_warning = (uint8_t)(row >> 35 & 15),
    };
    restart(e);
}
