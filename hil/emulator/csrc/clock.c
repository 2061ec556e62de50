/* clock.c -- PM, SYSCTRL and GCLK: oscillators, generators, the CPU's clock (data sheet, chapters 15 to 17). */
#include <string.h>

#include "ops.h"
#include "state.h"

typedef unsigned __int128 u128;

enum { PM_CTRL = 0x00, PM_CPUSEL = 0x08, PM_AHBMASK = 0x14, PM_APBAMASK = 0x18, PM_APBBMASK = 0x1C,
       PM_APBCMASK = 0x20, PM_INTENCLR = 0x34, PM_RCAUSE = 0x38 };
enum { SYS_INTENCLR = 0x00, SYS_INTENSET = 0x04, SYS_INTFLAG = 0x08, SYS_PCLKSR = 0x0C, SYS_XOSC = 0x10,
       SYS_XOSC32K = 0x14, SYS_OSC32K = 0x18, SYS_OSCULP32K = 0x1C, SYS_OSC8M = 0x20, SYS_DFLLCTRL = 0x24,
       SYS_DFLLVAL = 0x28, SYS_DFLLMUL = 0x2C, SYS_DFLLSYNC = 0x30, SYS_BOD33 = 0x34, SYS_VREF = 0x40,
       SYS_DPLLCTRLA = 0x44, SYS_DPLLRATIO = 0x48, SYS_DPLLCTRLB = 0x4C, SYS_DPLLSTATUS = 0x50 };
enum { RDY_XOSC = 1 << 0, RDY_XOSC32K = 1 << 1, RDY_OSC32K = 1 << 2, RDY_OSC8M = 1 << 3, RDY_DFLL = 1 << 4,
       DFLL_LOCK_FINE = 1 << 6, DFLL_LOCK_COARSE = 1 << 7, RDY_BOD33 = 1 << 9, DPLL_LOCK = 1 << 15 };
enum { OSC_XOSC, OSC_XOSC32K, OSC_OSC32K, OSC_DFLL, OSC_DPLL, OSCILLATORS };
enum { DFLL_ENABLE = 2, DFLL_CLOSED = 4, DFLL_ONDEMAND = 0x80, ENABLE = 2 };
enum { SRC_XOSC, SRC_GCLKIN, SRC_GEN1, SRC_OSCULP32K, SRC_OSC32K, SRC_XOSC32K, SRC_OSC8M, SRC_DFLL, SRC_DPLL };
enum { GEN_ENABLE = 1 << 16, GEN_DIVSEL = 1 << 20, CHANNEL_ENABLE = 1 << 14, CHANNEL_DFLL_REFERENCE = 0,
       CHANNEL_DPLL = 1 };

static const uint64_t MHZ_UHZ = 1000000000000u;
static const uint64_t CRYSTAL_UHZ = 32768000000u, XOSC_UHZ = 16000000000000u, OSC8M_UHZ = 8000000000000u;
static const uint64_t US_PS = 1000000u;
/* Typical start-up times of the data sheet's electrical characteristics. */
static const uint64_t DFLL_START_PS = 8000000u, DFLL_LOCK_PS = 200000000u, DPLL_LOCK_PS = 25000000u,
                      OSC32K_START_PS = 130000000u;

/* No oscillator runs faster, whatever its reference is. */
static const uint64_t DFLL_MAX_UHZ = 60000000000000u, DPLL_MAX_UHZ = 96000000000000u;

static uint64_t scaled(uint64_t microhertz, uint64_t by, uint64_t over) {
    return (uint64_t)((u128)microhertz * by / over);
}

static uint64_t clamp(uint64_t microhertz, uint64_t by, uint64_t limit) {
    u128 product = (u128)microhertz * by;
    return product > limit ? limit : (uint64_t)product;
}

/* Open loop: 48 MHz at the calibrated coarse value and the middle of the fine range; about 3 % and 0.06 % a step. */
static uint64_t dfll_open_microhertz(const struct emu *e) {
    uint32_t coarse = e->sysctrl.dfll_value >> 10 & 63, fine = e->sysctrl.dfll_value & 0x3FF;
    uint32_t calibrated = (uint32_t)e->nvm.calibration[0x27] >> 2;
    int64_t parts = 1000000 + ((int64_t)coarse - calibrated) * 30000 + ((int64_t)fine - 512) * 60;
    return scaled(48 * MHZ_UHZ, (uint64_t)(parts < 100000 ? 100000 : parts), 1000000);
}

static uint64_t dfll_microhertz(const struct emu *e) {
    if (!(e->sysctrl.dfll_control & DFLL_ENABLE) || e->sysctrl.ready_at_ps[OSC_DFLL] != 0) return 0;
    if (!(e->sysctrl.dfll_control & DFLL_CLOSED)) return dfll_open_microhertz(e);
    return clamp(gclk_channel_microhertz(e, CHANNEL_DFLL_REFERENCE), e->sysctrl.dfll_mul & 0xFFFF, DFLL_MAX_UHZ);
}

static uint64_t dpll_microhertz(const struct emu *e) {
    const struct sysctrl *s = &e->sysctrl;
    if (!(s->dpll_control_a & ENABLE) || s->ready_at_ps[OSC_DPLL] != 0) return 0;
    uint64_t reference = 0;
    switch (s->dpll_control_b >> 4 & 3) {
    case 0: reference = s->ready & RDY_XOSC32K ? CRYSTAL_UHZ : 0; break;
    case 1: reference = s->ready & RDY_XOSC ? XOSC_UHZ / (2 * ((s->dpll_control_b >> 16 & 0x7FF) + 1)) : 0; break;
    default: reference = gclk_channel_microhertz(e, CHANNEL_DPLL); break;
    }
    return clamp(reference / 16, 16 * ((s->dpll_ratio & 0xFFF) + 1) + (s->dpll_ratio >> 16 & 15), DPLL_MAX_UHZ);
}

static uint64_t source_microhertz(const struct emu *e, uint32_t source) {
    const struct sysctrl *s = &e->sysctrl;
    switch (source) {
    case SRC_XOSC: return s->ready & RDY_XOSC ? XOSC_UHZ : 0;
    case SRC_GEN1: return e->gclk.microhertz[1];
    case SRC_OSCULP32K: return CRYSTAL_UHZ;
    case SRC_OSC32K: return s->ready & RDY_OSC32K ? CRYSTAL_UHZ : 0;
    case SRC_XOSC32K: return s->ready & RDY_XOSC32K ? CRYSTAL_UHZ : 0;
    case SRC_OSC8M: return s->osc8m & ENABLE ? OSC8M_UHZ >> (s->osc8m >> 8 & 3) : 0;
    case SRC_DFLL: return dfll_microhertz(e);
    case SRC_DPLL: return dpll_microhertz(e);
    default: return 0;
    }
}

static uint64_t generator_microhertz(const struct emu *e, uint32_t id) {
    uint32_t control = e->gclk.generator[id], divider = e->gclk.divider[id] >> 8;
    if (!(control & GEN_ENABLE)) return 0;
    divider &= id == 1 ? 0xFFFF : id == 2 ? 0x1F : 0xFF;
    uint64_t f = source_microhertz(e, control >> 8 & 31);
    if (control & GEN_DIVSEL) return divider < 40 ? f >> (divider + 1) : 0;
    return divider > 1 ? f / divider : f;
}

uint64_t gclk_channel_microhertz(const struct emu *e, uint32_t channel) {
    uint32_t control = e->gclk.channel[channel & 63];
    return control & CHANNEL_ENABLE ? e->gclk.microhertz[control >> 8 & 15] : 0;
}

static void set_cpu_clock(struct emu *e, uint64_t microhertz) {
    if (microhertz == 0 || microhertz == e->cpu_microhertz) return;
    e->clock_ps = time_now_ps(e);
    e->clock_cycle = e->cycles;
    e->cpu_microhertz = microhertz;
    flash_timing(e);
}

/* A generator whose new source does not run keeps its old clock. */
static void update_generators(struct emu *e) {
    for (uint32_t pass = 0; pass < 3; pass++) { /* generator 1 feeds others, the DFLL is fed by one */
        for (uint32_t id = 0; id < 9; id++) {
            uint64_t f = generator_microhertz(e, id);
            if (f != 0 || !(e->gclk.generator[id] & GEN_ENABLE)) e->gclk.microhertz[id] = f;
        }
    }
}

static void resume_timers(struct emu *e) {
    tc_resume(e);
    rtc_resume(e);
    wdt_resume(e);
    eic_update(e);
    i2s_resume(e);
}

/* Work out every frequency again. Timers settle with the old ones first. */
void clock_update(struct emu *e) {
    uint64_t before[16], after[16];
    memcpy(before, e->gclk.microhertz, sizeof before);
    update_generators(e);
    memcpy(after, e->gclk.microhertz, sizeof after);
    if (memcmp(before, after, sizeof before) != 0) {
        memcpy(e->gclk.microhertz, before, sizeof before);
        tc_settle(e);
        rtc_settle(e);
        memcpy(e->gclk.microhertz, after, sizeof after);
        resume_timers(e);
    }
    set_cpu_clock(e, e->gclk.microhertz[0] >> (e->pm.cpu_sel & 7));
    e->attention = 1;
    event_update(e);
}

static void sysctrl_update_irq(struct emu *e) {
    irq_set_level(e, IRQ_SYSCTRL, (e->sysctrl.flags & e->sysctrl.interrupts) != 0);
}

static void set_ready(struct emu *e, uint32_t bits, bool up) {
    uint32_t before = e->sysctrl.ready;
    e->sysctrl.ready = up ? before | bits : before & ~bits;
    e->sysctrl.flags |= e->sysctrl.ready & ~before;
    sysctrl_update_irq(e);
}

static void schedule_ready(struct emu *e) {
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < OSCILLATORS; i++) {
        uint64_t at = e->sysctrl.ready_at_ps[i];
        if (at != 0 && at < next) next = at;
    }
    event_schedule(e, EVENT_OSCILLATOR, next);
}

static void start(struct emu *e, uint32_t oscillator, uint64_t after_ps) {
    e->sysctrl.ready_at_ps[oscillator] = time_now_ps(e) + after_ps;
    schedule_ready(e);
}

static void stop(struct emu *e, uint32_t oscillator, uint32_t ready_bits) {
    e->sysctrl.ready_at_ps[oscillator] = 0;
    set_ready(e, ready_bits, false);
    schedule_ready(e);
}

void clock_event(struct emu *e) {
    static const uint32_t bits[OSCILLATORS] = {RDY_XOSC, RDY_XOSC32K, RDY_OSC32K, RDY_DFLL, DPLL_LOCK};
    uint64_t now = time_now_ps(e);
    for (uint32_t i = 0; i < OSCILLATORS; i++) {
        uint64_t at = e->sysctrl.ready_at_ps[i];
        if (at == 0 || at > now) continue;
        e->sysctrl.ready_at_ps[i] = 0;
        bool locks = i == OSC_DFLL && e->sysctrl.dfll_control & DFLL_CLOSED;
        set_ready(e, bits[i] | (locks ? DFLL_LOCK_COARSE | DFLL_LOCK_FINE : 0), true);
    }
    schedule_ready(e);
    clock_update(e);
}

/* Start or stop one oscillator whose ENABLE bit has changed. */
static void toggle(struct emu *e, uint32_t oscillator, uint32_t bits, uint32_t before, uint32_t now,
                   uint64_t after_ps) {
    if ((now & ENABLE) && !(before & ENABLE)) start(e, oscillator, after_ps);
    if (!(now & ENABLE) && (before & ENABLE)) stop(e, oscillator, bits);
}

/* XOSC32K.STARTUP: cycles of OSCULP32K, 1 to 2^17, and three of the crystal. */
static uint64_t crystal_start_ps(uint16_t control) {
    static const uint32_t cycles[8] = {1, 32, 2048, 4096, 16384, 32768, 65536, 131072};
    return time_of_ticks(cycles[control >> 8 & 7] + 3, CRYSTAL_UHZ);
}

static void dfll_write(struct emu *e, uint32_t value) {
    struct sysctrl *s = &e->sysctrl;
    uint16_t before = s->dfll_control;
    s->dfll_control = (uint16_t)(value & 0x0FFE);
    if ((value & DFLL_ENABLE) && ((before ^ value) & (DFLL_ENABLE | DFLL_CLOSED))) {
        set_ready(e, RDY_DFLL | DFLL_LOCK_COARSE | DFLL_LOCK_FINE, false);
        start(e, OSC_DFLL, value & DFLL_CLOSED ? DFLL_LOCK_PS : DFLL_START_PS);
    } else if (!(value & DFLL_ENABLE)) {
        stop(e, OSC_DFLL, DFLL_LOCK_COARSE | DFLL_LOCK_FINE);
        set_ready(e, RDY_DFLL, true); /* idle: its registers can be written */
    }
}

/* Erratum: with ONDEMAND set, or before DFLLRDY, a write to these registers freezes the chip. */
static bool dfll_takes_writes(struct emu *e, uint32_t offset) {
    bool takes = !(e->sysctrl.dfll_control & DFLL_ONDEMAND) && (e->sysctrl.ready & RDY_DFLL);
    if (!takes) core_fault(e, EMU_FAULT_UNCLOCKED, 0x40000800 + offset);
    return takes;
}

void sysctrl_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct sysctrl *s = &e->sysctrl;
    uint32_t masked = value & lane_mask(lanes), before;
    (void)index;
    switch (offset) {
    case SYS_INTENCLR: s->interrupts &= ~masked; break;
    case SYS_INTENSET: s->interrupts |= masked & 0x3FFFF; break;
    case SYS_INTFLAG: s->flags &= ~masked; break;
    case SYS_PCLKSR: break;
    case SYS_XOSC:
        before = s->xosc;
        s->xosc = (uint16_t)merge(s->xosc, value, lanes);
        toggle(e, OSC_XOSC, RDY_XOSC, before, s->xosc, (31 * US_PS) << (s->xosc >> 12));
        break;
    case SYS_XOSC32K:
        before = s->xosc32k;
        s->xosc32k = (uint16_t)merge(s->xosc32k, value, lanes);
        toggle(e, OSC_XOSC32K, RDY_XOSC32K, before, s->xosc32k, crystal_start_ps(s->xosc32k));
        break;
    case SYS_OSC32K:
        before = s->osc32k;
        s->osc32k = merge(s->osc32k, value, lanes);
        toggle(e, OSC_OSC32K, RDY_OSC32K, before, s->osc32k, OSC32K_START_PS);
        break;
    case SYS_OSCULP32K: s->osculp32k = (uint8_t)(merge(s->osculp32k, value, lanes) & 0x9F); break;
    case SYS_OSC8M:
        s->osc8m = merge(s->osc8m, value, lanes);
        set_ready(e, RDY_OSC8M, s->osc8m & ENABLE);
        break;
    case SYS_DFLLCTRL: dfll_write(e, merge(s->dfll_control, value, lanes)); break;
    case SYS_DFLLVAL:
    case SYS_DFLLMUL:
        if (!dfll_takes_writes(e, offset)) return;
        if (offset == SYS_DFLLVAL) s->dfll_value = merge(s->dfll_value, value, lanes) & 0xFFFF;
        if (offset == SYS_DFLLMUL) s->dfll_mul = merge(s->dfll_mul, value, lanes);
        break;
    case SYS_DFLLSYNC: break;
    case SYS_BOD33: s->bod33 = merge(s->bod33, value, lanes); break;
    case SYS_VREF: s->vref = merge(s->vref, value, lanes); break;
    case SYS_DPLLCTRLA:
        before = s->dpll_control_a;
        s->dpll_control_a = (uint8_t)merge(s->dpll_control_a, value, lanes);
        toggle(e, OSC_DPLL, DPLL_LOCK, before, s->dpll_control_a, DPLL_LOCK_PS);
        break;
    case SYS_DPLLRATIO: s->dpll_ratio = merge(s->dpll_ratio, value, lanes); break;
    case SYS_DPLLCTRLB: s->dpll_control_b = merge(s->dpll_control_b, value, lanes); break;
    default: bus_log(e, 0x40000800 + offset, true); return;
    }
    sysctrl_update_irq(e);
    clock_update(e);
}

uint32_t sysctrl_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct sysctrl *s = &e->sysctrl;
    (void)index;
    (void)lanes;
    switch (offset) {
    case SYS_INTENCLR:
    case SYS_INTENSET: return s->interrupts;
    case SYS_INTFLAG: return s->flags;
    case SYS_PCLKSR: return s->ready;
    case SYS_XOSC: return s->xosc;
    case SYS_XOSC32K: return s->xosc32k;
    case SYS_OSC32K: return s->osc32k;
    case SYS_OSCULP32K: return s->osculp32k;
    case SYS_OSC8M: return s->osc8m;
    case SYS_DFLLCTRL: return s->dfll_control;
    case SYS_DFLLVAL: return s->dfll_value;
    case SYS_DFLLMUL: return s->dfll_mul;
    case SYS_DFLLSYNC: return 0;
    case SYS_BOD33: return s->bod33;
    case SYS_VREF: return s->vref;
    case SYS_DPLLCTRLA: return s->dpll_control_a;
    case SYS_DPLLRATIO: return s->dpll_ratio;
    case SYS_DPLLCTRLB: return s->dpll_control_b;
    case SYS_DPLLSTATUS: return s->ready & DPLL_LOCK ? 7 : s->dpll_control_a & ENABLE ? 4 : 0;
    default: bus_log(e, 0x40000800 + offset, false); return 0;
    }
}

void pm_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct pm *p = &e->pm;
    (void)index;
    switch (offset) {
    case PM_CTRL:
        if (lanes & 1) p->control = value & 0x14;
        if (lanes & 2) p->sleep = value >> 8 & 3;
        break;
    case PM_CPUSEL:
        if (lanes & 1) p->cpu_sel = value & 7;
        for (uint32_t i = 0; i < 3; i++) {
            if (lanes >> (i + 1) & 1) p->apb_sel[i] = value >> 8 * (i + 1) & 7;
        }
        p->flags |= 1;
        clock_update(e);
        break;
    case PM_AHBMASK:
        p->ahb_mask = merge(p->ahb_mask, value, lanes) & 0x7F;
        dmac_clock(e);
        break;
    case PM_APBAMASK:
    case PM_APBBMASK:
    case PM_APBCMASK: {
        uint32_t *mask = &p->apb_mask[(offset - PM_APBAMASK) / 4];
        *mask = merge(*mask, value, lanes);
        break;
    }
    case PM_INTENCLR:
        if (lanes & 1) p->interrupts &= (uint8_t)~value;
        if (lanes & 2) p->interrupts |= value >> 8 & 1;
        if (lanes & 4) p->flags &= (uint8_t)~(value >> 16);
        break;
    case PM_RCAUSE: break;
    default: bus_log(e, 0x40000400 + offset, true); break;
    }
    irq_set_level(e, IRQ_PM, (p->flags & p->interrupts) != 0);
}

uint32_t pm_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct pm *p = &e->pm;
    (void)index;
    (void)lanes;
    switch (offset) {
    case PM_CTRL: return p->control | (uint32_t)p->sleep << 8;
    case PM_CPUSEL:
        return p->cpu_sel | (uint32_t)p->apb_sel[0] << 8 | (uint32_t)p->apb_sel[1] << 16 |
               (uint32_t)p->apb_sel[2] << 24;
    case PM_AHBMASK: return p->ahb_mask;
    case PM_APBAMASK:
    case PM_APBBMASK:
    case PM_APBCMASK: return p->apb_mask[(offset - PM_APBAMASK) / 4];
    case PM_INTENCLR: return p->interrupts | (uint32_t)p->interrupts << 8 | (uint32_t)p->flags << 16;
    case PM_RCAUSE: return p->cause;
    default: bus_log(e, 0x40000400 + offset, false); return 0;
    }
}

static void gclk_reset(struct emu *e) {
    struct gclk *g = &e->gclk;
    *g = (struct gclk){0};
    for (uint32_t i = 0; i < 9; i++) g->generator[i] = g->divider[i] = i;
    for (uint32_t i = 0; i < 64; i++) g->channel[i] = (uint16_t)i;
    g->generator[0] |= SRC_OSC8M << 8 | GEN_ENABLE;
    g->generator[2] |= SRC_OSCULP32K << 8 | GEN_ENABLE;
}

/* An 8-bit write to the ID selects what is read; a wider one configures. */
void gclk_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct gclk *g = &e->gclk;
    (void)index;
    if (offset == 0 && (lanes & 1) && (value & 1)) {
        gclk_reset(e);
    } else if (offset == 0 && (lanes & 4)) {
        g->channel_select = value >> 16 & 0x3F;
        uint16_t *channel = &g->channel[g->channel_select];
        if (lanes & 8) {
            tc_settle(e);
            rtc_settle(e);
        }
        if ((lanes & 8) && !(*channel & 0x8000)) *channel = (uint16_t)((value >> 16 & 0xCF00) | g->channel_select);
    } else if (offset == 4) {
        g->generator_select = value & 15;
        uint32_t *control = &g->generator[g->generator_select];
        if (lanes & 0xE) *control = merge(*control, value, lanes) & 0x3F1F0F;
    } else if (offset == 8) {
        g->divider_select = value & 15;
        uint32_t *divider = &g->divider[g->divider_select];
        if (lanes & 0xE) *divider = merge(*divider, value, lanes) & 0xFFFF0F;
    } else if (offset != 0) {
        bus_log(e, 0x40000C00 + offset, true);
    }
    clock_update(e);
    resume_timers(e);
}

uint32_t gclk_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    const struct gclk *g = &e->gclk;
    (void)index;
    (void)lanes;
    switch (offset) {
    case 0: {
        bool waits = generator_microhertz(e, 0) == 0; /* for a source that does not run */
        return (waits ? 0x8000u : 0) | (uint32_t)g->channel[g->channel_select] << 16;
    }
    case 4: return g->generator[g->generator_select];
    case 8: return g->divider[g->divider_select];
    default: bus_log(e, 0x40000C00 + offset, false); return 0;
    }
}

void clock_reset(struct emu *e) {
    e->pm = (struct pm){.ahb_mask = 0x7F, .apb_mask = {0x7F, 0x7F, 0x10000}, .cause = (uint8_t)e->reset_cause};
    e->sysctrl = (struct sysctrl){.xosc = 0x80, .xosc32k = 0x80, .dfll_control = 0x80, .osc32k = 0x003F0080,
                                  .osculp32k = 0x1F, .osc8m = 0x87070382, .dpll_control_a = 0x80,
                                  .ready = RDY_OSC8M | RDY_DFLL | RDY_BOD33};
    e->sysctrl.dfll_value = (uint32_t)(e->nvm.calibration[0x27] >> 2) << 10 | 512;
    gclk_reset(e);
    e->cpu_microhertz = MHZ_UHZ;
    clock_update(e);
    flash_timing(e);
}
