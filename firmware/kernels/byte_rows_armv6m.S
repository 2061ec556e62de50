/* byte_rows_armv6m.S -- byte_rows_add_events of byte_rows.h for the Cortex-M0+.
 *
 * Two events of a block take 35 cycles at 0 wait states: 8 weights at 1 shift (or the last use of
 * the value), 1 multiplication and 1 addition each, 11 for loads and the loop.
 * Stack: 48 bytes. No literal pool, no masked interrupts, flags and r0-r3, r12 changed.
 */
#if defined(__ARM_ARCH_6M__)

    .syntax unified
    .cpu cortex-m0plus
    .thumb

    /* Offsets of locals from sp. */
    .equ MIXED, 0
    .equ LIST, 4
    .equ ROW, 8     /* bytes of a row of words */
    .equ END, 48    /* fifth argument: 12 of locals, 36 saved */
    .equ BLOCKS, 52 /* sixth */

    /* r8-r11 += the four sums of one event. In: r1 list, r2 row of words. Changes r0, r3, r4, r5. */
    .macro ADD_EVENT
    ldm     r1!, {r3, r4}
    ldr     r5, [r2, r4]
    lsrs    r0, r5, #8
    muls    r0, r3
    add     r9, r0
    lsrs    r0, r5, #16
    muls    r0, r3
    add     r10, r0
    lsrs    r0, r5, #24
    muls    r0, r3
    add     r11, r0
    muls    r3, r5
    add     r8, r3
    .endm

    .section .text.byte_rows_add_events, "ax", %progbits
    .balign 8
    .global byte_rows_add_events
    .type byte_rows_add_events, %function
    .thumb_func
byte_rows_add_events:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    sub     sp, #12
    str     r0, [sp, #MIXED]
    str     r3, [sp, #LIST]
    lsls    r2, r2, #2
    str     r2, [sp, #ROW]
    mov     r2, r1
    ldr     r4, [sp, #END]
    mov     r12, r4
    ldr     r6, [sp, #BLOCKS]

1:  /* a block */
    ldr     r0, [sp, #MIXED]
    ldr     r1, [sp, #LIST]
    ldm     r0!, {r3-r5, r7}
    mov     r8, r3
    mov     r9, r4
    mov     r10, r5
    mov     r11, r7

    .balign 8
2:  /* two events */
    ADD_EVENT
    ADD_EVENT
    cmp     r1, r12
    bne     2b

    ldr     r0, [sp, #MIXED]
    mov     r3, r8
    mov     r4, r9
    mov     r5, r10
    mov     r7, r11
    stm     r0!, {r3-r5, r7}
    str     r0, [sp, #MIXED]
    ldr     r4, [sp, #ROW]
    adds    r2, r2, r4
    subs    r6, #1
    bne     1b

    add     sp, #12
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size byte_rows_add_events, . - byte_rows_add_events

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
