/* embedded_gru.h -- one time step of the embedded GRU (eGRU), in integers.
 *
 * Source  Amoh and Odame, arXiv:1902.05026; arithmetic of docs/design.md.
 * Twin    hil/quant/kernels.py:embedded_gru_step, equal bit for bit (tests/test_kernels.py).
 * Shapes  D inputs, H units, U = D + H, R = 2H rows: z rows, then g rows;
 *         columns: inputs, then state. B = ceil(R / 4), see rows.h.
 *
 * A step is the sums of the rows, by any kernel, then embedded_gru_update.
 */
#ifndef KERNELS_EMBEDDED_GRU_H
#define KERNELS_EMBEDDED_GRU_H

#include <stdint.h>

#include "rows.h"

struct embedded_gru {
    const uint8_t *shift; /* [H][2] of a unit's z row and g row: Q17 to Q15 with the row's scale, 0 to 15 */
    uint16_t inputs;      /* D */
    uint16_t units;       /* H, at least 1 */
};

/* What a layer keeps from step to step, in buffers of the caller, aligned to 4. */
struct embedded_gru_state {
    int32_t *acc_q17;       /* [4B] sums of the last step, for inspection */
    int16_t *h_q15;         /* [H]  state */
    int16_t *h_before_q15;  /* [H]  state before the last step */
};

/* All zeros: the start of a sequence. */
void embedded_gru_reset(const struct embedded_gru *layer, const struct embedded_gru_state *state);

/* The step's pointwise part, from sums that are there: h' = h + z (g - h), h_before = h.
 * In assembly for the Cortex-M0+ (embedded_gru_armv6m.S: 58 cycles a unit), in C elsewhere. */
void embedded_gru_update(const struct embedded_gru *layer, const struct embedded_gru_state *state);

/* One time step with the sums of rows.h.
 *
 *   rows   [2H, D + H].
 *   x_q15  [D]  aligned to 4, not modified; may be the state of another layer.
 *
 * The buffers and x must not overlap. Cannot fail: the artefact was checked on the host. */
void embedded_gru_step(const struct embedded_gru *layer, const struct rows *rows, const int16_t *x_q15,
                       const struct embedded_gru_state *state);

#endif
