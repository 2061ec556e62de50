#include "audio.h"

#include "capture.h"
#include "model.h"
#include "port/port.h"
#include "session.h"

/* Where the samples of a PCM request begin, in int16. */
#define X_AT ((LINK_HEADER_BYTES + LINK_PCM_X_AT) / sizeof(int16_t))

/* Bytes of a PCM request's line that are not samples: two delimiters and the tag, header, index and
 * CRC, and COBS's one byte in 254. */
#define PCM_MAX_SAMPLES ((LINK_MAX_STREAM_LINE - SENDER_LINE_BYTES(LINK_PCM_BYTES) - LINK_MAX_STREAM_LINE / 254u) / 2u)

#define MAX_SMOOTH_LOG2 3u
#define QUIET_BITS 32u

#if defined(MICROPHONE_KIND)
static inline bool capturing(const struct audio *audio)
{
    return audio->capturing;
}

/* Microseconds; in a capture cycles, without those that sampling took. */
static inline uint32_t now(const struct audio *audio)
{
    uint32_t sampling = port_cycles_sampling(), cycles = port_cycles();

    while (audio->capturing && sampling != port_cycles_sampling()) { /* an interrupt between the two */
        sampling = port_cycles_sampling();
        cycles = port_cycles();
    }
    return audio->capturing ? cycles - sampling : port_uptime_us();
}
#else
static inline bool capturing(const struct audio *audio)
{
    (void)audio;
    return false;
}

static inline uint32_t now(const struct audio *audio)
{
    (void)audio;
    return port_uptime_us();
}
#endif

static uint32_t stride(void)
{
    return (model_inputs + 1u) & ~1u; /* a vector is aligned to 4 */
}

/* Most samples whose answer fits: so many hops complete so many frames at most. 0: not even one. */
static uint32_t max_samples(const struct audio *audio)
{
    const uint32_t vector = audio->detail ? SENDER_LINE_BYTES(LINK_FEATURE_BYTES + 2u * model_inputs) : 0u;
    const uint32_t decision = SENDER_LINE_BYTES(LINK_DECISION_BYTES + 4u * model_outputs);
    const uint32_t hop = model_audio->frontend->hop;
    uint32_t vectors = 0, room = LINK_MAX_STREAM_REPLY - SENDER_LINE_BYTES(LINK_HEARD_BYTES);

    while (vectors * hop < PCM_MAX_SAMPLES) {
        const uint32_t cost = vector + (vectors % audio->hop == 0 ? decision : 0u);

        if (cost > room) {
            break;
        }
        room -= cost;
        vectors++;
    }
    return vectors * hop < PCM_MAX_SAMPLES ? vectors * hop : PCM_MAX_SAMPLES;
}

static uint32_t hops_of(const struct audio *audio)
{
    const uint32_t frames = audio->frames, hop = audio->hop;

    return frames >= hop ? frames / hop : 1u;
}

/* Refuse the request under way if the model cannot do it. */
static bool refused(struct session *session, const struct audio *asked)
{
    if (model_audio == NULL) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
    } else if (asked->frames == 0 || asked->frames > model_audio->frames) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, model_audio->frames);
    } else if (asked->hop == 0 || asked->smooth_log2 > MAX_SMOOTH_LOG2) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, asked->hop == 0 ? 0 : asked->smooth_log2);
    } else if (asked->carry && hops_of(asked) > MODEL_AUDIO_HOPS) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, MODEL_AUDIO_HOPS);
    } else if (!capturing(asked) && max_samples(asked) == 0) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, 0);
    } else {
        return false;
    }
    return true;
}

static void clear(int32_t *values, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        values[i] = 0;
    }
}

static void begin(struct session *session, const struct audio *asked)
{
    session->begun = false; /* states and sums are the stream's now */
    mlperf_forget(session);
    session->audio = *asked;
    clear(model_audio->history_q15, (1u << MAX_SMOOTH_LOG2) * model_outputs);
    frontend_reset(model_audio->frontend);
    model_reset();
}

void audio_listen(struct session *session)
{
    const uint8_t *body = receiver_body(&session->receiver);
    const uint8_t flags = link_listen_get_flags(body);
    const struct audio asked = {
        .listening = true,
        .carry = (flags & LINK_LISTEN_CARRY) != 0,
        .detail = (flags & LINK_LISTEN_DETAIL) != 0,
        .frames = link_listen_get_frames(body),
        .hop = link_listen_get_hop(body),
        .smooth_log2 = link_listen_get_smooth_log2(body),
        .hold = link_listen_get_hold(body),
        .margin_q15 = link_listen_get_margin(body),
        .quiet = link_listen_get_quiet(body),
    };

    if (refused(session, &asked)) {
        return;
    }
    begin(session, &asked);
    uint8_t *answer = answers_frame(&session->answers, LINK_LISTENING, LINK_LISTENING_BYTES);
    link_listening_put_max_samples(answer, (uint16_t)max_samples(&asked));
    link_listening_put_frames(answer, model_audio->frames);
    link_listening_put_window(answer, model_audio->frontend->window);
    link_listening_put_hop(answer, model_audio->frontend->hop);
    answers_send(&session->answers, true);
}

/* Run the window that ends with the newest vector from zeroed states. */
static void run_window(struct audio *audio)
{
    const uint32_t began_us = now(audio);
    uint32_t place = audio->vectors % audio->frames; /* of the oldest */

    model_reset();
    for (uint32_t t = 0; t < audio->frames; t++) {
        model_step(model_audio->vectors_q15 + place * stride());
        place = place + 1u == audio->frames ? 0u : place + 1u;
    }
    audio->busy_us += now(audio) - began_us;
}

/* Advance carried states by the newest vector. */
static void run_step(struct audio *audio, const int16_t *x)
{
    const uint32_t began_us = now(audio);

    model_step(x);
    audio->busy_us += now(audio) - began_us;
}

/* Keep the sums of the hop that ends, and put those of the last hops together for the output layers. */
static void gather_hops(const struct audio *audio)
{
    const uint32_t hops = hops_of(audio), units = model_summed;
    int32_t *newest = model_audio->hops_q15 + (audio->vectors / audio->hop - 1u) % hops * units;

    for (uint32_t i = 0; i < units; i++) {
        newest[i] = model_sums_q15[i];
    }
    for (uint32_t i = 0; i < units; i++) {
        int32_t sum = 0;

        for (uint32_t k = 0; k < hops; k++) {
            sum += model_audio->hops_q15[k * units + i];
        }
        model_sums_q15[i] = sum;
    }
}

struct verdict {
    uint32_t margin_q15;
    uint8_t label;
};

/* Best average over the last 2^n outputs, those before the first counted as zeros; the first one on a tie. */
static struct verdict smooth(const struct audio *audio, const int32_t *logits)
{
    const uint32_t count = 1u << audio->smooth_log2, outputs = model_outputs;
    const int64_t half = count >> 1; /* rounds to nearest, ties up */
    int64_t best = INT64_MIN, second = INT64_MIN;
    uint32_t label = 0;

    for (uint32_t o = 0; o < outputs; o++) {
        int64_t sum = half;

        model_audio->history_q15[audio->decisions % count * outputs + o] = logits[o];
        for (uint32_t k = 0; k < count; k++) {
            sum += model_audio->history_q15[k * outputs + o];
        }
        sum >>= audio->smooth_log2;
        if (sum > best) {
            second = best;
            best = sum;
            label = o;
        } else if (sum > second) {
            second = sum;
        }
    }
    return (struct verdict){outputs > 1u ? (uint32_t)(best - second) : 0u, (uint8_t)label};
}

/* A lead that is large enough, of an output that may trigger, not too soon after another. */
static bool trigger(struct audio *audio, struct verdict verdict)
{
    if (audio->held > 0) {
        audio->held--;
        return false;
    }
    const bool quiet = verdict.label < QUIET_BITS && (audio->quiet >> verdict.label & 1u) != 0;
    if (quiet || verdict.margin_q15 < audio->margin_q15) {
        return false;
    }
    audio->held = audio->hold;
    return true;
}

static void decide(struct session *session)
{
    struct audio *audio = &session->audio;
    const uint32_t bytes = LINK_DECISION_BYTES + 4u * model_outputs;
    int32_t *logits = model_audio->logits_q15;

    const uint32_t began_us = now(audio);
    model_output(logits);
    const struct verdict verdict = smooth(audio, logits);
    audio->busy_us += now(audio) - began_us;
#if defined(MICROPHONE_KIND)
    if (audio->capturing) {
        capture_verdict(session, verdict.label, trigger(audio, verdict), verdict.margin_q15);
        audio->decisions++;
        return;
    }
#endif
    uint8_t *body = answers_frame(&session->answers, LINK_DECISION, bytes);
    link_decision_put_index(body, audio->decisions);
    link_decision_put_frame(body, audio->vectors - 1u);
    link_decision_put_label(body, verdict.label);
    link_decision_put_triggered(body, trigger(audio, verdict) ? 1 : 0);
    link_decision_put_reserved(body, 0);
    link_decision_put_margin(body, verdict.margin_q15);
    for (uint32_t o = 0; o < model_outputs; o++) {
        link_put_i32(body + LINK_DECISION_LOGITS_AT + 4u * o, logits[o]);
    }
    answers_send(&session->answers, false);
    audio->decisions++;
}

static void send_vector(struct session *session, const int16_t *x)
{
    uint8_t *body = answers_frame(&session->answers, LINK_FEATURE, LINK_FEATURE_BYTES + 2u * model_inputs);

    link_feature_put_frame(body, session->audio.vectors);
    for (uint32_t i = 0; i < model_inputs; i++) {
        link_put_i16(body + LINK_FEATURE_X_AT + 2u * i, x[i]);
    }
    answers_send(&session->answers, false);
}

/* The frame is complete. Returns how many frames of the answer it gave. */
static uint32_t take_frame(struct session *session)
{
    struct audio *audio = &session->audio;
    const uint32_t place = audio->carry ? 0u : audio->vectors % audio->frames;
    int16_t *x = model_audio->vectors_q15 + place * stride();
    uint32_t parts = 0;

    const uint32_t began_us = now(audio);
    audio->clipped += frontend_frame(model_audio->frontend, model_audio->samples, model_audio->work, x);
    const uint32_t took = now(audio) - began_us;
    audio->busy_us += took;
#if defined(MICROPHONE_KIND)
    if (audio->capturing) {
        audio->features_cycles += took;
        capture_vector(session, x);
    }
#endif
    if (audio->detail) {
        send_vector(session, x);
        parts++;
    }
    audio->vectors++;
    if (audio->carry) {
        run_step(audio, x);
        if (audio->vectors % audio->hop == 0) {
            gather_hops(audio);
            if (audio->vectors / audio->hop >= hops_of(audio)) {
                decide(session);
                parts++;
            }
            clear(model_sums_q15, model_summed);
        }
    } else if (audio->vectors >= audio->frames && (audio->vectors - audio->frames) % audio->hop == 0) {
        run_window(audio);
        decide(session);
        parts++;
    }
    return parts;
}

/* Make room for the next hop. */
static void advance(struct audio *audio)
{
    const uint16_t window = model_audio->frontend->window, hop = model_audio->frontend->hop;
    int16_t *samples = model_audio->samples;

    audio->filled = hop < window ? (uint16_t)(window - hop) : 0;
    audio->skip = hop > window ? (uint16_t)(hop - window) : 0;
    for (uint32_t i = 0; i < audio->filled; i++) {
        samples[i] = samples[i + hop];
    }
}

static uint32_t take_samples(struct session *session, const int16_t *x, uint32_t n)
{
    struct audio *audio = &session->audio;
    uint32_t parts = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (audio->skip > 0) {
            audio->skip--;
            continue;
        }
        model_audio->samples[audio->filled++] = x[i];
        if (audio->filled == model_audio->frontend->window) {
            parts += take_frame(session);
            advance(audio);
        }
    }
    audio->samples += n;
    return parts;
}

#if defined(MICROPHONE_KIND)
bool audio_capture(struct session *session, const struct audio *asked)
{
    if (refused(session, asked)) {
        return false;
    }
    begin(session, asked);
    return true;
}

uint32_t audio_wanted(const struct audio *audio)
{
    return (uint32_t)audio->skip + model_audio->frontend->window - audio->filled;
}

void audio_take(struct session *session, const int16_t *x, uint32_t n)
{
    take_samples(session, x, n);
}

void audio_gap(struct audio *audio)
{
    audio->filled = audio->skip = 0;
    audio->vectors_before += audio->vectors;
    audio->vectors = 0;
    if (audio->carry) {
        model_reset();
        clear(model_audio->hops_q15, MODEL_AUDIO_HOPS * model_summed);
    }
}
#endif

void audio_pcm(struct session *session)
{
    struct audio *audio = &session->audio;
    const uint32_t bytes = receiver_body_bytes(&session->receiver) - LINK_PCM_BYTES, n = bytes / 2u;

    if (!audio->listening) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
    } else if (bytes % 2u != 0 || n == 0) {
        session_refuse(session, LINK_ERROR_BAD_LENGTH, LINK_PCM_BYTES);
    } else if (link_pcm_get_first(receiver_body(&session->receiver)) != audio->samples) {
        session_refuse(session, LINK_ERROR_BAD_STEP, audio->samples);
    } else if (n > max_samples(audio)) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, max_samples(audio));
    } else {
        const uint32_t parts = take_samples(session, session->receiver.frame.q15 + X_AT, n);
        uint8_t *body = answers_frame(&session->answers, LINK_HEARD, LINK_HEARD_BYTES);

        link_heard_put_samples(body, audio->samples);
        link_heard_put_frames(body, audio->vectors);
        link_heard_put_clipped(body, audio->clipped);
        link_heard_put_busy_us(body, audio->busy_us);
        link_heard_put_parts(body, (uint16_t)parts);
        link_heard_put_reserved(body, 0);
        answers_send(&session->answers, true);
    }
}
