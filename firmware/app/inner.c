#include "inner.h"

#include "kernels/fixed.h"
#include "kernels/softsign.h"

/* With the kernel's own rounding, so that a wrong one is seen here too. */
static int16_t softsign_of_row(int32_t acc_q17, uint8_t shift)
{
    return softsign_q15(fixed_shift_round(acc_q17, shift));
}

static void put(uint8_t *data, const struct model_layer *layer)
{
    const uint32_t units = layer->units;
    uint8_t *z = data + 8u * units, *g = z + 2u * units, *h = g + 2u * units;

    for (uint32_t row = 0; row < 2u * units; row++) {
        link_put_i32(data + 4u * row, layer->acc[row]);
    }
    for (uint32_t i = 0; i < units; i++) {
        const uint8_t *shift = layer->shift + 2u * i;
        link_put_i16(z + 2u * i, (int16_t)((softsign_of_row(layer->acc[i], shift[0]) + 32768) >> 1));
        link_put_i16(g + 2u * i, softsign_of_row(layer->acc[units + i], shift[1]));
        link_put_i16(h + 2u * i, layer->h_q15[i]);
    }
}

const struct inner_form inner_embedded_gru = {.cell = 0, .unit_bytes = 14, .put = put};
