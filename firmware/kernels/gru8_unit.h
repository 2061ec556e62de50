/* gru8_unit.h -- the pointwise part of a GRU with 8-bit weights, for the cells that have it (gru8.c, event_gru.c). */
#ifndef KERNELS_GRU8_UNIT_H
#define KERNELS_GRU8_UNIT_H

#include "gates.h"
#include "gru8.h"

struct gru8_unit {
    int32_t r_q15, z_q15, g_q15; /* gates and candidate */
    int32_t c_q15;               /* (1 - z) g + z h */
};

/* Unit i of a layer whose sums are complete; h_q15 is its state before the step. Inlined into the
 * loop of a step, so that what does not depend on i is read once. */
static inline struct gru8_unit gru8_unit(const struct gru8 *layer, const int32_t *acc_q22, unsigned i, int32_t h_q15)
{
    const unsigned units = layer->units;
    const int32_t *const p_acc = acc_q22 + byte_rows_sums(&layer->gates);
    const int32_t *const q_acc = p_acc + byte_rows_sums(&layer->candidate_x);
    const uint8_t *const shift = layer->gates.shift;
    struct gru8_unit u;

    /* Of r and z the clipping to +-16 is that of tanh, at +-12. */
    u.r_q15 = gates_sigmoid_q15(fixed_shift_round(acc_q22[i], shift[i]));
    u.z_q15 = gates_sigmoid_q15(fixed_shift_round(acc_q22[units + i], shift[units + i]));
    const int32_t p_q12 = gates_pre_q12(p_acc[i], layer->candidate_x.shift[i]);
    const int32_t q_q12 = gates_pre_q12(q_acc[i], layer->candidate_h.shift[i]);
    u.g_q15 = gates_tanh_q15(2 * (p_q12 + gates_times_q15(u.r_q15, q_q12)));
    /* |h - g| < 2^16 and 0 <= z < 2^15: the product and its rounding constant fit, and the result
     * lies between h and g. */
    u.c_q15 = u.g_q15 + gates_times_q15(u.z_q15, h_q15 - u.g_q15);
    return u;
}

#endif
