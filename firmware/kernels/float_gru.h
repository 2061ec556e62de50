/* float_gru.h -- one time step of a float32 GRU: the baseline that eGRU is measured against.
 *
 *   r, z = sigmoid(W [x, h] + b)    g = tanh(W_g [x, r h] + b_g)    h' = h + z (g - h)
 *
 * Source  the GRU of Amoh and Odame's code (reset before the product).
 * Oracle  tests/test_kernels_float.py:float64_gru, within 1e-5.
 * Shapes  D inputs, H units.
 */
#ifndef KERNELS_FLOAT_GRU_H
#define KERNELS_FLOAT_GRU_H

#include <stdint.h>

struct float_gru {
    const float *weight;  /* [3H, D + H] row-major: r rows, z rows, g rows; columns: inputs, then state */
    const float *bias;    /* [3H] */
    uint16_t inputs;      /* D */
    uint16_t units;       /* H */
};

/* One time step.
 *
 *   x        [D]   not modified.
 *   h        [H]   state: read, then overwritten.
 *   scratch  [3H]  contents undefined on entry and on return.
 *
 * None of them may overlap. */
void float_gru_step(const struct float_gru *layer, const float *x, float *h, float *scratch);

#endif
