#include "compact.h"

#include <stddef.h>

#if !defined(__ARM_ARCH_6M__)
void compact_add(int32_t *acc, const uint32_t *words, const int32_t *products, unsigned rows)
{
    for (; rows != 0; rows--, acc++, words++) {
        for (unsigned k = 0; k < COMPACT_COLUMNS; k++) {
            *acc += products[COMPACT_CODES * k + (*words >> (3 * k)) % COMPACT_CODES];
        }
    }
}
#endif

/* The products of a value with each code's weight; 4 w v fits, |v| is at most 2^15. */
static void multiply(int32_t *products, int32_t v)
{
    products[0] = 0;
    products[1] = v;
    products[2] = 2 * v;
    products[3] = 4 * v;
    products[4] = 0;
    products[5] = -v;
    products[6] = -2 * v;
    products[7] = -4 * v;
}

void compact_sum(const struct compact *rows, const int16_t *x, unsigned x_count, const int16_t *h, unsigned h_count,
                 int32_t *acc_q17)
{
    int32_t products[COMPACT_COLUMNS * COMPACT_CODES];
    const uint32_t *words = rows->codes;
    const unsigned columns = x_count + h_count;

    for (unsigned i = 0; i < rows->outputs; i++) {
        acc_q17[i] = rows->bias_q12[i] * (1 << 5);
    }
    for (unsigned column = 0; column < columns; words += rows->outputs) {
        for (unsigned k = 0; k < COMPACT_COLUMNS; k++, column++) {
            const int32_t v = column < x_count ? x[column] : column < columns ? h[column - x_count] : 0;
            multiply(products + COMPACT_CODES * k, v);
        }
        compact_add(acc_q17, words, products, rows->outputs);
    }
}
