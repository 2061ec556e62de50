/* stack.h -- the stack lies at the bottom of RAM: what overflows it leaves RAM and faults,
 * instead of changing data silently. */
#ifndef SAMD21_STACK_H
#define SAMD21_STACK_H

#include <stdint.h>

/* What unused stack holds. */
#define STACK_PAINT 0xA5C35A3Cu

/* From the linker script. */
extern uint32_t link_stack_bottom[], link_stack_top[];

#endif
