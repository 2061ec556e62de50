/* eic.c -- external interrupt controller (data sheet, chapter 21). */
#include "ops.h"
#include "state.h"

enum { CTRL = 0x00, EVCTRL = 0x04, INTENCLR = 0x08, INTENSET = 0x0C, INTFLAG = 0x10, WAKEUP = 0x14, CONFIG0 = 0x18,
       CONFIG1 = 0x1C };
enum { C_SWRST = 1, C_ENABLE = 2, LINES_MASK = 0xFFFF, NMI_LINE = 16, CHANNEL_EIC = 5, BASE = 0x40001800 };
enum { SENSE_NONE, SENSE_RISE, SENSE_FALL, SENSE_BOTH, SENSE_HIGH, SENSE_LOW };
enum { PIN_NMI = 8, PINS = 32, CFG_PMUXEN = 1, MUX_A = 0 };

/* Line of a pin: its number modulo 16, but for some of port A (data sheet, "I/O multiplexing"); -1: none. */
static int line_of(uint32_t group, uint32_t pin) {
    if (group == 1) return pin < 18 || pin == 22 || pin == 23 || pin >= 30 ? (int)(pin % 16) : -1;
    switch (pin) {
    case PIN_NMI: return NMI_LINE;
    case 24: return 12;
    case 25: return 13;
    case 26:
    case 29: return -1;
    case 27: return 15;
    case 28: return 8;
    case 30: return 10;
    case 31: return 11;
    default: return (int)(pin % 16);
    }
}

static uint32_t current_levels(const struct emu *e) {
    uint32_t levels = 0;
    for (uint32_t group = 0; group < 2; group++) {
        const struct port_group *g = &e->port[group];
        for (uint32_t pin = 0; pin < PINS; pin++) {
            int line = line_of(group, pin);
            bool connected = g->pincfg[pin] & CFG_PMUXEN && (g->pmux[pin / 2] >> 4 * (pin & 1) & 15) == MUX_A;
            if (line >= 0 && connected && port_level(e, group, pin)) levels |= 1u << line;
        }
    }
    return levels;
}

static bool senses(uint32_t sense, bool before, bool now) {
    switch (sense) {
    case SENSE_RISE: return now && !before;
    case SENSE_FALL: return !now && before;
    case SENSE_BOTH: return now != before;
    case SENSE_HIGH: return now;
    case SENSE_LOW: return !now;
    default: return false;
    }
}

static void update_irq(struct emu *e) {
    irq_set_level(e, IRQ_EIC, (e->eic.flags & e->eic.interrupts) != 0);
}

/* Look at the pins. Edges need the generic clock, levels do not. */
void eic_update(struct emu *e) {
    struct eic *x = &e->eic;
    uint32_t before = x->levels, now = current_levels(e);
    bool clocked = gclk_channel_microhertz(e, CHANNEL_EIC) != 0;
    x->levels = now;
    for (uint32_t line = 0; line <= NMI_LINE; line++) {
        uint32_t sense = line == NMI_LINE ? x->nmi_control & 7 : x->config[line / 8] >> 4 * (line % 8) & 7;
        bool enabled = line == NMI_LINE || (x->control & C_ENABLE);
        bool edge = sense <= SENSE_BOTH;
        if (!enabled || (edge && !clocked) || !senses(sense, before >> line & 1, now >> line & 1)) continue;
        if (line != NMI_LINE) {
            x->flags |= 1u << line;
        } else if (!x->nmi_flag) {
            x->nmi_flag = 1;
            e->pending |= 1u << EXC_NMI;
            e->attention = 1;
        }
    }
    update_irq(e);
}

void eic_reset(struct emu *e) {
    e->eic = (struct eic){.levels = e->eic.levels};
    update_irq(e);
}

void eic_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct eic *x = &e->eic;
    uint32_t masked = value & lane_mask(lanes);
    (void)index;
    switch (offset) {
    case CTRL:
        if ((lanes & 1) && (value & C_SWRST)) {
            eic_reset(e);
            break;
        }
        if (lanes & 1) x->control = value & C_ENABLE;
        if (lanes & 4) x->nmi_control = value >> 16 & 15;
        if (lanes & 8) x->nmi_flag &= (uint8_t)~(value >> 24);
        break;
    case EVCTRL: x->event_control = merge(x->event_control, value, lanes) & LINES_MASK; break;
    case INTENCLR: x->interrupts &= ~masked; break;
    case INTENSET: x->interrupts |= masked & LINES_MASK; break;
    case INTFLAG: x->flags &= ~masked; break;
    case WAKEUP: x->wakeup = merge(x->wakeup, value, lanes) & LINES_MASK; break;
    case CONFIG0:
    case CONFIG1:
        x->config[(offset - CONFIG0) / 4] = merge(x->config[(offset - CONFIG0) / 4], value, lanes);
        break;
    default: bus_log(e, BASE + offset, true); break;
    }
    eic_update(e);
}

uint32_t eic_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct eic *x = &e->eic;
    (void)index;
    (void)lanes;
    switch (offset) {
    case CTRL: return x->control | (uint32_t)x->nmi_control << 16 | (uint32_t)x->nmi_flag << 24;
    case EVCTRL: return x->event_control;
    case INTENCLR:
    case INTENSET: return x->interrupts;
    case INTFLAG: return x->flags;
    case WAKEUP: return x->wakeup;
    case CONFIG0:
    case CONFIG1: return x->config[(offset - CONFIG0) / 4];
    default: bus_log(e, BASE + offset, false); return 0;
    }
}

/* What the world outside does to a pin: 0 or 1 drives it, anything else lets go. */
void emu_pin_drive(struct emu *e, uint32_t group, uint32_t pin, int level) {
    if (group >= 2 || pin >= PINS) return;
    struct port_group *g = &e->port[group];
    uint32_t bit = 1u << pin;
    g->driven = level == 0 || level == 1 ? g->driven | bit : g->driven & ~bit;
    g->level = level == 1 ? g->level | bit : g->level & ~bit;
    eic_update(e);
}

int emu_pin_level(struct emu *e, uint32_t group, uint32_t pin) {
    return group < 2 && pin < PINS ? port_level(e, group, pin) : 0;
}
