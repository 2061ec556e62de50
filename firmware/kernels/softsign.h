/* softsign.h -- s(a) = a / (1 + |a|) in Q15, by straight lines.
 *
 * Source  Amoh and Odame, arXiv:1902.05026, section 4, for the clipping to 64.
 *         Form `lines-512-112` of docs/artefact.md.
 * Twin    hil/arithmetic.py:softsign_q15, equal bit for bit (tests/test_kernels.py).
 */
#ifndef KERNELS_SOFTSIGN_H
#define KERNELS_SOFTSIGN_H

#include <stdint.h>

#define SOFTSIGN_NEAR 256 /* lines on either side of 0; softsign_lines[SOFTSIGN_NEAR] begins there */

/* Each (c << 8) + d for (c + d v) >> 8; 0 <= d < 2^8, |c| < 2^23. In softsign_lines.c, generated. */
extern const int32_t softsign_lines[624];

/* pre_q15: any int32; magnitudes above 64.0 count as 64.0. Within 7 steps (less than 2^-12)
 * of the real function, in [-32264, 32264], 0 at 0. No division. */
int16_t softsign_q15(int32_t pre_q15);

#endif
