/* inner.h -- the inner values of a recurrent layer, for the INNER frame. */
#ifndef APP_INNER_H
#define APP_INNER_H

#include <stdint.h>

#include "link/link_schema.h"
#include "model.h"

/* What the INNER frame of a cell holds; `cell` numbers are those of hil/trace.py:INNER_CELLS. */
struct inner_form {
    uint8_t cell;
    uint8_t unit_bytes; /* of each unit */
    void (*put)(uint8_t *data, const struct model_layer *layer); /* writes unit_bytes * H bytes */
};

/* Of layers whose frame fits. */
#define INNER_MAX_UNITS(form) ((LINK_MAX_BODY - LINK_INNER_BYTES) / (form)->unit_bytes)

/* eGRU: acc_q17 [2H], z [H], g [H], h [H]. Gate and candidate are computed again from the sums, as
 * the kernel did. */
extern const struct inner_form inner_embedded_gru;

/* int8 GRU: acc_q22 [4H] without filled-up rows, r [H], z [H], g [H], h [H], gates again from the sums.
 * `cell` of the layer is its struct gru8. */
extern const struct inner_form inner_gru8;

/* event eGRU: acc_q17 [2H], z [H], g [H], y [H], h [H], gates again from the sums. `shift` of the layer
 * is [H][2], `cell` its struct event_embedded_gru_state. */
extern const struct inner_form inner_event_embedded_gru;

/* EGRU: as of the int8 GRU, with y [H] before h [H]. `cell` of the layer is the following. */
struct event_gru;
struct event_gru_state;
struct inner_event_gru_cell {
    const struct event_gru *layer;
    const struct event_gru_state *state;
};
extern const struct inner_form inner_event_gru;

#endif
