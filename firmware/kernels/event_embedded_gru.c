#include "event_embedded_gru.h"

#include <stddef.h>

#include "fixed.h"
#include "softsign.h"

void event_embedded_gru_reset(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state)
{
    *state->spoken = state->list;
    for (unsigned i = 0; i < layer->units; i++) {
        state->acc_q17[i] = 0;
        state->acc_q17[layer->units + i] = 0;
        state->h_q15[i] = 0;
        state->y_q15[i] = 0;
    }
}

void event_embedded_gru_list(const struct event_embedded_gru *layer, const int16_t *x_q15,
                             const struct event_embedded_gru_state *state)
{
    struct event *const end = events_append(*state->spoken, x_q15, layer->inputs, layer->where);
    *end = (struct event){0, layer->where[layer->inputs + layer->units]};
}

void event_embedded_gru_sum(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state)
{
    layer->sum(state->list, layer->start_q17, state->acc_q17, NULL);
}

#if !defined(__ARM_ARCH_6M__)
/* As in embedded_gru.c; then the threshold. c lies between h and g, so neither it nor c - theta > 0
 * needs saturation. */
void event_embedded_gru_update(const struct event_embedded_gru *layer, const struct event_embedded_gru_state *state)
{
    const unsigned units = layer->units;
    const uint8_t *shift = layer->shift;
    const int32_t *const z_acc = state->acc_q17, *const g_acc = z_acc + units;
    const uint16_t *const where = layer->where + layer->inputs;
    struct event *list = state->list;

    for (unsigned i = 0; i < units; i++, shift += 2) {
        const int32_t s = softsign_q15(fixed_shift_round(z_acc[i], shift[0]));
        const int32_t z = (s + (1 << 15)) >> 1;
        const int32_t g = softsign_q15(fixed_shift_round(g_acc[i], shift[1]));
        const int32_t h = state->h_q15[i], theta = layer->threshold_q15[i];
        int32_t c = h + ((z * (g - h) + (1 << 14)) >> 15);
        int32_t y = 0;
        if (c > theta) {
            y = c;
            c -= theta;
            *list++ = (struct event){y, where[i]};
        }
        state->h_q15[i] = (int16_t)c;
        state->y_q15[i] = (int16_t)y;
    }
    *state->spoken = list;
}
#endif

void event_embedded_gru_step(const struct event_embedded_gru *layer, const int16_t *x_q15,
                             const struct event_embedded_gru_state *state)
{
    event_embedded_gru_list(layer, x_q15, state);
    event_embedded_gru_sum(layer, state);
    event_embedded_gru_update(layer, state);
}
