#include "sender.h"

#include "crc32.h"

void sender_put_header(uint8_t *frame, uint8_t kind, uint8_t seq, uint8_t flags)
{
    link_header_put_kind(frame, kind);
    link_header_put_seq(frame, seq);
    link_header_put_credit(frame, LINK_WINDOW);
    link_header_put_flags(frame, flags);
}

void sender_send(uint8_t *frame, size_t n, cobs_sink sink)
{
    static const uint8_t opening[2] = {LINK_DELIMITER, LINK_FRAME_TAG};

    link_put_u32(frame + n, crc32_update(0, frame, n));
    sink(opening, sizeof opening);
    cobs_encode(frame, n + LINK_CRC_BYTES, sink);
    sink(opening, 1);
}
