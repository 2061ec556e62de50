/* fft.h -- power spectrum of a real frame in 32-bit integers.
 *
 * A complex FFT of half the length, decimation in time, each stage halved; then the split into
 * the spectrum of the real values. 32-bit storage and Q14 factors: a product of a value below 2^17
 * and a factor fits int32, so no product is wider than the chip's multiplier gives.
 *
 * Rounding  (x + 2^13) >> 14 after each turn, (x + 1) >> 1 in each stage, (x + 2) >> 2 in the split:
 *           to nearest, ties up.
 * Twin      real_power of hil/features/spectrum.py, equal bit for bit.
 */
#ifndef FRONTEND_FFT_H
#define FRONTEND_FFT_H

#include <stdint.h>

/* Largest magnitude of a value that goes in. Two of them are one complex value of modulus at most
 * 65000 sqrt 2 = 91924; a stage keeps the modulus and adds less than 2. In the split the
 * difference of two values is the spectrum of every other sample, doubled: at most 130000 and its
 * roundings, below 2^17. No |X[k] / N| exceeds 65000 + 32, whose square is below 2^32. */
#define FFT_PEAK 65000

#define FFT_MAX_LOG2_POINTS 12u

/* z         in: [N] values; out, in place: the powers |X[k] / N|^2 as uint32, at fft_power_at(k).
 * log2_points  N = 2^log2_points, 1 to FFT_MAX_LOG2_POINTS.
 * twiddle_q14  [N / 2][2] exp(-2 pi i k / N), real and imaginary part. */
void fft_real_power(int32_t *z, uint32_t log2_points, const int16_t *twiddle_q14);

/* The power of bin k, 0 to N / 2: bin N / 2 lies where the imaginary part of bin 0 was. */
static inline uint32_t fft_power_at(const int32_t *z, uint32_t k, uint32_t log2_points)
{
    return (uint32_t)z[k >> (log2_points - 1u) != 0 ? 1u : 2u * k];
}

#endif
