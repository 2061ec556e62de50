/* capture.h -- the device listens to its own microphone and sends what it hears (docs/link.md, "Capture").
 *
 * Samples are read from the port's ring twice: for features and decisions, and behind that for sending. Neither
 * waits for the other, and sampling waits for none; what a reader is too late for is counted.
 */
#ifndef APP_CAPTURE_H
#define APP_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

#if defined(MICROPHONE_KIND)

#include "audio.h"

struct session;

struct capture {
    bool running, meta_due;
    uint8_t content, trigger;
    uint16_t before;
    uint32_t after, sequence;
    uint32_t number;              /* of the next frame that is not asked for */
    struct port_microphone microphone;
    uint16_t supply_mv;
    uint32_t start_us;            /* device time of sample 0, modulo 2^32 */

    uint32_t heard;               /* samples that features have been made of, or that were given up for it */
    uint32_t last;                /* index of the newest sample of the frame under way */
    uint32_t sent;                /* samples sent, or given up, or not wanted */
    uint32_t until;               /* with DETECTIONS: behind the last sample that is wanted */
    uint32_t lost, unsent;
    uint16_t segment;

    uint32_t next_meta;           /* sample at which it is due */
    uint32_t cycles, asleep, sampling; /* as port_cycles and so on, at the last count */
    uint32_t asleep_permille;     /* up to the last META */
    uint64_t all_cycles, all_asleep, all_sampling, all_features, all_network;
};

void capture_start(struct session *session);  /* requests */
void capture_resend(struct session *session);
void capture_stop(struct session *session);

/* End it without a word. */
void capture_end(struct session *session);

/* Do what there is to do, a little at a time. Returns false if that is nothing. */
bool capture_work(struct session *session);

/* Called by audio.c while a capture runs. */
void capture_vector(struct session *session, const int16_t *x);
void capture_verdict(struct session *session, uint8_t label, bool triggered, uint32_t margin_q15);

#endif
#endif
