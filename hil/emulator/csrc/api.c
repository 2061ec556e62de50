/* api.c -- what Python calls besides emu_run and emu_reset. */
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "state.h"

enum { AUX_USER_ROW = 0x00804000, USER_ROW_BYTES = 256, AUX_CALIBRATION = 0x00806000, CALIBRATION_BYTES = 64 };
enum { REG_XPSR = 16, REG_MSP, REG_PSP, REG_PRIMASK, REG_CONTROL };

struct emu *emu_new(uint32_t flash_bytes, uint32_t ram_bytes, uint32_t device_id, const uint32_t *serial4,
                    uint32_t sercoms, uint32_t timers) {
    bool sizes = flash_bytes >= 4096 && flash_bytes <= MAX_FLASH && (flash_bytes & (flash_bytes - 1)) == 0 &&
                 ram_bytes >= 1024 && ram_bytes <= MAX_RAM && (ram_bytes & (ram_bytes - 1)) == 0;
    if (!sizes || sercoms > SERCOMS || timers > TIMERS) return NULL;
    struct emu *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    e->flash_bytes = flash_bytes;
    e->ram_bytes = ram_bytes;
    e->device_id = device_id;
    e->sercoms = sercoms;
    e->timers = timers;
    e->debug = true;
    e->supply_mv = 3300;
    e->stale_from = ~0u;
    memcpy(e->serial, serial4, sizeof e->serial);
    memset(e->flash, 0xFF, sizeof e->flash);
    e->cpu_microhertz = 1000000000000u;
    decode_init(e);
    nvm_power_on(e);
    emu_forget_ram(e);
    emu_reset(e, 0x01);
    return e;
}

void emu_free(struct emu *e) {
    if (e == NULL) return;
    for (uint32_t i = 0; i < SERCOMS; i++) {
        fifo_free(&e->sercom[i].to_host);
        fifo_free(&e->sercom[i].from_host);
    }
    emu_observe_end(e);
    sound_free(e);
    free(e);
}

/* The memory behind an address, and how much of it follows; NULL outside. */
static uint8_t *memory_at(struct emu *e, uint32_t address, uint32_t *left) {
    const struct {
        uint32_t base, size;
        uint8_t *bytes;
    } areas[] = {
        {0, e->flash_bytes, e->flash},
        {RAM_BASE, e->ram_bytes, e->ram},
        {AUX_USER_ROW, USER_ROW_BYTES, e->nvm.user_row},
        {AUX_CALIBRATION, CALIBRATION_BYTES, e->nvm.calibration},
    };
    for (uint32_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        if (address - areas[i].base < areas[i].size) {
            *left = areas[i].size - (address - areas[i].base);
            return areas[i].bytes + (address - areas[i].base);
        }
    }
    return NULL;
}

uint32_t emu_peek(struct emu *e, uint32_t address, uint8_t *data, uint32_t n) {
    uint32_t left = 0;
    const uint8_t *from = memory_at(e, address, &left);
    if (from == NULL) return 0;
    n = n < left ? n : left;
    memcpy(data, from, n);
    return n;
}

uint32_t emu_poke(struct emu *e, uint32_t address, const uint8_t *data, uint32_t n) {
    uint32_t left = 0;
    uint8_t *to = memory_at(e, address, &left);
    if (to == NULL) return 0;
    n = n < left ? n : left;
    memcpy(to, data, n);
    decode_forget_range(e, address, n);
    return n;
}

/* What the core was about to do stays as it was; only waiting for synchronization takes time. */
int emu_bus_read(struct emu *e, uint32_t address, uint32_t size, uint32_t *value) {
    uint32_t request = e->request, kind = e->fault_kind, at = e->fault_address;
    uint64_t cycles = e->cycles - e->stalled;
    e->request = REQUEST_NONE;
    *value = bus_read(e, address, size);
    int result = e->request == REQUEST_FAULT ? (int)e->fault_kind : 0;
    e->cycles = cycles + e->stalled;
    e->request = request;
    e->fault_kind = kind;
    e->fault_address = at;
    return result;
}

int emu_bus_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    uint32_t request = e->request, kind = e->fault_kind, at = e->fault_address;
    uint64_t cycles = e->cycles - e->stalled;
    e->request = REQUEST_NONE;
    bus_write(e, address, size, value);
    int result = e->request == REQUEST_FAULT ? (int)e->fault_kind : 0;
    e->cycles = cycles + e->stalled;
    e->request = request;
    e->fault_kind = kind;
    e->fault_address = at;
    if (address - RAM_BASE < e->ram_bytes) decode_forget_range(e, address, size);
    return result;
}

uint32_t emu_get_register(struct emu *e, uint32_t index) {
    if (index < 16) return e->r[index];
    switch (index) {
    case REG_XPSR: return exception_xpsr(e);
    case REG_MSP: return special_read(e, 8);
    case REG_PSP: return special_read(e, 9);
    case REG_PRIMASK: return e->primask;
    case REG_CONTROL: return e->control;
    default: return 0;
    }
}

void emu_set_register(struct emu *e, uint32_t index, uint32_t value) {
    if (index == 15) {
        e->r[15] = value & ~1u;
        e->fetch_line = NO_LINE;
        e->sleeping = e->spinning = e->locked = false;
    } else if (index < 16) {
        e->r[index] = index == 13 ? value & ~3u : value;
    } else if (index == REG_XPSR) {
        exception_set_apsr(e, value);
        e->thumb = value >> 24 & 1;
    } else if (index == REG_MSP) {
        special_write(e, 8, value);
    } else if (index == REG_PSP) {
        special_write(e, 9, value);
    } else if (index == REG_PRIMASK) {
        e->primask = value & 1;
    } else if (index == REG_CONTROL) {
        special_write(e, 20, value);
    }
}

uint64_t emu_cycles(struct emu *e) {
    return e->cycles;
}

uint64_t emu_instructions(struct emu *e) {
    return e->instructions;
}

uint64_t emu_time_ps(struct emu *e) {
    return time_now_ps(e);
}

uint64_t emu_cpu_millihertz(struct emu *e) {
    return e->cpu_microhertz / 1000;
}

int emu_asleep(struct emu *e) {
    return e->sleeping;
}

uint32_t emu_unmodelled_count(struct emu *e) {
    return e->unmodelled_count;
}

int emu_unmodelled_get(struct emu *e, uint32_t index, struct emu_unmodelled *out) {
    if (index >= e->unmodelled_count) return -1;
    *out = e->unmodelled[index];
    return 0;
}

void emu_fault_get(struct emu *e, struct emu_fault *out) {
    *out = e->last_fault;
}

void emu_fault_before(struct emu *e, struct emu_fault *out) {
    *out = e->fault_before;
}

void emu_set_debugger(struct emu *e, int attached) {
    e->debug = attached != 0;
}

/* Found in the library's bytes by hil.native. */
const char emu_source_mark[] = "hil-core-source:" SOURCE_HASH;
