/* clock.h -- the CPU clock, from the DFLL. */
#ifndef SAMD21_CLOCK_H
#define SAMD21_CLOCK_H

#include "board.h"

/* Largest multiple of the crystal that does not exceed the chip's 48 MHz. */
#define XOSC32K_HZ 32768u
#define DFLL_MULTIPLE (48000000u / XOSC32K_HZ)

#if BOARD_XOSC32K
#define CLOCK_HZ (DFLL_MULTIPLE * XOSC32K_HZ)
#else
#define CLOCK_HZ 48000000u /* open loop: off by some percent */
#endif

/* From the 1 MHz after reset to CLOCK_HZ. Waits for the oscillators: up to 2 s for a crystal,
 * for ever if the board says it has one and it does not swing. */
void clock_init(void);

#endif
