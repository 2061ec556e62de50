#include "answers.h"

#define LENGTH_BYTES 2u

void answers_init(struct answers *answers, cobs_sink sink)
{
    answers->sink = sink;
    answers_begin(answers, 0);
    answers->now->there = false;
}

static void begin(struct answers *answers, uint32_t part, uint8_t seq, uint32_t room)
{
    struct answers_kept *now = &answers->kept[part];

    now->begin = now->end = (uint16_t)(part * LINK_MAX_STREAM_REPLY);
    now->seq = seq;
    now->there = true;
    answers->now = now;
    answers->room = room;
}

static void forget(struct answers *answers)
{
    for (uint32_t part = 0; part < LINK_WINDOW; part++) {
        answers->kept[part].there = false;
    }
}

void answers_begin(struct answers *answers, uint8_t seq)
{
    forget(answers);
    answers->small = false;
    begin(answers, 0, seq, LINK_MAX_REPLY);
}

void answers_begin_small(struct answers *answers, uint8_t seq)
{
    if (!answers->small) {
        forget(answers);
    }
    answers->small = true;
    begin(answers, seq % LINK_WINDOW, seq, LINK_MAX_STREAM_REPLY);
}

bool answers_fits(const struct answers *answers, uint32_t n)
{
    return n <= LINK_MAX_BODY && SENDER_LINE_BYTES(n) <= answers->room;
}

uint8_t *answers_frame(struct answers *answers, uint8_t kind, uint32_t n)
{
    struct answers_kept *now = answers->now;
    uint8_t *at = answers->store.bytes + now->end;

    link_put_u16(at, (uint16_t)(LINK_HEADER_BYTES + n));
    sender_put_header(at + LENGTH_BYTES, kind, now->seq, 0);
    answers->frame = now->end;
    answers->room -= SENDER_LINE_BYTES(n);
    now->end = (uint16_t)((now->end + LENGTH_BYTES + LINK_HEADER_BYTES + n + LINK_CRC_BYTES + 1u) & ~1u);
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

static void replay(struct answers *answers, const struct answers_kept *kept)
{
    for (uint32_t at = kept->begin; at < kept->end;) {
        at = send_at(answers, at, LINK_REPLAY);
    }
}

void answers_replay(struct answers *answers)
{
    replay(answers, answers->now);
}

bool answers_replay_of(struct answers *answers, uint8_t seq)
{
    for (uint32_t part = 0; part < LINK_WINDOW; part++) {
        const struct answers_kept *kept = &answers->kept[part];

        if (kept->there && kept->seq == seq) {
            replay(answers, kept);
            return true;
        }
    }
    return false;
}
