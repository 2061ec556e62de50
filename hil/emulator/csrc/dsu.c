/* dsu.c -- DSU identification and the peripheral access controllers. */
#include "ops.h"
#include "state.h"

enum { DSU_CTRL = 0x0000, DSU_DID = 0x0018, DSU_ENTRY0 = 0x1000 };

uint32_t dsu_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    (void)index;
    (void)lanes;
    switch (offset) {
    case DSU_CTRL: return 0x10u << 16; /* STATUSB: hot-plugging enabled, no debugger */
    case DSU_DID: return e->device_id;
    default: bus_log(e, 0x41002000 + offset, false); return 0;
    }
}

void dsu_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    (void)index;
    (void)value;
    (void)lanes;
    bus_log(e, 0x41002000 + offset, true);
}

uint32_t pac_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    (void)lanes;
    if (offset > 4) bus_log(e, 0x40000000 + (index << 24) + offset, false);
    return offset > 4 ? 0 : e->write_protect[index];
}

void pac_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    uint32_t masked = value & lane_mask(lanes);
    if (offset == 0) {
        e->write_protect[index] &= ~masked;
    } else if (offset == 4) {
        e->write_protect[index] |= masked;
    } else {
        bus_log(e, 0x40000000 + (index << 24) + offset, true);
    }
}
