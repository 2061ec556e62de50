/* rtc.c -- real-time counter: 32-bit, 16-bit and calendar mode (data sheet, chapter 19). */
#include "ops.h"
#include "state.h"

enum { CTRL = 0x00, EVCTRL = 0x04, INTFLAG = 0x08, FREQCORR = 0x0C, COUNT = 0x10, PER = 0x14, COMP = 0x18,
       MASK = 0x1C };
enum { C_SWRST = 1, C_ENABLE = 2, C_MODE = 0xC, MODE_COUNT16 = 4, MODE_CALENDAR = 8, C_CLKREP = 0x40,
       C_MATCHCLR = 0x80 };
enum { F_COMPARE = 1, F_SYNCRDY = 0x40, F_OVERFLOW = 0x80, RREQ = 1 << 15, RCONT = 1 << 14, STATUS_BUSY = 0x80 };
enum { CHANNEL_RTC = 4, BASE = 0x40001400, READREQ_RESET = 0x10 };

static uint64_t bus_microhertz(const struct emu *e) {
    return gclk_channel_microhertz(e, CHANNEL_RTC);
}

static uint64_t tick_microhertz(const struct emu *e) {
    uint32_t prescaler = e->rtc.control >> 8 & 15;
    return bus_microhertz(e) >> (prescaler > 10 ? 10 : prescaler);
}

static bool is_calendar(const struct rtc *r) {
    return (r->control & C_MODE) == MODE_CALENDAR;
}

/* Value after which the counter begins again at 0. */
static uint64_t top(const struct rtc *r) {
    if ((r->control & C_MODE) == MODE_COUNT16) return r->period;
    return (r->control & C_MATCHCLR) && !is_calendar(r) ? r->compare[0] : 0xFFFFFFFF;
}

/* CLOCK and ALARM: seconds, minutes, hours, day, month, year in fields of 6, 6, 5, 5, 4, 6 bits. */
static uint32_t days_in(uint32_t month, uint32_t year) {
    static const uint8_t days[16] = {31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 31, 31};
    return month == 2 && year % 4 == 0 ? 29 : days[month & 15];
}

static uint32_t next_second(uint32_t clock) {
    uint32_t second = clock & 63, minute = clock >> 6 & 63, hour = clock >> 12 & 31, day = clock >> 17 & 31;
    uint32_t month = clock >> 22 & 15, year = clock >> 26;
    if (++second < 60) return clock + 1;
    second = 0;
    if (++minute == 60) {
        minute = 0;
        hour++;
    }
    if (hour == 24) {
        hour = 0;
        day++;
    }
    if (day > days_in(month, year)) {
        day = 1;
        month++;
    }
    if (month > 12) {
        month = 1;
        year = (year + 1) & 63;
    }
    return second | minute << 6 | hour << 12 | day << 17 | month << 22 | year << 26;
}

/* MASK0.SEL: how much of the alarm has to match, from the seconds upwards; 0: never. */
static bool alarm_matches(const struct rtc *r, uint32_t clock) {
    static const uint32_t fields[8] = {0, 0x3F, 0xFFF, 0x1FFFF, 0x3FFFFF, 0x3FFFFFF, 0xFFFFFFFF, 0};
    uint32_t mask = fields[r->alarm_mask & 7];
    return mask != 0 && ((clock ^ r->compare[0]) & mask) == 0;
}

/* Time of day in seconds. */
static uint32_t second_of_day(uint32_t clock) {
    return (clock & 63) + 60 * (clock >> 6 & 63) + 3600 * (clock >> 12 & 31);
}

/* The same time on the next day. */
static uint32_t next_day(uint32_t clock) {
    uint32_t last_second = 59 | 59 << 6 | 23 << 12;
    return (next_second((clock & ~0x1FFFFu) | last_second) & ~0x1FFFFu) | (clock & 0x1FFFF);
}

/* Whether the alarm goes off in the 24 hours after `clock`, the last second included. */
static bool alarm_within_a_day(const struct rtc *r, uint32_t clock) {
    uint32_t alarm = r->compare[0], mask = r->alarm_mask & 7, time = alarm & 0x1FFFF;
    bool valid = (alarm & 63) < 60 && (mask < 2 || (alarm >> 6 & 63) < 60) && (mask < 3 || (alarm >> 12 & 31) < 24);
    if (mask == 0 || mask == 7 || !valid) return false;
    if (mask <= 3) return true;
    bool today = second_of_day(time) > second_of_day(clock);
    return alarm_matches(r, ((today ? clock : next_day(clock)) & ~0x1FFFFu) | time);
}

static void tick_calendar(struct rtc *r, uint64_t ticks) {
    while (ticks > 0) {
        uint32_t before = (uint32_t)r->counter.base;
        bool day = ticks >= 86400;
        uint32_t now = day ? next_day(before) : next_second(before);
        if (now >> 26 < before >> 26) r->flags |= F_OVERFLOW;
        if (day ? alarm_within_a_day(r, before) : alarm_matches(r, now)) r->flags |= F_COMPARE;
        r->counter.base = now;
        ticks -= day ? 86400 : 1;
    }
}

static uint64_t distance(const struct rtc *r, uint64_t value) {
    uint64_t round = top(r) + 1, base = r->counter.base % round;
    if (value >= round) return 0;
    uint64_t d = (value + round - base) % round;
    return d ? d : round;
}

static bool passes(uint64_t first, uint64_t round, uint64_t from, uint64_t to) {
    return first != 0 && to >= first && first + (to - first) / round * round > from;
}

static void tick_counter(struct rtc *r, uint64_t from, uint64_t to) {
    uint64_t round = top(r) + 1;
    uint32_t compares = (r->control & C_MODE) == MODE_COUNT16 ? 2 : 1;
    if (passes(distance(r, 0), round, from, to)) r->flags |= F_OVERFLOW;
    for (uint32_t i = 0; i < compares; i++) {
        if (passes(distance(r, r->compare[i]), round, from, to)) r->flags |= (uint8_t)(F_COMPARE << i);
    }
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_RTC, (e->rtc.flags & e->rtc.interrupts) != 0);
}

static void catch_up(struct emu *e) {
    struct rtc *r = &e->rtc;
    uint64_t ticks = counter_ticks(e, &r->counter, tick_microhertz(e));
    if (ticks <= r->counter.seen) return;
    if (is_calendar(r)) {
        tick_calendar(r, ticks - r->counter.seen);
    } else {
        tick_counter(r, r->counter.seen, ticks);
    }
    r->counter.seen = ticks;
    update_irq(e);
}

/* In calendar mode the base is the clock itself, in the others the count at base_ps. */
static uint32_t count(struct emu *e) {
    const struct rtc *r = &e->rtc;
    catch_up(e);
    if (is_calendar(r)) return (uint32_t)r->counter.base;
    return (uint32_t)((r->counter.base + r->counter.seen) % (top(r) + 1));
}

static void schedule(struct emu *e) {
    struct rtc *r = &e->rtc;
    uint64_t best = NEVER, seen = r->counter.seen, round = top(r) + 1;
    const uint64_t first[3] = {distance(r, 0), distance(r, r->compare[0]), distance(r, r->compare[1])};
    static const uint8_t flag[3] = {F_OVERFLOW, F_COMPARE, F_COMPARE << 1};
    for (uint32_t i = 0; i < 3; i++) {
        if (!(r->interrupts & flag[i])) continue;
        uint64_t tick = seen + 1;
        if (!is_calendar(r)) {
            if (first[i] == 0) continue;
            tick = seen < first[i] ? first[i] : first[i] + ((seen - first[i]) / round + 1) * round;
        }
        if (tick < best) best = tick;
    }
    bool runs = r->counter.running && best != NEVER;
    event_schedule(e, EVENT_RTC, runs ? counter_time_of(&r->counter, best, tick_microhertz(e)) : NEVER);
}

void rtc_event(struct emu *e) {
    catch_up(e);
    schedule(e);
}

void rtc_settle(struct emu *e) {
    if (e->rtc.counter.running) counter_start(e, &e->rtc.counter, count(e));
}

void rtc_resume(struct emu *e) {
    schedule(e);
}

static void control_write(struct emu *e, uint32_t value) {
    struct rtc *r = &e->rtc;
    if (value & C_SWRST) {
        *r = (struct rtc){.read_request = READREQ_RESET};
        return;
    }
    uint32_t now = count(e);
    bool was = r->control & C_ENABLE;
    uint32_t changeable = was ? C_ENABLE : 0x0FCE;
    r->control = (uint16_t)((r->control & ~changeable) | (value & changeable));
    r->counter.running = r->control & C_ENABLE;
    counter_start(e, &r->counter, now);
}

static void compare_write(struct rtc *r, uint32_t value, uint32_t lanes) {
    if ((r->control & C_MODE) == MODE_COUNT16) {
        uint32_t both = merge(r->compare[0] | r->compare[1] << 16, value, lanes);
        r->compare[0] = both & 0xFFFF;
        r->compare[1] = both >> 16;
    } else {
        r->compare[0] = merge(r->compare[0], value, lanes);
    }
}

static void plain_write(struct emu *e, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct rtc *r = &e->rtc;
    uint32_t masked = value & lane_mask(lanes);
    switch (offset) {
    case CTRL:
        if (lanes & 3) control_write(e, merge(r->control, value, lanes));
        if (lanes & 12) {
            r->read_request = (uint16_t)((masked >> 16 & 0xC000) | READREQ_RESET);
            sync_begin(e, &r->sync);
        }
        break;
    case EVCTRL:
        r->event_control = (uint16_t)merge(r->event_control, value, lanes);
        r->interrupts &= (uint8_t)~(masked >> 16);
        r->interrupts |= (uint8_t)(masked >> 24) & 0xC3;
        break;
    case INTFLAG:
        r->flags &= (uint8_t)~masked;
        if (lanes & 8) r->debug = value >> 24 & 1;
        break;
    case FREQCORR:
        if (lanes & 1) r->correction = (uint8_t)value;
        break;
    case COUNT: counter_start(e, &r->counter, merge(count(e), value, lanes)); break;
    case PER: r->period = merge(r->period, value, lanes) & 0xFFFF; break;
    case COMP: compare_write(r, value, lanes); break;
    case MASK:
        if (lanes & 1) r->alarm_mask = value & 7;
        break;
    default: bus_log(e, BASE + offset, true); break;
    }
}

void rtc_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct rtc *r = &e->rtc;
    bool synchronized = (offset == CTRL && lanes & 3) || offset == FREQCORR || offset >= COUNT;
    (void)index;
    if (synchronized && !(offset == CTRL && value & C_SWRST)) {
        if (!sync_wait(e, &r->sync, bus_microhertz(e), BASE + offset)) return;
        uint32_t now = count(e);
        if (offset == PER || offset == COMP) counter_start(e, &r->counter, now);
    }
    plain_write(e, offset, value, lanes);
    if (synchronized && !(offset == CTRL && value & C_SWRST)) {
        sync_begin(e, &r->sync);
        r->flags |= F_SYNCRDY;
    }
    catch_up(e);
    update_irq(e);
    schedule(e);
}

static uint32_t count_read(struct emu *e) {
    struct rtc *r = &e->rtc;
    if (r->read_request & RCONT) return count(e);
    if (r->read_request & RREQ) {
        if (!sync_wait(e, &r->sync, bus_microhertz(e), BASE + COUNT)) return 0;
        r->captured = count(e);
        r->read_request &= (uint16_t)~RREQ;
    }
    return r->captured;
}

uint32_t rtc_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    struct rtc *r = &e->rtc;
    (void)index;
    (void)lanes;
    catch_up(e);
    switch (offset) {
    case CTRL: return r->control | (uint32_t)r->read_request << 16;
    case EVCTRL: return r->event_control | (uint32_t)r->interrupts << 16 | (uint32_t)r->interrupts << 24;
    case INTFLAG:
        return r->flags | (sync_busy(e, &r->sync, bus_microhertz(e)) ? STATUS_BUSY << 16 : 0u) |
               (uint32_t)r->debug << 24;
    case FREQCORR: return r->correction;
    case COUNT: return count_read(e);
    case PER: return r->period;
    case COMP: return (r->control & C_MODE) == MODE_COUNT16 ? r->compare[0] | r->compare[1] << 16 : r->compare[0];
    case MASK: return r->alarm_mask;
    default: bus_log(e, BASE + offset, false); return 0;
    }
}
