/* state.h -- the chip's state. */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NEVER UINT64_MAX

enum {
    RAM_BASE = 0x20000000,
    MAX_FLASH = 256 << 10,
    MAX_RAM = 32 << 10,
    LINE_BYTES = 8, /* of the flash, the cache and the decoder */
    LINE_SLOTS = 5, /* one for entering the line, four for its halfwords */
    RAM_LINE0 = MAX_FLASH / LINE_BYTES + 1, /* a line beyond the flash catches running off its end */
    LINES = RAM_LINE0 + MAX_RAM / LINE_BYTES + 1,
    RAM_HALF0 = RAM_LINE0 * 4,
    CACHE_LINES = 8,
    NO_LINE = 0x7FFFFFFF,
    SERCOMS = 6,
    TIMERS = 5, /* TC3..TC7 */
    EVENT_CHANNELS = 12,
    EVENT_USERS = 31,
    DMA_CHANNELS = 12,
    SERIALIZERS = 2,
    UNMODELLED = 256
};

/* One decoded halfword. The line's first slot stands for entering it by running on.
 * Slot of halfword h (0 is the first of flash): h + h / 4 + 1. */
struct op {
    const void *handler; /* label in the fast loop */
    uint32_t imm;        /* immediate, third register, register list, or halfword index of a branch's target */
    uint8_t a, b;        /* registers */
    uint8_t rem;         /* cycles of this and the following instructions up to the line's or run's end */
    uint8_t n;           /* instructions likewise */
};

/* What a loop hands to the dispatcher in core.c. */
enum request {
    REQUEST_NONE,
    REQUEST_FAULT, /* e->fault_kind, e->fault_address; pc is of the instruction */
    REQUEST_SVC,
    REQUEST_BKPT,
    REQUEST_WFI,
    REQUEST_WFE,
    REQUEST_SPIN,           /* a branch to itself */
    REQUEST_EXCEPTION_RETURN /* e->exc_return */
};

enum event_source {
    EVENT_OSCILLATOR,
    EVENT_NVM,
    EVENT_RTC,
    EVENT_WDT,
    EVENT_WDT_EARLY,
    EVENT_TC,
    EVENT_SERCOM_TX = EVENT_TC + TIMERS,
    EVENT_SERCOM_RX = EVENT_SERCOM_TX + SERCOMS,
    EVENT_ADC = EVENT_SERCOM_RX + SERCOMS,
    EVENT_I2S,
    EVENTS = EVENT_I2S + SERIALIZERS
};

/* What microphones hear. */
enum sound_source { SOUND_ADC, SOUND_I2S, SOUNDS };

enum exception {
    EXC_NMI = 2,
    EXC_HARDFAULT = 3,
    EXC_SVC = 11,
    EXC_PENDSV = 14,
    EXC_SYSTICK = 15,
    EXC_IRQ0 = 16,
    EXCEPTIONS = 48
};

enum irq {
    IRQ_PM = 0,
    IRQ_SYSCTRL = 1,
    IRQ_WDT = 2,
    IRQ_RTC = 3,
    IRQ_EIC = 4,
    IRQ_NVMCTRL = 5,
    IRQ_DMAC = 6,
    IRQ_EVSYS = 8,
    IRQ_SERCOM0 = 9,
    IRQ_TC3 = 18,
    IRQ_ADC = 23,
    IRQ_I2S = 27
};

struct fifo {
    uint8_t *data;
    uint32_t head, count, size;
};

/* Synchronization of a register between the bus clock and a slow one. */
struct sync {
    bool pending;
    uint64_t since_ps;
};

struct systick {
    uint32_t control, reload;
    uint32_t stopped;   /* value while disabled */
    uint64_t zero;      /* cycle at which it was 0 last */
    uint64_t next_zero; /* cycle of the next 1 to 0 transition, while enabled and reload or count is not 0 */
};

struct nvm {
    uint32_t control_b, address, param;
    uint8_t interrupts, flags;
    uint16_t status, lock;
    uint32_t boot_bytes; /* protected from the start of the flash */
    uint8_t page[64];
    uint8_t user_row[256];
    uint8_t calibration[64];
    uint64_t busy_until_ps;
    uint32_t pending_command, pending_address;
    bool secured; /* the security bit, as it will be after the next reset */
};

struct pm {
    uint32_t ahb_mask, apb_mask[3];
    uint8_t control, sleep, cpu_sel, apb_sel[3], interrupts, flags, cause;
};

struct sysctrl {
    uint32_t interrupts, flags, ready;
    uint16_t xosc, xosc32k, dfll_control;
    uint32_t osc32k, osc8m, dfll_value, dfll_mul, bod33, vref, dpll_ratio, dpll_control_b;
    uint8_t osculp32k, dpll_control_a;
    uint64_t ready_at_ps[5]; /* XOSC, XOSC32K, OSC32K, DFLL, DPLL */
};

struct gclk {
    uint8_t generator_select, channel_select, divider_select;
    uint32_t generator[16]; /* GENCTRL */
    uint32_t divider[16];   /* GENDIV */
    uint16_t channel[64];   /* CLKCTRL */
    uint64_t microhertz[16];
};

struct port_group {
    uint32_t dir, out, ctrl;
    uint8_t pmux[16], pincfg[32];
    uint32_t driven, level; /* pins that the world outside drives, and how */
};

struct sercom {
    uint32_t control_a, control_b, address;
    uint16_t baud, status;
    uint8_t rxpl, interrupts, flags, debug;
    uint16_t rx[2], rx_shift;
    uint8_t rx_count;
    struct sync sync;
    uint32_t sync_bits;
    bool rx_waits; /* a byte in rx_shift */
    uint16_t shift, hold; /* transmitter */
    bool shifting, holding;
    struct fifo to_host, from_host;
    uint64_t arrival_ps;      /* of the byte on the line, or NEVER */
    uint64_t last_arrival_ps; /* of the byte before */
    bool arrived;             /* there was a byte before */
    uint32_t host_baud;
};

/* A timer's count since it was last started, stopped, written or given another clock. */
struct counter {
    bool running;
    uint64_t base_ps;   /* when it stood at `base` */
    uint64_t base;      /* count */
    uint64_t seen;      /* ticks since base_ps that have been accounted for */
};

struct tc {
    uint16_t control_a, event_control, read_request;
    uint8_t control_b, control_c, debug, interrupts, flags;
    bool stopped; /* STATUS.STOP */
    uint32_t period, compare[2], captured;
    struct counter counter;
    struct sync sync;
};

struct rtc {
    uint16_t control, event_control, read_request;
    uint8_t interrupts, flags, debug, correction, alarm_mask;
    uint32_t compare[2], period, captured;
    struct counter counter;
    struct sync sync;
};

struct wdt {
    uint8_t control, config, early_warning, interrupts, flags;
    uint64_t cleared_ps; /* start of the current period */
    struct sync sync;
};

struct eic {
    uint8_t control, nmi_control, nmi_flag;
    uint32_t event_control, interrupts, flags, wakeup, config[2];
    uint32_t levels; /* of the 16 lines and, bit 16, NMI, as last seen */
};

struct evsys {
    uint32_t channel[EVENT_CHANNELS];
    uint8_t user[EVENT_USERS]; /* channel + 1, or 0 */
    uint8_t control, channel_select, user_select;
    uint32_t interrupts, flags;
};

struct dma_descriptor {
    uint16_t control, count;
    uint32_t source, target, next;
};

struct dma_channel {
    uint8_t control_a, interrupts, flags;
    bool pending, suspended, loaded, fetch_error;
    uint32_t control_b, fetch_from;
    struct dma_descriptor now;
};

struct dmac {
    uint16_t control;
    uint8_t debug, quality, selected, looked_at, last[4];
    bool busy; /* dmac_service is at work */
    uint32_t priority, base, write_back;
    uint32_t enabled; /* channels that can transfer */
    struct dma_channel channel[DMA_CHANNELS];
};

struct adc {
    uint8_t control_a, reference, average, sampling, window, event_control, interrupts, flags, debug;
    uint16_t control_b, result, window_low, window_high, gain_correction, offset_correction, calibration;
    uint32_t input, offset; /* of the scanned inputs */
    bool converting;
    uint64_t began_ps;
    struct sync sync;
};

struct i2s {
    uint32_t control, clock[2], serializer[SERIALIZERS], data[SERIALIZERS];
    uint16_t interrupts, flags;
    uint64_t base_ps[SERIALIZERS], slots[SERIALIZERS]; /* slots that have ended since base_ps */
    uint64_t running_at[SERIALIZERS]; /* bits a second in microhertz, 0: it does not run */
    struct sync sync;
};

/* A file that a microphone hears; samples NULL: silence. */
struct sound {
    int16_t *samples;
    uint64_t count, start_ps, taken;
    uint32_t rate;
    bool stop; /* no more samples at its end */
    bool started, over;
};

struct dsu {
    uint32_t address, length, data, dcc[2];
    uint8_t status_a;
};

struct mtb {
    uint32_t position, master, flow;
    bool begin; /* the next packet is the first after a start */
};

struct debug_unit {
    struct emu_debug setup;
    bool comparing; /* some comparator is in use */
    bool watching;  /* accesses are the core's own, to be compared */
    uint32_t matched;
};

struct emu {
    /* Everything the fast loop touches comes first. */
    uint32_t r[16]; /* r[15]: address of the instruction, valid outside the loops */
    int64_t nz;     /* bit 63 is N; Z if the low 32 bits are 0 */
    uint32_t c;     /* 0 or 1 */
    uint32_t v;     /* bit 31 is V */
    uint32_t tag[CACHE_LINES]; /* line held, or NO_LINE; all NO_LINE while hits cost too */
    uint32_t flash_bytes, ram_bytes;
    uint32_t attention; /* a loop must return after this instruction */
    uint32_t request;   /* enum request */
    uint64_t cycles, instructions;
    uint32_t fetch_line; /* line that the fetch stage holds, or NO_LINE after a branch */
    uint32_t hit_cost, miss_cost;
    uint32_t tag_shadow[CACHE_LINES]; /* the cache's contents while hits cost */
    bool cache_off;
    uint32_t stale_from, stale_to; /* decoded RAM lines written to since the loop was entered; none if from > to */

    uint32_t fault_kind, fault_address, exc_return;
    bool thumb, slow, rare, debug, sleeping, sleeps_for_event, event_register, locked, reset_requested;
    uint32_t reset_cause;
    int stop;
    struct emu_fault last_fault, fault_before;

    uint32_t other_sp; /* the stack pointer that is not r[13] */
    uint32_t primask, control, ipsr, vtor, scr;
    uint64_t pending, active, irq_enabled, irq_level; /* by exception number; irq_level: lines that are up */
    uint64_t was_pending; /* when the dispatcher looked last */
    uint8_t priority[EXCEPTIONS];                     /* 0, 64, 128, 192 */
    struct systick systick;

    uint64_t clock_cycle, clock_ps;   /* a moment at which the CPU clock was set */
    uint64_t cpu_microhertz;
    uint64_t when_ps[EVENTS];
    uint64_t next_event; /* cycle */
    uint64_t stalled;       /* cycles that accesses have waited for synchronization */
    uint64_t last_sleep_ps; /* when the firmware last slept, or reset */
    bool flash_too_fast, spinning;
    struct debug_unit debugger;
    bool line_rate; /* of the host's bytes */
    uint64_t hidden; /* exceptions that the debugger keeps away */
    bool caught;     /* at the first instruction of the HardFault handler */

    uint32_t device_id, serial[4], sercoms, timers;
    struct pm pm;
    struct sysctrl sysctrl;
    struct gclk gclk;
    struct nvm nvm;
    struct port_group port[3]; /* A, B, and C without pins */
    struct sercom sercom[SERCOMS];
    uint32_t write_protect[3]; /* PAC0..2 */
    struct tc tc[TIMERS];
    struct rtc rtc;
    struct wdt wdt;
    struct eic eic;
    struct dsu dsu;
    struct mtb mtb;
    struct evsys evsys;
    struct dmac dmac;
    struct adc adc;
    struct i2s i2s;
    struct sound sound[SOUNDS];
    uint32_t supply_mv;
    struct observer *observer; /* profile and trace, or NULL */

    struct emu_unmodelled unmodelled[UNMODELLED];
    uint32_t unmodelled_count;

    uint8_t is_code[MAX_RAM / LINE_BYTES + 1]; /* RAM lines that have been decoded */
    uint8_t ram[MAX_RAM + 8] __attribute__((aligned(16)));
    uint8_t flash[MAX_FLASH + 8] __attribute__((aligned(16)));
    uint8_t kind[LINES * LINE_SLOTS];
    struct op ops[LINES * LINE_SLOTS];
};

/* Bits of a word covered by byte lanes. */
static inline uint32_t lane_mask(uint32_t lanes) {
    return ((lanes & 1) ? 0xFFu : 0) | ((lanes & 2) ? 0xFF00u : 0) | ((lanes & 4) ? 0xFF0000u : 0) |
           ((lanes & 8) ? 0xFF000000u : 0);
}

static inline uint32_t merge(uint32_t old, uint32_t value, uint32_t lanes) {
    uint32_t mask = lane_mask(lanes);
    return (old & ~mask) | (value & mask);
}

/* Address of halfword index h, and back; the index of an address outside flash and RAM is ~0. */
static inline uint32_t half_address(uint32_t half) {
    return half < RAM_HALF0 ? half << 1 : RAM_BASE + ((half - RAM_HALF0) << 1);
}

static inline uint32_t address_half(const struct emu *e, uint32_t address) {
    if (address < e->flash_bytes) return address >> 1;
    if (address - RAM_BASE < e->ram_bytes) return RAM_HALF0 + ((address - RAM_BASE) >> 1);
    return ~0u;
}

#include "parts.h"

#endif
