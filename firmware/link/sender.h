/* sender.h -- frames to bytes of the line. No hardware. */
#ifndef LINK_SENDER_H
#define LINK_SENDER_H

#include <stddef.h>
#include <stdint.h>

#include "cobs.h"
#include "link_schema.h"

/* Bytes that a frame with a body of n bytes can take on the line. */
#define SENDER_LINE_BYTES(n) (COBS_MAX((n) + LINK_HEADER_BYTES + LINK_CRC_BYTES) + 3u)

/* Write a frame's header. Credit is LINK_WINDOW: so many requests with STREAM, one without. */
void sender_put_header(uint8_t *frame, uint8_t kind, uint8_t seq, uint8_t flags);

/* Send n bytes of header and body; LINK_CRC_BYTES after them must be there to be overwritten. */
void sender_send(uint8_t *frame, size_t n, cobs_sink sink);

#endif
