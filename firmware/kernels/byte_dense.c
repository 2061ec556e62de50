#include "byte_dense.h"

#include "fixed.h"

void byte_dense_relu(const struct byte_rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q22,
                     int16_t *y_q15)
{
    byte_rows_sum(rows, u_q15, inputs, u_q15, 0, acc_q22);
    for (unsigned i = 0; i < rows->outputs; i++) {
        const int32_t pre_q15 = fixed_shift_round(acc_q22[i], rows->shift[i]);
        y_q15[i] = (int16_t)(pre_q15 < 0 ? 0 : fixed_saturate16(pre_q15));
    }
}

void byte_dense_linear(const struct byte_rows *rows, const int16_t *u_q15, unsigned inputs, int32_t *acc_q22,
                       int32_t *y_q15)
{
    byte_rows_sum(rows, u_q15, inputs, u_q15, 0, acc_q22);
    for (unsigned i = 0; i < rows->outputs; i++) {
        y_q15[i] = fixed_shift_round(acc_q22[i], rows->shift[i]);
    }
}
