/* embedded_gru_armv6m.S -- embedded_gru_update of embedded_gru.h for the Cortex-M0+.
 *
 * 58 cycles a unit at 0 wait states: two sums to gate and candidate 18 each, 2 to make the gate,
 * 2 to put it by, 14 for the state, 4 for the loop. Stack: 36 bytes. Interrupts stay enabled.
 */
#if defined(__ARM_ARCH_6M__)

#include "placement.h"

    .syntax unified
    .cpu cortex-m0plus
    .thumb

#include "softsign_armv6m.h"

    /* Offsets in struct embedded_gru and struct embedded_gru_state. */
    .equ SHIFT, 0
    .equ UNITS, 6
    .equ ACC, 0
    .equ H, 4
    .equ H_BEFORE, 8

    HOT     embedded_gru_update
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    ldr     r4, [r0, #SHIFT]
    ldrh    r6, [r0, #UNITS]
    ldr     r7, [r1, #ACC]
    ldr     r2, [r1, #H]
    ldr     r3, [r1, #H_BEFORE]
    subs    r2, #2
    subs    r2, r4
    mov     r9, r2              /* h, seen from the shifts of the next unit */
    subs    r3, #2
    subs    r3, r4
    mov     r10, r3             /* h_before, the same */
    lsls    r6, r6, #2
    adds    r2, r7, r6
    mov     r12, r2             /* end of the z rows' sums */
    subs    r6, #4              /* from a unit's z sum, already passed, to its g sum */
    ldr     r5, .Llines
    movs    r1, #0
    movs    r2, #1
    lsls    r2, r2, #23         /* 1.0 in Q23; clears the carry */
    mov     r11, r2

.Lunit:
    ldm     r7!, {r0}
    ldrb    r2, [r4, #0]
    ROUND   r0, r2
    SOFTSIGN r0, z
    add     r0, r11
    asrs    r0, r0, #9          /* z = (s + 1.0) / 2 */
    mov     r8, r0

    ldr     r0, [r7, r6]
    ldrb    r2, [r4, #1]
    adds    r4, #2              /* clears the carry */
    ROUND   r0, r2
    SOFTSIGN r0, g
    asrs    r0, r0, #8

    mov     r2, r9
    ldrsh   r3, [r4, r2]
    subs    r0, r0, r3
    mov     r2, r8
    muls    r0, r2
    asrs    r0, r0, #15
    adcs    r0, r3              /* h + z (g - h), the carry rounds */
    mov     r2, r10
    strh    r3, [r4, r2]
    mov     r2, r9
    strh    r0, [r4, r2]
    cmp     r7, r12
    bne     .Lunit              /* below the end: the carry is clear */

    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}

    SOFTSIGN_BEYOND z
    SOFTSIGN_BEYOND g
    .balign 4
.Llines:
    .word   softsign_lines + 1024   /* SOFTSIGN_NEAR words on */
    SOFTSIGN_BEYOND_FUNCTION
    .size embedded_gru_update, . - embedded_gru_update

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
