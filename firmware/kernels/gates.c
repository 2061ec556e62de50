#include "gates.h"

#include "tanh_table.h"

#define LIMIT_Q13 (6u << 13)
#define BITS 7u /* table steps of 1/64 */

/* Rounds to nearest, ties up in magnitude; a step of the table is at most 2^9, the fraction below 2^7. */
int32_t gates_tanh_q15(int32_t v_q13)
{
    uint32_t a = v_q13 < 0 ? 0u - (uint32_t)v_q13 : (uint32_t)v_q13; /* |v|, also of INT32_MIN */
    if (a > LIMIT_Q13) {
        a = LIMIT_Q13;
    }
    const uint16_t *const table = &tanh_table_q15[a >> BITS];
    const uint32_t low = table[0], fraction = a & ((1u << BITS) - 1);
    const uint32_t y = low + (((table[1] - low) * fraction + (1u << (BITS - 1))) >> BITS);
    return v_q13 < 0 ? -(int32_t)y : (int32_t)y;
}
