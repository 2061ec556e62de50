#include "dense.h"

#include "fixed.h"

void dense_relu(const int32_t *acc_q17, const uint8_t *shift, unsigned outputs, int16_t *y_q15)
{
    for (unsigned i = 0; i < outputs; i++) {
        const int32_t pre_q15 = fixed_shift_round(acc_q17[i], shift[i]);
        y_q15[i] = (int16_t)(pre_q15 < 0 ? 0 : fixed_saturate16(pre_q15));
    }
}

void dense_linear(const int32_t *acc_q17, const uint8_t *shift, unsigned outputs, int32_t *y_q15)
{
    for (unsigned i = 0; i < outputs; i++) {
        y_q15[i] = fixed_shift_round(acc_q17[i], shift[i]);
    }
}
