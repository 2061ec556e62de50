/* softsign.h -- s(a) = a / (1 + |a|) in Q15, by table and linear interpolation.
 *
 * Source  Amoh and Odame, arXiv:1902.05026, section 4, for the clipping to 64.
 *         Form `table-257-241` of docs/artefact.md.
 * Twin    hil/arithmetic.py:softsign_q15, equal bit for bit (tests/test_kernels.py).
 */
#ifndef KERNELS_SOFTSIGN_H
#define KERNELS_SOFTSIGN_H

#include <stdint.h>

/* pre_q15: any int32; magnitudes above 64.0 count as 64.0. Within 2^-12 of the real
 * function, odd, in [-32264, 32264]. No division. */
int16_t softsign_q15(int32_t pre_q15);

#endif
