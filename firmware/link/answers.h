/* answers.h -- the frames that answer the last request, kept so that they can be sent again.
 *
 * An answer is at most LINK_MAX_REPLY bytes on the line. A frame is kept as its length (2 bytes),
 * header, body and CRC: never more than it takes on the line, so the same bound holds here.
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

struct answers {
    union answers_store store;
    uint32_t used;      /* bytes of the store that hold frames */
    uint32_t frame;     /* where the frame being written begins: its length field */
    uint8_t seq;        /* of the request */
    cobs_sink sink;
};

void answers_init(struct answers *answers, cobs_sink sink);

/* Forget what is kept and begin the answer to request `seq`. */
void answers_begin(struct answers *answers, uint8_t seq);

/* Begin a frame with a body of n bytes. The caller knows that it fits: the SENDER_LINE_BYTES of all
 * frames of an answer add up to at most LINK_MAX_REPLY. Returns the body, at an even address. */
uint8_t *answers_frame(struct answers *answers, uint8_t kind, uint32_t n);

/* Send and keep the frame begun. The `last` one completes the answer. */
void answers_send(struct answers *answers, bool last);

/* Send the complete answer again, marked as a replay. */
void answers_replay(struct answers *answers);

#endif
