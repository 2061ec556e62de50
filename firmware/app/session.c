#include "session.h"

#include "port/port.h"
#include "requests.h"

#define ERROR_FRAME_BYTES (LINK_HEADER_BYTES + LINK_ERROR_BYTES + LINK_CRC_BYTES)
#define BOOT_FRAME_BYTES (LINK_HEADER_BYTES + LINK_BOOT_BYTES + LINK_CRC_BYTES)

void session_init(struct session *session)
{
    receiver_init(&session->receiver);
    answers_init(&session->answers, port_write);
    session->greeted = false;
    session->next_seq = 0;
    session->replays = 0;
    session->begun = false;
    session->done = 0;
    session->audio.listening = false;
#if defined(MICROPHONE_KIND)
    session->capture.running = false;
#endif
    session->mlperf.zero_us = 0;
    mlperf_forget(session);
}

void session_boot(void)
{
    uint8_t frame[BOOT_FRAME_BYTES];
    struct port_identity identity;

    port_identify(&identity);
    sender_put_header(frame, LINK_BOOT, 0, LINK_UNSOLICITED | LINK_LAST);
    link_boot_put_reset_cause(frame + LINK_HEADER_BYTES, identity.reset_cause);
    sender_send(frame, LINK_HEADER_BYTES + LINK_BOOT_BYTES, port_write);
}

void session_acknowledge(struct session *session)
{
    answers_frame(&session->answers, LINK_ACK, LINK_ACK_BYTES);
    answers_send(&session->answers, true);
}

static void put_error(uint8_t *body, uint8_t code, uint8_t request, uint32_t detail)
{
    link_error_put_code(body, code);
    link_error_put_request(body, request);
    link_error_put_reserved(body, 0);
    link_error_put_detail(body, detail);
}

void session_refuse(struct session *session, uint8_t code, uint32_t detail)
{
    const uint8_t request = link_header_get_kind(session->receiver.frame.bytes);

    put_error(answers_frame(&session->answers, LINK_ERROR, LINK_ERROR_BYTES), code, request, detail);
    answers_send(&session->answers, true);
}

/* Refuse a request that is out of order without giving up the answers kept. */
static void refuse_order(const struct session *session, bool stream)
{
    const uint8_t *request = session->receiver.frame.bytes;
    const uint8_t code = stream ? LINK_ERROR_OUT_OF_ORDER : LINK_ERROR_BAD_STATE;
    uint8_t frame[ERROR_FRAME_BYTES];

    sender_put_header(frame, LINK_ERROR, link_header_get_seq(request), LINK_LAST);
    put_error(frame + LINK_HEADER_BYTES, code, link_header_get_kind(request), stream ? session->next_seq : session->done);
    sender_send(frame, LINK_HEADER_BYTES + LINK_ERROR_BYTES, port_write);
}

static void take_request(struct session *session)
{
    const uint8_t *request = session->receiver.frame.bytes;
    const uint8_t seq = link_header_get_seq(request);
    const bool hello = link_header_get_kind(request) == LINK_HELLO;
    const bool stream = (link_header_get_flags(request) & LINK_STREAM) != 0;

    if (!hello && session->greeted && answers_replay_of(&session->answers, seq)) {
        session->replays++;
        return;
    }
    if (!hello && (!session->greeted || seq != session->next_seq)) {
        refuse_order(session, stream);
        return;
    }
    session->greeted = true;
    session->next_seq = (uint8_t)(seq + 1u);
    if (stream) {
        answers_begin_small(&session->answers, seq);
    } else {
        answers_begin(&session->answers, seq);
    }
    requests_act(session);
}

void session_take(struct session *session, uint8_t byte)
{
    switch (receiver_push(&session->receiver, byte)) {
    case RECEIVER_FRAME:
        take_request(session);
        break;
    case RECEIVER_TEXT:
#if defined(MICROPHONE_KIND)
        if (session->capture.running) {
            break; /* lines of text would come between its frames */
        }
#endif
        mlperf_command(session, session->receiver.text);
        break;
    default:
        break;
    }
}
