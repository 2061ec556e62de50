/* byte_rows.h -- rows of 8-bit weights times Q15 values; exact, nothing is rounded.
 *
 * Twin    hil/quant/kernels.py:byte_sums_q22, equal bit for bit (tests/test_kernels_gates.py).
 * Layout  Four rows in a word as in rows.h, codes w + 128, that is 1 to 255; filled-up rows have
 *         code 128. Weights are within +-127.
 * Bound   Of each row 2^15 sum(|w|) + |bias| + 2^14 < 2^31: checked on the host
 *         (hil.artefact.ByteRows), so neither a sum nor its rounding can leave int32.
 * Shapes  R rows, B = ceil(R / 4) blocks, D + E columns.
 */
#ifndef KERNELS_BYTE_ROWS_H
#define KERNELS_BYTE_ROWS_H

#include <stdint.h>

#include "events.h"
#include "rows.h"

#define BYTE_ROWS_ZERO 128u /* code of the weight 0 */

struct byte_rows {
    const uint32_t *codes;    /* [B, D] of x, then [B, E] of h */
    const int32_t *bias_q22;  /* [4B] 0 in filled-up rows */
    const uint8_t *shift;     /* [R] of each row's sum, 0 to 15 */
    uint16_t outputs;         /* R */
};

/* 4B: sums of all blocks. */
static inline unsigned byte_rows_sums(const struct byte_rows *rows)
{
    return (rows->outputs + ROWS_BLOCK - 1) / ROWS_BLOCK * ROWS_BLOCK;
}

/* acc = w [x, h] + bias.
 *
 *   x        [x_count = D]  Q15, the first columns; aligned to 4.
 *   h        [h_count = E]  Q15, the other columns; aligned to 4; D + E < 2^16.
 *   acc_q22  [4B]           written; the sums of filled-up rows are 0.
 *
 * acc must not overlap the values. Interrupts stay enabled. */
void byte_rows_sum(const struct byte_rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
                   unsigned h_count, int32_t *acc_q22);

/* Mixed sums (rows_add_columns) to sums with bias, in place.
 *
 *   values_total  sum of all values that were multiplied. */
void byte_rows_finish(const struct byte_rows *rows, int32_t values_total, int32_t *acc_q22);

/* rows_add_columns for the columns of a list only, modulo 2^32: of each block
 *
 *     mixed[k] += (word >> 8k) * value,  k = 0 ... 3.
 *
 *   mixed    [B, 4]
 *   codes    [B, columns]
 *   list     up to `end`, an even number of events, at least 2; `where` is 4 times the column.
 *   blocks   B, at least 1.
 *
 * In assembly for the Cortex-M0+ (byte_rows_armv6m.S: 4.4 cycles a weight of a listed column), in C elsewhere. */
void byte_rows_add_events(uint32_t *mixed, const uint32_t *codes, unsigned columns, const struct event *list,
                          const struct event *end, unsigned blocks);

#endif
