/* dmac.c -- DMA controller (data sheet, chapter 20).
 *
 * A transfer happens at the moment of its trigger and takes neither time nor the bus from the core. Descriptors are
 * fetched when the first trigger comes, and written back after each. Not modelled: CRC, conditional event actions.
 */
#include <string.h>

#include "ops.h"
#include "state.h"

enum { CTRL = 0x00, CRC_DATA = 0x04, CRC_CHECKSUM = 0x08, CRC_STATUS = 0x0C, SWTRIG = 0x10, PRICTRL = 0x14,
       INTPEND = 0x20, INTSTATUS = 0x24, BUSYCH = 0x28, PENDCH = 0x2C, ACTIVE = 0x30, BASEADDR = 0x34, WRBADDR = 0x38,
       CHID = 0x3C, CHCTRLA = 0x40, CHCTRLB = 0x44, CHINT = 0x4C };
enum { C_SWRST = 1, C_ENABLE = 2, C_CRC = 4, CONTROL_MASK = 0xF06, A_SWRST = 1, A_ENABLE = 2 };
enum { B_EVIE = 8, B_EVOE = 16, B_MASK = 0x00C03F7F, ACTION_BLOCK = 0, ACTION_BEAT = 2, ACTION_TRANSACTION = 3,
       COMMAND_SUSPEND = 1, COMMAND_RESUME = 2 };
enum { INPUT_TRIGGER = 1, INPUT_SUSPEND = 4, INPUT_RESUME = 5 };
enum { F_ERROR = 1, F_COMPLETE = 2, F_SUSPENDED = 4, S_PENDING = 1, S_BUSY = 2, S_FETCH_ERROR = 4 };
enum { D_VALID = 1, D_SOURCE_STEPS = 1 << 10, D_TARGET_STEPS = 1 << 11, D_STEP_OF_SOURCE = 1 << 12, OUT_BLOCK = 1,
       OUT_BEAT = 3, BLOCK_INTERRUPT = 1, BLOCK_SUSPEND = 2, DESCRIPTOR_BYTES = 16 };
enum { BASE = 0x41004800, AHB_DMAC = 1 << 5, GENERATOR_DMAC0 = 0x1E, CHANNEL_EVENTS = 4 };

/* Beats of one trigger at most: a descriptor chain that is a ring of blocks would never end. */
enum { MAX_BEATS = 1 << 20 };

static void update_irq(struct emu *e) {
    bool up = false;
    for (uint32_t i = 0; i < DMA_CHANNELS; i++) up |= (e->dmac.channel[i].flags & e->dmac.channel[i].interrupts) != 0;
    irq_set_level(e, IRQ_DMAC, up);
}

static void note_enabled(struct emu *e) {
    struct dmac *d = &e->dmac;
    d->enabled = 0;
    if (!(d->control & C_ENABLE) || !(e->pm.ahb_mask & AHB_DMAC)) return;
    for (uint32_t i = 0; i < DMA_CHANNELS; i++) d->enabled |= d->channel[i].control_a & A_ENABLE ? 1u << i : 0;
}

void dmac_clock(struct emu *e) {
    note_enabled(e);
    dmac_service(e);
}

static bool read_descriptor(struct emu *e, uint32_t address, struct dma_descriptor *to) {
    uint32_t words[4];
    for (uint32_t i = 0; i < 4; i++) {
        if (bus_foreign_read(e, address + 4 * i, 4, &words[i]) != 0) return false;
    }
    *to = (struct dma_descriptor){(uint16_t)words[0], (uint16_t)(words[0] >> 16), words[1], words[2], words[3]};
    return true;
}

static void write_back(struct emu *e, uint32_t index) {
    const struct dma_descriptor *w = &e->dmac.channel[index].now;
    const uint32_t words[4] = {w->control | (uint32_t)w->count << 16, w->source, w->target, w->next};
    for (uint32_t i = 0; i < 4; i++) {
        bus_foreign_write(e, e->dmac.write_back + DESCRIPTOR_BYTES * index + 4 * i, 4, words[i]);
    }
}

static void suspend(struct dma_channel *c) {
    c->suspended = true;
    c->flags |= F_SUSPENDED;
}

/* An invalid descriptor suspends the channel until it is resumed, and then is fetched again. */
static bool fetch(struct emu *e, uint32_t index, uint32_t address) {
    struct dma_channel *c = &e->dmac.channel[index];
    c->fetch_from = address;
    c->loaded = read_descriptor(e, address, &c->now) && (c->now.control & D_VALID);
    if (!c->loaded) {
        c->fetch_error = true;
        c->flags |= F_ERROR;
        suspend(c);
    }
    return c->loaded;
}

static void disable(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    c->control_a &= (uint8_t)~A_ENABLE;
    c->pending = c->loaded = false;
    note_enabled(e);
}

static void output(struct emu *e, uint32_t index, uint32_t what) {
    const struct dma_channel *c = &e->dmac.channel[index];
    if ((c->control_b & B_EVOE) && index < CHANNEL_EVENTS && (c->now.control >> 1 & 3) == what) {
        evsys_event(e, GENERATOR_DMAC0 + index);
    }
}

/* Addresses in a descriptor are those behind the block's last beat where they are stepped. */
static uint32_t place(const struct dma_descriptor *w, bool source) {
    uint32_t size = 1u << (w->control >> 8 & 3), steps = source ? D_SOURCE_STEPS : D_TARGET_STEPS;
    bool chosen = source == ((w->control & D_STEP_OF_SOURCE) != 0);
    uint32_t address = source ? w->source : w->target;
    if (!(w->control & steps)) return address;
    return address - w->count * (chosen ? size << (w->control >> 13) : size);
}

static void end_block(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    uint32_t action = c->now.control >> 3 & 3, next = c->now.next;
    c->now.control &= (uint16_t)~D_VALID;
    write_back(e, index);
    output(e, index, OUT_BLOCK);
    if (action & BLOCK_INTERRUPT) c->flags |= F_COMPLETE;
    if (action & BLOCK_SUSPEND) suspend(c);
    if (next != 0) {
        fetch(e, index, next);
    } else {
        c->flags |= F_COMPLETE;
        disable(e, index);
    }
}

/* False: it failed, or the block has ended. */
static bool beat(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    uint32_t size = 1u << (c->now.control >> 8 & 3), value;
    if (c->now.count == 0 || size > 4 || bus_foreign_read(e, place(&c->now, true), size, &value) != 0 ||
        bus_foreign_write(e, place(&c->now, false), size, value) != 0) {
        c->flags |= F_ERROR;
        disable(e, index);
        return false;
    }
    c->now.count--;
    output(e, index, OUT_BEAT);
    if (c->now.count > 0) return true;
    end_block(e, index);
    return false;
}

static void transfer(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    uint32_t action = c->control_b >> 22 & 3, beats = 0;
    c->pending = false;
    if (!c->loaded && !fetch(e, index, e->dmac.base + DESCRIPTOR_BYTES * index)) return;
    for (bool more = true; more && beats < MAX_BEATS; beats++) {
        bool in_block = beat(e, index);
        bool alive = (c->control_a & A_ENABLE) && c->loaded && !c->suspended;
        more = alive && (action == ACTION_TRANSACTION || (action == ACTION_BLOCK && in_block));
    }
    if (c->loaded) write_back(e, index);
}

static bool wants(const struct emu *e, uint32_t index) {
    const struct dma_channel *c = &e->dmac.channel[index];
    if (!(e->dmac.enabled >> index & 1) || c->suspended) return false;
    if (!(e->dmac.control >> (8 + (c->control_b >> 5 & 3)) & 1)) return false; /* its level is off */
    return c->pending || dma_requested(e, c->control_b >> 8 & 0x3F);
}

/* The higher level first; in a level the lower number, or after the one served last. */
static uint32_t choose(const struct emu *e) {
    const struct dmac *d = &e->dmac;
    uint32_t best = DMA_CHANNELS, best_rank = 0;
    for (uint32_t i = 0; i < DMA_CHANNELS; i++) {
        if (!wants(e, i)) continue;
        uint32_t level = d->channel[i].control_b >> 5 & 3, field = d->priority >> 8 * level & 0xFF;
        uint32_t order = field & 0x80 ? (i + DMA_CHANNELS - 1 - d->last[level]) % DMA_CHANNELS : i;
        uint32_t rank = 1 + level * DMA_CHANNELS + (DMA_CHANNELS - 1 - order);
        if (rank > best_rank) {
            best = i;
            best_rank = rank;
        }
    }
    return best;
}

/* Carry out all that is asked for. Called whenever a request may have risen. */
void dmac_service(struct emu *e) {
    struct dmac *d = &e->dmac;
    if (d->enabled == 0 || d->busy) return;
    d->busy = true;
    for (uint32_t i = 0; i < MAX_BEATS; i++) {
        uint32_t channel = choose(e);
        if (channel == DMA_CHANNELS) break;
        d->last[d->channel[channel].control_b >> 5 & 3] = (uint8_t)channel;
        transfer(e, channel);
    }
    d->busy = false;
    update_irq(e);
}

/* A trigger that is a pulse, of a timer. */
void dmac_trigger(struct emu *e, uint32_t source) {
    for (uint32_t i = 0; e->dmac.enabled >> i; i++) {
        struct dma_channel *c = &e->dmac.channel[i];
        if ((e->dmac.enabled >> i & 1) && (c->control_b >> 8 & 0x3F) == source) c->pending = true;
    }
    dmac_service(e);
}

bool dmac_listens(const struct emu *e, uint32_t source) {
    for (uint32_t i = 0; e->dmac.enabled >> i; i++) {
        if ((e->dmac.enabled >> i & 1) && (e->dmac.channel[i].control_b >> 8 & 0x3F) == source) return true;
    }
    return false;
}

static void command(struct dma_channel *c, uint32_t what) {
    if (what == COMMAND_SUSPEND) suspend(c);
    if (what != COMMAND_RESUME) return;
    c->suspended = c->fetch_error = false;
}

static void resume_fetch(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    if (!c->suspended && !c->loaded && c->fetch_from != 0 && (c->control_a & A_ENABLE)) {
        fetch(e, index, c->fetch_from);
    }
}

/* An event for a channel. */
void dmac_input(struct emu *e, uint32_t index) {
    struct dma_channel *c = &e->dmac.channel[index];
    if (!(c->control_b & B_EVIE) || !(e->dmac.enabled >> index & 1)) return;
    uint32_t action = c->control_b & 7;
    if (action == INPUT_TRIGGER) c->pending = true;
    if (action == INPUT_SUSPEND) command(c, COMMAND_SUSPEND);
    if (action == INPUT_RESUME) command(c, COMMAND_RESUME);
    resume_fetch(e, index);
    dmac_service(e);
}

void dmac_reset(struct emu *e) {
    e->dmac = (struct dmac){0};
    update_irq(e);
}

static void channel_write(struct emu *e, uint32_t offset, uint32_t value, uint32_t lanes) {
    uint32_t index = e->dmac.selected, masked = value & lane_mask(lanes);
    struct dma_channel *c = &e->dmac.channel[index];
    if (offset == CHCTRLA && (lanes & 1)) {
        if (value & A_SWRST) {
            *c = (struct dma_channel){0};
        } else if ((value & A_ENABLE) && !(c->control_a & A_ENABLE)) {
            c->control_a |= A_ENABLE;
            c->loaded = c->pending = c->suspended = c->fetch_error = false;
            c->fetch_from = 0;
        } else if (!(value & A_ENABLE)) {
            disable(e, index);
        }
    } else if (offset == CHCTRLB) {
        uint32_t changeable = c->control_a & A_ENABLE ? 0x6F : B_MASK; /* source and action are enable-protected */
        uint32_t now = merge(c->control_b, value, lanes);
        c->control_b = (c->control_b & ~changeable) | (now & changeable);
        if (lanes & 8) command(c, value >> 24 & 3);
        resume_fetch(e, index);
    } else if (offset == CHINT) {
        c->interrupts &= (uint8_t)~masked;
        c->interrupts |= (uint8_t)(masked >> 8) & 7;
        c->flags &= (uint8_t)~(masked >> 16);
    }
}

static void control_write(struct emu *e, uint32_t value, uint32_t lanes) {
    struct dmac *d = &e->dmac;
    if (!(lanes & 3)) {
        bus_log(e, BASE + 2, true); /* CRC */
        return;
    }
    if ((value & C_SWRST) && (lanes & 1) && !(d->control & C_ENABLE)) dmac_reset(e);
    d->control = (uint16_t)(merge(d->control, value, lanes) & CONTROL_MASK);
    if (d->control & C_CRC) bus_log(e, BASE + 2, true);
}

static void pending_write(struct emu *e, uint32_t value, uint32_t lanes) {
    if ((lanes & 1) && (value & 15) < DMA_CHANNELS) e->dmac.looked_at = value & 15;
    if (lanes & 2) e->dmac.channel[e->dmac.looked_at].flags &= (uint8_t)~(value >> 8);
}

void dmac_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct dmac *d = &e->dmac;
    uint32_t masked = value & lane_mask(lanes);
    bool on = d->control & C_ENABLE;
    (void)index;
    switch (offset) {
    case CTRL: control_write(e, value, lanes); break;
    case CRC_STATUS:
        if (lanes & 2) d->debug = value >> 8 & 1;
        if (lanes & 4) d->quality = value >> 16 & 0x3F;
        if (lanes & 1) bus_log(e, BASE + offset, true);
        break;
    case SWTRIG:
        for (uint32_t i = 0; i < DMA_CHANNELS; i++) d->channel[i].pending |= d->enabled >> i & masked >> i & 1;
        break;
    case PRICTRL: d->priority = merge(d->priority, value, lanes) & 0x8F8F8F8F; break;
    case INTPEND: pending_write(e, value, lanes); break;
    case INTSTATUS:
    case BUSYCH:
    case PENDCH:
    case ACTIVE: break;
    case BASEADDR:
        if (!on) d->base = merge(d->base, value, lanes);
        break;
    case WRBADDR:
        if (!on) d->write_back = merge(d->write_back, value, lanes);
        break;
    case CHID:
        if ((lanes & 8) && (value >> 24 & 15) < DMA_CHANNELS) d->selected = value >> 24 & 15;
        break;
    case CHCTRLA:
    case CHCTRLB:
    case CHINT: channel_write(e, offset, value, lanes); break;
    default: bus_log(e, BASE + offset, true); break;
    }
    note_enabled(e);
    dmac_service(e);
    tc_resume(e); /* a timer may be a trigger now */
    update_irq(e);
}

static uint32_t status(const struct emu *e, uint32_t index) {
    const struct dma_channel *c = &e->dmac.channel[index];
    bool busy = c->loaded && c->pending && !c->suspended;
    return (c->pending ? S_PENDING : 0) | (busy ? S_BUSY : 0) | (c->fetch_error ? S_FETCH_ERROR : 0);
}

static uint32_t bits(const struct emu *e, uint32_t offset) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < DMA_CHANNELS; i++) {
        const struct dma_channel *c = &e->dmac.channel[i];
        bool set = offset == INTSTATUS ? (c->flags & c->interrupts) != 0
                                       : status(e, i) & (offset == BUSYCH ? S_BUSY : S_PENDING);
        found |= set ? 1u << i : 0;
    }
    return found;
}

/* The lowest channel that interrupts, or the one asked for. */
static uint32_t pending_read(const struct emu *e) {
    uint32_t interrupting = bits(e, INTSTATUS), index = e->dmac.looked_at;
    if (interrupting != 0) index = (uint32_t)__builtin_ctz(interrupting);
    uint32_t s = status(e, index);
    return index | (uint32_t)e->dmac.channel[index].flags << 8 | (s & S_FETCH_ERROR ? 1u << 13 : 0) |
           (s & S_BUSY ? 1u << 14 : 0) | (s & S_PENDING ? 1u << 15 : 0);
}

uint32_t dmac_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct dmac *d = &e->dmac;
    const struct dma_channel *c = &d->channel[d->selected];
    (void)index;
    (void)lanes;
    switch (offset) {
    case CTRL: return d->control;
    case CRC_DATA:
    case CRC_CHECKSUM: return 0;
    case CRC_STATUS: return (uint32_t)d->debug << 8 | (uint32_t)d->quality << 16;
    case SWTRIG: return bits(e, PENDCH);
    case PRICTRL: return d->priority;
    case INTPEND: return pending_read(e);
    case INTSTATUS:
    case BUSYCH:
    case PENDCH: return bits(e, offset);
    case ACTIVE: return 0;
    case BASEADDR: return d->base;
    case WRBADDR: return d->write_back;
    case CHID: return (uint32_t)d->selected << 24;
    case CHCTRLA: return c->control_a;
    case CHCTRLB: return c->control_b;
    case CHINT:
        return c->interrupts | (uint32_t)c->interrupts << 8 | (uint32_t)c->flags << 16 |
               status(e, d->selected) << 24;
    default: bus_log(e, BASE + offset, false); return 0;
    }
}
