#include "trace.h"

#include <stdint.h>

#if TRACE_BYTES != (16u << TRACE_MASK)
#error "TRACE_MASK does not fit TRACE_JUMPS"
#endif

extern uint32_t link_ram_start[];

/* The pointer wraps inside its lowest bits: aligned to its size. Debuggers find it by its name. */
volatile uint32_t trace_buffer[TRACE_BYTES / 4u] __attribute__((aligned(TRACE_BYTES)));

void trace_init(void)
{
    trace_off();
    MTB_FLOW = 0; /* no stop at a watermark */
    MTB_POSITION = (uint32_t)((uintptr_t)trace_buffer - (uintptr_t)link_ram_start);
    trace_on();
}
