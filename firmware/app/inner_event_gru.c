#include "inner.h"

#include "kernels/event_gru.h"
#include "kernels/gru8_unit.h"

static void put(uint8_t *data, const struct model_layer *layer)
{
    const struct inner_event_gru_cell *cell = layer->cell;
    const struct gru8 *gru = &cell->layer->gru;
    const uint32_t units = layer->units;
    const int32_t *const p = layer->acc + byte_rows_sums(&gru->gates), *const q = p + byte_rows_sums(&gru->candidate_x);
    uint8_t *r = data + 16u * units, *z = r + 2u * units, *g = z + 2u * units, *y = g + 2u * units;
    uint8_t *h = y + 2u * units;

    for (uint32_t i = 0; i < units; i++) {
        const struct gru8_unit unit = gru8_unit(gru, layer->acc, i, layer->h_before_q15[i]);
        link_put_i32(data + 4u * i, layer->acc[i]);
        link_put_i32(data + 4u * (units + i), layer->acc[units + i]);
        link_put_i32(data + 4u * (2u * units + i), p[i]);
        link_put_i32(data + 4u * (3u * units + i), q[i]);
        link_put_i16(r + 2u * i, (int16_t)unit.r_q15);
        link_put_i16(z + 2u * i, (int16_t)unit.z_q15);
        link_put_i16(g + 2u * i, (int16_t)unit.g_q15);
        link_put_i16(y + 2u * i, cell->state->y_q15[i]);
        link_put_i16(h + 2u * i, layer->h_q15[i]);
    }
}

const struct inner_form inner_event_gru = {.cell = 2, .unit_bytes = 26, .put = put};
