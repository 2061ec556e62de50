#include "log2.h"

#include "log2_table.h"

int32_t log2_q10(uint32_t value)
{
    int32_t whole = 31;

    for (uint32_t step = 16; step > 0; step >>= 1) {
        if (value >> (32u - step) == 0) {
            value <<= step;
            whole -= (int32_t)step;
        }
    }
    const uint32_t i = value >> 26 & (LOG2_STEPS - 1u);
    const int32_t f = (int32_t)(value >> 10 & 0xFFFFu);
    /* A difference is below 2^12, so the product is below 2^28. */
    const int32_t y_q16 = log2_table_q16[i] + (((log2_table_q16[i + 1u] - log2_table_q16[i]) * f + (1 << 15)) >> 16);

    return whole * 1024 + ((y_q16 + (1 << 5)) >> 6);
}

uint32_t sqrt_rounded(uint32_t value)
{
    uint32_t root = 0, rest = value;

    for (uint32_t bit = 1u << 30; bit != 0; bit >>= 2) {
        const uint32_t trial = root + bit;

        root >>= 1;
        if (rest >= trial) {
            rest -= trial;
            root += bit;
        }
    }
    return root + (rest > root ? 1u : 0u); /* value > (root + 1/2)^2 */
}
