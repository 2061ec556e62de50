#include "frontend.h"

#include <stddef.h>

#include "fft.h"
#include "log2.h"

#define MAX_SHIFT 15u
#define LOG_ZERO 7    /* octaves, as in hil/features/spectrum.py */
#define FLOOR_SHIFT 9u
#define MEAN_BITS 8u  /* of a running mean, below one step of raw */

/* The largest shift with which no sample leaves FFT_PEAK. */
static uint32_t shift_of(const int16_t *samples, uint32_t n)
{
    int32_t low = 0, high = 0;
    uint32_t shift = 0;

    for (uint32_t i = 0; i < n; i++) {
        const int32_t s = samples[i];

        low = s < low ? s : low;
        high = s > high ? s : high;
    }
    const uint32_t peak = (uint32_t)(-low > high ? -low : high);
    while (shift < MAX_SHIFT && peak << (shift + 1u) <= FFT_PEAK) {
        shift++;
    }
    return shift;
}

static void load(const struct frontend *frontend, const int16_t *samples, uint32_t shift, int32_t *work)
{
    const uint32_t window = frontend->window, points = 1u << frontend->log2_points;

    if (frontend->mel == NULL) {
        for (uint32_t n = 0; n < window; n++) {
            work[n] = samples[n] * (1 << shift);
        }
    } else {
        const int16_t *w_q15 = frontend->mel->window_q15;
        const uint32_t down = MAX_SHIFT - shift;
        const int32_t half = (1 << down) >> 1; /* rounds to nearest, ties up */

        for (uint32_t n = 0; n < window; n++) {
            work[n] = (samples[n] * w_q15[n] + half) >> down;
        }
    }
    for (uint32_t n = window; n < points; n++) {
        work[n] = 0;
    }
}

static int32_t clip16(int32_t value, uint32_t *clipped)
{
    if (value > INT16_MAX || value < INT16_MIN) {
        (*clipped)++;
        return value > 0 ? INT16_MAX : INT16_MIN;
    }
    return value;
}

/* What is subtracted: the offset, or the mean before this frame, rounded to nearest, ties up; then the mean moves.
 * |raw| is at most 2^15, so a mean is at most 2^23 and a difference below 2^25. Twin: centred of hil.features. */
static int32_t centre(const struct frontend *frontend, uint32_t band, int32_t raw)
{
    if (frontend->mean_q18 == NULL) {
        return frontend->offset[band];
    }
    const int32_t mean = frontend->mean_q18[band], half = (1 << frontend->mean_shift) >> 1;

    frontend->mean_q18[band] = mean + ((raw * (1 << MEAN_BITS) - mean + half) >> frontend->mean_shift);
    return (mean + (1 << (MEAN_BITS - 1u))) >> MEAN_BITS;
}

/* x = saturate((raw - offset) << gain_shift): the difference is below 2^17, the gain at most 2^15, so it is
 * clipped to 16 bits before it can leave int32. */
static int16_t finish(const struct frontend *frontend, uint32_t band, int32_t raw, uint32_t *clipped)
{
    const int32_t centred = raw - centre(frontend, band, raw);
    const int32_t limit = INT16_MAX >> frontend->gain_shift;

    if (centred > limit || centred < -limit - 1) {
        (*clipped)++;
        return centred > 0 ? INT16_MAX : INT16_MIN;
    }
    return (int16_t)(centred * (1 << frontend->gain_shift));
}

static uint32_t magnitudes(const struct frontend *frontend, const int32_t *work, uint32_t shift, int16_t *x)
{
    const uint32_t half = (1u << shift) >> 1;
    uint32_t clipped = 0;

    for (uint32_t k = 0; k < frontend->bands; k++) {
        const uint32_t root = sqrt_rounded(fft_power_at(work, k, frontend->log2_points));
        const int32_t raw = clip16((int32_t)((root + half) >> shift), &clipped);
        x[k] = finish(frontend, k, raw, &clipped);
    }
    return clipped;
}

/* Sums over one segment; share = p * weight >> 16 in 32-bit products. Each power is below 2^32; all of a half
 * spectrum together, and so every sum of halves of them, below 2^31 (Parseval). */
struct sums {
    uint32_t rising, falling;
};

static struct sums sum_segment(const struct frontend *frontend, const int32_t *work, uint32_t segment)
{
    const struct frontend_mel *mel = frontend->mel;
    const uint32_t last = 1u << (frontend->log2_points - 1u); /* its power is not among the others */
    const uint32_t first = mel->edge[segment], end = mel->edge[segment + 1u];
    const uint16_t *rise = mel->rise_q15 + (first - mel->edge[0]);
    struct sums sums = {0, 0};

    for (uint32_t k = first; k < end; k++) {
        const uint32_t p = (uint32_t)(k == last ? work[1] : work[2u * k]), weight = *rise++;
        const uint32_t share = (p >> 16) * weight + ((p & 0xFFFFu) * weight >> 16);

        sums.rising += share;
        sums.falling += (p >> 1) - share;
    }
    return sums;
}

static uint32_t mel_bands(const struct frontend *frontend, const int32_t *work, uint32_t shift, int16_t *x)
{
    const uint32_t floor = shift < 5u ? 1u : 1u << (2u * shift - FLOOR_SHIFT);
    const int32_t zero = (int32_t)(LOG_ZERO + 2u * shift) * 1024;
    struct sums below = sum_segment(frontend, work, 0);
    uint32_t clipped = 0;

    for (uint32_t band = 0; band < frontend->bands; band++) {
        const struct sums above = sum_segment(frontend, work, band + 1u);
        const uint32_t energy = below.rising + above.falling;

        x[band] = finish(frontend, band, log2_q10(energy + floor) - zero, &clipped);
        below = above;
    }
    return clipped;
}

void frontend_reset(const struct frontend *frontend)
{
    for (uint32_t band = 0; frontend->mean_q18 != NULL && band < frontend->bands; band++) {
        frontend->mean_q18[band] = frontend->offset[band] * (1 << MEAN_BITS);
    }
}

uint32_t frontend_frame(const struct frontend *frontend, const int16_t *samples, int32_t *work, int16_t *x)
{
    const uint32_t shift = shift_of(samples, frontend->window);

    load(frontend, samples, shift, work);
    fft_real_power(work, frontend->log2_points, frontend->twiddle_q14);
    return frontend->mel == NULL ? magnitudes(frontend, work, shift, x) : mel_bands(frontend, work, shift, x);
}
