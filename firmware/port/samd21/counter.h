/* counter.h -- SysTick as a cycle counter: 24 bits in hardware, extended by its interrupt. */
#ifndef SAMD21_COUNTER_H
#define SAMD21_COUNTER_H

#include <stdint.h>

/* Interrupts taken since the last window was opened, but for the counter's own.
 * Every handler but systick_handler adds 1. */
extern volatile uint32_t counter_interrupts;

/* SysTick counts down from its largest value and begins again: one interrupt every 2^24 cycles. */
#define COUNTER_BITS 24u
#define COUNTER_MASK 0xFFFFFFu

void counter_start(void);

/* What port_window_close subtracts, in cycles: for every window, and for each interrupt of the
 * counter taken inside. 0 after reset. */
void counter_set_costs(uint32_t empty_window, uint32_t wrap);

/* Measure both costs and set them. Needs the UART and the counter. */
void counter_calibrate(void);

#endif
