/* fault.c -- what is left to do after a fault: say so. */
#include <stdbool.h>
#include <stdint.h>

#include "link/link_schema.h"
#include "port/port.h"
#include "registers.h"
#include "stack.h"
#include "trace.h"
#include "uart.h"

#define STACKED_WORDS 8u
#define XPSR 7u
#define XPSR_ALIGNED (1u << 9) /* the core skipped a word to align the stack */

extern uint32_t link_ram_start[], link_ram_end[];

void fault_report(const uint32_t *stacked, uint32_t exc_return);

static volatile bool fault_again; /* LINK_CRASH_LOCKUP: a fault in the fault handler locks the core up */

static inline void undefined_instruction(void)
{
    __asm__ volatile("udf #0");
}

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

    trace_off(); /* keep the jumps that led here */
    if (fault_again) {
        undefined_instruction();
    }
    fault.stack_bytes = stacked < link_stack_bottom ? port_stack_size() : port_stack_used();
    fault.exc_return = exc_return;
    read_stacked(&fault, stacked);
    if (uart_ready()) {
        app_fault(&fault);
    }
    for (;;) {
        wait_for_interrupt(); /* none comes: only a reset ends this */
    }
}

void port_crash(uint8_t how)
{
    switch (how) {
    case LINK_CRASH_HARD_FAULT:
        undefined_instruction();
        break;
    case LINK_CRASH_HANG:
        interrupts_off();
        for (;;) {
        }
    case LINK_CRASH_LOCKUP:
        fault_again = true;
        undefined_instruction();
        break;
    default:
        break;
    }
}
