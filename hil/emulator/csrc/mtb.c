/* mtb.c -- micro trace buffer: every jump as two words in RAM (Arm DDI 0486, CoreSight MTB-M0+). */
#include "ops.h"
#include "state.h"

enum { POSITION = 0x000, MASTER = 0x004, FLOW = 0x008, BASE_REGISTER = 0x00C, BASE = 0x41006000 };
enum { WRAP = 4, MASK = 31, AUTOSTOP = 1, PACKET_BYTES = 8, POINTER = ~7u };
static const uint32_t ENABLE = 1u << 31, HALTREQ = 1u << 9;

/* Identification: part 932, designer Arm, CoreSight component of type "trace buffer". */
static const struct {
    uint16_t offset;
    uint32_t value;
} identification[] = {
    {0xFB8, 0xF}, {0xFBC, 0x47710A31}, {0xFCC, 0x31}, {0xFD0, 0x04}, {0xFE0, 0x32}, {0xFE4, 0xB9},
    {0xFE8, 0x0B}, {0xFF0, 0x0D},      {0xFF4, 0x90}, {0xFF8, 0x05}, {0xFFC, 0xB1},
};

bool mtb_enabled(const struct emu *e) {
    return (e->mtb.master & ENABLE) != 0;
}

static void set_enabled(struct emu *e, bool enabled) {
    bool was = e->mtb.master & ENABLE;
    e->mtb.master = enabled ? e->mtb.master | ENABLE : e->mtb.master & ~ENABLE;
    if (enabled && !was) e->mtb.begin = true;
    observe_update(e);
}

/* POINTER counts from the start of RAM; MASK says how many of its bits wrap. */
static void advance(struct emu *e) {
    struct mtb *m = &e->mtb;
    uint32_t mask = m->master & MASK, size = mask < 27 ? 16u << mask : 0, at = m->position & POINTER;
    uint32_t next = at + PACKET_BYTES;
    if (size != 0 && next % size == 0) {
        next -= size;
        m->position |= WRAP;
    }
    m->position = (next & POINTER) | (m->position & WRAP);
    bool watermark = (m->position & POINTER) == (m->flow & POINTER);
    if (watermark && m->flow & AUTOSTOP) set_enabled(e, false);
}

void mtb_branch(struct emu *e, uint32_t from, uint32_t to, bool exception) {
    struct mtb *m = &e->mtb;
    if (!(m->master & ENABLE)) return;
    const uint32_t packet[2] = {(from & ~1u) | exception, (to & ~1u) | m->begin};
    uint32_t at = (m->position & POINTER) % e->ram_bytes;
    m->begin = false;
    for (uint32_t i = 0; i < 2; i++) bus_write_ram(e, at + 4 * i, 4, packet[i]);
    advance(e);
}

/* Of whole rounds only so many are written as the buffer holds; all of RAM if it has no end. */
void mtb_spin(struct emu *e, uint32_t address) {
    uint32_t mask = e->mtb.master & MASK, packets = mask < 12 ? (16u << mask) / PACKET_BYTES : e->ram_bytes / PACKET_BYTES;
    for (uint32_t i = 0; i < packets && mtb_enabled(e); i++) mtb_branch(e, address, address, false);
}

void mtb_reset(struct emu *e) {
    e->mtb.master &= ~(ENABLE | HALTREQ);
    observe_update(e);
}

void mtb_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct mtb *m = &e->mtb;
    (void)index;
    switch (offset) {
    case POSITION: m->position = merge(m->position, value, lanes) & (POINTER | WRAP) & (e->ram_bytes - 1); break;
    case MASTER: {
        uint32_t now = merge(m->master, value, lanes) & 0x800003FF;
        m->master = (m->master & ENABLE) | (now & ~ENABLE);
        set_enabled(e, now & ENABLE);
        break;
    }
    case FLOW: m->flow = merge(m->flow, value, lanes) & (POINTER | 3); break;
    case BASE_REGISTER: break;
    default:
        if (offset < 0xF00) bus_log(e, BASE + offset, true);
        break;
    }
}

uint32_t mtb_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    (void)index;
    (void)lanes;
    switch (offset) {
    case POSITION: return e->mtb.position;
    case MASTER: return e->mtb.master;
    case FLOW: return e->mtb.flow;
    case BASE_REGISTER: return RAM_BASE;
    default: break;
    }
    for (uint32_t i = 0; i < sizeof identification / sizeof *identification; i++) {
        if (identification[i].offset == offset) return identification[i].value;
    }
    if (offset < 0xF00) bus_log(e, BASE + offset, false);
    return 0;
}
