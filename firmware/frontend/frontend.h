/* frontend.h -- one frame of samples to one feature vector (hil/features/spectrum.py has the definition).
 *
 * Shapes  W samples of a frame, N FFT points (the power of two not below W), F features.
 * Twin    extract of hil.features, equal bit for bit; the same source is compiled for host and chip.
 */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include <stdint.h>

/* Segments of the mel bands: bins edge[s] to edge[s + 1] - 1 rise into band s and fall out of band s - 1. */
struct frontend_mel {
    const int16_t *window_q15;    /* [W] Hann */
    const uint16_t *edge;         /* [F + 2] */
    const uint16_t *rise_q15;     /* [edge[F + 1] - edge[0]] weight in the rising band, 0 to 2^15 */
};

struct frontend {
    const struct frontend_mel *mel; /* NULL: magnitudes of bins 0 to F - 1, no window function */
    const int16_t *twiddle_q14;     /* [N / 2][2] */
    const int16_t *offset;          /* [F] */
    int32_t *mean_q18;              /* [F] running means, or NULL: the offset stays (frontend_reset) */
    uint16_t window;                /* W */
    uint16_t hop;
    uint16_t bands;                 /* F */
    uint8_t log2_points;
    uint8_t gain_shift;
    uint8_t mean_shift;             /* 1 to 12: the means' time constant is 2^mean_shift frames */
};

/* Begin a clip or a stream: the running means, if there are any, are the offsets. */
void frontend_reset(const struct frontend *frontend);

/* samples [W], work [N] scratch, x [F] Q15; moves the running means. Returns how many values had to be clipped.
 * Cost  docs/frontend.md. */
uint32_t frontend_frame(const struct frontend *frontend, const int16_t *samples, int32_t *work, int16_t *x);

#endif
