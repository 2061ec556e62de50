#include "requests.h"

#include "audio.h"
#include "capture.h"
#include "model.h"
#include "port/port.h"
#include "run.h"

/* A body of variable length has at least so many bytes. */
struct request {
    void (*act)(struct session *session);
    uint8_t bytes;
    bool longer;
    bool streams; /* may have STREAM: its answer is small */
};

static uint8_t *body_of(struct session *session)
{
    return receiver_body(&session->receiver);
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

static void put_identity(uint8_t *body)
{
    struct port_identity identity;

    port_identify(&identity);
    link_is_hello_put_clock_hz(body, identity.clock_hz);
    link_is_hello_put_baud(body, identity.baud);
    link_is_hello_put_device_id(body, identity.device_id);
    link_is_hello_put_nvm_ctrlb(body, identity.nvm_ctrlb);
    link_is_hello_put_reset_cause(body, identity.reset_cause);
    for (uint32_t i = 0; i < 4; i++) {
        link_put_u32(body + LINK_IS_HELLO_SERIAL_AT + 4u * i, identity.serial[i]);
    }
}

static void act_hello(struct session *session)
{
    session->begun = false;
    session->done = 0;
    session->audio.listening = false;
    uint8_t *body = answers_frame(&session->answers, LINK_IS_HELLO, LINK_IS_HELLO_BYTES);
    link_is_hello_put_protocol(body, LINK_PROTOCOL_VERSION);
    link_is_hello_put_window(body, LINK_WINDOW);
    link_is_hello_put_max_steps(body, run_max_steps(LINK_DETAIL_STATES));
    link_is_hello_put_inputs(body, model_inputs);
    link_is_hello_put_states(body, model_states);
    link_is_hello_put_outputs(body, model_outputs);
    link_is_hello_put_layers(body, model_layers);
    link_is_hello_put_kernels(body, model_kernels);
    put_identity(body);
    link_is_hello_put_overhead(body, port_window_overhead());
    copy(body + LINK_IS_HELLO_BUILD_ID_AT, model_build_id, sizeof model_build_id);
    copy(body + LINK_IS_HELLO_ARTEFACT_HASH_AT, model_artefact_hash, sizeof model_artefact_hash);
    answers_send(&session->answers, true);
}

static void act_status(struct session *session)
{
    uint8_t *body = answers_frame(&session->answers, LINK_IS_STATUS, LINK_IS_STATUS_BYTES);

    link_is_status_put_frames(body, session->receiver.frames);
    link_is_status_put_bad_frames(body, session->receiver.bad_frames);
    link_is_status_put_overruns(body, port_overruns());
    link_is_status_put_replays(body, session->replays);
    link_is_status_put_stack_bytes(body, port_stack_used());
    link_is_status_put_stack_size(body, port_stack_size());
    link_is_status_put_uptime_ms(body, port_uptime_ms());
    answers_send(&session->answers, true);
}

static void act_echo(struct session *session)
{
    const uint32_t n = receiver_body_bytes(&session->receiver);

    if (!answers_fits(&session->answers, n)) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, LINK_MAX_STREAM_REPLY);
        return;
    }
    copy(answers_frame(&session->answers, LINK_ECHOED, n), body_of(session), n);
    answers_send(&session->answers, true);
}

static void act_baud(struct session *session)
{
    const uint32_t baud = link_baud_get_baud(body_of(session));

    if (!port_baud_possible(baud)) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, baud);
        return;
    }
    session_acknowledge(session);
    port_drain();
    port_set_baud(baud);
}

static void act_reset(struct session *session)
{
    session_acknowledge(session);
    port_drain();
    port_reset();
}

static void act_crash(struct session *session)
{
    const uint8_t how = link_crash_get_how(body_of(session));

    if (how < LINK_CRASH_HARD_FAULT || how > LINK_CRASH_LOCKUP) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, how);
        return;
    }
    session_acknowledge(session);
    port_drain();
    port_crash(how);
}

/* Indexed by kind; the kinds of requests are consecutive. */
static const struct request requests[] = {
    [LINK_HELLO] = {act_hello, LINK_HELLO_BYTES, false, false},
    [LINK_BEGIN] = {run_begin, LINK_BEGIN_BYTES, false, false},
    [LINK_STEPS] = {run_steps, LINK_STEPS_BYTES, true, false},
    [LINK_FINISH] = {run_finish, LINK_FINISH_BYTES, false, false},
    [LINK_INSPECT] = {run_inspect, LINK_INSPECT_BYTES, false, false},
    [LINK_BENCH] = {run_bench, LINK_BENCH_BYTES, false, false},
    [LINK_STATUS] = {act_status, LINK_STATUS_BYTES, false, false},
    [LINK_ECHO] = {act_echo, LINK_ECHO_BYTES, true, true},
    [LINK_BAUD] = {act_baud, LINK_BAUD_BYTES, false, false},
    [LINK_RESET] = {act_reset, LINK_RESET_BYTES, false, false},
    [LINK_CRASH] = {act_crash, LINK_CRASH_BYTES, false, false},
    [LINK_LISTEN] = {audio_listen, LINK_LISTEN_BYTES, false, false},
    [LINK_PCM] = {audio_pcm, LINK_PCM_BYTES, true, true},
#if defined(MICROPHONE_KIND)
    [LINK_CAPTURE] = {capture_start, LINK_CAPTURE_BYTES, false, false},
    [LINK_RESEND] = {capture_resend, LINK_RESEND_BYTES, false, false},
    [LINK_STOP] = {capture_stop, LINK_STOP_BYTES, false, false},
#endif
};

#if defined(MICROPHONE_KIND)
/* Some requests would take the states, or the time, of a capture; some end it. */
static bool disturbs(struct session *session, uint8_t kind)
{
    if (kind == LINK_HELLO || kind == LINK_BEGIN || kind == LINK_LISTEN || kind == LINK_CAPTURE) {
        capture_end(session);
    }
    return session->capture.running && (kind == LINK_BENCH || kind == LINK_BAUD);
}
#endif

void requests_act(struct session *session)
{
    const uint8_t kind = link_header_get_kind(session->receiver.frame.bytes);
    const uint32_t n = receiver_body_bytes(&session->receiver);

    if (kind >= sizeof requests / sizeof requests[0] || requests[kind].act == NULL) {
        session_refuse(session, LINK_ERROR_UNKNOWN_KIND, kind);
        return;
    }
    const struct request *request = &requests[kind];
    if (n < request->bytes || (n > request->bytes && !request->longer)) {
        session_refuse(session, LINK_ERROR_BAD_LENGTH, request->bytes);
        return;
    }
    if (!request->streams && (link_header_get_flags(session->receiver.frame.bytes) & LINK_STREAM) != 0) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, LINK_STREAM);
        return;
    }
#if defined(MICROPHONE_KIND)
    if (disturbs(session, kind)) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
        return;
    }
#endif
    request->act(session);
}
