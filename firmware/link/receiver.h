/* receiver.h -- bytes of the line to requests and lines of text (docs/link.md, "Receiver").
 *
 * Decodes as the bytes come, so a frame is held once. No hardware.
 */
#ifndef LINK_RECEIVER_H
#define LINK_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "cobs.h"
#include "link_schema.h"

#define RECEIVER_FRAME_BYTES (LINK_HEADER_BYTES + LINK_MAX_BODY + LINK_CRC_BYTES)

/* Longest text command, as in the MLPerf Tiny protocol; further characters overwrite the last. */
#define RECEIVER_TEXT_BYTES 80u

/* A body as bytes or, at the offsets that are multiples of the size, as words. */
union receiver_frame {
    uint8_t bytes[RECEIVER_FRAME_BYTES];
    int16_t q15[RECEIVER_FRAME_BYTES / 2];
    int32_t words[RECEIVER_FRAME_BYTES / 4];
};

enum receiver_event {
    RECEIVER_NOTHING,
    RECEIVER_FRAME, /* frame holds header and body, valid until the next byte is pushed */
    RECEIVER_TEXT,  /* text holds a command, without its '%' */
};

enum receiver_state { RECEIVER_OUTSIDE, RECEIVER_INSIDE, RECEIVER_SKIPPING };

struct receiver {
    enum receiver_state state;
    struct cobs_decoder decoder;
    bool too_long;
    uint32_t length;               /* decoded bytes, CRC included */
    union receiver_frame frame;
    char text[RECEIVER_TEXT_BYTES + 1u];
    uint32_t text_length;
    uint32_t frames;               /* good frames so far */
    uint32_t bad_frames;           /* wrong code, length or CRC */
};

void receiver_init(struct receiver *receiver);

/* Take one byte of the line. */
enum receiver_event receiver_push(struct receiver *receiver, uint8_t byte);

/* After RECEIVER_FRAME: the body and its length. */
uint8_t *receiver_body(struct receiver *receiver);
uint32_t receiver_body_bytes(const struct receiver *receiver);

#endif
