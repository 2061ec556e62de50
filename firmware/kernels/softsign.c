#include "softsign.h"

#define PRE_LIMIT_Q15 (64 << 15)
#define NEAR_LIMIT_Q15 (8 << 15)
#define NEAR_BITS 10 /* lines of 1/32 */
#define FAR_SHIFT 6  /* beyond 8.0 a value has steps of 2^-9, */
#define FAR_BITS 8   /* and lines of 1/2, */
#define FAR_FIRST 16 /* the first of them at 8.0 */

/* Floors; the rounding constant is in c. |c| < 2^23 and d v < 2^26. */
static inline int32_t on_line(int32_t line, int32_t v)
{
    return ((line >> 8) + (line & 255) * v) >> 8;
}

int16_t softsign_q15(int32_t pre_q15)
{
    if (pre_q15 >= -NEAR_LIMIT_Q15 && pre_q15 < NEAR_LIMIT_Q15) {
        return (int16_t)on_line(softsign_lines[SOFTSIGN_NEAR + (pre_q15 >> NEAR_BITS)], pre_q15);
    }
    const uint32_t magnitude = pre_q15 < 0 ? 0u - (uint32_t)pre_q15 : (uint32_t)pre_q15; /* also of INT32_MIN */
    const int32_t a = (int32_t)(magnitude < PRE_LIMIT_Q15 ? magnitude : PRE_LIMIT_Q15 - 1) >> FAR_SHIFT;
    const int32_t y = on_line(softsign_lines[2 * SOFTSIGN_NEAR - FAR_FIRST + (a >> FAR_BITS)], a);
    return (int16_t)(pre_q15 < 0 ? -y : y);
}
