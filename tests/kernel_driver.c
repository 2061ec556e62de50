/* kernel_driver.c -- runs kernels on the host on request, for tests/kernel_support.py.
 *
 * Reads requests from stdin: an operation (u32), its sizes (u32 each) and its arrays, and
 * writes the results. Each array gets a heap block of exactly its size, so that
 * AddressSanitizer sees the first byte outside.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/byte_dense.h"
#include "kernels/dense.h"
#include "kernels/embedded_gru.h"
#include "kernels/event_gru.h"
#include "kernels/float_gru.h"
#include "kernels/float_lstm.h"
#include "kernels/float_math.h"
#include "kernels/gates.h"
#include "kernels/gru8.h"
#include "kernels/readout_sum.h"
#include "kernels/rows.h"
#include "kernels/softsign.h"

enum operation { SOFTSIGN, EMBEDDED_GRU, DENSE_RELU, DENSE_LINEAR, READOUT_SUM, FLOAT_FUNCTION, FLOAT_GRU, LIMITS,
    FLOAT_LSTM, GATES, GRU8, BYTE_DENSE_RELU, BYTE_DENSE_LINEAR, EVENT_GRU };

static void *allocate(size_t bytes)
{
    void *block = malloc(bytes);
    if (!block) {
        abort();
    }
    return block;
}

static void *take(size_t count, size_t size)
{
    void *block = allocate(count * size);
    if (fread(block, size, count, stdin) != count) {
        abort();
    }
    return block;
}

static uint32_t take_u32(void)
{
    uint32_t value;
    if (fread(&value, sizeof value, 1, stdin) != 1) {
        abort();
    }
    return value;
}

static void give(const void *block, size_t count, size_t size)
{
    if (fwrite(block, size, count, stdout) != count) {
        abort();
    }
}

static size_t blocks(unsigned rows)
{
    return (rows + ROWS_BLOCK - 1) / ROWS_BLOCK;
}

static struct rows take_rows(unsigned outputs, unsigned inputs)
{
    struct rows rows;
    rows.codes = take(blocks(outputs) * inputs, 4);
    rows.bias_q17 = take(blocks(outputs) * ROWS_BLOCK, 4);
    rows.outputs = (uint16_t)outputs;
    return rows;
}

static void drop_rows(const struct rows *rows)
{
    free((void *)(uintptr_t)rows->codes);
    free((void *)(uintptr_t)rows->bias_q17);
}

static void run_softsign(void)
{
    const uint32_t n = take_u32();
    int32_t *v = take(n, 4);
    int16_t *y = allocate(n * 2);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = softsign_q15(v[i]);
    }
    give(y, n, 2);
    free(v), free(y);
}

static void run_embedded_gru(void)
{
    const uint32_t inputs = take_u32(), units = take_u32(), steps = take_u32();
    const struct rows rows = take_rows(2 * units, inputs + units);
    uint8_t *shift = take(2 * units, 1);
    const struct embedded_gru layer = {shift, (uint16_t)inputs, (uint16_t)units};
    const size_t sums = blocks(2 * units) * ROWS_BLOCK;
    const struct embedded_gru_state state = {allocate(4 * sums), allocate(2 * units), allocate(2 * units)};
    embedded_gru_reset(&layer, &state);
    int16_t *h = take(units, 2);
    for (uint32_t i = 0; i < units; i++) {
        state.h_q15[i] = h[i];
    }
    for (uint32_t t = 0; t < steps; t++) {
        int16_t *x = take(inputs, 2);
        embedded_gru_step(&layer, &rows, x, &state);
        give(state.acc_q17, 2 * units, 4);
        give(state.h_before_q15, units, 2);
        give(state.h_q15, units, 2);
        free(x);
    }
    drop_rows(&rows);
    free(shift);
    free(state.acc_q17), free(state.h_q15), free(state.h_before_q15), free(h);
}

static void run_dense(enum operation operation)
{
    const uint32_t inputs = take_u32(), outputs = take_u32();
    const struct rows rows = take_rows(outputs, inputs);
    uint8_t *shift = take(outputs, 1);
    int16_t *u = take(inputs, 2);
    int32_t *acc = allocate(4 * blocks(outputs) * ROWS_BLOCK);
    const size_t size = operation == DENSE_RELU ? 2 : 4;
    void *y = allocate(size * outputs);
    rows_sum(&rows, u, inputs, NULL, 0, acc);
    if (operation == DENSE_RELU) {
        dense_relu(acc, shift, outputs, y);
    } else {
        dense_linear(acc, shift, outputs, y);
    }
    give(y, outputs, size);
    drop_rows(&rows);
    free(shift), free(u), free(acc), free(y);
}

static void run_readout_sum(void)
{
    const uint32_t units = take_u32(), steps = take_u32(), shift = take_u32();
    int32_t *sum = allocate(4 * units);
    for (uint32_t i = 0; i < units; i++) {
        sum[i] = 0;
    }
    int16_t *h = take(units, 2);
    for (uint32_t t = 0; t < steps; t++) {
        readout_sum_add(sum, h, units);
    }
    int16_t *readout = allocate(2 * units);
    const uint32_t clipped = readout_sum_read(sum, units, shift, readout);
    give(readout, units, 2);
    give(&clipped, 1, 4);
    free(sum), free(h), free(readout);
}

static void run_float_function(void)
{
    static float (*const functions[])(float) = {float_exp, float_tanh, float_sigmoid};
    const uint32_t which = take_u32(), n = take_u32();
    float *x = take(n, 4);
    for (uint32_t i = 0; i < n; i++) {
        x[i] = functions[which](x[i]);
    }
    give(x, n, 4);
    free(x);
}

static void run_float_gru(void)
{
    const uint32_t inputs = take_u32(), units = take_u32(), steps = take_u32();
    float *weight = take(3 * units * (inputs + units), 4), *bias = take(3 * units, 4);
    const struct float_gru layer = {weight, bias, (uint16_t)inputs, (uint16_t)units};
    float *h = allocate(4 * units), *scratch = allocate(12 * units);
    for (uint32_t i = 0; i < units; i++) {
        h[i] = 0.0f;
    }
    for (uint32_t t = 0; t < steps; t++) {
        float *x = take(inputs, 4);
        float_gru_step(&layer, x, h, scratch);
        give(h, units, 4);
        free(x);
    }
    free(weight), free(bias), free(h), free(scratch);
}

static void run_float_lstm(void)
{
    const uint32_t inputs = take_u32(), units = take_u32(), steps = take_u32();
    float *weight = take(4 * units * (inputs + units), 4), *bias = take(4 * units, 4);
    const struct float_lstm layer = {weight, bias, (uint16_t)inputs, (uint16_t)units};
    float *h = allocate(4 * units), *c = allocate(4 * units), *scratch = allocate(16 * units);
    for (uint32_t i = 0; i < units; i++) {
        h[i] = c[i] = 0.0f;
    }
    for (uint32_t t = 0; t < steps; t++) {
        float *x = take(inputs, 4);
        float_lstm_step(&layer, x, h, c, scratch);
        give(h, units, 4);
        free(x);
    }
    free(weight), free(bias), free(h), free(c), free(scratch);
}

/* tanh of Q13, then sigmoid of the same numbers as Q12. */
static void run_gates(void)
{
    const uint32_t n = take_u32();
    int32_t *v = take(n, 4), *y = allocate(n * 8);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = gates_tanh_q15(v[i]);
        y[n + i] = gates_sigmoid_q15(v[i]);
    }
    give(y, 2 * n, 4);
    free(v), free(y);
}

static struct byte_rows take_byte_rows(unsigned outputs, unsigned inputs)
{
    const struct rows rows = take_rows(outputs, inputs);
    const struct byte_rows bytes = {rows.codes, rows.bias_q17, take(outputs, 1), rows.outputs};
    return bytes;
}

static void drop_byte_rows(const struct byte_rows *bytes)
{
    const struct rows rows = {bytes->codes, bytes->bias_q22, bytes->outputs};
    drop_rows(&rows);
    free((void *)(uintptr_t)bytes->shift);
}

static struct gru8 take_gru8(unsigned inputs, unsigned units)
{
    struct gru8 layer;
    layer.gates = take_byte_rows(2 * units, inputs + units);
    layer.candidate_x = take_byte_rows(units, inputs);
    layer.candidate_h = take_byte_rows(units, units);
    layer.inputs = (uint16_t)inputs;
    layer.units = (uint16_t)units;
    return layer;
}

static void drop_gru8(const struct gru8 *layer)
{
    drop_byte_rows(&layer->gates), drop_byte_rows(&layer->candidate_x), drop_byte_rows(&layer->candidate_h);
}

static size_t gru8_sums(unsigned units)
{
    return ROWS_BLOCK * (blocks(2 * units) + 2 * blocks(units));
}

/* The sums without those of filled-up rows. */
static void give_gru8_sums(const int32_t *acc, unsigned units)
{
    give(acc, 2 * units, 4);
    give(acc + ROWS_BLOCK * blocks(2 * units), units, 4);
    give(acc + ROWS_BLOCK * (blocks(2 * units) + blocks(units)), units, 4);
}

static void run_gru8(void)
{
    const uint32_t inputs = take_u32(), units = take_u32(), steps = take_u32();
    const struct gru8 layer = take_gru8(inputs, units);
    const struct gru8_state state = {allocate(4 * gru8_sums(units)), allocate(2 * units), allocate(2 * units)};
    gru8_reset(&layer, &state);
    int16_t *h = take(units, 2);
    for (uint32_t i = 0; i < units; i++) {
        state.h_q15[i] = h[i];
    }
    for (uint32_t t = 0; t < steps; t++) {
        int16_t *x = take(inputs, 2);
        gru8_step(&layer, x, &state);
        give_gru8_sums(state.acc_q22, units);
        give(state.h_before_q15, units, 2);
        give(state.h_q15, units, 2);
        free(x);
    }
    drop_gru8(&layer);
    free(state.acc_q22), free(state.h_q15), free(state.h_before_q15), free(h);
}

/* The first y is given as a list, as a step before would have left it. */
static void run_event_gru(void)
{
    const uint32_t inputs = take_u32(), units = take_u32(), steps = take_u32(), most = inputs > units ? inputs : units;
    struct event_gru layer = {.gru = take_gru8(inputs, units)};
    int16_t *const threshold = take(units, 2), *const h = take(units, 2), *const y = take(units, 2);
    uint16_t *const where = allocate(2 * most);
    for (uint32_t i = 0; i < most; i++) {
        where[i] = (uint16_t)(4 * i);
    }
    layer.threshold_q15 = threshold;
    layer.where = where;
    struct event *end;
    const struct event_gru_state state = {
        allocate(sizeof(struct event) * (inputs + 1)), allocate(sizeof(struct event) * (units + 1)), &end,
        allocate(4 * gru8_sums(units)), allocate(2 * units), allocate(2 * units), allocate(2 * units)};
    event_gru_reset(&layer, &state);
    for (uint32_t i = 0; i < units; i++) {
        state.h_q15[i] = h[i];
    }
    *state.y_end = events_append(state.y_list, y, units, where);
    for (uint32_t t = 0; t < steps; t++) {
        int16_t *x = take(inputs, 2);
        event_gru_step(&layer, x, &state);
        give_gru8_sums(state.acc_q22, units);
        give(state.y_q15, units, 2);
        give(state.h_q15, units, 2);
        free(x);
    }
    drop_gru8(&layer.gru);
    free(threshold), free(h), free(y), free(where);
    free(state.x_list), free(state.y_list), free(state.acc_q22);
    free(state.h_q15), free(state.h_before_q15), free(state.y_q15);
}

static void run_byte_dense(enum operation operation)
{
    const uint32_t inputs = take_u32(), outputs = take_u32();
    const struct byte_rows rows = take_byte_rows(outputs, inputs);
    int16_t *u = take(inputs, 2);
    int32_t *acc = allocate(4 * blocks(outputs) * ROWS_BLOCK);
    const size_t size = operation == BYTE_DENSE_RELU ? 2 : 4;
    void *y = allocate(size * outputs);
    if (operation == BYTE_DENSE_RELU) {
        byte_dense_relu(&rows, u, inputs, acc, y);
    } else {
        byte_dense_linear(&rows, u, inputs, acc, y);
    }
    give(y, outputs, size);
    drop_byte_rows(&rows);
    free(u), free(acc), free(y);
}

static void run_limits(void)
{
    const uint32_t limits[] = {ROWS_BLOCK, ROWS_MAX_FAN_IN, READOUT_SUM_MAX_STEPS};
    give(limits, sizeof limits / sizeof *limits, 4);
}

int main(void)
{
    uint32_t operation;
    while (fread(&operation, sizeof operation, 1, stdin) == 1) {
        switch ((enum operation)operation) {
        case SOFTSIGN: run_softsign(); break;
        case EMBEDDED_GRU: run_embedded_gru(); break;
        case DENSE_RELU:
        case DENSE_LINEAR: run_dense((enum operation)operation); break;
        case READOUT_SUM: run_readout_sum(); break;
        case FLOAT_FUNCTION: run_float_function(); break;
        case FLOAT_GRU: run_float_gru(); break;
        case LIMITS: run_limits(); break;
        case FLOAT_LSTM: run_float_lstm(); break;
        case GATES: run_gates(); break;
        case GRU8: run_gru8(); break;
        case EVENT_GRU: run_event_gru(); break;
        case BYTE_DENSE_RELU:
        case BYTE_DENSE_LINEAR: run_byte_dense((enum operation)operation); break;
        default: abort();
        }
        fflush(stdout);
    }
    return 0;
}
