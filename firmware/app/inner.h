/* inner.h -- the inner values of a recurrent layer, for the INNER frame. */
#ifndef APP_INNER_H
#define APP_INNER_H

#include <stdint.h>

#include "link/link_schema.h"
#include "model.h"

/* Of each unit: two sums of 4 bytes; gate, candidate and state of 2. */
#define INNER_BYTES 14u
#define INNER_MAX_UNITS ((LINK_MAX_BODY - LINK_INNER_BYTES) / INNER_BYTES)

/* Write acc_q17 [2H], z [H], g [H], h [H]: INNER_BYTES * H bytes. Gate and candidate are
 * computed again from the sums, as the kernel did. */
void inner_put(uint8_t *data, const struct model_layer *layer);

#endif
