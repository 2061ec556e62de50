/* rows.h -- rows of 3-bit power-of-two weights times Q15 values; exact, nothing is rounded.
 *
 * Twin    hil/quant/kernels.py:row_sums_q17, equal bit for bit (tests/test_kernels.py).
 * Layout  Rows are taken four at a time, a block. The weights of a block lie column by
 *         column, so that one walk over the values serves four sums. The last block is
 *         filled up with rows of zeros (hil/codegen/layout.py).
 * Shapes  R rows, B = ceil(R / 4) blocks, U columns.
 */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include <stdint.h>

#define ROWS_BLOCK 4u

/* Largest U whose sum cannot leave int32: a term is at most 4 * 2^15 = 2^17 in magnitude,
 * the bias is below 2^29, the rounding constant of a later shift at most 2^14 (counted as 2^15).
 * Equals hil.fixed.MAX_FAN_IN. */
#define ROWS_MAX_FAN_IN ((INT32_MAX - (1 << 29) - (1 << 15)) / (1 << 17))

struct rows {
    const int8_t *weight_q2;  /* [B, U, 4] 4 times the weight: 0, +-1, +-2, +-4 */
    const int32_t *bias_q17;  /* [4B] magnitude below 2^29; 0 in filled-up rows */
    const uint8_t *shift;     /* [R] Q17 to Q15 with the row's scale, 0 to 15 */
    uint16_t outputs;         /* R */
};

/* acc = weight [x, h] + bias.
 *
 *   x        [x_count]  Q15, the first columns.
 *   h        [h_count]  Q15, the other columns; x_count + h_count = U <= ROWS_MAX_FAN_IN.
 *   acc_q17  [4B]       written; the sums of filled-up rows are 0.
 *
 * acc must not overlap the values. */
void rows_sum(const struct rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
              unsigned h_count, int32_t *acc_q17);

#endif
