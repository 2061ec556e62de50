/* placement.h -- where loops in assembly run that are longer than the flash cache (8 lines of 8 bytes).
 *
 * At 48 MHz each line of them costs a wait state each time round. A build whose generated/placement.h defines
 * KERNELS_IN_RAM has them copied to RAM at start-up; the linker makes the long calls.
 */
#if defined(__has_include)
#if __has_include("generated/placement.h")
#include "generated/placement.h"
#endif
#endif

    /* Begin the function `name`. */
    .macro HOT name
#if defined(KERNELS_IN_RAM)
    .section .ramfunc.\name, "ax", %progbits
#else
    .section .text.\name, "ax", %progbits
#endif
    .balign 8
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm
