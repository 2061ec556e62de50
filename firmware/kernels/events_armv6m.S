/* events_armv6m.S -- events_append of events.h for the Cortex-M0+.
 *
 * Two values in a word: 8 cycles for two that are both 0, 22 for two that are not.
 * Stack: 24 bytes. Interrupts stay enabled.
 */
#if defined(__ARM_ARCH_6M__)

    .syntax unified
    .cpu cortex-m0plus
    .thumb

    /* r0 list, r1 values, r2 end of the pairs of values, r3 entries of a pair in where, r4 value, r5 pair,
     * r6 entry, r7 from a pair's values to its entries; the count is at sp */
    .section .text.events_append, "ax", %progbits
    .balign 8
    .global events_append
    .type events_append, %function
    .thumb_func
events_append:
    push    {r2, r4-r7, lr}
    lsrs    r2, r2, #1
    lsls    r2, r2, #2
    adds    r2, r2, r1
    subs    r7, r3, r1
    b       3f

    .balign 8
1:  ldm     r1!, {r5}
    cmp     r5, #0
    beq     3f
    adds    r3, r1, r7
    subs    r3, #4
    lsls    r4, r5, #16
    beq     2f
    asrs    r4, r4, #16
    ldrh    r6, [r3]
    stm     r0!, {r4, r6}
2:  asrs    r4, r5, #16
    beq     3f
    ldrh    r6, [r3, #2]
    stm     r0!, {r4, r6}
3:  cmp     r1, r2
    bne     1b

    ldr     r2, [sp]
    lsrs    r2, r2, #1
    bcc     4f
    movs    r4, #0
    ldrsh   r4, [r1, r4]
    cmp     r4, #0
    beq     4f
    adds    r3, r1, r7
    ldrh    r6, [r3]
    stm     r0!, {r4, r6}
4:  pop     {r1, r4-r7, pc}
    .size events_append, . - events_append

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
