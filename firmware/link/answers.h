/* answers.h -- the frames that answer the last requests, kept so that they can be sent again.
 *
 * An answer is at most LINK_MAX_REPLY bytes on the line, that to a request with STREAM at most
 * LINK_MAX_STREAM_REPLY. A frame is kept as its length (2 bytes), header, body and CRC: never more
 * than it takes on the line, so the same bound holds here. Kept is the last answer, or the last
 * LINK_WINDOW of requests with STREAM, each in its part of the store.
 */
#ifndef LINK_ANSWERS_H
#define LINK_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "sender.h"

union answers_store {
    uint8_t bytes[LINK_MAX_REPLY];
    int16_t q15[LINK_MAX_REPLY / 2];
};

struct answers_kept {
    uint16_t begin, end; /* in the store */
    uint8_t seq;         /* of the request */
    bool there;
};

struct answers {
    union answers_store store;
    struct answers_kept kept[LINK_WINDOW];
    struct answers_kept *now; /* the answer under way or sent last */
    uint32_t frame;           /* where the frame being written begins: its length field */
    uint32_t room;            /* bytes on the line that are left to the answer */
    bool small;               /* kept are answers to requests with STREAM */
    cobs_sink sink;
};

void answers_init(struct answers *answers, cobs_sink sink);

/* Forget what is kept and begin the answer to request `seq`. */
void answers_begin(struct answers *answers, uint8_t seq);

/* Begin the answer to request `seq`, which has STREAM; those to the requests before it stay. */
void answers_begin_small(struct answers *answers, uint8_t seq);

/* Whether a frame with a body of n bytes still fits into the answer. */
bool answers_fits(const struct answers *answers, uint32_t n);

/* Begin a frame with a body of n bytes. The caller knows that it fits: the SENDER_LINE_BYTES of all
 * frames of an answer add up to at most LINK_MAX_REPLY, or LINK_MAX_STREAM_REPLY. Returns the body,
 * at an even address. */
uint8_t *answers_frame(struct answers *answers, uint8_t kind, uint32_t n);

/* Send and keep the frame begun. The `last` one completes the answer. */
void answers_send(struct answers *answers, bool last);

/* Send the complete answer again, marked as a replay. */
void answers_replay(struct answers *answers);

/* The same for request `seq`. Returns false if its answer is not kept. */
bool answers_replay_of(struct answers *answers, uint8_t seq);

#endif
