/* dense.h -- dense layers on Q15 values: from sums that are there, by any kernel, to outputs.
 *
 * Twin    hil/quant/kernels.py:dense, equal bit for bit (tests/test_kernels.py).
 * Shapes  O outputs.
 */
#ifndef KERNELS_DENSE_H
#define KERNELS_DENSE_H

#include <stdint.h>

/* Hidden layer: y = clip((acc + half) >> shift, 0, 32767).
 *
 *   acc_q17  [O]  sums with bias, not modified.
 *   shift    [O]  Q17 to Q15 with the row's scale, 0 to 15.
 *   y_q15    [O]  written. */
void dense_relu(const int32_t *acc_q17, const uint8_t *shift, unsigned outputs, int16_t *y_q15);

/* Last layer: y = (acc + half) >> shift, not clipped; y_q15 [O] may be acc_q17. */
void dense_linear(const int32_t *acc_q17, const uint8_t *shift, unsigned outputs, int32_t *y_q15);

#endif
