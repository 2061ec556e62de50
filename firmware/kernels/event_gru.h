/* event_gru.h -- one time step of the event-based GRU (EGRU) with 8-bit weights and Q15 state: only the
 * columns of inputs and units that are not 0 are visited.
 *
 *   r, z, g  as in gru8.h, with the last events y for h in the products
 *   c = (1 - z) g + z h     o = c > theta     y' = o c     h' = c - o theta
 *
 * Source  Subramoney and others, arXiv:2206.06178, reset gate after the product and the threshold taken
 *         from the state at once; arithmetic of docs/artefact.md, "Byte rows".
 * Twin    hil/quant/gates.py:event_gru_step, equal bit for bit (tests/test_kernels_event_gru.py).
 * Shapes  D inputs, H units; the rest as in gru8.h.
 */
#ifndef KERNELS_EVENT_GRU_H
#define KERNELS_EVENT_GRU_H

#include <stdint.h>

#include "byte_rows.h"
#include "events.h"
#include "gru8.h"

struct event_gru {
    struct gru8 gru;              /* columns of its state are those of the last events */
    const int16_t *threshold_q15; /* [H] 1 to 32767 */
    const uint16_t *where;        /* [max(D, H)] 4 times the column: bytes of a word's place in its row of words */
};

/* What a layer keeps from step to step, in buffers of the caller, aligned to 4. A list holds the
 * columns that are not 0, and one event of value 0 behind them if they are odd in number. */
struct event_gru_state {
    struct event *x_list;   /* [D + 1] inputs of the step under way */
    struct event *y_list;   /* [H + 1] events of the last step */
    struct event **y_end;   /* end of the events of the last step */
    int32_t *acc_q22;       /* [A] sums of the last step, see gru8.h */
    int16_t *h_q15;         /* [H] state */
    int16_t *h_before_q15;  /* [H] state before the last step */
    int16_t *y_q15;         /* [H] events of the last step, 0 where a unit was silent */
};

/* All zeros: the start of a sequence. */
void event_gru_reset(const struct event_gru *layer, const struct event_gru_state *state);

/* One time step.
 *
 *   x_q15  [D]  aligned to 4, not modified; may be the events of another layer.
 *
 * The buffers and x must not overlap. Cannot fail: the artefact was checked on the host. */
void event_gru_step(const struct event_gru *layer, const int16_t *x_q15, const struct event_gru_state *state);

#endif
