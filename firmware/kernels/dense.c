#include "dense.h"

#include "fixed.h"

void dense_relu(const struct rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q17, int16_t *y_q15)
{
    rows_sum(rows, u_q15, inputs, u_q15, 0, acc_q17);
    for (unsigned i = 0; i < rows->outputs; i++) {
        const int32_t pre_q15 = fixed_shift_round(acc_q17[i], rows->shift[i]);
        y_q15[i] = (int16_t)(pre_q15 < 0 ? 0 : fixed_saturate16(pre_q15));
    }
}

void dense_linear(const struct rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q17, int32_t *y_q15)
{
    rows_sum(rows, u_q15, inputs, u_q15, 0, acc_q17);
    for (unsigned i = 0; i < rows->outputs; i++) {
        y_q15[i] = fixed_shift_round(acc_q17[i], rows->shift[i]);
    }
}
