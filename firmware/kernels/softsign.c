#include "softsign.h"

#include "softsign_table.h"

#define PRE_LIMIT_Q15 (64u << 15)
#define FINE_LIMIT_Q15 (4u << 15)
#define FINE_BITS 9u    /* table steps of 1/64 */
#define COARSE_BITS 13u /* table steps of 1/4 */
#define COARSE_START (FINE_LIMIT_Q15 >> COARSE_BITS)

/* Rounds to nearest, ties up in magnitude. A step of either table is below 2^9 and the
 * fraction below 2^13, so the product fits. */
static inline uint32_t interpolate(const uint16_t *table, uint32_t fraction, unsigned bits)
{
    const uint32_t low = table[0];
    return low + (((table[1] - low) * fraction + (1u << (bits - 1))) >> bits);
}

int16_t softsign_q15(int32_t pre_q15)
{
    uint32_t a = pre_q15 < 0 ? 0u - (uint32_t)pre_q15 : (uint32_t)pre_q15; /* |v|, also of INT32_MIN */
    uint32_t y;
    if (a < FINE_LIMIT_Q15) {
        y = interpolate(&softsign_fine_q15[a >> FINE_BITS], a & ((1u << FINE_BITS) - 1), FINE_BITS);
    } else {
        if (a > PRE_LIMIT_Q15) {
            a = PRE_LIMIT_Q15;
        }
        y = interpolate(&softsign_coarse_q15[(a >> COARSE_BITS) - COARSE_START], a & ((1u << COARSE_BITS) - 1),
                        COARSE_BITS);
    }
    return (int16_t)(pre_q15 < 0 ? -(int32_t)y : (int32_t)y);
}
