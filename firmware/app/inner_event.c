#include "inner.h"

#include "kernels/event_embedded_gru.h"
#include "kernels/fixed.h"
#include "kernels/softsign.h"

static void put(uint8_t *data, const struct model_layer *layer)
{
    const struct event_embedded_gru_state *state = layer->cell;
    const uint32_t units = layer->units;
    uint8_t *z = data + 8u * units, *g = z + 2u * units, *y = g + 2u * units, *h = y + 2u * units;

    for (uint32_t i = 0; i < units; i++) {
        const int32_t s_z = softsign_q15(fixed_shift_round(layer->acc[i], layer->shift[2u * i]));
        const int32_t s_g = softsign_q15(fixed_shift_round(layer->acc[units + i], layer->shift[2u * i + 1u]));
        link_put_i32(data + 4u * i, layer->acc[i]);
        link_put_i32(data + 4u * (units + i), layer->acc[units + i]);
        link_put_i16(z + 2u * i, (int16_t)((s_z + 32768) >> 1));
        link_put_i16(g + 2u * i, (int16_t)s_g);
        link_put_i16(y + 2u * i, state->y_q15[i]);
        link_put_i16(h + 2u * i, layer->h_q15[i]);
    }
}

const struct inner_form inner_event_embedded_gru = {.cell = 3, .unit_bytes = 16, .put = put};
