#include "readout_sum.h"

#include "fixed.h"

void readout_sum_add(int32_t *sum_q15, const int16_t *h_q15, unsigned units)
{
    for (unsigned i = 0; i < units; i++) {
        sum_q15[i] += h_q15[i];
    }
}

uint32_t readout_sum_read(const int32_t *sum_q15, unsigned units, unsigned shift, int16_t *readout_q15)
{
    uint32_t clipped = 0;
    for (unsigned i = 0; i < units; i++) {
        const int32_t exact = fixed_shift_round(sum_q15[i], shift);
        const int32_t kept = fixed_saturate16(exact);
        clipped += kept != exact;
        readout_q15[i] = (int16_t)kept;
    }
    return clipped;
}
