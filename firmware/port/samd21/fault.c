/* fault.c -- what is left to do after a fault: say so. */
#include <stdint.h>

#include "link/link_schema.h"
#include "port/port.h"
#include "registers.h"
#include "stack.h"
#include "uart.h"

#define STACKED_WORDS 8u
#define XPSR 7u
#define XPSR_ALIGNED (1u << 9) /* the core skipped a word to align the stack */

extern uint32_t link_ram_start[], link_ram_end[];

void fault_report(const uint32_t *stacked, uint32_t exc_return);

/* Registers are where the stack pointer says, unless it points outside RAM. */
static void read_stacked(struct port_fault *fault, const uint32_t *stacked)
{
    const uint32_t at = (uint32_t)(uintptr_t)stacked, start = (uint32_t)(uintptr_t)link_ram_start;
    const uint32_t bytes = (uint32_t)(uintptr_t)link_ram_end - start;

    for (uint32_t i = 0; i < STACKED_WORDS; i++) {
        fault->stacked[i] = 0;
    }
    fault->sp = at;
    if (at % 4u != 0 || at - start > bytes - 4u * STACKED_WORDS) {
        return;
    }
    for (uint32_t i = 0; i < STACKED_WORDS; i++) {
        fault->stacked[i] = stacked[i];
    }
    fault->sp = at + 4u * STACKED_WORDS + ((stacked[XPSR] & XPSR_ALIGNED) != 0 ? 4u : 0u);
}

void fault_report(const uint32_t *stacked, uint32_t exc_return)
{
    struct port_fault fault;

    fault.stack_bytes = port_stack_used();
    fault.exc_return = exc_return;
    read_stacked(&fault, stacked);
    if (uart_ready()) {
        app_fault(&fault);
    }
    for (;;) {
        wait_for_interrupt(); /* none comes: only a reset ends this */
    }
}

static void lock_up(void)
{
    /* A fault that cannot be stacked, because the stack pointer is outside memory. */
    __asm__ volatile("msr msp, %0\n\tudf #0" : : "r"(0x2FFFFFF8u));
}

void port_crash(uint8_t how)
{
    switch (how) {
    case LINK_CRASH_HARD_FAULT:
        __asm__ volatile("udf #0");
        break;
    case LINK_CRASH_HANG:
        interrupts_off();
        for (;;) {
        }
    case LINK_CRASH_LOCKUP:
        lock_up();
        break;
    default:
        break;
    }
}
