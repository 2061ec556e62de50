/* i2s.c -- inter-IC sound (data sheet, chapter 29): receivers with the clock made here.
 *
 * A digital microphone puts 24 bits, most significant first and one bit late, into the first slot. Not modelled:
 * transmitters, PDM, clocks from outside, compact stereo, one DMA trigger for both serializers.
 */
#include "ops.h"
#include "state.h"

enum { CTRLA = 0x00, CLKCTRL = 0x04, INTENCLR = 0x0C, INTENSET = 0x10, INTFLAG = 0x14, SYNCBUSY = 0x18, SERCTRL = 0x20,
       DATA = 0x30, BASE = 0x42005000 };
enum { A_SWRST = 1, A_ENABLE = 2, A_CLOCK0 = 4, A_SERIALIZER0 = 16 };
enum { K_BIT_LATE = 1 << 7, K_OUTSIDE = 1 << 8 | 1 << 12 | 1 << 16, R_CLOCK1 = 1 << 5, R_SLOT_LEFT = 1 << 7,
       R_WORD_LEFT = 1 << 12, R_REVERSED = 1 << 15, R_MODE = 3, R_DMA_TOGETHER = 1 << 25 };
enum { F_READY0 = 1, F_OVERRUN0 = 16, INT_MASK = 0x3333, CHANNEL_I2S0 = 0x23, SIZE_16C = 5, SIZE_8C = 7 };

static const uint8_t data_bits[8] = {32, 24, 20, 18, 16, 16, 8, 8};

static uint32_t unit_of(const struct emu *e, uint32_t serializer) {
    return e->i2s.serializer[serializer] & R_CLOCK1 ? 1 : 0;
}

static uint64_t bit_microhertz(const struct emu *e, uint32_t serializer) {
    uint32_t unit = unit_of(e, serializer), control = e->i2s.clock[unit];
    if (control & K_OUTSIDE) return 0;
    return gclk_channel_microhertz(e, CHANNEL_I2S0 + unit) / ((control >> 19 & 31) + 1);
}

static uint32_t slot_bits(const struct emu *e, uint32_t serializer) {
    return 8 * ((e->i2s.clock[unit_of(e, serializer)] & 3) + 1);
}

static bool receives(const struct emu *e, uint32_t serializer) {
    const struct i2s *s = &e->i2s;
    uint32_t needed = A_ENABLE | A_CLOCK0 << unit_of(e, serializer) | A_SERIALIZER0 << serializer;
    return (s->control & needed) == needed && (s->serializer[serializer] & R_MODE) == 0;
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_I2S, (e->i2s.flags & e->i2s.interrupts) != 0);
}

/* A receiver begins with the first slot when all that it needs is there. */
static void schedule(struct emu *e, uint32_t serializer) {
    struct i2s *s = &e->i2s;
    uint64_t f = bit_microhertz(e, serializer);
    bool on = receives(e, serializer) && f != 0 && !sound_stands_still(&e->sound[SOUND_I2S]);
    if (!on || f != s->running_at[serializer]) {
        s->base_ps[serializer] = time_now_ps(e);
        s->slots[serializer] = 0;
    }
    s->running_at[serializer] = on ? f : 0;
    uint64_t bits = (s->slots[serializer] + 1) * slot_bits(e, serializer);
    event_schedule(e, EVENT_I2S + serializer, on ? s->base_ps[serializer] + time_of_ticks(bits, f) : NEVER);
}

void i2s_resume(struct emu *e) {
    for (uint32_t i = 0; i < SERIALIZERS; i++) {
        if (e->i2s.control & A_ENABLE) schedule(e, i);
    }
}

static uint32_t reversed(uint32_t value, uint32_t bits) {
    uint32_t turned = 0;
    for (uint32_t i = 0; i < bits; i++) turned |= (value >> i & 1) << (bits - 1 - i);
    return turned;
}

/* What DATA shows of a slot whose bits, most significant first, are the upper ones of `line`. */
static uint32_t word_of(const struct emu *e, uint32_t serializer, uint32_t line) {
    uint32_t control = e->i2s.serializer[serializer], slot = slot_bits(e, serializer);
    uint32_t wanted = data_bits[control >> 8 & 7], n = wanted < slot ? wanted : slot;
    uint32_t taken = line >> (32 - slot);
    if (control & R_SLOT_LEFT) taken >>= slot - n;
    if (n < 32) taken &= (1u << n) - 1;
    if (control & R_REVERSED) taken = reversed(taken, n);
    uint32_t extend = control >> 13 & 3, rest = wanted == 32 && n == 32 ? 0 : ~0u << n;
    bool ones = extend == 1 || (extend == 2 && taken >> (n - 1) & 1) || (extend == 3 && taken & 1);
    if (control & R_WORD_LEFT) return n == 32 ? taken : taken << (32 - n) | (ones ? ~0u >> n : 0);
    return n == 32 ? taken : taken | (ones ? rest : 0);
}

static uint32_t microphone(struct emu *e, uint32_t serializer, uint64_t began_ps) {
    struct sound *s = &e->sound[SOUND_I2S];
    if (!s->samples) return 0;
    s->taken++;
    uint32_t line = (uint32_t)sound_at_q8(s, sound_position_q32(s, began_ps)) << 8;
    return e->i2s.clock[unit_of(e, serializer)] & K_BIT_LATE ? line : line >> 1;
}

/* A slot has ended. */
void i2s_event(struct emu *e, uint32_t serializer) {
    struct i2s *s = &e->i2s;
    uint32_t per_frame = (s->clock[unit_of(e, serializer)] >> 2 & 7) + 1, slot = s->slots[serializer] % per_frame;
    if (!(s->serializer[serializer] >> (16 + slot) & 1)) {
        uint64_t bits = s->slots[serializer] * slot_bits(e, serializer);
        uint64_t began = s->base_ps[serializer] + time_of_ticks(bits, s->running_at[serializer]);
        if (s->flags & F_READY0 << serializer) s->flags |= F_OVERRUN0 << serializer;
        s->data[serializer] = word_of(e, serializer, slot == 0 ? microphone(e, serializer, began) : 0);
        s->flags |= F_READY0 << serializer;
    }
    s->slots[serializer]++;
    schedule(e, serializer);
    dmac_service(e);
    update_irq(e);
}

bool i2s_ready(const struct emu *e, uint32_t serializer) {
    return receives(e, serializer) && e->i2s.flags >> serializer & 1;
}

bool i2s_listens(const struct emu *e) {
    return e->i2s.running_at[0] != 0 || e->i2s.running_at[1] != 0;
}

void i2s_reset(struct emu *e) {
    e->i2s = (struct i2s){0};
    for (uint32_t i = 0; i < SERIALIZERS; i++) event_cancel(e, EVENT_I2S + i);
    update_irq(e);
}

static void serializer_write(struct emu *e, uint32_t which, uint32_t value, uint32_t lanes) {
    struct i2s *s = &e->i2s;
    s->serializer[which] = merge(s->serializer[which], value, lanes) & 0x07FFF7BF;
    uint32_t control = s->serializer[which], size = control >> 8 & 7;
    bool other = (control & R_MODE) != 0 || size == SIZE_16C || size == SIZE_8C || (control & R_DMA_TOGETHER);
    if (other) bus_log(e, BASE + SERCTRL + 4 * which, true);
}

void i2s_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct i2s *s = &e->i2s;
    uint32_t masked = value & lane_mask(lanes), which = offset >> 2 & 1;
    (void)index;
    switch (offset) {
    case CTRLA:
        if (masked & A_SWRST) {
            i2s_reset(e);
            break;
        }
        if (lanes & 1) s->control = value & 0x3E;
        sync_begin(e, &s->sync);
        break;
    case CLKCTRL:
    case CLKCTRL + 4:
        which = (offset - CLKCTRL) / 4;
        if (!(s->control & (A_CLOCK0 << which))) s->clock[which] = merge(s->clock[which], value, lanes) & 0xFFFD19FF;
        if (s->clock[which] & K_OUTSIDE) bus_log(e, BASE + offset, true);
        break;
    case INTENCLR: s->interrupts &= (uint16_t)~masked; break;
    case INTENSET: s->interrupts |= masked & INT_MASK; break;
    case INTFLAG: s->flags &= (uint16_t)~(masked & 0x3330); break; /* RXRDY goes when DATA is read */
    case SYNCBUSY: break;
    case SERCTRL:
    case SERCTRL + 4:
        if (!(s->control & (A_SERIALIZER0 << which))) serializer_write(e, which, value, lanes);
        break;
    default: bus_log(e, BASE + offset, true); break;
    }
    i2s_resume(e);
    update_irq(e);
}

static uint32_t busy(struct emu *e) {
    uint64_t f = gclk_channel_microhertz(e, CHANNEL_I2S0);
    return sync_busy(e, &e->i2s.sync, f ? f : gclk_channel_microhertz(e, CHANNEL_I2S0 + 1)) ? 0x3E : 0;
}

uint32_t i2s_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    struct i2s *s = &e->i2s;
    uint32_t which = offset >> 2 & 1;
    (void)index;
    (void)lanes;
    switch (offset) {
    case CTRLA: return s->control;
    case CLKCTRL:
    case CLKCTRL + 4: return s->clock[(offset - CLKCTRL) / 4];
    case INTENCLR:
    case INTENSET: return s->interrupts;
    case INTFLAG: return s->flags;
    case SYNCBUSY: return busy(e);
    case SERCTRL:
    case SERCTRL + 4: return s->serializer[which];
    case DATA:
    case DATA + 4:
        s->flags &= (uint16_t)~(F_READY0 << which);
        update_irq(e);
        return s->data[which];
    default: bus_log(e, BASE + offset, false); return 0;
    }
}
