/* clock.h -- the CPU clock, from the DFLL. */
#ifndef SAMD21_CLOCK_H
#define SAMD21_CLOCK_H

#include <stdint.h>

#include "board.h"

/* From the 1 MHz after reset to 48 MHz, or to 24 MHz without wait states if BOARD_HALF_CLOCK is defined. A board with a crystal waits for it, 2 s by its data sheet
 * and at most twice that; if it does not swing or the DFLL does not lock, the open loop stays. */
void clock_init(void);

/* What clock_init has reached: CLOCK_LOCKED_HZ, or CLOCK_OPEN_LOOP_HZ, which is off by some percent; or half of it. */
uint32_t clock_hz(void);

/* Largest multiple of the crystal that does not exceed the chip's 48 MHz. */
#define CLOCK_XOSC32K_HZ 32768u
#define CLOCK_MULTIPLE (48000000u / CLOCK_XOSC32K_HZ)
#define CLOCK_LOCKED_HZ (CLOCK_MULTIPLE * CLOCK_XOSC32K_HZ)
#define CLOCK_OPEN_LOOP_HZ 48000000u

#endif
