#include "clock.h"

#include <stdbool.h>

#include "counter.h"
#include "registers.h"

/* Blank calibration (all ones) means a coarse value of half its range (data sheet, "DFLL48M"). */
#define COARSE_BLANK 0x3Fu
#define COARSE_MIDDLE 0x1Fu

/* The fine value for which the open loop is specified, with the calibrated coarse one: 47 to 49 MHz
 * (data sheet, "DFLL48M characteristics - open loop mode"). */
#define FINE_OPEN_LOOP 512u

/* 48 MHz above 2.7 V needs one wait state, 24 MHz none (data sheet, "NVM characteristics"). */
#if defined(BOARD_HALF_CLOCK)
#define FLASH_WAIT_STATES 0u
#define CLOCK_DIVIDER 2u
#else
#define FLASH_WAIT_STATES 1u
#define CLOCK_DIVIDER 1u
#endif

static uint32_t hz;

uint32_t clock_hz(void)
{
    return hz;
}

static void wait_for(uint32_t pclksr_bits)
{
    while ((SYSCTRL_PCLKSR & pclksr_bits) != pclksr_bits) {
    }
}

static void wait_for_gclk(void)
{
    while ((GCLK_STATUS & GCLK_STATUS_SYNCBUSY) != 0) {
    }
}

/* MANW keeps a page from being written by a stray store; early silicon resets it to 0. */
static void set_wait_states(void)
{
    NVMCTRL_CTRLB = NVMCTRL_CTRLB_RWS(FLASH_WAIT_STATES) | NVMCTRL_CTRLB_MANW;
}

/* The DFLL's registers must not be written before it is ready with ONDEMAND off (errata). */
static void prepare_dfll(void)
{
    uint32_t coarse = CALIBRATION_DFLL48M_COARSE(CALIBRATION_WORD_1);

    if (coarse == COARSE_BLANK) {
        coarse = COARSE_MIDDLE;
    }
    SYSCTRL_DFLLCTRL = SYSCTRL_DFLLCTRL_ENABLE;
    wait_for(SYSCTRL_PCLKSR_DFLLRDY);
    SYSCTRL_DFLLVAL = SYSCTRL_DFLLVAL_COARSE(coarse) | FINE_OPEN_LOOP;
    wait_for(SYSCTRL_PCLKSR_DFLLRDY);
}

#if BOARD_XOSC32K
/* Largest steps while locking: half of the ranges of coarse and fine. */
#define LOCK_COARSE_STEP 31u
#define LOCK_FINE_STEP 511u

/* Cycles at 1 MHz that a crystal and the DFLL may take together: twice the crystal's start-up time. */
#define LOCK_LIMIT 4000000u

/* Wait, but not for ever; SysTick counts the cycles. Returns whether the bits have come. */
static bool comes(uint32_t pclksr_bits)
{
    SYST_RVR = COUNTER_MASK;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_CLKSOURCE;
    while ((SYSCTRL_PCLKSR & pclksr_bits) != pclksr_bits) {
        if (((0u - SYST_CVR) & COUNTER_MASK) > LOCK_LIMIT) {
            return false;
        }
    }
    return true;
}

static bool start_crystal(void)
{
    const uint32_t xosc32k = SYSCTRL_XOSC32K_STARTUP_2S | SYSCTRL_XOSC32K_XTALEN | SYSCTRL_XOSC32K_EN32K;

    SYSCTRL_XOSC32K = (uint16_t)xosc32k;
    SYSCTRL_XOSC32K = (uint16_t)(xosc32k | SYSCTRL_XOSC32K_ENABLE); /* a write of its own (data sheet) */
    return comes(SYSCTRL_PCLKSR_XOSC32KRDY);
}

/* Returns false, with the DFLL in open loop, if the crystal does not swing or is not locked to. */
static bool lock_dfll(void)
{
    if (!start_crystal()) {
        SYSCTRL_XOSC32K = 0;
        return false;
    }
    GCLK_GENDIV = GCLK_GENDIV_DIV(1) | 1u;
    wait_for_gclk();
    GCLK_GENCTRL = GCLK_GENCTRL_GENEN | GCLK_GENCTRL_SRC_XOSC32K | 1u;
    wait_for_gclk();
    GCLK_CLKCTRL = (uint16_t)(GCLK_CLKCTRL_CLKEN | GCLK_CLKCTRL_GEN(1u) | GCLK_CLKCTRL_DFLL48);
    wait_for_gclk();

    SYSCTRL_DFLLMUL =
        SYSCTRL_DFLLMUL_CSTEP(LOCK_COARSE_STEP) | SYSCTRL_DFLLMUL_FSTEP(LOCK_FINE_STEP) | CLOCK_MULTIPLE;
    wait_for(SYSCTRL_PCLKSR_DFLLRDY);
    SYSCTRL_DFLLCTRL = (uint16_t)(SYSCTRL_DFLLCTRL_ENABLE | SYSCTRL_DFLLCTRL_MODE | SYSCTRL_DFLLCTRL_WAITLOCK);
    if (!comes(SYSCTRL_PCLKSR_DFLLLCKC | SYSCTRL_PCLKSR_DFLLLCKF | SYSCTRL_PCLKSR_DFLLRDY)) {
        SYSCTRL_DFLLCTRL = 0; /* begin again, in open loop */
        prepare_dfll();
        return false;
    }
    return true;
}
#endif

void clock_init(void)
{
    set_wait_states();
    prepare_dfll();
    hz = CLOCK_OPEN_LOOP_HZ;
#if BOARD_XOSC32K
    if (lock_dfll()) {
        hz = CLOCK_LOCKED_HZ;
    }
#endif
    hz /= CLOCK_DIVIDER;
    GCLK_GENDIV = GCLK_GENDIV_DIV(CLOCK_DIVIDER);
    wait_for_gclk();
    GCLK_GENCTRL = GCLK_GENCTRL_GENEN | GCLK_GENCTRL_IDC | GCLK_GENCTRL_SRC_DFLL48M;
    wait_for_gclk();
}
