#include "byte_rows.h"

/* Fits: fewer than 2^16 values. */
static int32_t total(const int16_t *values, unsigned count)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        sum += values[i];
    }
    return sum;
}

void byte_rows_sum(const struct byte_rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
                   unsigned h_count, int32_t *acc_q22)
{
    const unsigned sums = byte_rows_sums(rows), blocks = sums / ROWS_BLOCK;
    uint32_t *mixed = (uint32_t *)acc_q22;

    for (unsigned i = 0; i < sums; i++) {
        mixed[i] = 0;
    }
    rows_add_columns(mixed, rows->codes, x, x_count, blocks);
    if (h_count != 0) {
        rows_add_columns(mixed, rows->codes + blocks * x_count, h, h_count, blocks);
    }
    byte_rows_finish(rows, total(x, x_count) + total(h, h_count), acc_q22);
}

void byte_rows_finish(const struct byte_rows *rows, int32_t values_total, int32_t *acc_q22)
{
    const int32_t *bias = rows->bias_q22;
    uint32_t *mixed = (uint32_t *)acc_q22;
    /* Each code is 128 too large, so each sum is too large by 128 times that of the values. */
    const uint32_t excess = BYTE_ROWS_ZERO * (uint32_t)values_total;

    for (const uint32_t *end = mixed + byte_rows_sums(rows); mixed != end; mixed += ROWS_BLOCK, bias += ROWS_BLOCK) {
        const uint32_t a = mixed[0], b = mixed[1], c = mixed[2], d = mixed[3];
        mixed[0] = a - (b << 8) - excess + (uint32_t)bias[0];
        mixed[1] = b - (c << 8) - excess + (uint32_t)bias[1];
        mixed[2] = c - (d << 8) - excess + (uint32_t)bias[2];
        mixed[3] = d - excess + (uint32_t)bias[3];
    }
}

#if !defined(__ARM_ARCH_6M__)
void byte_rows_add_events(uint32_t *mixed, const uint32_t *codes, unsigned columns, const struct event *list,
                          const struct event *end, unsigned blocks)
{
    for (; blocks != 0; blocks--, mixed += ROWS_BLOCK, codes += columns) {
        for (const struct event *event = list; event != end; event++) {
            const uint32_t word = codes[event->where / 4], value = (uint32_t)event->value_q15;
            for (unsigned k = 0; k < ROWS_BLOCK; k++) {
                mixed[k] += (word >> (8 * k)) * value;
            }
        }
    }
}
#endif
