/* port.c -- PORT: directions, levels, pin configuration (data sheet, chapter 23). */
#include "ops.h"
#include "state.h"

enum { DIR = 0x00, DIRCLR = 0x04, DIRSET = 0x08, DIRTGL = 0x0C, OUT = 0x10, OUTCLR = 0x14, OUTSET = 0x18,
       OUTTGL = 0x1C, IN = 0x20, CTRL = 0x24, WRCONFIG = 0x28, PMUX = 0x30, PINCFG = 0x40, PINCFG_END = 0x60,
       GROUP_BYTES = 0x80, GROUPS = 3 };
enum { CFG_INEN = 2, CFG_PULLEN = 4, CFG_BITS = 0x47 };
enum { WR_WRPMUX = 1 << 28, WR_WRPINCFG = 1 << 30, WR_HWSEL = 1u << 31 };

/* What drives a pin outside, its output, or its pull. */
bool port_level(const struct emu *e, uint32_t group, uint32_t pin) {
    const struct port_group *g = &e->port[group];
    uint32_t bit = 1u << pin;
    if (g->dir & bit) return (g->out & bit) != 0;
    if (g->driven & bit) return (g->level & bit) != 0;
    return (g->pincfg[pin] & CFG_PULLEN) && (g->out & bit);
}

/* IN shows pins whose input buffer is on. */
static uint32_t input(const struct emu *e, uint32_t group) {
    uint32_t value = 0;
    for (uint32_t pin = 0; pin < 32; pin++) {
        if (e->port[group].pincfg[pin] & CFG_INEN && port_level(e, group, pin)) value |= 1u << pin;
    }
    return value;
}

static void write_configuration(struct port_group *g, uint32_t value) {
    uint32_t first = value & WR_HWSEL ? 16 : 0;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t pin = first + i, mux = value >> 24 & 15, shift = 4 * (pin & 1);
        if (!(value >> i & 1)) continue;
        if (value & WR_WRPINCFG) g->pincfg[pin] = value >> 16 & CFG_BITS;
        if (value & WR_WRPMUX) g->pmux[pin / 2] = (uint8_t)((g->pmux[pin / 2] & ~(15u << shift)) | mux << shift);
    }
}

static void write_bytes(uint8_t *bytes, uint32_t value, uint32_t lanes, uint8_t mask) {
    for (uint32_t i = 0; i < 4; i++) {
        if (lanes >> i & 1) bytes[i] = (uint8_t)(value >> 8 * i) & mask;
    }
}

static uint32_t read_bytes(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void port_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    uint32_t group = offset / GROUP_BYTES, at = offset % GROUP_BYTES, masked = value & lane_mask(lanes);
    (void)index;
    if (group >= GROUPS) {
        bus_log(e, 0x41004400 + offset, true);
        return;
    }
    struct port_group *g = &e->port[group];
    switch (at) {
    case DIR: g->dir = merge(g->dir, value, lanes); break;
    case DIRCLR: g->dir &= ~masked; break;
    case DIRSET: g->dir |= masked; break;
    case DIRTGL: g->dir ^= masked; break;
    case OUT: g->out = merge(g->out, value, lanes); break;
    case OUTCLR: g->out &= ~masked; break;
    case OUTSET: g->out |= masked; break;
    case OUTTGL: g->out ^= masked; break;
    case IN: break;
    case CTRL: g->ctrl = merge(g->ctrl, value, lanes); break;
    case WRCONFIG: write_configuration(g, masked); break;
    default:
        if (at >= PMUX && at < PINCFG) {
            write_bytes(g->pmux + (at - PMUX), value, lanes, 0xFF);
        } else if (at >= PINCFG && at < PINCFG_END) {
            write_bytes(g->pincfg + (at - PINCFG), value, lanes, CFG_BITS);
        } else {
            bus_log(e, 0x41004400 + offset, true);
        }
    }
    if (e->eic.control != 0 || e->eic.nmi_control != 0) eic_update(e);
}

uint32_t port_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    uint32_t group = offset / GROUP_BYTES, at = offset % GROUP_BYTES;
    (void)index;
    (void)lanes;
    if (group >= GROUPS) {
        bus_log(e, 0x41004400 + offset, false);
        return 0;
    }
    const struct port_group *g = &e->port[group];
    switch (at) {
    case DIR:
    case DIRCLR:
    case DIRSET:
    case DIRTGL: return g->dir;
    case OUT:
    case OUTCLR:
    case OUTSET:
    case OUTTGL: return g->out;
    case IN: return input(e, group);
    case CTRL: return g->ctrl;
    case WRCONFIG: return 0;
    default: break;
    }
    if (at >= PMUX && at < PINCFG) return read_bytes(g->pmux + (at - PMUX));
    if (at >= PINCFG && at < PINCFG_END) return read_bytes(g->pincfg + (at - PINCFG));
    bus_log(e, 0x41004400 + offset, false);
    return 0;
}

void port_reset(struct emu *e) {
    for (uint32_t i = 0; i < GROUPS; i++) {
        uint32_t driven = e->port[i].driven, level = e->port[i].level;
        e->port[i] = (struct port_group){.driven = driven, .level = level};
    }
}
