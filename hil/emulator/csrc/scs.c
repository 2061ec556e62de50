/* scs.c -- the system control space: SysTick, NVIC, SCB (Armv6-M ARM, B3). */
#include "ops.h"
#include "state.h"

enum {
    ACTLR = 0x008, SYST_CSR = 0x010, SYST_RVR = 0x014, SYST_CVR = 0x018, SYST_CALIB = 0x01C,
    NVIC_ISER = 0x100, NVIC_ICER = 0x180, NVIC_ISPR = 0x200, NVIC_ICPR = 0x280, NVIC_IPR = 0x400,
    CPUID = 0xD00, ICSR = 0xD04, VTOR = 0xD08, AIRCR = 0xD0C, SCR = 0xD10, CCR = 0xD14,
    SHPR2 = 0xD1C, SHPR3 = 0xD20, SHCSR = 0xD24, DFSR = 0xD30, DHCSR = 0xDF0, DCRSR = 0xDF4, DCRDR = 0xDF8,
    DEMCR = 0xDFC
};
enum { CSR_ENABLE = 1, CSR_TICKINT = 2, CSR_CLKSOURCE = 4, CSR_COUNTFLAG = 0x10000 };

/* M0+ r0p1. */
static const uint32_t CPUID_VALUE = 0x410CC601;
/* No reference clock, no 10 ms value. */
static const uint32_t CALIB_VALUE = 0x80000000;
static const uint32_t IMPLEMENTED_IRQS = 0x0FFFFFFF;
enum { PRIORITY_BYTES = 28 }; /* of the interrupts that there are */

/* Bring the counter up to e->cycles without regard to its interrupt. */
void systick_catch_up(struct emu *e) {
    struct systick *t = &e->systick;
    if (!(t->control & CSR_ENABLE) || t->next_zero > e->cycles) return;
    t->control |= CSR_COUNTFLAG;
    if (t->control & CSR_TICKINT) e->pending |= 1u << EXC_SYSTICK;
    if (t->reload == 0) {
        t->zero = t->next_zero;
        t->next_zero = NEVER;
        return;
    }
    uint64_t period = (uint64_t)t->reload + 1;
    t->zero = t->next_zero + (e->cycles - t->next_zero) / period * period;
    t->next_zero = t->zero + period;
}

uint64_t systick_next(const struct emu *e) {
    uint32_t both = CSR_ENABLE | CSR_TICKINT;
    return (e->systick.control & both) == both ? e->systick.next_zero : NEVER;
}

void systick_service(struct emu *e) {
    systick_catch_up(e);
}

/* The counter's value: 0 for one cycle, then the reload value, and down. */
static uint32_t systick_value(struct emu *e) {
    struct systick *t = &e->systick;
    systick_catch_up(e);
    if (!(t->control & CSR_ENABLE)) return t->stopped;
    if (t->next_zero == NEVER || t->zero == e->cycles) return 0;
    return (uint32_t)(t->next_zero - e->cycles);
}

/* Go on from `value` at this cycle. */
static void systick_start(struct emu *e, uint32_t value) {
    struct systick *t = &e->systick;
    t->stopped = value;
    if (value != 0) {
        t->next_zero = e->cycles + value;
    } else {
        t->zero = e->cycles;
        t->next_zero = t->reload == 0 ? NEVER : e->cycles + t->reload + 1;
    }
}

static void systick_write(struct emu *e, uint32_t offset, uint32_t value) {
    struct systick *t = &e->systick;
    uint32_t current = systick_value(e);
    if (offset == SYST_CSR) {
        t->control = (t->control & CSR_COUNTFLAG) | (value & 3) | CSR_CLKSOURCE;
        systick_start(e, current);
    } else if (offset == SYST_RVR) {
        t->reload = value & 0xFFFFFF;
        if (current == 0) systick_start(e, 0); /* otherwise at the next reload */
    } else if (offset == SYST_CVR) {
        t->control &= ~(uint32_t)CSR_COUNTFLAG;
        systick_start(e, 0);
    }
    e->attention = 1;
    event_update(e);
}

static uint32_t systick_read(struct emu *e, uint32_t offset) {
    uint32_t value = systick_value(e), control = e->systick.control | CSR_CLKSOURCE;
    switch (offset) {
    case SYST_CSR:
        e->systick.control &= ~(uint32_t)CSR_COUNTFLAG;
        return control;
    case SYST_RVR: return e->systick.reload;
    case SYST_CVR: return value;
    default: return CALIB_VALUE;
    }
}

static uint32_t icsr_read(const struct emu *e) {
    uint64_t irqs = e->pending & e->irq_enabled & ~0xFFFFull, all = irqs | (e->pending & 0xFFFF);
    uint32_t vector = 0;
    int best = 1000;
    for (uint64_t left = all; left; left &= left - 1) {
        uint32_t x = (uint32_t)__builtin_ctzll(left);
        int p = x == EXC_NMI ? -2 : x == EXC_HARDFAULT ? -1 : e->priority[x];
        if (p < best) {
            best = p;
            vector = x;
        }
    }
    return e->ipsr | vector << 12 | (irqs != 0 ? 1u << 22 : 0) | (uint32_t)(e->pending >> EXC_SYSTICK & 1) << 26 |
           (uint32_t)(e->pending >> EXC_PENDSV & 1) << 28 | (uint32_t)(e->pending >> EXC_NMI & 1) << 31;
}

static void icsr_write(struct emu *e, uint32_t value) {
    if (value & 1u << 31) e->pending |= 1u << EXC_NMI;
    if (value & 1u << 28) e->pending |= 1u << EXC_PENDSV;
    if (value & 1u << 27) e->pending &= ~(1ull << EXC_PENDSV);
    if (value & 1u << 26) e->pending |= 1u << EXC_SYSTICK;
    if (value & 1u << 25) e->pending &= ~(1ull << EXC_SYSTICK);
}

static uint32_t priorities_read(const struct emu *e, uint32_t exception) {
    return e->priority[exception] | (uint32_t)e->priority[exception + 1] << 8 |
           (uint32_t)e->priority[exception + 2] << 16 | (uint32_t)e->priority[exception + 3] << 24;
}

static void priorities_write(struct emu *e, uint32_t exception, uint32_t value) {
    for (uint32_t i = 0; i < 4; i++) e->priority[exception + i] = (uint8_t)(value >> 8 * i & 0xC0);
}

static uint32_t word_read(struct emu *e, uint32_t offset) {
    if (offset >= SYST_CSR && offset <= SYST_CALIB) return systick_read(e, offset);
    if (offset >= NVIC_IPR && offset < NVIC_IPR + PRIORITY_BYTES) return priorities_read(e, EXC_IRQ0 + (offset - NVIC_IPR));
    switch (offset) {
    case NVIC_ISER:
    case NVIC_ICER: return (uint32_t)(e->irq_enabled >> EXC_IRQ0);
    case NVIC_ISPR:
    case NVIC_ICPR: return (uint32_t)(e->pending >> EXC_IRQ0);
    case CPUID: return CPUID_VALUE;
    case ICSR: return icsr_read(e);
    case VTOR: return e->vtor;
    case AIRCR: return 0xFA050000;
    case SCR: return e->scr;
    case CCR: return 0x208; /* STKALIGN, UNALIGN_TRP */
    case SHPR2: return priorities_read(e, 8);
    case SHPR3: return priorities_read(e, 12);
    case SHCSR: return (uint32_t)(e->pending >> EXC_SVC & 1) << 15;
    case NVIC_IPR + PRIORITY_BYTES:
    case ACTLR:
    case DFSR:
    case DHCSR:
    case DCRSR:
    case DCRDR:
    case DEMCR: return 0;
    default: bus_log(e, 0xE000E000 + offset, false); return 0;
    }
}

static void word_write(struct emu *e, uint32_t offset, uint32_t value) {
    uint64_t irqs = (uint64_t)(value & IMPLEMENTED_IRQS) << EXC_IRQ0;
    e->attention = 1;
    if (offset >= SYST_CSR && offset <= SYST_CALIB) {
        systick_write(e, offset, value);
        return;
    }
    if (offset >= NVIC_IPR && offset < NVIC_IPR + PRIORITY_BYTES) {
        priorities_write(e, EXC_IRQ0 + (offset - NVIC_IPR), value);
        return;
    }
    switch (offset) {
    case NVIC_ISER: e->irq_enabled |= irqs; break;
    case NVIC_ICER: e->irq_enabled &= ~irqs; break;
    case NVIC_ISPR: e->pending |= irqs; break;
    case NVIC_ICPR: e->pending &= ~(irqs & ~e->irq_level); break;
    case ICSR: icsr_write(e, value); break;
    case VTOR: e->vtor = value & ~0xFFu; break;
    case AIRCR:
        if (value >> 16 == 0x05FA && value & 4) {
            e->reset_requested = true;
            e->reset_cause = 0x40;
        }
        break;
    case SCR: e->scr = value & 0x16; break;
    case SHPR2: e->priority[EXC_SVC] = (uint8_t)(value >> 24 & 0xC0); break;
    case SHPR3:
        e->priority[EXC_PENDSV] = (uint8_t)(value >> 16 & 0xC0);
        e->priority[EXC_SYSTICK] = (uint8_t)(value >> 24 & 0xC0);
        break;
    case NVIC_IPR + PRIORITY_BYTES:
    case CPUID:
    case CCR:
    case SHCSR:
    case ACTLR:
    case DFSR:
    case DHCSR:
    case DCRSR:
    case DCRDR:
    case DEMCR: break;
    default: bus_log(e, 0xE000E000 + offset, true); break;
    }
}

/* The space knows words only; smaller reads get their bytes, smaller writes are spread (UNPREDICTABLE). */
uint32_t scs_read(struct emu *e, uint32_t address, uint32_t size) {
    uint32_t value = word_read(e, address & 0xFFC) >> 8 * (address & 3);
    return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

void scs_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value) {
    (void)size;
    word_write(e, address & 0xFFC, value << 8 * (address & 3));
}
