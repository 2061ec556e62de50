#include "run.h"

#include "inner.h"
#include "link/crc32.h"
#include "model.h"
#include "port/port.h"

#define BENCH_MAX_REPEATS 64u

/* Where the features of a STEPS request begin, in int16: a multiple of 4 bytes, so that the
 * first step's features are aligned for model_step. */
#define X_AT ((LINK_HEADER_BYTES + LINK_STEPS_X_AT) / sizeof(int16_t))

/* A running CRC-32 in place of states, in int16. */
#define HASH_VALUES 2u

/* Most logits of a RESULT frame. */
#define MAX_OUTPUTS ((LINK_MAX_BODY - LINK_RESULT_LOGITS_AT) / 4u)

static uint8_t *body_of(struct session *session)
{
    return receiver_body(&session->receiver);
}

/* int16 of a STEP frame behind its fixed fields. */
static uint32_t values_sent(uint8_t detail)
{
    return detail == LINK_DETAIL_STATES ? model_states : detail == LINK_DETAIL_HASH ? HASH_VALUES : 0u;
}

uint16_t run_max_steps(uint8_t detail)
{
    /* with a hash as with states: they are written to the frame's place first */
    const uint32_t room = detail == LINK_DETAIL_NONE ? 0u : model_states > HASH_VALUES ? model_states : HASH_VALUES;
    const uint32_t step_bytes = LINK_STEP_BYTES + 2u * room;

    if (model_inputs == 0 || step_bytes > LINK_MAX_BODY) {
        return 0;
    }
    const uint32_t asked = (LINK_MAX_BODY - LINK_STEPS_BYTES) / (2u * model_inputs);
    const uint32_t answered = LINK_MAX_REPLY / SENDER_LINE_BYTES(step_bytes);
    return (uint16_t)(asked < answered ? asked : answered);
}

void run_begin(struct session *session)
{
    const uint8_t *body = body_of(session);
    const uint16_t steps = link_begin_get_steps(body);
    const uint8_t detail = link_begin_get_detail(body);

    if (model_inputs == 0) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
        return;
    }
    if (steps == 0 || detail > LINK_DETAIL_HASH) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, steps == 0 ? 0 : detail);
        return;
    }
    session->sequence = link_begin_get_sequence(body);
    session->steps = steps;
    session->detail = detail;
    session->hash = 0;
    session->done = 0;
    session->begun = true;
    session->audio.listening = false;
    model_reset();
    session_acknowledge(session);
}

/* Refuse the STEPS request under way if it does not fit. */
static bool steps_refused(struct session *session, uint32_t first, uint32_t count)
{
    const uint32_t bytes = LINK_STEPS_BYTES + 2u * count * model_inputs;
    const uint16_t most = run_max_steps(session->detail);

    if (!session->begun) {
        session_refuse(session, LINK_ERROR_BAD_STATE, session->done);
    } else if (count == 0) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, 0);
    } else if (receiver_body_bytes(&session->receiver) != bytes) {
        session_refuse(session, LINK_ERROR_BAD_LENGTH, bytes);
    } else if (first != session->done) {
        session_refuse(session, LINK_ERROR_BAD_STEP, session->done);
    } else if (count > (uint32_t)(session->steps - session->done)) {
        session_refuse(session, LINK_ERROR_BAD_STATE, session->done);
    } else if (count > most) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, most);
    } else {
        return false;
    }
    return true;
}

/* States, or the hash of all of them so far, behind the fixed fields of a STEP frame. */
static void put_detail(struct session *session, uint8_t *body)
{
    uint8_t *h = body + LINK_STEP_H_AT;

    if (session->detail == LINK_DETAIL_NONE) {
        return;
    }
    model_read_states(session->answers.store.q15 + (uint32_t)(h - session->answers.store.bytes) / 2u);
    if (session->detail == LINK_DETAIL_HASH) {
        session->hash = crc32_update(session->hash, h, 2u * model_states);
        link_put_u32(h, session->hash);
    }
}

static void step_once(struct session *session, const int16_t *x, bool last)
{
    uint16_t interrupts;

    port_window_open();
    model_step(x);
    const uint32_t cycles = port_window_close(&interrupts);

    const uint32_t n = LINK_STEP_BYTES + 2u * values_sent(session->detail);
    uint8_t *body = answers_frame(&session->answers, LINK_STEP, n);
    link_step_put_step(body, session->done);
    link_step_put_interrupts(body, interrupts);
    link_step_put_cycles(body, cycles);
    put_detail(session, body);
    session->done++;
    answers_send(&session->answers, last);
}

void run_steps(struct session *session)
{
    const uint32_t first = link_steps_get_first(body_of(session));
    const uint32_t count = link_steps_get_count(body_of(session));
    int16_t *x = session->receiver.frame.q15 + X_AT;

    if (steps_refused(session, first, count)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; i > 0 && k < model_inputs; k++) {
            x[k] = x[i * model_inputs + k]; /* to the aligned place; what was there is done */
        }
        step_once(session, x, i + 1u == count);
    }
}

void run_finish(struct session *session)
{
    int32_t *logits = session->receiver.frame.words; /* FINISH has no body to keep */
    uint16_t interrupts;

    if (!session->begun) {
        session_refuse(session, LINK_ERROR_BAD_STATE, session->done);
        return;
    }
    if (model_outputs > MAX_OUTPUTS) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, MAX_OUTPUTS);
        return;
    }
    port_window_open();
    model_output(logits);
    const uint32_t cycles = port_window_close(&interrupts);

    session->begun = false;
    uint8_t *body = answers_frame(&session->answers, LINK_RESULT, LINK_RESULT_BYTES + 4u * model_outputs);
    link_result_put_sequence(body, session->sequence);
    link_result_put_steps(body, session->done);
    link_result_put_interrupts(body, interrupts);
    link_result_put_cycles(body, cycles);
    link_result_put_saturated(body, model_saturated());
    for (uint32_t i = 0; i < model_outputs; i++) {
        link_put_i32(body + LINK_RESULT_LOGITS_AT + 4u * i, logits[i]);
    }
    answers_send(&session->answers, true);
}

void run_inspect(struct session *session)
{
    const uint8_t index = link_inspect_get_layer(body_of(session));
    const struct model_layer *layer = model_layer(index);

    if (index >= model_layers || layer == NULL) {
        session_refuse(session, LINK_ERROR_BAD_INDEX, model_layers);
    } else if (session->done == 0) {
        session_refuse(session, LINK_ERROR_BAD_STATE, 0);
    } else if (layer->units > INNER_MAX_UNITS(layer->form)) {
        session_refuse(session, LINK_ERROR_TOO_LARGE, INNER_MAX_UNITS(layer->form));
    } else {
        uint8_t *body = answers_frame(&session->answers, LINK_INNER, LINK_INNER_BYTES + (uint32_t)layer->form->unit_bytes * layer->units);
        link_inner_put_layer(body, index);
        link_inner_put_cell(body, layer->form->cell);
        link_inner_put_units(body, layer->units);
        layer->form->put(body + LINK_INNER_DATA_AT, layer);
        answers_send(&session->answers, true);
    }
}

void run_bench(struct session *session)
{
    const uint8_t *request = body_of(session);
    const uint8_t index = link_bench_get_kernel(request);
    const uint32_t repeats = link_bench_get_repeats(request);

    if (index >= model_kernels) {
        session_refuse(session, LINK_ERROR_BAD_INDEX, model_kernels);
        return;
    }
    if (repeats == 0 || repeats > BENCH_MAX_REPEATS) {
        session_refuse(session, LINK_ERROR_BAD_VALUE, repeats);
        return;
    }
    const struct bench_kernel *kernel = &model_bench[index];
    uint8_t *body = answers_frame(&session->answers, LINK_BENCHED, LINK_BENCHED_BYTES + 4u * repeats);
    uint32_t interrupts = 0;
    for (uint32_t i = 0; i < repeats; i++) {
        void (*const run)(void) = kernel->run; /* read outside the window: its place in flash is no part of it */
        uint16_t taken;

        kernel->prepare();
        port_window_open();
        run();
        link_put_u32(body + LINK_BENCHED_CYCLES_AT + 4u * i, port_window_close(&taken));
        interrupts += taken;
    }
    link_benched_put_kernel(body, index);
    link_benched_put_reserved(body, 0);
    link_benched_put_interrupts(body, (uint16_t)(interrupts < UINT16_MAX ? interrupts : UINT16_MAX));
    answers_send(&session->answers, true);
}
