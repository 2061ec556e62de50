/* offset.h -- takes the constant part out of a microphone's samples, one by one.
 *
 *   before the first sample   mean_q10 = v << 10
 *   for each sample           y = saturate16(v - ((mean_q10 + 2^9) >> 10))
 *                             mean_q10 += ((v << 10) - mean_q10 + 2^9) >> 10
 *
 * A high pass with a corner at rate / (2 pi 2^10): 2.5 Hz at 16 kHz. Both shifts round to nearest, ties up.
 * Bounds  |v| <= 2^19, a 16-bit sample with the largest gain: differences of v << 10 fit 32 bits.
 * Twin    hil/features/offset.py, equal bit for bit.
 */
#ifndef FRONTEND_OFFSET_H
#define FRONTEND_OFFSET_H

#include <stdbool.h>
#include <stdint.h>

#define OFFSET_LOG2 10u /* bits behind the point of the mean, and its time constant */
#define OFFSET_HALF (1 << (OFFSET_LOG2 - 1u))

/* Bits that a sample may be shifted up before. */
#define OFFSET_MAX_GAIN_LOG2 4u

struct offset {
    int32_t mean_q10;
    bool begun;
};

static inline int16_t offset_remove(struct offset *offset, int32_t v)
{
    const int32_t v_q10 = v * (1 << OFFSET_LOG2);

    if (!offset->begun) {
        offset->mean_q10 = v_q10;
        offset->begun = true;
    }
    const int32_t y = v - ((offset->mean_q10 + OFFSET_HALF) >> OFFSET_LOG2);
    offset->mean_q10 += (v_q10 - offset->mean_q10 + OFFSET_HALF) >> OFFSET_LOG2;
    return (int16_t)(y > INT16_MAX ? INT16_MAX : y < INT16_MIN ? INT16_MIN : y);
}

#endif
