/* readout_sum.h -- the state summed over time: what the dense layers see.
 *
 * Twin    hil/quant/kernels.py:readout_sum, equal bit for bit (tests/test_kernels.py).
 */
#ifndef KERNELS_READOUT_SUM_H
#define KERNELS_READOUT_SUM_H

#include <stdint.h>

/* Largest number of steps whose sum, with a rounding constant of at most 2^14 added, fits
 * int32: 65535 * 2^15 + 2^14 < 2^31. BEGIN counts steps in 16 bits, so it cannot be passed. */
#define READOUT_SUM_MAX_STEPS 65535u

/* sum += h; both [units]. */
void readout_sum_add(int32_t *sum_q15, const int16_t *h_q15, unsigned units);

/* readout = saturate16((sum + half) >> shift), rounded to nearest, ties up; [units].
 * Returns how many were clipped. The sums stay as they are. */
uint32_t readout_sum_read(const int32_t *sum_q15, unsigned units, unsigned shift, int16_t *readout_q15);

#endif
