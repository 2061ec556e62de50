/* bus.c -- the memory map: flash with its cache, RAM, peripherals, system control space. */
#include <string.h>

#include "ops.h"
#include "state.h"

enum {
    APB_A = 0x40000000, APB_B = 0x41000000, APB_C = 0x42000000, APB_BLOCK = 0x400,
    DSU_BASE = 0x41002000, DSU_SIZE = 0x2000, MTB_SIZE = 0x1000,
    IOBUS = 0x60000000, IOBUS_SIZE = 0x200,
    ALWAYS_CLOCKED = 32, PAC_MTB = 6,
    SCS = 0xE000E000, AUX = 0x00800000, AUX_END = 0x0080C000
};

struct block {
    peripheral_read read;
    peripheral_write write;
    uint32_t index;
    uint32_t mask; /* bit of the bridge's APBxMASK and PACx, or ALWAYS_CLOCKED */
};

static const struct block apb_a[] = {
    {pac_read, pac_write, 0, 0},    {pm_read, pm_write, 0, 1},   {sysctrl_read, sysctrl_write, 0, 2},
    {gclk_read, gclk_write, 0, 3},  {wdt_read, wdt_write, 0, 4}, {rtc_read, rtc_write, 0, 5},
    {eic_read, eic_write, 0, 6},
};
static const struct block block_dsu = {dsu_read, dsu_write, 0, 1};
static const struct block block_port = {port_read, port_write, 0, 3};

static const struct block *find_b(uint32_t offset) {
    static const struct block pac = {pac_read, pac_write, 1, 0}, nvm = {nvmctrl_read, nvmctrl_write, 0, 2},
                              dmac = {dmac_read, dmac_write, 0, 4}, usb = {NULL, NULL, 0, 5},
                              mtb = {mtb_read, mtb_write, 0, ALWAYS_CLOCKED}, other = {NULL, NULL, 0, ALWAYS_CLOCKED};
    switch (offset / APB_BLOCK) {
    case 0x00: return &pac;
    case 0x10: return &nvm;
    case 0x11: return &block_port;
    case 0x12: return &dmac;
    case 0x14:
    case 0x15:
    case 0x16:
    case 0x17: return &usb;
    case 0x18:
    case 0x19:
    case 0x1A:
    case 0x1B: return &mtb;
    case 0x1C: return &other;
    default: return NULL;
    }
}

/* PAC2, EVSYS, SERCOM0..5, TCC0..2, TC3..7, ADC, AC, DAC, PTC, I2S: block n has mask bit n. */
static const struct block *find_c(const struct emu *e, uint32_t offset) {
    static const struct block blocks[] = {
        {pac_read, pac_write, 2, 0},       {evsys_read, evsys_write, 0, 1},
        {sercom_read, sercom_write, 0, 2}, {sercom_read, sercom_write, 1, 3},
        {sercom_read, sercom_write, 2, 4}, {sercom_read, sercom_write, 3, 5},
        {sercom_read, sercom_write, 4, 6}, {sercom_read, sercom_write, 5, 7},
        {NULL, NULL, 0, 8},  {NULL, NULL, 1, 9},  {NULL, NULL, 2, 10},
        {tc_read, tc_write, 0, 11}, {tc_read, tc_write, 1, 12}, {tc_read, tc_write, 2, 13},
        {tc_read, tc_write, 3, 14}, {tc_read, tc_write, 4, 15},
        {adc_read, adc_write, 0, 16}, {NULL, NULL, 0, 17}, {NULL, NULL, 0, 18}, {NULL, NULL, 0, 19},
        {i2s_read, i2s_write, 0, 20},
    };
    uint32_t n = offset / APB_BLOCK;
    if (n >= 2 && n < 8 && n - 2 >= e->sercoms) return NULL;
    if (n >= 11 && n < 16 && n - 11 >= e->timers) return NULL;
    return n < sizeof blocks / sizeof *blocks ? &blocks[n] : NULL;
}

static const struct block *find_block(const struct emu *e, uint32_t address) {
    if (address - DSU_BASE < DSU_SIZE) return &block_dsu;
    if (address - IOBUS < IOBUS_SIZE) return &block_port;
    uint32_t offset = address & 0xFFFFFF;
    switch (address & 0xFF000000) {
    case APB_A: return offset / APB_BLOCK < 7 ? &apb_a[offset / APB_BLOCK] : NULL;
    case APB_B: return find_b(offset);
    case APB_C: return find_c(e, offset);
    default: return NULL;
    }
}

static bool is_clocked(const struct emu *e, uint32_t address, const struct block *block) {
    if (address >= IOBUS || block->mask == ALWAYS_CLOCKED) return true;
    return e->pm.apb_mask[(address - APB_A) >> 24] >> block->mask & 1;
}

static bool is_protected(const struct emu *e, uint32_t address, const struct block *block) {
    bool unprotected = block->mask == 0 || (block->mask == ALWAYS_CLOCKED && block->write != mtb_write);
    if (address >= IOBUS || unprotected) return false;
    uint32_t bit = block->mask == ALWAYS_CLOCKED ? PAC_MTB : block->mask;
    return e->write_protect[(address - APB_A) >> 24] >> bit & 1;
}

void bus_log(struct emu *e, uint32_t address, bool is_write) {
    for (uint32_t i = 0; i < e->unmodelled_count; i++) {
        struct emu_unmodelled *u = &e->unmodelled[i];
        if (u->address == address && u->is_write == is_write) {
            u->count++;
            return;
        }
    }
    if (e->unmodelled_count == UNMODELLED) return;
    e->unmodelled[e->unmodelled_count++] = (struct emu_unmodelled){address, is_write, e->r[15], 1};
}

/* Called where e->tag does not hold the line: a miss, or hits cost too, or the cache is off.
 * While a row is erased or a page written the array answers nobody. */
uint32_t flash_miss(struct emu *e, uint32_t line) {
    uint32_t busy = e->nvm.pending_command ? nvm_busy_cycles(e) : 0;
    if (e->cache_off) return busy + e->hit_cost;
    uint32_t *held = e->hit_cost ? &e->tag_shadow[line % CACHE_LINES] : &e->tag[line % CACHE_LINES];
    if (*held == line) return e->hit_cost;
    *held = line;
    return busy + e->miss_cost;
}

static uint32_t read_flash(struct emu *e, uint32_t address, uint32_t size) {
    uint32_t line = address / LINE_BYTES, value = 0;
    if (e->tag[line % CACHE_LINES] != line) e->cycles += flash_miss(e, line);
    memcpy(&value, e->flash + address, size);
    return value;
}

void bus_write_ram(struct emu *e, uint32_t offset, uint32_t size, uint32_t value) {
    memcpy(e->ram + offset, &value, size);
    uint32_t line = offset / LINE_BYTES;
    if (!e->is_code[line]) return;
    if (line < e->stale_from) e->stale_from = line;
    if (line > e->stale_to) e->stale_to = line;
    e->attention = 1;
}

/* Faults that do not depend on what lies at the address. */
static bool refuse(struct emu *e, uint32_t address, uint32_t size) {
    if ((address & (size - 1)) == 0) return false;
    core_fault(e, EMU_FAULT_UNALIGNED, address);
    return true;
}

/* DSU and MTB are larger than a block. */
static uint32_t offset_in(const struct block *block, uint32_t address) {
    if (block->read == dsu_read) return address & (DSU_SIZE - 1);
    return address & (block->read == mtb_read ? MTB_SIZE - 1 : APB_BLOCK - 1);
}

static uint32_t read_peripheral(struct emu *e, uint32_t address, uint32_t size) {
    const struct block *block = find_block(e, address);
    uint32_t shift = 8 * (address & 3), lanes = ((1u << size) - 1) << (address & 3);
    if (block == NULL || !is_clocked(e, address, block)) {
        core_fault(e, block == NULL ? EMU_FAULT_UNMAPPED : EMU_FAULT_UNCLOCKED, address);
        return 0;
    }
    if (address >= IOBUS) e->cycles--;
    if (block->read == NULL) {
        bus_log(e, address, false);
        return 0;
    }
    uint32_t offset = offset_in(block, address);
    uint32_t value = block->read(e, block->index, offset & ~3u, lanes) >> shift;
    return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

static void write_peripheral(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    const struct block *block = find_block(e, address);
    uint32_t shift = 8 * (address & 3), lanes = ((1u << size) - 1) << (address & 3);
    if (block == NULL || !is_clocked(e, address, block)) {
        core_fault(e, block == NULL ? EMU_FAULT_UNMAPPED : EMU_FAULT_UNCLOCKED, address);
        return;
    }
    if (is_protected(e, address, block)) {
        core_fault(e, EMU_FAULT_PROTECTED, address);
        return;
    }
    if (address >= IOBUS) e->cycles--;
    if (block->write == NULL) {
        bus_log(e, address, true);
        return;
    }
    uint32_t offset = offset_in(block, address);
    block->write(e, block->index, offset & ~3u, value << shift, lanes);
}

uint32_t bus_read(struct emu *e, uint32_t address, uint32_t size) {
    uint32_t value = 0;
    if (UNLIKELY(e->debugger.watching)) debug_access(e, address, size, false);
    if (refuse(e, address, size)) return 0;
    if (address - RAM_BASE < e->ram_bytes) {
        memcpy(&value, e->ram + (address - RAM_BASE), size);
        return value;
    }
    if (address < e->flash_bytes) return read_flash(e, address, size);
    if (address - SCS < 0x1000) return scs_read(e, address, size);
    if (address >= AUX && address < AUX_END) {
        const uint8_t *bytes = nvm_aux(e, address, size);
        if (bytes != NULL) memcpy(&value, bytes, size);
        if (bytes == NULL) value = 0xFFFFFFFFu >> (32 - 8 * size);
        return value;
    }
    if (address >= APB_A && address < IOBUS + IOBUS_SIZE) return read_peripheral(e, address, size);
    core_fault(e, EMU_FAULT_UNMAPPED, address);
    return 0;
}

void bus_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    if (UNLIKELY(e->debugger.watching)) debug_access(e, address, size, true);
    if (refuse(e, address, size)) return;
    if (address - RAM_BASE < e->ram_bytes) {
        bus_write_ram(e, address - RAM_BASE, size, value);
    } else if (address - SCS < 0x1000) {
        scs_write(e, address, size, value);
    } else if (address >= APB_A && address < IOBUS + IOBUS_SIZE) {
        write_peripheral(e, address, size, value);
    } else if ((address < e->flash_bytes || (address >= AUX && address < AUX_END)) && size > 1) {
        nvm_load_page(e, address, size, value);
    } else {
        core_fault(e, address < e->flash_bytes ? EMU_FAULT_WRITE_FLASH : EMU_FAULT_UNMAPPED, address);
    }
}

/* What the core was about to do stays as it was. */
static uint32_t foreign(struct emu *e, uint32_t address, uint32_t size, uint32_t *value, bool is_write) {
    uint32_t request = e->request, kind = e->fault_kind, at = e->fault_address;
    uint64_t cycles = e->cycles, stalled = e->stalled;
    bool watching = e->debugger.watching;
    e->request = REQUEST_NONE;
    e->debugger.watching = false;
    if (is_write) {
        bus_write(e, address, size, *value);
    } else {
        *value = bus_read(e, address, size);
    }
    uint32_t result = e->request == REQUEST_FAULT ? e->fault_kind : 0;
    e->request = request;
    e->fault_kind = kind;
    e->fault_address = at;
    e->cycles = cycles;
    e->stalled = stalled;
    e->debugger.watching = watching;
    return result;
}

uint32_t bus_foreign_read(struct emu *e, uint32_t address, uint32_t size, uint32_t *value) {
    if (address - RAM_BASE <= e->ram_bytes - size && (address & (size - 1)) == 0) {
        *value = 0;
        memcpy(value, e->ram + (address - RAM_BASE), size);
        return 0;
    }
    return foreign(e, address, size, value, false);
}

uint32_t bus_foreign_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    if (address - RAM_BASE <= e->ram_bytes - size && (address & (size - 1)) == 0) {
        bus_write_ram(e, address - RAM_BASE, size, value);
        return 0;
    }
    return foreign(e, address, size, &value, true);
}

/* Trigger sources that stay up until they are served (data sheet, CHCTRLB.TRIGSRC). */
bool dma_requested(const struct emu *e, uint32_t source) {
    enum { SERCOM0_RX = 0x01, SERCOM5_TX = 0x0C, ADC_READY = 0x27, I2S_RX0 = 0x29, I2S_RX1 = 0x2A };
    if (source >= SERCOM0_RX && source <= SERCOM5_TX) {
        return sercom_requests(e, (source - SERCOM0_RX) / 2, (source - SERCOM0_RX) & 1);
    }
    if (source == ADC_READY) return adc_ready(e);
    if (source == I2S_RX0 || source == I2S_RX1) return i2s_ready(e, source - I2S_RX0);
    return false;
}
