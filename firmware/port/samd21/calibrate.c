/* calibrate.c -- what measuring costs. A file of its own, so that the windows are opened and closed
 * by the very code that the application calls. */
#include "counter.h"
#include "port/port.h"
#include "registers.h"

/* Cycles of a window around a write to ICSR that requests nothing or, with PENDSTSET, the
 * counter's interrupt: its 2^24 cycles are not part of what it costs. How many cache lines the
 * handler evicts depends on the code that it interrupts: good to a few cycles. */
static uint32_t window_with_request(uint32_t icsr)
{
    uint16_t interrupts;

    port_window_open();
    SCB_ICSR = icsr;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    return port_window_close(&interrupts) & COUNTER_MASK;
}

void counter_calibrate(void)
{
    uint16_t interrupts;

    counter_set_costs(0, 0);
    const uint32_t without = window_with_request(0);
    const uint32_t with = window_with_request(SCB_ICSR_PENDSTSET);
    port_window_open();
    counter_set_costs(port_window_close(&interrupts), with - without);
}
