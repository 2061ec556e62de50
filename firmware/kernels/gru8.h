/* gru8.h -- one time step of a GRU with 8-bit weights and Q15 state, in integers.
 *
 *   r, z = sigmoid(W [x, h] + b)    g = tanh(W_g x + b_g + r (R_g h + b_q))    h' = (1 - z) g + z h
 *
 * Source  the GRU of torch.nn.GRU (reset after the product); arithmetic of docs/artefact.md, "Byte rows".
 * Twin    hil/quant/gates.py:gru8_step, equal bit for bit (tests/test_kernels_gates.py).
 * Shapes  D inputs, H units; rows as in byte_rows.h.
 *         A = 4 (ceil(2H / 4) + 2 ceil(H / 4)) sums.
 */
#ifndef KERNELS_GRU8_H
#define KERNELS_GRU8_H

#include <stdint.h>

#include "byte_rows.h"

struct gru8 {
    struct byte_rows gates;        /* [2H, D + H] r rows, then z rows; columns: inputs, then state */
    struct byte_rows candidate_x;  /* [H, D] */
    struct byte_rows candidate_h;  /* [H, H] what r scales */
    uint16_t inputs;          /* D */
    uint16_t units;           /* H */
};

/* What a layer keeps from step to step, in buffers of the caller, aligned to 4. */
struct gru8_state {
    int32_t *acc_q22;       /* [A] sums of the last step: gates, candidate_x, candidate_h */
    int16_t *h_q15;         /* [H] state */
    int16_t *h_before_q15;  /* [H] state before the last step */
};

/* All zeros: the start of a sequence. */
void gru8_reset(const struct gru8 *layer, const struct gru8_state *state);

/* One time step.
 *
 *   x_q15  [D]  aligned to 4, not modified; may be the state of another layer.
 *
 * The buffers and x must not overlap. Cannot fail: the artefact was checked on the host. */
void gru8_step(const struct gru8 *layer, const int16_t *x_q15, const struct gru8_state *state);

#endif
