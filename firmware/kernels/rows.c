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

/* Fits: ROWS_MAX_FAN_IN values are below 2^29 together. */
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
    const unsigned blocks = (rows->outputs + ROWS_BLOCK - 1) / ROWS_BLOCK;
    const int32_t *bias = rows->bias_q17;
    uint32_t *mixed = (uint32_t *)acc_q17;

    for (unsigned i = 0; i < ROWS_BLOCK * blocks; i++) {
        mixed[i] = 0;
    }
    rows_add_columns(mixed, rows->codes, x, x_count, blocks);
    rows_add_columns(mixed, rows->codes + blocks * x_count, h, h_count, blocks);

    /* Codes are 4 too large, so each sum is too large by 4 times the sum of the values. */
    const uint32_t excess = 4 * (uint32_t)(total(x, x_count) + total(h, h_count));
    for (unsigned block = 0; block < blocks; block++, mixed += ROWS_BLOCK, bias += ROWS_BLOCK) {
        const uint32_t a = mixed[0], b = mixed[1], c = mixed[2], d = mixed[3];
        mixed[0] = a - (b << 8) - excess + (uint32_t)bias[0];
        mixed[1] = b - (c << 8) - excess + (uint32_t)bias[1];
        mixed[2] = c - (d << 8) - excess + (uint32_t)bias[2];
        mixed[3] = d - excess + (uint32_t)bias[3];
    }
}
