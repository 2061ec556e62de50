/* audio.h -- sound in, decisions out: the requests LISTEN and PCM.
 *
 * Every frame of samples becomes a feature vector; every `hop` vectors the network decides about
 * the last `frames` of them. Without CARRY each window is run from zeroed states (the vectors are
 * kept in a ring); with it the states run on, and the readout sums the last `frames / hop` hops.
 * Twin  hil/quant/listen.py, equal bit for bit.
 */
#ifndef APP_AUDIO_H
#define APP_AUDIO_H

#include <stdbool.h>
#include <stdint.h>

struct session;

struct audio {
    bool listening;
    bool carry, detail;
    uint16_t frames, hop;  /* feature vectors of a window, and between decisions */
    uint8_t smooth_log2, hold;
    uint32_t margin_q15, quiet;

    uint32_t samples;      /* taken since LISTEN */
    uint16_t filled;       /* samples of the frame under way */
    uint16_t skip;         /* samples to leave out: a hop longer than the window */
    uint32_t vectors;      /* made since LISTEN */
    uint32_t decisions;
    uint32_t clipped;
    uint32_t busy_us;      /* in front end and network since LISTEN, modulo 2^32 */
    uint8_t held;          /* decisions still without a trigger */

#if defined(MICROPHONE_KIND)
    bool capturing;           /* the samples are the device's own: capture.c sends what comes of them */
    uint32_t vectors_before;  /* made before the last gap; `vectors` counts from there */
    uint32_t features_cycles; /* busy_us, which are cycles then, in front end alone */
#endif
};

void audio_listen(struct session *session);
void audio_pcm(struct session *session);

#if defined(MICROPHONE_KIND)
/* Begin to listen to the device's own samples. Returns false if the request has been refused. */
bool audio_capture(struct session *session, const struct audio *asked);

/* Samples up to the end of the frame under way. */
uint32_t audio_wanted(const struct audio *audio);

/* The next samples, at most audio_wanted. */
void audio_take(struct session *session, const int16_t *x, uint32_t n);

/* Samples are missing: frames and windows begin anew. */
void audio_gap(struct audio *audio);
#endif

#endif
