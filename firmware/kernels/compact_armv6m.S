/* compact_armv6m.S -- compact_add of compact.h for the Cortex-M0+.
 *
 * 69 cycles a row of ten weights at 0 wait states: shift, mask, address, load (2) and addition of each; 9 for word, sum
 * and loop. Stack: 32 bytes. Interrupts stay enabled.
 */
#if defined(__ARM_ARCH_6M__)

#include "placement.h"

    .syntax unified
    .cpu cortex-m0plus
    .thumb

    /* r4 += the product at `base` + `offset` whose code stands where `shift` by `bits` moves it: to bits 2 to 4. */
    .macro FIELD shift, bits, base, offset
    \shift    r6, r5, #\bits
    ands    r6, r2
    add     r6, \base
    ldr     r6, [r6, #\offset]
    adds    r4, r6
    .endm

    HOT     compact_add
    push    {r4-r6, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    push    {r4-r6}
    mov     r8, r2              /* columns 0 to 3, */
    adds    r2, #128
    mov     r9, r2              /* 4 to 7, */
    adds    r2, #128
    mov     r10, r2             /* 8 and 9: a load reaches 124 bytes */
    lsls    r3, r3, #2
    adds    r3, r0              /* end of acc */
    movs    r2, #0x1c

1:  ldm     r1!, {r5}
    ldr     r4, [r0]
    FIELD   lsls, 2, r8, 0
    FIELD   lsrs, 1, r8, 32
    FIELD   lsrs, 4, r8, 64
    FIELD   lsrs, 7, r8, 96
    FIELD   lsrs, 10, r9, 0
    FIELD   lsrs, 13, r9, 32
    FIELD   lsrs, 16, r9, 64
    FIELD   lsrs, 19, r9, 96
    FIELD   lsrs, 22, r10, 0
    FIELD   lsrs, 25, r10, 32
    stm     r0!, {r4}
    cmp     r0, r3
    bne     1b

    pop     {r4-r6}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    pop     {r4-r6, pc}
    .size compact_add, . - compact_add

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
