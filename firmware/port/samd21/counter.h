/* counter.h -- SysTick as a cycle counter: 24 bits in hardware, extended by its interrupt. */
#ifndef SAMD21_COUNTER_H
#define SAMD21_COUNTER_H

#include <stdint.h>

/* Interrupts taken since the last window was opened, but for the counter's own.
 * Every handler but systick_handler adds 1. */
extern volatile uint32_t counter_interrupts;

/* Start counting and measure what a window and the counter's interrupt cost. Needs the UART. */
void counter_init(void);

#endif
