#include "embedded_gru.h"

#include "fixed.h"
#include "softsign.h"

void embedded_gru_reset(const struct embedded_gru *layer, const struct embedded_gru_state *state)
{
    const unsigned rows = (2u * layer->units + ROWS_BLOCK - 1) / ROWS_BLOCK * ROWS_BLOCK;
    for (unsigned i = 0; i < rows; i++) {
        state->acc_q17[i] = 0;
    }
    for (unsigned i = 0; i < layer->units; i++) {
        state->h_q15[i] = 0;
        state->h_before_q15[i] = 0;
    }
}

#if !defined(__ARM_ARCH_6M__)
/* h + z (g - h), rounded to nearest, ties up. |g - h| < 2^16 and 0 <= z < 2^15, so the
 * product and its rounding constant fit int32, and the result lies between h and g. */
static inline int16_t update_q15(int32_t h, int32_t z, int32_t g)
{
    return (int16_t)(h + ((z * (g - h) + (1 << 14)) >> 15));
}

void embedded_gru_update(const struct embedded_gru *layer, const struct embedded_gru_state *state)
{
    const unsigned units = layer->units;
    const uint8_t *shift = layer->shift;
    const int32_t *const z_acc = state->acc_q17, *const g_acc = z_acc + units;

    for (unsigned i = 0; i < units; i++, shift += 2) {
        const int32_t s = softsign_q15(fixed_shift_round(z_acc[i], shift[0]));
        const int32_t z = (s + (1 << 15)) >> 1; /* floors; 0 < z < 2^15 */
        const int32_t g = softsign_q15(fixed_shift_round(g_acc[i], shift[1]));
        const int16_t h = state->h_q15[i];
        state->h_before_q15[i] = h;
        state->h_q15[i] = update_q15(h, z, g);
    }
}
#endif

void embedded_gru_step(const struct embedded_gru *layer, const struct rows *rows, const int16_t *x_q15,
                       const struct embedded_gru_state *state)
{
    rows_sum(rows, x_q15, layer->inputs, state->h_q15, layer->units, state->acc_q17);
    embedded_gru_update(layer, state);
}
