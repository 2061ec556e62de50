/* evsys.c -- event system (data sheet, chapter 24): an event reaches its users at once. */
#include "ops.h"
#include "state.h"

enum { CTRL = 0x00, CHANNEL = 0x04, USER = 0x08, CHSTATUS = 0x0C, INTENCLR = 0x10, INTENSET = 0x14, INTFLAG = 0x18 };
enum { C_SWRST = 1, CHANNEL_MASK = 0x0F7F000F, SOFTWARE_EVENT = 1 << 8, USER_MASK = 0x1F1F, FLAGS_MASK = 0x0F0FFFFF };
enum { PATH_ASYNCHRONOUS = 2, EDGE_NONE = 0, READY = 0x000F00FF, BASE = 0x42000400, GCLK_EVSYS0 = 0x07 };
enum { USER_DMAC0 = 0, USER_TC3 = 0x12, USER_ADC_START = 0x17, USER_ADC_SYNC = 0x18 };

static uint32_t path(const struct emu *e, uint32_t channel) {
    return e->evsys.channel[channel] >> 24 & 3;
}

/* A synchronous or resynchronized path needs an edge to look for and its generic clock. */
static bool passes(const struct emu *e, uint32_t channel) {
    if (path(e, channel) == PATH_ASYNCHRONOUS) return true;
    return (e->evsys.channel[channel] >> 26 & 3) != EDGE_NONE && gclk_channel_microhertz(e, GCLK_EVSYS0 + channel) != 0;
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_EVSYS, (e->evsys.flags & e->evsys.interrupts) != 0);
}

/* EVD and OVR of channels 0 to 7 lie below those of 8 to 11. */
static uint32_t detected(uint32_t channel) {
    return channel < 8 ? 1u << (8 + channel) : 1u << (24 + channel - 8);
}

static void deliver(struct emu *e, uint32_t user) {
    if (user < USER_DMAC0 + 4) {
        dmac_input(e, user - USER_DMAC0);
    } else if (user >= USER_TC3 && user < USER_TC3 + TIMERS) {
        tc_input(e, user - USER_TC3);
    } else if (user == USER_ADC_START || user == USER_ADC_SYNC) {
        adc_input(e, user == USER_ADC_SYNC);
    }
}

static void send(struct emu *e, uint32_t channel) {
    struct evsys *v = &e->evsys;
    if (!passes(e, channel)) return;
    if (path(e, channel) != PATH_ASYNCHRONOUS) {
        v->flags |= detected(channel);
        if (v->interrupts) update_irq(e);
    }
    for (uint32_t user = 0; user < EVENT_USERS; user++) {
        if (v->user[user] == channel + 1) deliver(e, user);
    }
}

/* A peripheral has made an event. */
void evsys_event(struct emu *e, uint32_t generator) {
    for (uint32_t channel = 0; channel < EVENT_CHANNELS; channel++) {
        if ((e->evsys.channel[channel] >> 16 & 0x7F) == generator) send(e, channel);
    }
}

void evsys_reset(struct emu *e) {
    e->evsys = (struct evsys){0};
    update_irq(e);
}

/* An 8-bit write to the number selects what is read; a wider one configures. */
static void channel_write(struct emu *e, uint32_t value, uint32_t lanes) {
    struct evsys *v = &e->evsys;
    uint32_t channel = lanes & 1 ? value & 15 : v->channel_select;
    if (channel >= EVENT_CHANNELS) return;
    v->channel_select = (uint8_t)channel;
    if (lanes & 0xC) v->channel[channel] = merge(v->channel[channel], value, lanes) & CHANNEL_MASK;
    if ((lanes & 2) && (value & SOFTWARE_EVENT)) send(e, channel);
}

void evsys_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct evsys *v = &e->evsys;
    uint32_t masked = value & lane_mask(lanes);
    (void)index;
    switch (offset) {
    case CTRL:
        if (masked & C_SWRST) evsys_reset(e);
        if (lanes & 1) v->control = value & 0x10;
        break;
    case CHANNEL: channel_write(e, value, lanes); break;
    case USER:
        if (lanes & 1) v->user_select = value & 31;
        if ((lanes & 2) && v->user_select < EVENT_USERS) v->user[v->user_select] = value >> 8 & 31;
        break;
    case CHSTATUS: break;
    case INTENCLR: v->interrupts &= ~masked; break;
    case INTENSET: v->interrupts |= masked & FLAGS_MASK; break;
    case INTFLAG: v->flags &= ~masked; break;
    default: bus_log(e, BASE + offset, true); break;
    }
    update_irq(e);
}

uint32_t evsys_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct evsys *v = &e->evsys;
    (void)index;
    (void)lanes;
    switch (offset) {
    case CTRL: return v->control;
    case CHANNEL: return (v->channel[v->channel_select] & ~0xFu) | v->channel_select;
    case USER: return v->user_select | (uint32_t)(v->user_select < EVENT_USERS ? v->user[v->user_select] : 0) << 8;
    case CHSTATUS: return READY;
    case INTENCLR:
    case INTENSET: return v->interrupts;
    case INTFLAG: return v->flags;
    default: bus_log(e, BASE + offset, false); return 0;
    }
}
