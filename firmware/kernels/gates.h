/* gates.h -- sigmoid and tanh by table and linear interpolation, for cells with 8-bit weights.
 *
 * Source  Form `table-385` of docs/artefact.md.
 * Twin    hil/quant/gates.py, equal bit for bit (tests/test_kernels_gates.py).
 */
#ifndef KERNELS_GATES_H
#define KERNELS_GATES_H

#include <stdint.h>

#include "fixed.h"

/* Pre-activations are clipped to +-16.0 in Q12. A gate in Q15 times such a value, with the
 * rounding constant, is at most 32767 * 2^16 + 2^14 < 2^31. */
#define GATES_PRE_LIMIT_Q12 (16 << 12)

/* The one rounding of a pre-activation: sum to Q12, to nearest, ties up, and the clipping. */
static inline int32_t gates_pre_q12(int32_t acc_q22, unsigned shift)
{
    const int32_t pre = fixed_shift_round(acc_q22, shift);
    return pre > GATES_PRE_LIMIT_Q12 ? GATES_PRE_LIMIT_Q12 : pre < -GATES_PRE_LIMIT_Q12 ? -GATES_PRE_LIMIT_Q12 : pre;
}

/* a * b rounded to nearest, ties up: a in Q15, the result in b's format. The caller keeps the product in int32. */
static inline int32_t gates_times_q15(int32_t a_q15, int32_t b)
{
    return (a_q15 * b + (1 << 14)) >> 15;
}

#define GATES_TANH_LIMIT_Q13 (6u << 13)
#define GATES_TANH_BITS 7u /* table steps of 1/64 */

extern const uint16_t gates_tanh_table_q15[386];

/* tanh of any int32 in Q13; magnitudes above 6.0 count as 6.0. Within 2^-14 of the real function, odd,
 * in [-32767, 32767]. Rounds to nearest, ties up in magnitude; a step of the table is at most 2^9, the
 * fraction below 2^7. Inlined: a step of a cell calls it three times a unit. */
static inline int32_t gates_tanh_q15(int32_t v_q13)
{
    uint32_t a = v_q13 < 0 ? 0u - (uint32_t)v_q13 : (uint32_t)v_q13; /* |v|, also of INT32_MIN */
    if (a > GATES_TANH_LIMIT_Q13) {
        a = GATES_TANH_LIMIT_Q13;
    }
    const uint16_t *const table = &gates_tanh_table_q15[a >> GATES_TANH_BITS];
    const uint32_t low = table[0], fraction = a & ((1u << GATES_TANH_BITS) - 1);
    const uint32_t y = low + (((table[1] - low) * fraction + (1u << (GATES_TANH_BITS - 1))) >> GATES_TANH_BITS);
    return v_q13 < 0 ? -(int32_t)y : (int32_t)y;
}

/* 1 / (1 + e^-v) = (tanh(v / 2) + 1) / 2: Q12 read as Q13 is half of it. Floors; 0 to 32767, within 2^-14. */
static inline int32_t gates_sigmoid_q15(int32_t v_q12)
{
    return (gates_tanh_q15(v_q12) + (1 << 15)) >> 1;
}

#endif
