/* compact.h -- rows of 3-bit power-of-two weights, packed, times Q15 values; exact, for when flash is what counts.
 *
 * Twin    hil/quant/kernels.py:row_sums_q17, equal bit for bit (tests/test_kernels_dense.py).
 * Layout  A word holds the codes of ten columns of one row, the first column in its lowest three bits; a code is
 *         0 for 0, 1, 2, 3 for 4w = 1, 2, 4 and 5, 6, 7 for -1, -2, -4. The words of all rows for the first ten
 *         columns come first, and so on; columns that fill up the last word are 0 (hil/codegen/layout.py).
 *         The columns of x come before those of h.
 * Shapes  R rows, D + E columns, G = ceil((D + E) / 10) groups.
 */
#ifndef KERNELS_COMPACT_H
#define KERNELS_COMPACT_H

#include <stdint.h>

#define COMPACT_COLUMNS 10u
#define COMPACT_CODES 8u

struct compact {
    const uint32_t *codes;    /* [G, R] */
    const int16_t *bias_q12;  /* [R] */
    uint16_t outputs;         /* R, at least 1 */
};

/* acc = 4 w [x, h] + bias; as rows_sum of rows.h, with acc [R]. Stack: 440 bytes. */
void compact_sum(const struct compact *rows, const int16_t *x, unsigned x_count, const int16_t *h, unsigned h_count,
                 int32_t *acc_q17);

/* The inner loop: acc[r] += the sum over ten columns k of products[k][code k of words[r]].
 * In assembly for the Cortex-M0+ (compact_armv6m.S: 69 cycles for ten weights), in C elsewhere.
 *
 *   acc  [R]   words  [R]   products  [10][8]   rows  R, at least 1. */
void compact_add(int32_t *acc, const uint32_t *words, const int32_t *products, unsigned rows);

#endif
