/* rows_armv6m.S -- rows_add_columns of rows.h for the Cortex-M0+.
 *
 * Two columns take 32 cycles at 0 wait states: 8 weights at 1 shift (or the last use of the
 * value), 1 multiplication and 1 addition each, 8 for loads, sign extension and the loop.
 * Stack: 48 bytes. No literal pool, no masked interrupts, flags and r0-r3, r12 changed.
 */
#if defined(__ARM_ARCH_6M__)

    .syntax unified
    .cpu cortex-m0plus
    .thumb

    /* Offsets of locals from sp. */
    .equ MIXED, 0
    .equ VALUES, 4
    .equ ODD, 8
    .equ BLOCKS, 48 /* fifth argument: 12 of locals, 36 saved */

    /* r8-r11 += the four sums of one column. In: word, r3 value. Changes word, r0, r3. */
    .macro ADD_COLUMN word
    lsrs    r0, \word, #8
    muls    r0, r3
    add     r9, r0
    lsrs    r0, \word, #16
    muls    r0, r3
    add     r10, r0
    lsrs    r0, \word, #24
    muls    r0, r3
    add     r11, r0
    muls    r3, \word
    add     r8, r3
    .endm

    .section .text.rows_add_columns, "ax", %progbits
    .balign 8
    .global rows_add_columns
    .type rows_add_columns, %function
    .thumb_func
rows_add_columns:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    sub     sp, #12
    str     r0, [sp, #MIXED]
    str     r2, [sp, #VALUES]
    lsrs    r4, r3, #1
    lsls    r4, r4, #2
    add     r4, r2
    mov     r12, r4             /* end of the pairs of values */
    movs    r4, #1
    ands    r3, r4
    str     r3, [sp, #ODD]

1:  /* a block */
    ldr     r0, [sp, #MIXED]
    ldm     r0!, {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    ldr     r2, [sp, #VALUES]
    cmp     r2, r12
    beq     3f

    .balign 8
2:  /* two columns */
    ldm     r2!, {r7}
    ldm     r1!, {r5, r6}
    sxth    r3, r7
    ADD_COLUMN r5
    asrs    r3, r7, #16
    ADD_COLUMN r6
    cmp     r2, r12
    bne     2b

3:  ldr     r3, [sp, #ODD]
    cmp     r3, #0
    beq     4f
    movs    r3, #0
    ldrsh   r3, [r2, r3]
    ldm     r1!, {r5}
    ADD_COLUMN r5

4:  ldr     r0, [sp, #MIXED]
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    stm     r0!, {r4-r7}
    str     r0, [sp, #MIXED]
    ldr     r4, [sp, #BLOCKS]
    subs    r4, #1
    str     r4, [sp, #BLOCKS]
    bne     1b

    add     sp, #12
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size rows_add_columns, . - rows_add_columns

#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* an empty part of a host program */
#endif
