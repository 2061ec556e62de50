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
};

void audio_listen(struct session *session);
void audio_pcm(struct session *session);

#endif
