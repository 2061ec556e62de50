/* tc.c -- timer/counters TC3 to TC7: 8, 16 and 32 bit (data sheet, chapter 30).
 *
 * A counter is a number of ticks since a known moment; flags follow when somebody looks, and an
 * event is scheduled only where an interrupt, an output to the event system or the DMA wants it. Capture, counting of
 * events and waveform pins are not modelled.
 */
#include "ops.h"
#include "state.h"

enum { CTRLA = 0x00, CTRLB = 0x04, EVCTRL = 0x08, INTEN = 0x0C, COUNT = 0x10, PER = 0x14, CC0 = 0x18, CC1 = 0x1C };
enum { A_SWRST = 1, A_ENABLE = 2, A_MODE = 0xC, A_MODE32 = 0x8, A_MODE8 = 0x4 };
enum { B_DIR = 1, B_RESET = 2, B_ONESHOT = 4, B_CMD = 0xC0, CMD_RETRIGGER = 0x40, CMD_STOP = 0x80 };
enum { F_OVF = 1, F_ERR = 2, F_SYNCRDY = 8, F_MC0 = 16 };
enum { S_STOP = 8, S_SLAVE = 16, S_SYNCBUSY = 128 };
enum { V_ACTION = 7, V_INPUT = 1 << 5, V_OVF_OUT = 1 << 8, V_MC0_OUT = 1 << 12, ACTION_RETRIGGER = 1,
       ACTION_START = 3, GENERATOR_TC3 = 0x33, TRIGGER_TC3 = 0x18 };
enum { RREQ = 1 << 15, RCONT = 1 << 14 };
enum { BASE = 0x42002C00, STRIDE = 0x400, CHANNEL_TC3 = 0x1B, FIRST = 3 };

static bool is_slave(const struct emu *e, uint32_t index) {
    /* TC5 serves TC4 and TC7 serves TC6 when these count 32 bits. */
    bool odd = (index + FIRST) % 2 == 1 && index > 0;
    return odd && (e->tc[index - 1].control_a & A_MODE) == A_MODE32;
}

static uint64_t bus_microhertz(const struct emu *e, uint32_t index) {
    return gclk_channel_microhertz(e, CHANNEL_TC3 + (index + 1) / 2);
}

static uint64_t tick_microhertz(const struct emu *e, uint32_t index) {
    static const uint8_t shift[8] = {0, 1, 2, 3, 4, 6, 8, 10};
    return bus_microhertz(e, index) >> shift[e->tc[index].control_a >> 8 & 7];
}

static uint64_t maximum(const struct tc *t) {
    uint32_t mode = t->control_a & A_MODE;
    return mode == A_MODE8 ? 0xFF : mode == A_MODE32 ? 0xFFFFFFFF : 0xFFFF;
}

/* Waveform generation decides what the counter wraps at: MFRQ and MPWM (bit 5) at CC0. */
static uint64_t top(const struct tc *t) {
    if (t->control_a & 0x20) return t->compare[0];
    return (t->control_a & A_MODE) == A_MODE8 ? t->period : maximum(t);
}

/* Ticks from a base until the counter stands at `value` for the first time, at least one; 0: never. */
static uint64_t distance(const struct tc *t, uint64_t value) {
    uint64_t round = top(t) + 1, base = t->counter.base;
    if (value >= round) return 0;
    if (base >= round) base = t->control_b & B_DIR ? round - 1 : 0;
    uint64_t d = t->control_b & B_DIR ? (base + round - value) % round : (value + round - base) % round;
    return d ? d : round;
}

static uint64_t wrap_distance(const struct tc *t) {
    return distance(t, t->control_b & B_DIR ? top(t) : 0);
}

static uint64_t value_after(const struct tc *t, uint64_t ticks) {
    uint64_t round = top(t) + 1, base = t->counter.base % round;
    ticks %= round;
    return t->control_b & B_DIR ? (base + round - ticks) % round : (base + ticks) % round;
}

/* Whether a point that is first passed after `first` ticks and then every round lies in (from, to]. */
static bool passes(uint64_t first, uint64_t round, uint64_t from, uint64_t to) {
    if (first == 0 || to < first) return false;
    uint64_t last = first + (to - first) / round * round;
    return last > from;
}

static void update_irq(struct emu *e, uint32_t index) {
    irq_set_level(e, IRQ_TC3 + index, (e->tc[index].flags & e->tc[index].interrupts) != 0);
}

/* Outputs of a timer: 0 overflow, 1 and 2 compare. */
static bool feeds_events(const struct tc *t, uint32_t output) {
    return t->event_control & (output == 0 ? V_OVF_OUT : V_MC0_OUT << (output - 1));
}

static void tell(struct emu *e, uint32_t index, uint32_t output) {
    if (feeds_events(&e->tc[index], output)) evsys_event(e, GENERATOR_TC3 + 3 * index + output);
    if (e->dmac.enabled) dmac_trigger(e, TRIGGER_TC3 + 3 * index + output);
}

/* Bring flags and one-shot up to date. */
static void catch_up(struct emu *e, uint32_t index) {
    struct tc *t = &e->tc[index];
    uint64_t ticks = counter_ticks(e, &t->counter, tick_microhertz(e, index)), seen = t->counter.seen;
    if (ticks <= seen) return;
    uint64_t round = top(t) + 1, wrap = wrap_distance(t);
    bool wrapped = passes(wrap, round, seen, ticks);
    if (wrapped && (t->control_b & B_ONESHOT)) ticks = wrap;
    bool matched[2];
    for (uint32_t i = 0; i < 2; i++) {
        matched[i] = passes(distance(t, t->compare[i]), round, seen, ticks);
        if (matched[i]) t->flags |= (uint8_t)(F_MC0 << i);
    }
    if (wrapped) t->flags |= F_OVF;
    t->counter.seen = ticks;
    if (wrapped && (t->control_b & B_ONESHOT)) {
        uint64_t value = value_after(t, ticks);
        t->counter.running = false;
        t->stopped = true;
        counter_start(e, &t->counter, value);
    }
    update_irq(e, index);
    if (wrapped) tell(e, index, 0);
    if (matched[0]) tell(e, index, 1);
    if (matched[1]) tell(e, index, 2);
}

static uint64_t count(struct emu *e, uint32_t index) {
    struct tc *t = &e->tc[index];
    catch_up(e, index);
    return t->counter.running ? value_after(t, t->counter.seen) : t->counter.base;
}

/* The next tick at which an enabled interrupt's flag rises, or NEVER. */
static void schedule(struct emu *e, uint32_t index) {
    struct tc *t = &e->tc[index];
    uint64_t best = NEVER, round = top(t) + 1;
    const uint64_t first[3] = {wrap_distance(t), distance(t, t->compare[0]), distance(t, t->compare[1])};
    static const uint8_t flag[3] = {F_OVF, F_MC0, F_MC0 << 1};
    for (uint32_t i = 0; i < 3; i++) {
        bool wanted = t->interrupts & flag[i] || (i == 0 && t->control_b & B_ONESHOT) || feeds_events(t, i) ||
                      (e->dmac.enabled && dmac_listens(e, TRIGGER_TC3 + 3 * index + i));
        if (!t->counter.running || !wanted || first[i] == 0) continue;
        uint64_t seen = t->counter.seen;
        uint64_t tick = seen < first[i] ? first[i] : first[i] + ((seen - first[i]) / round + 1) * round;
        if (tick < best) best = tick;
    }
    uint64_t f = tick_microhertz(e, index);
    event_schedule(e, EVENT_TC + index, best == NEVER ? NEVER : counter_time_of(&t->counter, best, f));
}

void tc_event(struct emu *e, uint32_t index) {
    catch_up(e, index);
    schedule(e, index);
}

void tc_settle(struct emu *e) {
    for (uint32_t i = 0; i < e->timers; i++) {
        if (e->tc[i].counter.running) counter_start(e, &e->tc[i].counter, count(e, i));
    }
}

void tc_resume(struct emu *e) {
    for (uint32_t i = 0; i < e->timers; i++) schedule(e, i);
}

void tc_reset(struct emu *e, uint32_t index) {
    e->tc[index] = (struct tc){.period = 0xFF, .stopped = true};
    event_cancel(e, EVENT_TC + index);
    update_irq(e, index);
}

static void set_running(struct emu *e, uint32_t index, uint64_t value, bool running) {
    struct tc *t = &e->tc[index];
    t->counter.running = running;
    t->stopped = !running;
    counter_start(e, &t->counter, value);
}

static void control_a_write(struct emu *e, uint32_t index, uint32_t value) {
    struct tc *t = &e->tc[index];
    if (value & A_SWRST) {
        tc_reset(e, index);
        return;
    }
    uint64_t now = count(e, index);
    bool was = t->control_a & A_ENABLE;
    uint32_t changeable = was ? A_ENABLE : 0x7F6F; /* the rest is enable-protected */
    t->control_a = (uint16_t)((t->control_a & ~changeable) | (value & changeable));
    if (!was && (value & A_ENABLE)) set_running(e, index, t->control_b & B_DIR ? top(t) : 0, true);
    if (was && !(value & A_ENABLE)) set_running(e, index, now, false);
}

static void control_b_write(struct emu *e, uint32_t index, uint8_t clear, uint8_t set) {
    struct tc *t = &e->tc[index];
    uint64_t now = count(e, index);
    t->control_b = (uint8_t)((t->control_b & ~clear) | set) & (B_DIR | B_ONESHOT);
    counter_start(e, &t->counter, now);
    if (!(t->control_a & A_ENABLE)) return;
    if ((set & B_CMD) == CMD_RETRIGGER) set_running(e, index, t->control_b & B_DIR ? top(t) : 0, true);
    if ((set & B_CMD) == CMD_STOP) set_running(e, index, now, false);
}

/* An event for the timer. */
void tc_input(struct emu *e, uint32_t index) {
    struct tc *t = &e->tc[index];
    uint32_t action = t->event_control & V_ACTION;
    if (!(t->event_control & V_INPUT) || !(t->control_a & A_ENABLE)) return;
    if (action == ACTION_RETRIGGER || (action == ACTION_START && !t->counter.running)) {
        set_running(e, index, t->control_b & B_DIR ? top(t) : 0, true);
        schedule(e, index);
    }
}

/* CC0 and CC1 lie side by side in the width of the mode. */
static void compare_write(struct tc *t, uint32_t offset, uint32_t value, uint32_t lanes) {
    uint32_t mode = t->control_a & A_MODE;
    if (mode == A_MODE32) {
        uint32_t *compare = &t->compare[(offset - CC0) / 4];
        *compare = merge(*compare, value, lanes);
    } else if (offset == CC0) {
        uint32_t bits = mode == A_MODE8 ? 8 : 16, mask = (1u << bits) - 1;
        uint32_t both = merge(t->compare[0] | t->compare[1] << bits, value, lanes);
        t->compare[0] = both & mask;
        t->compare[1] = both >> bits & mask;
    }
}

static uint32_t compare_read(const struct tc *t, uint32_t offset) {
    uint32_t mode = t->control_a & A_MODE;
    if (mode == A_MODE32) return t->compare[(offset - CC0) / 4];
    return offset == CC0 ? t->compare[0] | t->compare[1] << (mode == A_MODE8 ? 8 : 16) : 0;
}

/* COUNT shows the count at the last read request, or always after a continuous one. */
static uint32_t count_read(struct emu *e, uint32_t index) {
    struct tc *t = &e->tc[index];
    if (t->read_request & RCONT) return (uint32_t)count(e, index);
    if (t->read_request & RREQ) {
        if (!sync_wait(e, &t->sync, bus_microhertz(e, index), BASE + STRIDE * index + COUNT)) return 0;
        t->captured = (uint32_t)count(e, index);
        t->read_request &= (uint16_t)~RREQ;
    }
    return t->captured;
}

/* Registers that live in the counter's clock domain. */
static bool is_synchronized(uint32_t offset, uint32_t lanes) {
    return offset == COUNT || offset == PER || offset == CC0 || offset == CC1 || offset == CTRLB ||
           (offset == CTRLA && lanes & 3);
}

static void plain_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct tc *t = &e->tc[index];
    uint32_t masked = value & lane_mask(lanes);
    switch (offset) {
    case CTRLA:
        if (lanes & 3) control_a_write(e, index, merge(t->control_a, value, lanes));
        if (lanes & 12) {
            t->read_request = (uint16_t)(masked >> 16);
            sync_begin(e, &t->sync);
        }
        break;
    case CTRLB:
        control_b_write(e, index, (uint8_t)masked, (uint8_t)(masked >> 8));
        if (lanes & 4) t->control_c = (uint8_t)(value >> 16 & 0x33);
        break;
    case EVCTRL:
        if (lanes & 1) t->debug = value & 1;
        t->event_control = (uint16_t)(merge((uint32_t)t->event_control << 16, value, lanes) >> 16);
        if ((t->event_control & V_INPUT) && (t->event_control & V_ACTION) != ACTION_RETRIGGER &&
            (t->event_control & V_ACTION) != ACTION_START) {
            bus_log(e, BASE + STRIDE * index + EVCTRL + 2, true);
        }
        break;
    case INTEN:
        t->interrupts &= (uint8_t)~masked;
        t->interrupts |= (uint8_t)(masked >> 8) & 0x3B;
        t->flags &= (uint8_t)~(masked >> 16);
        break;
    case COUNT: counter_start(e, &t->counter, merge((uint32_t)count(e, index), value, lanes) & maximum(t)); break;
    case PER: t->period = merge(t->period, value, lanes) & 0xFF; break;
    case CC0:
    case CC1: compare_write(t, offset, value, lanes); break;
    default: bus_log(e, BASE + STRIDE * index + offset, true); break;
    }
}

void tc_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct tc *t = &e->tc[index];
    if (is_slave(e, index)) return;
    if (is_synchronized(offset, lanes)) {
        if (!sync_wait(e, &t->sync, bus_microhertz(e, index), BASE + STRIDE * index + offset)) return;
        uint64_t now = count(e, index);
        if (offset == PER || offset == CC0 || offset == CC1) counter_start(e, &t->counter, now);
    }
    plain_write(e, index, offset, value, lanes);
    if (is_synchronized(offset, lanes)) {
        if (!(offset == CTRLA && value & A_SWRST)) sync_begin(e, &t->sync);
        t->flags |= F_SYNCRDY;
    }
    catch_up(e, index);
    update_irq(e, index);
    schedule(e, index);
}

uint32_t tc_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    struct tc *t = &e->tc[index];
    uint32_t status;
    (void)lanes;
    catch_up(e, index);
    switch (offset) {
    case CTRLA: return t->control_a | (uint32_t)t->read_request << 16;
    case CTRLB: return t->control_b | B_RESET | (uint32_t)t->control_b << 8 | (uint32_t)t->control_c << 16;
    case EVCTRL: return t->debug | (uint32_t)t->event_control << 16;
    case INTEN:
        status = (t->stopped ? S_STOP : 0) | (is_slave(e, index) ? S_SLAVE : 0) |
                 (sync_busy(e, &t->sync, bus_microhertz(e, index)) ? S_SYNCBUSY : 0);
        return t->interrupts | (uint32_t)t->interrupts << 8 | (uint32_t)t->flags << 16 | status << 24;
    case COUNT: return count_read(e, index);
    case PER: return (t->control_a & A_MODE) == A_MODE8 ? t->period : 0;
    case CC0:
    case CC1: return compare_read(t, offset);
    default: bus_log(e, BASE + STRIDE * index + offset, false); return 0;
    }
}
