/* dsu.c -- device service unit: identification and CRC (data sheet, chapter 13); peripheral access controllers. */
#include "ops.h"
#include "state.h"

enum { CTRL = 0x0000, ADDR = 0x0004, LENGTH = 0x0008, DATA = 0x000C, DCC0 = 0x0010, DCC1 = 0x0014, DID = 0x0018,
       END = 0x1008, BASE = 0x41002000, MIRROR = 0x100, REGISTERS = 0x20 };
enum { CTRL_SWRST = 1, CTRL_CRC = 4, A_DONE = 1, A_BERR = 4, A_BITS = 0x1F, B_PROT = 1, B_DCCD0 = 4, B_HPE = 16 };
enum { NVM_STATUS_SECURED = 0x100 };
static const uint32_t CRC_POLYNOMIAL = 0xEDB88320;

static const struct {
    uint16_t offset;
    uint32_t value;
} identification[] = {
    {0x1000, 0x2}, {0x1004, 0x2},  {0x1FCC, 0},    {0x1FD0, 0},    {0x1FE0, 0xD0}, {0x1FE4, 0xFC},
    {0x1FE8, 0x9}, {0x1FEC, 0x00}, {0x1FF0, 0x0D}, {0x1FF4, 0x10}, {0x1FF8, 0x05}, {0x1FFC, 0xB1},
};

void dsu_reset(struct emu *e) {
    e->dsu = (struct dsu){0};
}

/* CRC-32 of IEEE 802.3 over LENGTH bytes from ADDR on; DATA is the starting value and the
 * result, neither inverted. It is there at once. */
static void crc(struct emu *e) {
    struct dsu *d = &e->dsu;
    uint32_t value = d->data;
    for (uint32_t i = 0; i < (d->length & ~3u); i++) {
        uint32_t at = (d->address & ~3u) + i;
        if (at >= e->flash_bytes && at - RAM_BASE >= e->ram_bytes) {
            d->status_a |= A_BERR | A_DONE;
            return;
        }
        value ^= at < e->flash_bytes ? e->flash[at] : e->ram[at - RAM_BASE];
        for (uint32_t bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? CRC_POLYNOMIAL : 0);
    }
    d->data = value;
    d->status_a |= A_DONE;
}

void dsu_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct dsu *d = &e->dsu;
    (void)index;
    switch (offset >= MIRROR && offset < MIRROR + REGISTERS ? offset - MIRROR : offset) {
    case CTRL:
        if (lanes & 2) d->status_a &= (uint8_t)~(value >> 8 & A_BITS);
        if (lanes & 1 && value & CTRL_SWRST) dsu_reset(e);
        if (lanes & 1 && value & CTRL_CRC) crc(e);
        break;
    case ADDR: d->address = merge(d->address, value, lanes); break;
    case LENGTH: d->length = merge(d->length, value, lanes) & ~3u; break;
    case DATA: d->data = merge(d->data, value, lanes); break;
    case DCC0: d->dcc[0] = merge(d->dcc[0], value, lanes); break;
    case DCC1: d->dcc[1] = merge(d->dcc[1], value, lanes); break;
    case DID: break;
    default:
        if (offset < 0x1000) bus_log(e, BASE + offset, true);
        break;
    }
}

uint32_t dsu_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct dsu *d = &e->dsu;
    (void)index;
    (void)lanes;
    switch (offset >= MIRROR && offset < MIRROR + REGISTERS ? offset - MIRROR : offset) {
    case CTRL: {
        uint32_t status_b = B_HPE | (e->nvm.status & NVM_STATUS_SECURED ? B_PROT : 0);
        return (uint32_t)d->status_a << 8 | status_b << 16;
    }
    case ADDR: return d->address;
    case LENGTH: return d->length;
    case DATA: return d->data;
    case DCC0: return d->dcc[0];
    case DCC1: return d->dcc[1];
    case DID: return e->device_id;
    case END: return 0;
    default: break;
    }
    for (uint32_t i = 0; i < sizeof identification / sizeof *identification; i++) {
        if (identification[i].offset == offset) return identification[i].value;
    }
    bus_log(e, BASE + offset, false);
    return 0;
}

uint32_t pac_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    (void)lanes;
    if (offset > 4) bus_log(e, 0x40000000 + (index << 24) + offset, false);
    return offset > 4 ? 0 : e->write_protect[index];
}

void pac_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    uint32_t masked = value & lane_mask(lanes) & ~1u;
    if (offset == 0) {
        e->write_protect[index] &= ~masked;
    } else if (offset == 4) {
        e->write_protect[index] |= masked;
    } else {
        bus_log(e, 0x40000000 + (index << 24) + offset, true);
    }
}
