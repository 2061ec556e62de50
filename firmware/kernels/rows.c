#include "rows.h"

struct block_sums {
    int32_t row[ROWS_BLOCK];
};

/* One block, columns first to last of `values`; returns the weights of the next column. */
static inline const int8_t *add_columns(struct block_sums *sums, const int8_t *weight, const int16_t *values,
                                        unsigned count)
{
    int32_t a = sums->row[0], b = sums->row[1], c = sums->row[2], d = sums->row[3];
    const int16_t *const end = values + count;
    while (values != end) {
        const int32_t v = *values++;
        a += weight[0] * v;
        b += weight[1] * v;
        c += weight[2] * v;
        d += weight[3] * v;
        weight += ROWS_BLOCK;
    }
    sums->row[0] = a, sums->row[1] = b, sums->row[2] = c, sums->row[3] = d;
    return weight;
}

void rows_sum(const struct rows *rows, const int16_t *x, unsigned x_count, const int16_t *h,
              unsigned h_count, int32_t *acc_q17)
{
    const int8_t *weight = rows->weight_q2;
    const int32_t *bias = rows->bias_q17;
    for (unsigned row = 0; row < rows->outputs; row += ROWS_BLOCK) {
        struct block_sums sums = {{bias[row], bias[row + 1], bias[row + 2], bias[row + 3]}};
        weight = add_columns(&sums, weight, x, x_count);
        weight = add_columns(&sums, weight, h, h_count);
        for (unsigned i = 0; i < ROWS_BLOCK; i++) {
            acc_q17[row + i] = sums.row[i];
        }
    }
}
