#include "answers.h"

#define LENGTH_BYTES 2u

void answers_init(struct answers *answers, cobs_sink sink)
{
    answers->sink = sink;
    answers_begin(answers, 0);
}

void answers_begin(struct answers *answers, uint8_t seq)
{
    answers->used = 0;
    answers->seq = seq;
}

uint8_t *answers_frame(struct answers *answers, uint8_t kind, uint32_t n)
{
    uint8_t *at = answers->store.bytes + answers->used;

    link_put_u16(at, (uint16_t)(LINK_HEADER_BYTES + n));
    sender_put_header(at + LENGTH_BYTES, kind, answers->seq, 0);
    answers->frame = answers->used;
    answers->used += (LENGTH_BYTES + LINK_HEADER_BYTES + n + LINK_CRC_BYTES + 1u) & ~1u;
    return at + LENGTH_BYTES + LINK_HEADER_BYTES;
}

static uint32_t send_at(struct answers *answers, uint32_t at, uint8_t more_flags)
{
    uint8_t *frame = answers->store.bytes + at + LENGTH_BYTES;
    const uint32_t n = link_get_u16(frame - LENGTH_BYTES);

    link_header_put_flags(frame, (uint8_t)(link_header_get_flags(frame) | more_flags));
    sender_send(frame, n, answers->sink);
    return (at + LENGTH_BYTES + n + LINK_CRC_BYTES + 1u) & ~1u;
}

void answers_send(struct answers *answers, bool last)
{
    send_at(answers, answers->frame, last ? LINK_LAST : 0);
}

void answers_replay(struct answers *answers)
{
    for (uint32_t at = 0; at < answers->used;) {
        at = send_at(answers, at, LINK_REPLAY);
    }
}
