/* dense.h -- dense layers on Q15 values.
 *
 * Twin    hil/quant/kernels.py:dense, equal bit for bit (tests/test_kernels.py).
 * Shapes  I inputs, O outputs, B = ceil(O / 4), see rows.h.
 */
#ifndef KERNELS_DENSE_H
#define KERNELS_DENSE_H

#include <stdint.h>

#include "rows.h"

/* Hidden layer: y = clip((acc + half) >> shift, 0, 32767).
 *
 *   u_q15    [I]   aligned to 4, not modified.
 *   acc_q17  [4B]  scratch.
 *   y_q15    [O]   written; must not overlap u. */
void dense_relu(const struct rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q17, int16_t *y_q15);

/* Last layer: y = (acc + half) >> shift, not clipped; y_q15 [O] int32. */
void dense_linear(const struct rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q17, int32_t *y_q15);

#endif
