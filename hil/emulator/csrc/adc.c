/* adc.c -- analog to digital converter (data sheet, chapter 33).
 *
 * Every pin hears the microphone, centred at half the supply; the full scale of the file is the whole supply. Without
 * noise, offset and nonlinearity.
 */
#include "ops.h"
#include "state.h"

enum { CTRLA = 0x00, CTRLB = 0x04, WINCTRL = 0x08, SWTRIG = 0x0C, INPUTCTRL = 0x10, EVCTRL = 0x14, INTFLAG = 0x18,
       WINLT = 0x1C, WINUT = 0x20, GAINCORR = 0x24, CALIB = 0x28, BASE = 0x42004000 };
enum { A_SWRST = 1, A_ENABLE = 2, B_DIFFERENTIAL = 1, B_LEFT = 2, B_FREERUN = 4, B_CORRECT = 8, T_FLUSH = 1,
       T_START = 2 };
enum { E_START = 1, E_SYNC = 2, E_READY_OUT = 16, E_WINDOW_OUT = 32 };
enum { F_READY = 1, F_OVERRUN = 2, F_WINDOW = 4, F_SYNCED = 8, S_BUSY = 0x80 };
enum { CHANNEL_ADC = 0x1E, GENERATOR_READY = 0x42, GENERATOR_WINDOW = 0x43 };
enum { PINS_END = 0x14, MUX_TEMPERATURE = 0x18, MUX_BANDGAP = 0x19, MUX_CORE = 0x1A, MUX_IO = 0x1B };
/* Microvolts: of the band gap, the temperature sensor at 25 degrees, and a quarter of the core's supply. */
enum { BANDGAP_UV = 1100000, TEMPERATURE_UV = 667000, CORE_QUARTER_UV = 300000, REFERENCE_1V_UV = 1000000 };

static uint64_t clock_microhertz(const struct emu *e) {
    return gclk_channel_microhertz(e, CHANNEL_ADC) >> (2 + (e->adc.control_b >> 8 & 7));
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_ADC, (e->adc.flags & e->adc.interrupts) != 0);
}

static uint32_t resolution(const struct adc *a) {
    static const uint8_t bits[4] = {12, 12, 10, 8};
    return bits[a->control_b >> 4 & 3];
}

static uint32_t conversions(const struct adc *a) {
    uint32_t log2 = a->average & 15;
    return 1u << (log2 < 10 ? log2 : 10);
}

/* Half cycles of CLK_ADC from a start to its result, and from one conversion to the next (data sheet, "Prescaler":
 * propagation delay and delay gain). */
static uint32_t half_cycles(const struct adc *a, bool first) {
    static const uint8_t gain[2][2][6] = {
        {{0, 2, 2, 4, 4, 2}, {2, 3, 4, 5, 6, 3}}, /* single-ended: following, first; 1, 2, 4, 8, 16, 1/2 */
        {{0, 0, 2, 2, 4, 0}, {0, 1, 2, 3, 4, 1}}};
    uint32_t g = a->input >> 24 & 15, differential = a->control_b & B_DIFFERENTIAL;
    return resolution(a) + gain[differential][first][g < 5 ? g : 5] + a->sampling + (first ? 2 : 0);
}

static int64_t input_microvolts_q16(struct emu *e, uint32_t mux, uint64_t position) {
    int64_t supply = (int64_t)e->supply_mv * 1000;
    if (mux < PINS_END) {
        struct sound *s = &e->sound[SOUND_ADC];
        int64_t level_q24 = s->samples ? (32768 << 8) + sound_at_q8(s, position) : 32768 << 8;
        return supply * level_q24 >> 8;
    }
    switch (mux) {
    case MUX_TEMPERATURE: return (int64_t)TEMPERATURE_UV << 16;
    case MUX_BANDGAP: return (int64_t)BANDGAP_UV << 16;
    case MUX_CORE: return (int64_t)CORE_QUARTER_UV << 16;
    case MUX_IO: return (supply << 16) / 4;
    default: return 0;
    }
}

static int64_t reference_microvolts(const struct emu *e) {
    int64_t supply = (int64_t)e->supply_mv * 1000;
    switch (e->adc.reference & 15) {
    case 0: return REFERENCE_1V_UV;
    case 1: return supply * 100 / 148;
    case 2: return supply / 2;
    default: return supply; /* the pins of external references are taken to have it */
    }
}

/* One conversion, with the microphone at `position`. */
static int32_t convert(struct emu *e, uint64_t position) {
    const struct adc *a = &e->adc;
    static const uint8_t gain_x2[16] = {2, 4, 8, 16, 32, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1};
    uint32_t bits = resolution(a), positive = (a->input & 31) + a->offset, negative = a->input >> 8 & 31;
    bool differential = a->control_b & B_DIFFERENTIAL;
    int64_t uv_q16 = input_microvolts_q16(e, positive, position);
    if (differential && negative < PINS_END) uv_q16 -= input_microvolts_q16(e, negative, position);
    int64_t scaled = uv_q16 / 2 * gain_x2[a->input >> 24 & 15];
    int64_t full = reference_microvolts(e) << 16, range = (int64_t)1 << (bits - (differential ? 1 : 0));
    int64_t numerator = scaled * range, code = numerator / full - (numerator % full < 0);
    int64_t least = differential ? -range : 0;
    return (int32_t)(code < least ? least : code > range - 1 ? range - 1 : code);
}

static int32_t corrected(const struct adc *a, int32_t value) {
    if (!(a->control_b & B_CORRECT)) return value;
    int32_t offset = (int32_t)((uint32_t)a->offset_correction << 20) >> 20;
    return (int32_t)(((int64_t)value - offset) * (a->gain_correction & 0xFFF) >> 11);
}

/* Sum of the conversions, shifted so that it fits 16 bits and then as asked for. */
static int32_t result_of(struct emu *e) {
    const struct adc *a = &e->adc;
    struct sound *s = &e->sound[SOUND_ADC];
    uint64_t position = 0, step = 0, clock = clock_microhertz(e);
    uint32_t n = conversions(a), log2 = a->average & 15;
    if (s->samples && (a->input & 31) + a->offset < PINS_END) {
        position = sound_position_q32(s, a->began_ps);
        step = n > 1 ? sound_step_q32(s, time_of_ticks(half_cycles(a, false), 2 * clock)) : 0;
        s->taken++;
    }
    if (n == 1) return corrected(a, convert(e, position));
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += convert(e, position + i * step);
    sum >>= log2 > 4 ? (log2 < 10 ? log2 : 10) - 4 : 0;
    return corrected(a, (int32_t)(sum >> (a->average >> 4 & 7)));
}

static bool in_window(const struct adc *a, int32_t value) {
    bool wide = a->control_b & B_DIFFERENTIAL;
    int32_t low = wide ? (int16_t)a->window_low : a->window_low, high = wide ? (int16_t)a->window_high : a->window_high;
    switch (a->window & 7) {
    case 1: return value > low;
    case 2: return value < high;
    case 3: return value > low && value < high;
    case 4: return !(value > low && value < high);
    default: return false;
    }
}

static void begin(struct emu *e, bool first) {
    struct adc *a = &e->adc;
    uint64_t clock = clock_microhertz(e);
    bool over = (a->input & 31) < PINS_END && sound_stands_still(&e->sound[SOUND_ADC]);
    if (!(a->control_a & A_ENABLE) || a->converting || clock == 0 || over) return;
    uint32_t halves = half_cycles(a, first) + (conversions(a) - 1) * half_cycles(a, false);
    a->converting = true;
    a->began_ps = time_now_ps(e);
    event_schedule(e, EVENT_ADC, a->began_ps + time_of_ticks(halves, 2 * clock));
}

/* The last conversion of a result has ended. */
void adc_event(struct emu *e) {
    struct adc *a = &e->adc;
    int32_t value = result_of(e);
    bool left = (a->control_b & B_LEFT) && (a->control_b >> 4 & 3) != 1;
    a->converting = false;
    if (a->flags & F_READY) a->flags |= F_OVERRUN;
    a->result = (uint16_t)(left ? (uint32_t)value << (16 - resolution(a)) : (uint32_t)value);
    a->flags |= F_READY;
    if ((a->input >> 16 & 15) != 0) a->offset = (a->offset + 1u) % ((a->input >> 16 & 15) + 1u);
    bool hit = in_window(a, value);
    if (hit) a->flags |= F_WINDOW;
    if (a->control_b & B_FREERUN) begin(e, false);
    if (a->event_control & E_READY_OUT) evsys_event(e, GENERATOR_READY);
    if (hit && (a->event_control & E_WINDOW_OUT)) evsys_event(e, GENERATOR_WINDOW);
    dmac_service(e);
    update_irq(e);
}

static void flush(struct emu *e) {
    e->adc.converting = false;
    event_cancel(e, EVENT_ADC);
}

/* An event: start, or (SYNC) throw away what is under way and start. */
void adc_input(struct emu *e, bool synchronize) {
    struct adc *a = &e->adc;
    if (!(a->event_control & (synchronize ? E_SYNC : E_START))) return;
    if (synchronize) flush(e);
    begin(e, true);
}

void adc_reset(struct emu *e) {
    e->adc = (struct adc){0};
    event_cancel(e, EVENT_ADC);
    update_irq(e);
}

/* It converts by itself, or a timer makes it. */
bool adc_listens(const struct emu *e) {
    const struct adc *a = &e->adc;
    bool by_itself = a->control_b & B_FREERUN ? a->converting : a->event_control & (E_START | E_SYNC);
    return (a->control_a & A_ENABLE) && by_itself && (a->input & 31) < PINS_END;
}

bool adc_ready(const struct emu *e) {
    return e->adc.flags & F_READY;
}

static void control_write(struct emu *e, uint32_t value, uint32_t lanes) {
    struct adc *a = &e->adc;
    if ((lanes & 1) && (value & A_SWRST)) {
        adc_reset(e);
        return;
    }
    bool was = a->control_a & A_ENABLE;
    if (lanes & 1) a->control_a = value & 6;
    if (lanes & 2) a->reference = value >> 8 & 0x8F;
    if (lanes & 4) a->average = value >> 16 & 0x7F;
    if (lanes & 8) a->sampling = value >> 24 & 0x3F;
    if (was && !(a->control_a & A_ENABLE)) flush(e);
    if (!was && (a->control_a & A_ENABLE) && (a->control_b & B_FREERUN)) begin(e, true);
}

static bool is_synchronized(uint32_t offset, uint32_t lanes) {
    return (offset == CTRLA && (lanes & 1)) || (offset >= CTRLB && offset <= INPUTCTRL) || offset == WINLT ||
           offset == WINUT;
}

static void plain_write(struct emu *e, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct adc *a = &e->adc;
    uint32_t masked = value & lane_mask(lanes);
    switch (offset) {
    case CTRLA: control_write(e, value, lanes); break;
    case CTRLB: a->control_b = (uint16_t)(merge(a->control_b, value, lanes) & 0x73F); break;
    case WINCTRL: a->window = value & 7; break;
    case SWTRIG:
        if (masked & T_FLUSH) flush(e);
        if (masked & T_START) begin(e, true);
        break;
    case INPUTCTRL:
        a->input = merge(a->input, value, lanes) & 0x0FFF1F1F;
        a->offset = a->input >> 20 & 15;
        break;
    case EVCTRL:
        if (lanes & 1) a->event_control = value & 0x33;
        a->interrupts &= (uint8_t)~(masked >> 16);
        a->interrupts |= (uint8_t)(masked >> 24) & 15;
        break;
    case INTFLAG: a->flags &= (uint8_t)~masked; break;
    case WINLT: a->window_low = (uint16_t)merge(a->window_low, value, lanes); break;
    case WINUT: a->window_high = (uint16_t)merge(a->window_high, value, lanes); break;
    case GAINCORR: {
        uint32_t both = merge(a->gain_correction | (uint32_t)a->offset_correction << 16, value, lanes) & 0x0FFF0FFF;
        a->gain_correction = (uint16_t)both;
        a->offset_correction = (uint16_t)(both >> 16);
        break;
    }
    case CALIB:
        a->calibration = (uint16_t)(merge(a->calibration, value, lanes) & 0x7FF);
        if (lanes & 4) a->debug = value >> 16 & 1;
        break;
    default: bus_log(e, BASE + offset, true); break;
    }
}

void adc_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct adc *a = &e->adc;
    bool synchronized = is_synchronized(offset, lanes);
    (void)index;
    if (synchronized && !sync_wait(e, &a->sync, gclk_channel_microhertz(e, CHANNEL_ADC), BASE + offset)) return;
    plain_write(e, offset, value, lanes);
    if (synchronized) {
        sync_begin(e, &a->sync);
        a->flags |= F_SYNCED;
    }
    update_irq(e);
}

uint32_t adc_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    struct adc *a = &e->adc;
    uint32_t value;
    (void)index;
    switch (offset) {
    case CTRLA:
        return a->control_a | (uint32_t)a->reference << 8 | (uint32_t)a->average << 16 | (uint32_t)a->sampling << 24;
    case CTRLB: return a->control_b;
    case WINCTRL: return a->window;
    case SWTRIG: return 0;
    case INPUTCTRL: return (a->input & ~0xF00000u) | (uint32_t)a->offset << 20;
    case EVCTRL: return a->event_control | (uint32_t)a->interrupts << 16 | (uint32_t)a->interrupts << 24;
    case INTFLAG:
        value = a->flags | (sync_busy(e, &a->sync, gclk_channel_microhertz(e, CHANNEL_ADC)) ? S_BUSY << 8 : 0) |
                (uint32_t)a->result << 16;
        if (lanes & 4) a->flags &= (uint8_t)~F_READY;
        update_irq(e);
        return value;
    case WINLT: return a->window_low;
    case WINUT: return a->window_high;
    case GAINCORR: return a->gain_correction | (uint32_t)a->offset_correction << 16;
    case CALIB: return a->calibration | (uint32_t)a->debug << 16;
    default: bus_log(e, BASE + offset, false); return 0;
    }
}
