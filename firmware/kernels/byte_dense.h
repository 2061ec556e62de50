/* byte_dense.h -- dense layers with 8-bit weights on Q15 values.
 *
 * Twin    hil/quant/kernels.py:dense, equal bit for bit (tests/test_kernels_gates.py).
 * Shapes  I inputs, O outputs, B = ceil(O / 4), see byte_rows.h.
 */
#ifndef KERNELS_BYTE_DENSE_H
#define KERNELS_BYTE_DENSE_H

#include <stdint.h>

#include "byte_rows.h"

/* Hidden layer: y = clip((acc + half) >> shift, 0, 32767).
 *
 *   u_q15    [I]   aligned to 4, not modified.
 *   acc_q22  [4B]  scratch.
 *   y_q15    [O]   written; must not overlap u. */
void byte_dense_relu(const struct byte_rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q22,
                     int16_t *y_q15);

/* Last layer: y = (acc + half) >> shift, not clipped; y_q15 [O] int32. */
void byte_dense_linear(const struct byte_rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q22,
                       int32_t *y_q15);

#endif
