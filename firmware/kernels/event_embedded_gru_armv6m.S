/* event_embedded_gru_armv6m.S -- event_embedded_gru_update of event_embedded_gru.h for the Cortex-M0+.
 *
 * 65 cycles for a silent unit at 0 wait states, 79 for one that speaks: as embedded_gru_armv6m.S, and
 * threshold and output 7, list 14. Stack: 48 bytes. Interrupts stay enabled.
 */
#if defined(__ARM_ARCH_6M__)

    .syntax unified
    .cpu cortex-m0plus
    .thumb

#include "placement.h"
#include "softsign_armv6m.h"

    /* Offsets in struct event_embedded_gru and struct event_embedded_gru_state. */
    .equ WHERE, 4
    .equ SHIFT, 12
    .equ THRESHOLD, 16
    .equ INPUTS, 20
    .equ UNITS, 22
    .equ LIST, 0
    .equ SPOKEN, 4
    .equ ACC, 8
    .equ H, 12
    .equ Y, 16

    /* Locals, from sp. */
    .equ LIST_END, 0
    .equ WHERE_SEEN, 4
    .equ STATE, 8

    HOT     event_embedded_gru_update
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    sub     sp, #12
    str     r1, [sp, #STATE]
    ldr     r4, [r0, #SHIFT]
    adds    r3, r4, #2          /* arrays of two bytes a unit, seen from the shifts of the next unit */
    ldr     r2, [r0, #WHERE]
    ldrh    r5, [r0, #INPUTS]
    lsls    r5, r5, #1
    adds    r2, r2, r5          /* the columns of the outputs */
    subs    r2, r2, r3
    str     r2, [sp, #WHERE_SEEN]
    ldr     r2, [r0, #THRESHOLD]
    subs    r2, r2, r3
    mov     r11, r2
    ldr     r2, [r1, #H]
    subs    r2, r2, r3
    mov     r9, r2
    ldr     r2, [r1, #Y]
    subs    r2, r2, r3
    mov     r10, r2
    ldr     r2, [r1, #LIST]
    str     r2, [sp, #LIST_END]
    ldrh    r6, [r0, #UNITS]
    lsls    r6, r6, #2
    ldr     r7, [r1, #ACC]
    adds    r2, r7, r6
    mov     r12, r2             /* end of the z rows' sums */
    subs    r6, #4              /* from a unit's z sum, already passed, to its g sum */
    ldr     r5, .Llines
    movs    r1, #0
    cmp     r1, #1              /* clears the carry */

.Lunit:
    ldm     r7!, {r0}
    ldrb    r2, [r4, #0]
    ROUND   r0, r2
    SOFTSIGN r0, z
    movs    r2, #1
    lsls    r2, r2, #23         /* 1.0 in Q23 */
    adds    r0, r0, r2
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
    adcs    r0, r3              /* c = h + z (g - h), the carry rounds */

    mov     r2, r11
    ldrsh   r3, [r4, r2]
    cmp     r0, r3
    bgt     .Lspeaks
    mov     r2, r10
    strh    r1, [r4, r2]
    mov     r2, r9
    strh    r0, [r4, r2]
    cmp     r7, r12
    bne     .Lunit              /* below the end: the carry is clear */
    b       .Ldone

.Lspeaks:
    mov     r2, r10
    strh    r0, [r4, r2]
    subs    r3, r0, r3          /* c - theta */
    mov     r2, r9
    strh    r3, [r4, r2]
    ldr     r2, [sp, #WHERE_SEEN]
    ldrh    r2, [r4, r2]
    ldr     r1, [sp, #LIST_END]
    stm     r1!, {r0, r2}
    str     r1, [sp, #LIST_END]
    movs    r1, #0
    cmp     r7, r12
    bne     .Lunit

.Ldone:
    ldr     r0, [sp, #LIST_END]
    ldr     r1, [sp, #STATE]
    ldr     r1, [r1, #SPOKEN]
    str     r0, [r1]
    add     sp, #12
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
    .size event_embedded_gru_update, . - event_embedded_gru_update

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
