#include "capture.h"

#if defined(MICROPHONE_KIND)

#include "frontend/offset.h"
#include "link/sender.h"
#include "model.h"
#include "session.h"

#define MAX_SAMPLES 128u /* of a SOUND frame */
#define FRAME_BYTES (LINK_HEADER_BYTES + LINK_SOUND_BYTES + 2u * MAX_SAMPLES + LINK_CRC_BYTES)
#define BODY_BYTES (LINK_SOUND_BYTES + 2u * MAX_SAMPLES)
#define RESENT UINT32_MAX
#define US_PER_S 1000000u
#define PERMILLE 1000u

/* What the ring still holds for sure: one block is being written to, another may be before a copy ends. */
#define KEPT (MICROPHONE_RING - 2u * PORT_MICROPHONE_BLOCK)

/* Room on the line that sound leaves to a decision and a vector. */
#define RESERVED (2u * SENDER_LINE_BYTES(LINK_VERDICT_BYTES + 4u * 32u))

static uint8_t frame[FRAME_BYTES];

static uint8_t *body_of_frame(void)
{
    return frame + LINK_HEADER_BYTES;
}

/* Send what body_of_frame holds, unless the line has no room for it; either way it is counted. */
static bool send(struct capture *capture, uint8_t kind, uint32_t bytes)
{
    capture->number++;
    if (port_write_room() < SENDER_LINE_BYTES(bytes)) {
        return false;
    }
    sender_put_header(frame, kind, 0, LINK_UNSOLICITED | LINK_LAST);
    sender_send(frame, LINK_HEADER_BYTES + bytes, port_write);
    return true;
}

/* Device time of a sample, modulo 2^32. */
static uint32_t time_us(const struct capture *capture, uint32_t sample)
{
    return capture->start_us + (uint32_t)((uint64_t)sample * 1000u * US_PER_S / capture->microphone.rate_millihertz);
}

static uint32_t permille(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (uint32_t)(part * PERMILLE / whole) : 0u;
}

/* Add up what has been spent since the last time: at least once in 2^32 cycles. */
static void count(struct capture *capture)
{
    const uint32_t cycles = port_cycles(), asleep = port_cycles_asleep(), sampling = port_cycles_sampling();

    capture->asleep_permille = permille(asleep - capture->asleep, cycles - capture->cycles);
    capture->all_cycles += cycles - capture->cycles;
    capture->all_asleep += asleep - capture->asleep;
    capture->all_sampling += sampling - capture->sampling;
    capture->cycles = cycles;
    capture->asleep = asleep;
    capture->sampling = sampling;
}

static void count_work(struct capture *capture, struct audio *audio)
{
    capture->all_features += audio->features_cycles;
    capture->all_network += audio->busy_us - audio->features_cycles;
    audio->busy_us = audio->features_cycles = 0;
}

static void put_identity(uint8_t *body)
{
    struct port_identity identity;

    port_identify(&identity);
    link_meta_put_clock_hz(body, identity.clock_hz);
    for (uint32_t i = 0; i < 4u; i++) {
        link_put_u32(body + LINK_META_SERIAL_AT + 4u * i, identity.serial[i]);
    }
    for (uint32_t i = 0; i < sizeof model_build_id; i++) {
        body[LINK_META_BUILD_ID_AT + i] = model_build_id[i];
    }
    for (uint32_t i = 0; i < sizeof model_artefact_hash; i++) {
        body[LINK_META_ARTEFACT_HASH_AT + i] = model_artefact_hash[i];
    }
}

static void put_listening(uint8_t *body, const struct audio *audio)
{
    link_meta_put_window(body, model_audio != NULL ? model_audio->frontend->window : 0);
    link_meta_put_window_hop(body, model_audio != NULL ? model_audio->frontend->hop : 0);
    link_meta_put_frames(body, audio->frames);
    link_meta_put_hop(body, audio->hop);
    link_meta_put_flags(body, audio->carry ? LINK_LISTEN_CARRY : 0);
    link_meta_put_smooth_log2(body, audio->smooth_log2);
    link_meta_put_hold(body, audio->hold);
    link_meta_put_reserved(body, 0);
    link_meta_put_margin(body, audio->margin_q15);
    link_meta_put_quiet(body, audio->quiet);
}

static void send_meta(struct session *session)
{
    struct capture *capture = &session->capture;
    uint8_t *body = body_of_frame();
    uint32_t low, high;

#if MICROPHONE_KIND == 2 /* LINK_MICROPHONE_I2S: the converter is free */
    capture->supply_mv = port_supply_mv();
#endif
    count(capture);
    count_work(capture, &session->audio);
    port_uptime(&low, &high);
    link_meta_put_number(body, capture->number);
    link_meta_put_sequence(body, capture->sequence);
    link_meta_put_time_us_low(body, low);
    link_meta_put_time_us_high(body, high);
    link_meta_put_samples(body, port_microphone_samples());
    link_meta_put_lost(body, capture->lost);
    link_meta_put_unsent(body, capture->unsent);
    link_meta_put_rate(body, MICROPHONE_RATE);
    link_meta_put_rate_millihertz(body, capture->microphone.rate_millihertz);
    link_meta_put_microphone(body, MICROPHONE_KIND);
    link_meta_put_oversampling(body, 1u << MICROPHONE_OVERSAMPLE_LOG2);
    link_meta_put_content(body, capture->content);
    link_meta_put_trigger(body, capture->trigger);
    link_meta_put_supply_mv(body, capture->supply_mv);
    link_meta_put_asleep_permille(body, (uint16_t)capture->asleep_permille);
    put_listening(body, &session->audio);
    put_identity(body);
    send(capture, LINK_META, LINK_META_BYTES);
}

static void copy_samples(uint8_t *to, uint32_t from, uint32_t n)
{
    const int16_t *ring = port_microphone_ring();

    for (uint32_t i = 0; i < n; i++) {
        link_put_i16(to + 2u * i, ring[(from + i) % MICROPHONE_RING]);
    }
}

static void put_sound(const struct capture *capture, uint8_t *body, uint32_t number, uint32_t first, uint32_t n)
{
    link_sound_put_number(body, number);
    link_sound_put_time_us(body, time_us(capture, first));
    link_sound_put_first(body, first);
    link_sound_put_lost(body, capture->lost);
    link_sound_put_unsent(body, capture->unsent);
    link_sound_put_segment(body, capture->segment);
    link_sound_put_supply_mv(body, capture->supply_mv);
    copy_samples(body + LINK_SOUND_X_AT, first, n);
}

static bool send_sound(struct capture *capture, uint32_t n)
{
    const uint32_t bytes = LINK_SOUND_BYTES + 2u * n;

    if (port_write_room() < SENDER_LINE_BYTES(bytes) + RESERVED) {
        return false;
    }
    put_sound(capture, body_of_frame(), capture->number, capture->sent, n);
    send(capture, LINK_SOUND, bytes);
    capture->sent += n;
    return true;
}

/* Samples [heard, to) will not be heard: nor will they be sent, nor what is left before them. */
static void lose(struct session *session, uint32_t to)
{
    struct capture *capture = &session->capture;

    const uint32_t wanted = capture->trigger == LINK_TRIGGER_ALL || capture->heard < capture->until ? capture->heard : capture->until;
    if ((capture->content & LINK_CONTENT_SOUND) != 0 && capture->sent < wanted) {
        capture->unsent += wanted - capture->sent;
    }
    capture->lost += to - capture->heard;
    capture->sent = capture->heard = to;
    if (session->audio.frames > 0) {
        audio_gap(&session->audio);
    }
}

/* Make features of the newest samples, up to the end of a frame at most. */
static bool hear(struct session *session)
{
    struct capture *capture = &session->capture;
    const uint32_t newest = port_microphone_samples(), lost = port_microphone_lost();

    if (lost > capture->heard) {
        lose(session, lost);
    } else if (newest - capture->heard > KEPT) {
        lose(session, newest - MICROPHONE_RING / 4u);
    }
    uint32_t n = newest - capture->heard;
    if (n == 0) {
        return false;
    }
    if (session->audio.frames > 0) {
        const uint32_t wanted = audio_wanted(&session->audio), place = capture->heard % MICROPHONE_RING;

        n = n < wanted ? n : wanted;
        n = n < MICROPHONE_RING - place ? n : MICROPHONE_RING - place;
        capture->last = capture->heard + n - 1u;
        audio_take(session, port_microphone_ring() + place, n);
    }
    capture->heard += n;
    return true;
}

/* The line was too slow: go on with what is newer. */
static void skip_unsent(struct capture *capture)
{
    if (port_microphone_samples() - capture->sent <= KEPT) {
        return;
    }
    const uint32_t newest = port_microphone_samples() - MICROPHONE_RING / 2u;
    const uint32_t to = newest < capture->heard ? newest : capture->heard;

    capture->unsent += to - capture->sent;
    capture->sent = to;
}

/* Send sound that has been heard. */
static bool speak(struct capture *capture)
{
    const bool all = capture->trigger == LINK_TRIGGER_ALL;

    if ((capture->content & LINK_CONTENT_SOUND) == 0) {
        capture->sent = capture->heard;
        return false;
    }
    if (!all && capture->sent >= capture->until) {
        return false;
    }
    skip_unsent(capture);
    const uint32_t end = all || capture->heard < capture->until ? capture->heard : capture->until;
    const uint32_t n = end - capture->sent;
    const bool last = !all && end == capture->until;
    if (n >= MAX_SAMPLES) {
        return send_sound(capture, MAX_SAMPLES);
    }
    return n > 0 && last && send_sound(capture, n);
}

bool capture_work(struct session *session)
{
    struct capture *capture = &session->capture;

    if (!capture->running) {
        return false;
    }
    if (port_microphone_samples() >= capture->next_meta
        && port_write_room() >= SENDER_LINE_BYTES(LINK_MAX_STREAM_LINE / 2u)) {
        send_meta(session);
        capture->next_meta += MICROPHONE_RATE;
    }
    const bool heard = hear(session);
    return speak(capture) || heard;
}

void capture_vector(struct session *session, const int16_t *x)
{
    struct capture *capture = &session->capture;
    uint8_t *body = body_of_frame();

    if ((capture->content & LINK_CONTENT_FEATURES) == 0) {
        return;
    }
    link_vector_put_number(body, capture->number);
    link_vector_put_frame(body, session->audio.vectors_before + session->audio.vectors);
    link_vector_put_sample(body, capture->last);
    for (uint32_t i = 0; i < model_inputs; i++) {
        link_put_i16(body + LINK_VECTOR_X_AT + 2u * i, x[i]);
    }
    send(capture, LINK_VECTOR, LINK_VECTOR_BYTES + 2u * model_inputs);
}

/* A detection: what is wanted begins before it, or goes on. */
static void want(struct capture *capture)
{
    const uint32_t end = capture->last + 1u;
    const uint32_t oldest = port_microphone_samples() > KEPT ? port_microphone_samples() - KEPT : 0u;
    uint32_t begin = end > capture->before ? end - capture->before : 0u;

    if (capture->sent >= capture->until) { /* nothing under way */
        begin = begin > oldest ? begin : oldest;
        if (begin > capture->sent || capture->segment == 0) {
            capture->sent = begin;
            capture->segment++;
        }
    }
    capture->until = end + capture->after;
}

void capture_verdict(struct session *session, uint8_t label, bool triggered, uint32_t margin_q15)
{
    struct capture *capture = &session->capture;
    uint8_t *body = body_of_frame();

    if (triggered && capture->trigger == LINK_TRIGGER_DETECTIONS) {
        want(capture);
    }
    if ((capture->content & LINK_CONTENT_DECISIONS) == 0) {
        return;
    }
    link_verdict_put_number(body, capture->number);
    link_verdict_put_index(body, session->audio.decisions);
    link_verdict_put_frame(body, session->audio.vectors_before + session->audio.vectors - 1u);
    link_verdict_put_sample(body, capture->last);
    link_verdict_put_time_us(body, port_uptime_us());
    link_verdict_put_label(body, label);
    link_verdict_put_triggered(body, triggered ? 1 : 0);
    link_verdict_put_reserved(body, 0);
    link_verdict_put_margin(body, margin_q15);
    for (uint32_t i = 0; i < model_outputs; i++) {
        link_put_i32(body + LINK_VERDICT_LOGITS_AT + 4u * i, model_audio->logits_q15[i]);
    }
    send(capture, LINK_VERDICT, LINK_VERDICT_BYTES + 4u * model_outputs);
}

static void answer_capturing(struct session *session)
{
    const struct capture *capture = &session->capture;
    uint8_t *body = answers_frame(&session->answers, LINK_CAPTURING, LINK_CAPTURING_BYTES);

    link_capturing_put_rate(body, MICROPHONE_RATE);
    link_capturing_put_rate_millihertz(body, capture->microphone.rate_millihertz);
    link_capturing_put_microphone(body, MICROPHONE_KIND);
    link_capturing_put_oversampling(body, 1u << MICROPHONE_OVERSAMPLE_LOG2);
    link_capturing_put_block(body, PORT_MICROPHONE_BLOCK);
    link_capturing_put_ring(body, KEPT);
    link_capturing_put_max_samples(body, MAX_SAMPLES);
    link_capturing_put_window(body, model_audio != NULL ? model_audio->frontend->window : 0);
    link_capturing_put_hop(body, model_audio != NULL ? model_audio->frontend->hop : 0);
    link_capturing_put_frames(body, model_audio != NULL ? model_audio->frames : 0);
    link_capturing_put_supply_mv(body, capture->supply_mv);
    answers_send(&session->answers, true);
}

/* Refuse the CAPTURE request under way if it does not fit together. */
static bool refused(struct session *session, const struct capture *asked, bool decides)
{
    const uint8_t known = LINK_CONTENT_SOUND | LINK_CONTENT_FEATURES | LINK_CONTENT_DECISIONS;
    const bool needs_features = asked->trigger != LINK_TRIGGER_ALL || (asked->content & ~LINK_CONTENT_SOUND) != 0;

    if ((asked->content & ~known) != 0 || asked->trigger > LINK_TRIGGER_DETECTIONS) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, asked->content);
    } else if (needs_features && !decides) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, 0);
    } else if (asked->before > KEPT) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, KEPT);
    } else if (LINK_VECTOR_BYTES + 2u * model_inputs > BODY_BYTES || LINK_VERDICT_BYTES + 4u * model_outputs > BODY_BYTES) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, BODY_BYTES);
    } else {
        return false;
    }
    return true;
}

void capture_start(struct session *session)
{
    const uint8_t *request = receiver_body(&session->receiver);
    const struct capture asked = {
        .running = true,
        .content = link_capture_get_content(request),
        .trigger = link_capture_get_trigger(request),
        .before = link_capture_get_before(request),
        .after = link_capture_get_after(request),
        .sequence = link_capture_get_sequence(request),
    };
    const struct audio listening = {
        .capturing = true,
        .carry = (link_capture_get_flags(request) & LINK_LISTEN_CARRY) != 0,
        .frames = link_capture_get_frames(request),
        .hop = link_capture_get_hop(request),
        .smooth_log2 = link_capture_get_smooth_log2(request),
        .hold = link_capture_get_hold(request),
        .margin_q15 = link_capture_get_margin(request),
        .quiet = link_capture_get_quiet(request),
    };

    if (refused(session, &asked, listening.frames > 0)) {
        return;
    }
    if (listening.frames > 0 && !audio_capture(session, &listening)) {
        return;
    }
    if (listening.frames == 0) {
        session->audio = listening;
    }
    session->capture = asked;
    struct capture *capture = &session->capture;
    capture->supply_mv = port_supply_mv();
    capture->cycles = port_cycles();
    capture->asleep = port_cycles_asleep();
    port_microphone_start(&capture->microphone);
    capture->start_us = port_uptime_us();
    answer_capturing(session);
}

void capture_end(struct session *session)
{
    if (session->capture.running) {
        port_microphone_stop();
        session->capture.running = false;
        session->audio.capturing = false;
    }
}

void capture_resend(struct session *session)
{
    const uint8_t *request = receiver_body(&session->receiver);
    const struct capture *capture = &session->capture;
    const uint32_t first = link_resend_get_first(request), n = link_resend_get_count(request);
    const uint32_t newest = port_microphone_samples(), oldest = newest > KEPT ? newest - KEPT : 0u;

    if (!capture->running || (capture->content & LINK_CONTENT_SOUND) == 0) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
    } else if (n == 0 || n > MAX_SAMPLES) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, MAX_SAMPLES);
    } else if (first < oldest || first + n > newest) {
        session_refuse(session, LINK_ERROR_BAD_STEP, oldest);
    } else {
        put_sound(capture, answers_frame(&session->answers, LINK_SOUND, LINK_SOUND_BYTES + 2u * n), RESENT, first, n);
        answers_send(&session->answers, true);
    }
}

/* Everything that has been sampled is heard and sent; the line may now be waited for. */
static void finish(struct session *session)
{
    struct capture *capture = &session->capture;

    while (hear(session)) {
        port_drain();
        while (speak(capture)) {
            port_drain();
        }
    }
    const bool wanted = capture->trigger == LINK_TRIGGER_ALL || capture->sent < capture->until;
    if (wanted && (capture->content & LINK_CONTENT_SOUND) != 0 && capture->heard > capture->sent) {
        port_drain();
        send_sound(capture, capture->heard - capture->sent);
    }
}

static void answer_stopped(struct session *session)
{
    const struct capture *capture = &session->capture;
    const struct audio *audio = &session->audio;
    uint8_t *body = answers_frame(&session->answers, LINK_STOPPED, LINK_STOPPED_BYTES);

    link_stopped_put_number(body, capture->number);
    link_stopped_put_samples(body, port_microphone_samples());
    link_stopped_put_lost(body, capture->lost);
    link_stopped_put_unsent(body, capture->unsent);
    link_stopped_put_frames(body, audio->vectors_before + audio->vectors);
    link_stopped_put_decisions(body, audio->decisions);
    link_stopped_put_clipped(body, audio->clipped);
    link_stopped_put_asleep_permille(body, (uint16_t)permille(capture->all_asleep, capture->all_cycles));
    link_stopped_put_features_permille(body, (uint16_t)permille(capture->all_features, capture->all_cycles));
    link_stopped_put_network_permille(body, (uint16_t)permille(capture->all_network, capture->all_cycles));
    link_stopped_put_sampling_permille(body, (uint16_t)permille(capture->all_sampling, capture->all_cycles));
    answers_send(&session->answers, true);
}

void capture_stop(struct session *session)
{
    struct capture *capture = &session->capture;

    if (!capture->running) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
        return;
    }
    port_microphone_stop();
    count(capture);
    finish(session);
    count_work(capture, &session->audio);
    capture->running = false;
    session->audio.capturing = false;
    answer_stopped(session);
}

#endif
