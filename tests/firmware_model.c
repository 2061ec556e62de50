/* firmware_model.c -- a model small enough to follow by hand; tests/firmware_support.py has its twin.
 *
 * h' = (h + x) / 2 of the features 1 and 2; the sums are features times 4. D is odd, so that only
 * every other feature vector of a STEPS frame is aligned. */
#include "app/inner.h"
#include "app/model.h"

#include <stddef.h>

const uint8_t model_artefact_hash[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                         16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
const uint16_t model_inputs = 3;
const uint16_t model_states = 2;
const uint16_t model_outputs = 2;
const uint8_t model_layers = 1;
const uint8_t model_kernels = 2;

static int32_t acc_q17[4], sums[2];
static int16_t h_q15[2], h_before_q15[2];
static const uint8_t shift[4] = {0, 2, 1, 15}; /* of z0, g0, z1, g1 */
static const struct model_layer layer = {3, 2, acc_q17, shift, h_q15, h_before_q15, &inner_embedded_gru, NULL};
static volatile uint32_t calls, prepared;

static void prepare(void)
{
    prepared++;
}

static void call(void)
{
    calls++;
}

static void longer(void)
{
    for (uint32_t i = 0; i < 100; i++) {
        calls++;
    }
}

const struct bench_kernel model_bench[] = {{"call", prepare, call}, {"longer", prepare, longer}};

void model_reset(void)
{
    for (int i = 0; i < 2; i++) {
        h_q15[i] = 0;
        sums[i] = 0;
    }
}

void model_step(const int16_t *x)
{
    if ((uintptr_t)x % 4u != 0) {
        __builtin_trap();
    }
    for (int i = 0; i < 2; i++) {
        h_before_q15[i] = h_q15[i];
        acc_q17[i] = x[0] * 4;
        acc_q17[2 + i] = x[1 + i] * 4;
        h_q15[i] = (int16_t)((h_q15[i] + x[1 + i]) / 2);
        sums[i] += h_q15[i];
    }
}

void model_output(int32_t *logits_q15)
{
    logits_q15[0] = sums[0];
    logits_q15[1] = -sums[1];
}

void model_read_states(int16_t *h)
{
    h[0] = h_q15[0];
    h[1] = h_q15[1];
}

uint32_t model_saturated(void)
{
    return prepared;
}

const uint16_t model_summed = 2;
int32_t *const model_sums_q15 = sums;
const struct model_audio *const model_audio = NULL;

const struct model_layer *model_layer(unsigned i)
{
    return i == 0 ? &layer : NULL;
}
