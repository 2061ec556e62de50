#include "gru8.h"

#include "gru8_unit.h"

void gru8_reset(const struct gru8 *layer, const struct gru8_state *state)
{
    const unsigned sums = byte_rows_sums(&layer->gates) + 2 * byte_rows_sums(&layer->candidate_h);
    for (unsigned i = 0; i < sums; i++) {
        state->acc_q22[i] = 0;
    }
    for (unsigned i = 0; i < layer->units; i++) {
        state->h_q15[i] = 0;
        state->h_before_q15[i] = 0;
    }
}

void gru8_step(const struct gru8 *layer, const int16_t *x_q15, const struct gru8_state *state)
{
    const unsigned inputs = layer->inputs, units = layer->units;
    int32_t *acc = state->acc_q22;

    byte_rows_sum(&layer->gates, x_q15, inputs, state->h_q15, units, acc);
    acc += byte_rows_sums(&layer->gates);
    byte_rows_sum(&layer->candidate_x, x_q15, inputs, x_q15, 0, acc);
    acc += byte_rows_sums(&layer->candidate_x);
    byte_rows_sum(&layer->candidate_h, state->h_q15, units, state->h_q15, 0, acc);
    for (unsigned i = 0; i < units; i++) {
        const int16_t h = state->h_q15[i];
        state->h_before_q15[i] = h;
        state->h_q15[i] = (int16_t)gru8_unit(layer, state->acc_q22, i, h).c_q15;
    }
}
