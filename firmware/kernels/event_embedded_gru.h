/* event_embedded_gru.h -- one time step of the event eGRU, in integers: only the columns of inputs
 * and outputs that are not 0 are visited.
 *
 *   z = (s(W_z [x, y] + b_z) + 1) / 2     c = h + z (g - h)     o = c > theta
 *   g =  s(W_g [x, y] + b_g)              y' = o c              h' = c - o theta
 *
 * Source  Amoh and Odame, arXiv:1902.05026 (cell); Subramoney and others, arXiv:2206.06178 (events).
 * Twin    hil/quant/kernels.py:event_embedded_gru_step, equal bit for bit (tests/test_kernels_events.py).
 * Shapes  D inputs, H units, R = 2H rows: z rows, then g rows; C = D + H columns: inputs, then outputs.
 */
#ifndef KERNELS_EVENT_EMBEDDED_GRU_H
#define KERNELS_EVENT_EMBEDDED_GRU_H

#include <stdint.h>

#include "events.h"

struct event_embedded_gru {
    events_sum_function *sum;
    const uint16_t *where;         /* [C + 1] */
    int32_t *start_q17;            /* [2H] the bias; not written */
    const uint8_t *shift;          /* [H][2] of a unit's z row and g row: Q17 to Q15 with the row's scale */
    const int16_t *threshold_q15;  /* [H] 1 to 32767 */
    uint16_t inputs;               /* D */
    uint16_t units;                /* H, at least 1 */
};

/* What a layer keeps from step to step, in buffers of the caller, aligned to 4. */
struct event_embedded_gru_state {
    struct event *list;     /* [C + 1] outputs of the last step that are not 0; then room for inputs */
    struct event **spoken;  /* end of the outputs in it */
    int32_t *acc_q17;       /* [2H] sums of the last step, for inspection */
    int16_t *h_q15;         /* [H]  state */
    int16_t *y_q15;         /* [H]  outputs of the last step, 0 where a unit was silent */
};

/* All zeros: the start of a sequence. */
void event_embedded_gru_reset(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state);

/* One time step.
 *
 *   x_q15  [D]  aligned to 4, not modified; may be the outputs of another layer.
 *
 * The buffers and x must not overlap. Cannot fail: the artefact was checked on the host. */
void event_embedded_gru_step(const struct event_embedded_gru *layer, const int16_t *x_q15,
                             const struct event_embedded_gru_state *state);

/* The parts of a step, in this order: list the inputs; sum; gates, state, threshold and list.
 * The last one is in assembly for the Cortex-M0+ (event_embedded_gru_armv6m.S), in C elsewhere. */
void event_embedded_gru_list(const struct event_embedded_gru *layer, const int16_t *x_q15,
                             const struct event_embedded_gru_state *state);
void event_embedded_gru_sum(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state);
void event_embedded_gru_update(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state);

#endif
