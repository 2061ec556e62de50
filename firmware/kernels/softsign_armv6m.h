/* softsign_armv6m.h -- rounding and softsign as macros of assembly, for kernels that need many.
 *
 * Twins: fixed.h, softsign.c. Throughout r1 = 0 and r5 = &softsign_lines[SOFTSIGN_NEAR].
 */

    /* v = (v + half) >> shift: the last bit shifted out, which is the carry, is what rounds.
     * The carry must be clear before, since a shift of 0 leaves it. 2 cycles. */
    .macro ROUND v, shift
    asrs    \v, \shift
    adcs    \v, r1
    .endm

    /* v = softsign(v) times 2^8, plus a fraction that a shift floors away. Changes r2, r3, lr, flags.
     * 12 cycles within +-8.0; beyond, which is `SOFTSIGN_BEYOND name`, 25 more or 2 less if clipped. */
    .macro SOFTSIGN v, name
    asrs    r3, \v, #18
    adds    r3, #1
    lsrs    r3, r3, #1
    bne     .L\name\()_beyond
    asrs    r2, \v, #10
    lsls    r2, r2, #2
    ldr     r2, [r5, r2]
    uxtb    r3, r2
    muls    \v, r3
    asrs    r2, r2, #8
    adds    \v, r2
.L\name\()_done:
    .endm

    /* The other branch of `SOFTSIGN r0, name`, to stand where no code runs into it. */
    .macro SOFTSIGN_BEYOND name
.L\name\()_beyond:
    bl      softsign_beyond
    b       .L\name\()_done
    .endm

    /* softsign_beyond: r0 = 2^8 softsign(r0) for magnitudes of 8.0 and more; r1 stays 0; r2, r3 changed. */
    .macro SOFTSIGN_BEYOND_FUNCTION
    .balign 8
softsign_beyond:
    asrs    r3, r0, #31
    eors    r0, r3
    subs    r0, r3              /* the magnitude, also of INT32_MIN */
    lsrs    r2, r0, #21
    beq     1f
    movs    r0, #1
    lsls    r0, r0, #21
    subs    r0, #1
1:  lsrs    r0, r0, #6
    lsrs    r2, r0, #8          /* 16 to 127: line 240 + r2 after 0 */
    adds    r2, #240
    lsls    r2, r2, #2
    ldr     r2, [r5, r2]
    uxtb    r1, r2
    muls    r0, r1
    movs    r1, #0
    asrs    r2, r2, #8
    adds    r0, r2
    lsrs    r0, r0, #8          /* floored before it gets its sign */
    lsls    r0, r0, #8
    eors    r0, r3
    subs    r0, r3
    bx      lr
    .endm
