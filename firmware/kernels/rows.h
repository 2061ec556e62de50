/* rows.h -- rows of 3-bit power-of-two weights times Q15 values; exact, nothing is rounded.
 *
 * Twin    hil/quant/kernels.py:row_sums_q17, equal bit for bit (tests/test_kernels.py).
 * Layout  Rows are taken four at a time, a block: one walk over the values serves four sums.
 *         A word holds the codes of a block in one column, row 0 in its lowest byte; a code is
 *         4 w + 4, that is 0 to 8. The words of all blocks for the columns of x come first, then
 *         those for the columns of h. The last block is filled up with rows of zeros, code 4
 *         (hil/codegen/layout.py).
 * Shapes  R rows, B = ceil(R / 4) blocks, D + E columns.
 */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include <stdint.h>

#define ROWS_BLOCK 4u

/* Largest D + E whose sum cannot leave int32: a term is at most 4 * 2^15 = 2^17 in magnitude,
 * the bias is below 2^29, the rounding constant of a later shift at most 2^14 (counted as 2^15).
 * Equals hil.fixed.MAX_FAN_IN. */
#define ROWS_MAX_FAN_IN ((INT32_MAX - (1 << 29) - (1 << 15)) / (1 << 17))

struct rows {
    const uint32_t *codes;    /* [B, D] of x, then [B, E] of h */
    const int32_t *bias_q17;  /* [4B] magnitude below 2^29; 0 in filled-up rows */
    uint16_t outputs;         /* R */
};

/* acc = 4 w [x, h] + bias.
 *
 *   x        [x_count = D]  Q15, the first columns; aligned to 4.
 *   h        [h_count = E]  Q15, the other columns; aligned to 4; D + E <= ROWS_MAX_FAN_IN.
 *   acc_q17  [4B]           written; the sums of filled-up rows are 0.
 *
 * acc must not overlap the values. Interrupts stay enabled. */
void rows_sum(const struct rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
              unsigned h_count, int32_t *acc_q17);

/* The inner loop, modulo 2^32: of each block the sums over columns of
 *
 *     mixed[k] += (word >> 8k) * value,  k = 0 ... 3.
 *
 * The bytes above row k are not masked away: they add 2^8 times mixed[k + 1].
 * In assembly for the Cortex-M0+ (rows_armv6m.S: 4.0 cycles a weight under every compiler, where
 * C compiles to between 5.3 and 9.8), in C elsewhere.
 *
 *   mixed   [B, 4]   codes  [B, count]   values  [count], aligned to 4; B at least 1. */
void rows_add_columns(uint32_t *mixed, const uint32_t *codes, const int16_t *values, unsigned count, unsigned blocks);

#endif
