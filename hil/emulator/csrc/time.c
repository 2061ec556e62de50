/* time.c -- virtual time in picoseconds and the events that peripherals wait for.
 *
 * The CPU clock may change, so a cycle is tied to a time only since e->clock_cycle. Times are
 * rounded down and cycles up, which is exact for clocks below 500 GHz.
 */
#include "ops.h"
#include "state.h"

typedef unsigned __int128 u128;

enum { TC_ONESHOT = 4 };

static const uint64_t PS_UHZ = 1000000000000000000u; /* picoseconds times microhertz in one tick */

uint64_t time_of_ticks(uint64_t ticks, uint64_t microhertz) {
    return microhertz ? (uint64_t)((u128)ticks * PS_UHZ / microhertz) : NEVER;
}

/* Whole ticks in a time; 2 ps are forgiven because both its ends were rounded down. */
uint64_t time_ticks_in(uint64_t ps, uint64_t microhertz) {
    return (uint64_t)((u128)(ps + 2) * microhertz / PS_UHZ);
}

uint64_t time_now_ps(const struct emu *e) {
    return e->clock_ps + time_of_ticks(e->cycles - e->clock_cycle, e->cpu_microhertz);
}

uint64_t time_cycle_of(const struct emu *e, uint64_t ps) {
    if (ps == NEVER) return NEVER;
    if (ps <= e->clock_ps) return e->clock_cycle;
    u128 product = (u128)(ps - e->clock_ps) * e->cpu_microhertz;
    u128 cycle = (product + PS_UHZ - 1) / PS_UHZ;
    return cycle > NEVER / 2 ? NEVER : e->clock_cycle + (uint64_t)cycle;
}

static uint32_t earliest(const struct emu *e) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < EVENTS; i++) {
        if (e->when_ps[i] < e->when_ps[best]) best = i;
    }
    return best;
}

void event_update(struct emu *e) {
    uint64_t cycle = time_cycle_of(e, e->when_ps[earliest(e)]), tick = systick_next(e);
    e->next_event = cycle < tick ? cycle : tick;
}

void event_schedule(struct emu *e, uint32_t source, uint64_t ps) {
    e->when_ps[source] = ps;
    e->attention = 1;
    event_update(e);
}

void event_cancel(struct emu *e, uint32_t source) {
    if (e->when_ps[source] != NEVER) event_schedule(e, source, NEVER);
}

static void fire(struct emu *e, uint32_t source) {
    e->when_ps[source] = NEVER;
    if (source >= EVENT_I2S) {
        i2s_event(e, source - EVENT_I2S);
    } else if (source == EVENT_ADC) {
        adc_event(e);
    } else if (source >= EVENT_SERCOM_RX) {
        sercom_rx_event(e, source - EVENT_SERCOM_RX);
    } else if (source >= EVENT_SERCOM_TX) {
        sercom_tx_event(e, source - EVENT_SERCOM_TX);
    } else if (source == EVENT_OSCILLATOR) {
        clock_event(e);
    } else if (source == EVENT_NVM) {
        nvm_event(e);
    } else if (source == EVENT_RTC) {
        rtc_event(e);
    } else if (source == EVENT_WDT || source == EVENT_WDT_EARLY) {
        wdt_event(e, source == EVENT_WDT_EARLY);
    } else {
        tc_event(e, source - EVENT_TC);
    }
}

/* Carry out everything that is due at e->cycles, in order of time. */
void event_service(struct emu *e) {
    while (e->next_event <= e->cycles) {
        uint32_t source = earliest(e);
        uint64_t cycle = time_cycle_of(e, e->when_ps[source]), tick = systick_next(e);
        if (tick <= cycle) {
            systick_service(e);
        } else {
            fire(e, source);
        }
        event_update(e);
    }
}

/* A microphone is listened to, and what it hears is not over. */
bool event_sound_flows(const struct emu *e) {
    return (adc_listens(e) && !sound_stands_still(&e->sound[SOUND_ADC])) ||
           (i2s_listens(e) && !sound_stands_still(&e->sound[SOUND_I2S]));
}

/* Nothing is under way that ends by itself: no transmission, no flash operation, no start-up. */
bool event_only_free_running(const struct emu *e) {
    if (e->when_ps[EVENT_OSCILLATOR] != NEVER || e->when_ps[EVENT_NVM] != NEVER) return false;
    for (uint32_t i = 0; i < e->timers; i++) {
        if (e->tc[i].counter.running && e->tc[i].control_b & TC_ONESHOT) return false;
    }
    for (uint32_t i = 0; i < SERCOMS; i++) {
        if (e->when_ps[EVENT_SERCOM_TX + i] != NEVER || e->when_ps[EVENT_SERCOM_RX + i] != NEVER) return false;
    }
    if (e->adc.converting && !adc_listens(e)) return false;
    return !sercom_transmitting(e) && !event_sound_flows(e);
}
