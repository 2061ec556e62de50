#include "fft.h"

#define TWIDDLE_SHIFT 14
#define TWIDDLE_HALF (1 << (TWIDDLE_SHIFT - 1))

/* Exchange complex values so that value n comes to the place that n has with its bits reversed. */
static void reverse(int32_t *z, uint32_t count)
{
    for (uint32_t n = 1, to = 0; n < count; n++) {
        uint32_t bit = count >> 1;

        while ((to & bit) != 0) {
            to ^= bit;
            bit >>= 1;
        }
        to |= bit;
        if (n < to) {
            const int32_t re = z[2u * n], im = z[2u * n + 1u];

            z[2u * n] = z[2u * to];
            z[2u * n + 1u] = z[2u * to + 1u];
            z[2u * to] = re;
            z[2u * to + 1u] = im;
        }
    }
}

/* a, b = (a + b) / 2, (a - b) / 2 for every pair `apart`, from z on: the turn by 1. */
static void halve_pairs(int32_t *z, const int32_t *end, uint32_t apart)
{
    for (int32_t *a = z; a < end; a += 2u * apart) {
        int32_t *b = a + apart;
        const int32_t re = a[0] + 1, im = a[1] + 1, t_re = b[0], t_im = b[1];

        a[0] = (re + t_re) >> 1;
        a[1] = (im + t_im) >> 1;
        b[0] = (re - t_re) >> 1;
        b[1] = (im - t_im) >> 1;
    }
}

/* The same with b turned by w first. */
static void turn_pairs(int32_t *z, const int32_t *end, uint32_t apart, int32_t w_re, int32_t w_im)
{
    for (int32_t *a = z; a < end; a += 2u * apart) {
        int32_t *b = a + apart;
        const int32_t b_re = b[0], b_im = b[1];
        const int32_t t_re = (b_re * w_re - b_im * w_im + TWIDDLE_HALF) >> TWIDDLE_SHIFT;
        const int32_t t_im = (b_re * w_im + b_im * w_re + TWIDDLE_HALF) >> TWIDDLE_SHIFT;
        const int32_t re = a[0] + 1, im = a[1] + 1;

        a[0] = (re + t_re) >> 1;
        a[1] = (im + t_im) >> 1;
        b[0] = (re - t_re) >> 1;
        b[1] = (im - t_im) >> 1;
    }
}

static uint32_t power(int32_t re, int32_t im)
{
    const uint32_t a = (uint32_t)(re < 0 ? -re : re), b = (uint32_t)(im < 0 ? -im : im);

    return a * a + b * b;
}

/* The spectra of even and odd samples, sum and difference of bins k and M - k, to the whole one's powers. */
static void split(int32_t *z, uint32_t count, const int16_t *twiddle_q14)
{
    const int32_t re = z[0], im = z[1];

    z[0] = (int32_t)power((re + im + 1) >> 1, 0);
    z[1] = (int32_t)power((re - im + 1) >> 1, 0);
    for (uint32_t k = 1; k <= count / 2u; k++) {
        int32_t *low = z + 2u * k, *high = z + 2u * (count - k);
        const int32_t w_re = twiddle_q14[2u * k], w_im = twiddle_q14[2u * k + 1u];
        const int32_t a_re = low[0] + high[0] + 2, a_im = low[1] - high[1];
        const int32_t b_re = low[1] + high[1], b_im = high[0] - low[0];
        const int32_t t_re = (b_re * w_re - b_im * w_im + TWIDDLE_HALF) >> TWIDDLE_SHIFT;
        const int32_t t_im = (b_re * w_im + b_im * w_re + TWIDDLE_HALF) >> TWIDDLE_SHIFT;

        low[0] = (int32_t)power((a_re + t_re) >> 2, (a_im + t_im + 2) >> 2);
        high[0] = (int32_t)power((a_re - t_re) >> 2, (t_im - a_im + 2) >> 2);
    }
}

void fft_real_power(int32_t *z, uint32_t log2_points, const int16_t *twiddle_q14)
{
    const uint32_t count = 1u << (log2_points - 1u); /* complex values */
    const int32_t *end = z + 2u * count;

    reverse(z, count);
    for (uint32_t half = 1, stride = 2u * count; half < count; half *= 2u, stride /= 2u) {
        const int16_t *w = twiddle_q14 + stride;

        halve_pairs(z, end, 2u * half);
        for (uint32_t k = 1; k < half; k++) {
            turn_pairs(z + 2u * k, end, 2u * half, w[0], w[1]);
            w += stride;
        }
    }
    split(z, count, twiddle_q14);
}
