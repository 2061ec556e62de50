#include "rows.h"

#if !defined(__ARM_ARCH_6M__)
void rows_add_columns(uint32_t *mixed, const uint32_t *codes, const int16_t *values, unsigned count, unsigned blocks)
{
    for (; blocks != 0; blocks--, mixed += ROWS_BLOCK) {
        for (unsigned i = 0; i < count; i++) {
            const uint32_t word = *codes++, value = (uint32_t)(int32_t)values[i];
            for (unsigned k = 0; k < ROWS_BLOCK; k++) {
                mixed[k] += (word >> (8 * k)) * value;
            }
        }
    }
}
#endif

/* Fits: fewer than 2^16 values. */
static int32_t total(const int16_t *values, unsigned count)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        sum += values[i];
    }
    return sum;
}

void rows_sum(const struct rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
              unsigned h_count, int32_t *acc_q17)
{
    const unsigned blocks = rows_sums(rows) / ROWS_BLOCK;
    uint32_t *mixed = (uint32_t *)acc_q17;

    for (unsigned i = 0; i < ROWS_BLOCK * blocks; i++) {
        mixed[i] = 0;
    }
    rows_add_columns(mixed, rows->codes, x, x_count, blocks);
    rows_add_columns(mixed, rows->codes + blocks * x_count, h, h_count, blocks);

    rows_finish(rows, (uint32_t)total(x, x_count) + (uint32_t)total(h, h_count), acc_q17);
}

void rows_finish(const struct rows *rows, uint32_t values_total, int32_t *acc)
{
    const unsigned blocks = rows_sums(rows) / ROWS_BLOCK;
    const int32_t *bias = rows->bias_q17;
    uint32_t *mixed = (uint32_t *)acc;
    const uint32_t excess = rows->zero * values_total; /* each code is too large by that of zero */
    for (unsigned block = 0; block < blocks; block++, mixed += ROWS_BLOCK, bias += ROWS_BLOCK) {
        const uint32_t a = mixed[0], b = mixed[1], c = mixed[2], d = mixed[3];
        mixed[0] = a - (b << 8) - excess + (uint32_t)bias[0];
        mixed[1] = b - (c << 8) - excess + (uint32_t)bias[1];
        mixed[2] = c - (d << 8) - excess + (uint32_t)bias[2];
        mixed[3] = d - excess + (uint32_t)bias[3];
    }
}
