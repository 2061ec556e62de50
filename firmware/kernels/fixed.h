/* fixed.h -- rounding and saturation, written once. Twin: hil/fixed.py.
 *
 * Formats  Q15: the integer v stands for v / 2^15. Q17: sums, v / 2^17.
 * `>>` of a negative number is arithmetic (floors), as in every compiler for Arm
 * and for the host.
 */
#ifndef KERNELS_FIXED_H
#define KERNELS_FIXED_H

#include <stdint.h>

#define FIXED_MAX_SHIFT 15u

/* v >> shift, rounded to nearest, ties towards plus infinity; 0 <= shift <= 15.
 * The caller keeps v + 2^14 inside int32. */
static inline int32_t fixed_shift_round(int32_t v, unsigned shift)
{
    const int32_t half = (int32_t)((1u << shift) >> 1);
    return (v + half) >> shift;
}

/* v clipped to int16. */
static inline int32_t fixed_saturate16(int32_t v)
{
    return v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v;
}

#endif
