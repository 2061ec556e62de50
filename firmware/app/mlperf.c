#include "mlperf.h"

#include <stddef.h>

#include "model.h"
#include "port/port.h"
#include "session.h"

#define DEFAULT_WARMUPS 10u
#define MOST_INFERENCES 1000000u
#define PRINTED_BYTES 16u /* of "db print" without a number */
#define BYTES_A_LINE 8u
#define MILLION_DIGITS 6u

/* log2(e) in Q15, and 2^-f = 1 - A f + B f^2 - C f^3 for 0 <= f < 1, at most 2e-4 off in Q15. */
#define LOG2_E_Q15 47274u
#define POWER_A_Q15 22665
#define POWER_B_Q15 7579
#define POWER_C_Q15 1298
/* From here on 2^-f is below half a step of Q15; and the product with log2(e) fits 32 bits. */
#define FARTHEST_Q15 (11u << 15)

/* A command's words, one after the other. */
struct words {
    const char *at;
};

static void text(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0') {
        n++;
    }
    port_write((const uint8_t *)s, n);
}

static void character(char c)
{
    port_write((const uint8_t *)&c, 1);
}

/* At least `digits` of them. */
static void number(uint32_t value, unsigned digits)
{
    char s[11];
    unsigned i = sizeof s - 1u;

    s[i] = '\0';
    do {
        s[--i] = (char)('0' + value % 10u);
        value /= 10u;
    } while (i > 0 && (value > 0 || sizeof s - 1u - i < digits));
    text(s + i);
}

static void line(const char *s)
{
    text(s);
    text("\r\n");
}

static void count_line(const char *name, uint32_t count)
{
    text(name);
    number(count, 1);
    line("");
}

static void fail(const char *why)
{
    text("e-[");
    text(why);
    line("]");
}

/* Whether the next word is this one; taken if so. */
static bool word(struct words *words, const char *name)
{
    const char *s = words->at;

    while (*name != '\0' && *s == *name) {
        s++;
        name++;
    }
    if (*name != '\0' || (*s != '\0' && *s != ' ')) {
        return false;
    }
    while (*s == ' ') {
        s++;
    }
    words->at = s;
    return true;
}

static bool at_end(const struct words *words)
{
    return *words->at == '\0';
}

/* Whether this one word is all that is left. */
static bool only(struct words words, const char *name)
{
    return word(&words, name) && at_end(&words);
}

/* The next word as a decimal number of at most nine digits; taken if it is one. */
static bool decimal(struct words *words, uint32_t *value)
{
    const char *s = words->at;
    unsigned digits = 0;

    *value = 0;
    for (; *s >= '0' && *s <= '9' && digits < 10u; s++, digits++) {
        *value = *value * 10u + (uint32_t)(*s - '0');
    }
    if (digits == 0 || digits > 9u || (*s != '\0' && *s != ' ')) {
        return false;
    }
    while (*s == ' ') {
        s++;
    }
    words->at = s;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t vector_bytes(void)
{
    return 2u * model_inputs;
}

static uint32_t most_bytes(void)
{
    return model_audio == NULL ? 0 : model_audio->frames * vector_bytes();
}

/* Feature vector t: D values, the next one at an even distance. */
static int16_t *vector(uint32_t t)
{
    return model_audio->vectors_q15 + t * (uint32_t)(model_inputs + model_inputs % 2u);
}

/* Where byte i of the input is kept. Both cores and hosts are little-endian. */
static uint8_t *input(uint32_t i)
{
    return (uint8_t *)vector(i / vector_bytes()) + i % vector_bytes();
}

static void lap(const struct mlperf *mlperf)
{
    count_line("m-lap-us-", port_uptime_us() - mlperf->zero_us);
}

/* What the frames left under way is over: the input lies in their buffers. */
static void take_over(struct session *session)
{
    session->begun = false;
    session->audio.listening = false;
}

static void load(struct session *session, struct words *words)
{
    uint32_t bytes;

    session->mlperf.bytes = session->mlperf.loaded = 0;
    if (!decimal(words, &bytes) || !at_end(words)) {
        fail("db load takes a number of bytes");
    } else if (most_bytes() == 0) {
        fail("this firmware has no room for an input");
    } else if (bytes == 0 || bytes > most_bytes() || bytes % vector_bytes() != 0) {
        text("e-[the input must be a multiple of ");
        number(vector_bytes(), 1);
        text(" bytes, at most ");
        number(most_bytes(), 1);
        line("]");
    } else {
        take_over(session);
        session->mlperf.bytes = bytes;
        text("m-[Expecting ");
        number(bytes, 1);
        line(" bytes]");
    }
}

static void print(struct session *session, struct words *words)
{
    const struct mlperf *mlperf = &session->mlperf;
    uint32_t count = PRINTED_BYTES, first = 0;
    const bool good = (at_end(words) || decimal(words, &count)) && (at_end(words) || decimal(words, &first)) && at_end(words);

    if (!good) {
        fail("db print takes a number of bytes and an offset");
        return;
    }
    for (uint32_t i = first; i < mlperf->loaded && i - first < count; i++) {
        const bool begins = (i - first) % BYTES_A_LINE == 0;
        const uint8_t byte = *input(i);

        text(begins ? "m-buffer-" : "-");
        character("0123456789abcdef"[byte >> 4]);
        character("0123456789abcdef"[byte & 15u]);
        if (i + 1u == mlperf->loaded || i + 1u - first == count || (i + 1u - first) % BYTES_A_LINE == 0) {
            line("");
        }
    }
}

/* Nothing is written unless all of it is good and fits. */
static void data(struct session *session, const struct words *words)
{
    struct mlperf *mlperf = &session->mlperf;
    uint32_t digits = 0;

    while (hex_digit(words->at[digits]) >= 0) {
        digits++;
    }
    if (digits == 0 || digits % 2u != 0 || words->at[digits] != '\0') {
        fail("db takes load, print, or bytes of two hexadecimal digits");
        return;
    }
    if (digits / 2u > mlperf->bytes - mlperf->loaded) {
        fail(mlperf->bytes == 0 ? "say db load first" : "more bytes than db load announced");
        return;
    }
    for (uint32_t i = 0; i < digits; i += 2u) {
        const unsigned byte = (unsigned)hex_digit(words->at[i]) << 4 | (unsigned)hex_digit(words->at[i + 1u]);

        *input(mlperf->loaded++) = (uint8_t)byte;
    }
    if (mlperf->loaded == mlperf->bytes) {
        line("m-load-done");
    }
}

static void db(struct session *session, struct words *words)
{
    if (word(words, "load")) {
        load(session, words);
    } else if (word(words, "print")) {
        print(session, words);
    } else {
        data(session, words);
    }
}

static void infer_once(const struct mlperf *mlperf)
{
    const uint32_t steps = mlperf->bytes / vector_bytes();

    model_reset();
    for (uint32_t t = 0; t < steps; t++) {
        model_step(vector(t));
    }
    model_output(model_audio->logits_q15);
}

/* exp(-below) in Q15, for a logit's distance below the largest one, less than FARTHEST_Q15. */
static uint32_t likelihood_q15(uint32_t below_q15)
{
    const uint32_t powers = below_q15 * (LOG2_E_Q15 >> 2) >> 13;
    const int32_t f = (int32_t)(powers & 0x7FFFu);
    const int32_t cubic = POWER_B_Q15 - (POWER_C_Q15 * f >> 15);
    const int32_t fall = f * (POWER_A_Q15 - (cubic * f >> 15));

    return (uint32_t)((1 << 15) - ((fall + 0x7FFF) >> 15)) >> (powers >> 15);
}

/* Softmax of the logits kept, six decimals. */
static void results(const struct session *session)
{
    const int32_t *logits_q15 = model_audio == NULL ? NULL : model_audio->logits_q15;
    int32_t largest = INT32_MIN;
    uint32_t sum = 0;

    if (!session->mlperf.answered || logits_q15 == NULL) {
        fail("nothing was inferred yet");
        return;
    }
    for (uint32_t i = 0; i < model_outputs; i++) {
        largest = logits_q15[i] > largest ? logits_q15[i] : largest;
    }
    for (unsigned printing = 0; printing < 2u; printing++) {
        text(printing ? "m-results-[" : "");
        for (uint32_t i = 0; i < model_outputs; i++) {
            const uint32_t below = (uint32_t)largest - (uint32_t)logits_q15[i];
            const uint32_t p = below < FARTHEST_Q15 ? likelihood_q15(below) : 0;

            if (printing == 0) {
                sum += p;
                continue;
            }
            /* p <= 2^15 and sum < 2^15 O: the products fit 32 bits for 128 outputs */
            const uint32_t thousandths = p * 1000u / sum, rest = p * 1000u % sum;
            const uint32_t millionths = thousandths * 1000u + rest * 1000u / sum;

            text(i == 0 ? "" : ",");
            number(millionths / 1000000u, 1);
            text(".");
            number(millionths % 1000000u, MILLION_DIGITS);
        }
    }
    line("]");
}

static void infer(struct session *session, struct words *words)
{
    struct mlperf *mlperf = &session->mlperf;
    uint32_t count, warmups = DEFAULT_WARMUPS;
    const bool good = decimal(words, &count) && (at_end(words) || decimal(words, &warmups)) && at_end(words);

    if (!good || count == 0 || count > MOST_INFERENCES || warmups > MOST_INFERENCES) {
        fail("infer takes a number of inferences, 1 to 1000000, and of warm-ups");
        return;
    }
    if (mlperf->bytes == 0 || mlperf->loaded < mlperf->bytes) {
        fail("load the whole input first");
        return;
    }
    take_over(session);
    count_line("m-warmup-start-", warmups);
    for (uint32_t i = 0; i < warmups; i++) {
        infer_once(mlperf);
    }
    line("m-warmup-done");
    count_line("m-infer-start-", count);
    line("m-lap-us-0");
    port_drain();
    mlperf->zero_us = port_uptime_us(); /* the line above says 0, and now it is */
    for (uint32_t i = 0; i < count; i++) {
        infer_once(mlperf);
    }
    lap(mlperf);
    line("m-infer-done");
    mlperf->answered = true;
    results(session);
}

static void profile(void)
{
    line("m-profile-[ULPMark for tinyML Firmware V0.0.1]");
    line("m-model-[egru01]");
}

static void help(void)
{
    line("m-name, profile, timestamp, help, results");
    line("m-db load N; db HH...; db print [N] [OFFSET]");
    line("m-infer N [WARMUPS]");
}

static bool act(struct session *session, struct words words)
{
    if (word(&words, "db")) {
        db(session, &words);
    } else if (word(&words, "infer")) {
        infer(session, &words);
    } else if (only(words, "name")) {
        line("m-name-dut-[hil]");
    } else if (only(words, "profile")) {
        profile();
    } else if (only(words, "timestamp")) {
        lap(&session->mlperf);
    } else if (only(words, "results")) {
        results(session);
    } else if (only(words, "help")) {
        help();
    } else {
        return false;
    }
    return true;
}

void mlperf_forget(struct session *session)
{
    session->mlperf.bytes = session->mlperf.loaded = 0;
    session->mlperf.answered = false;
}

void mlperf_command(struct session *session, const char *command)
{
    if (!act(session, (struct words){command})) {
        text("e-[Unknown command: ");
        text(command);
        line("]");
    }
    line("m-ready");
}
