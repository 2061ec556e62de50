#include "event_gru.h"

#include "gru8_unit.h"

void event_gru_reset(const struct event_gru *layer, const struct event_gru_state *state)
{
    const struct gru8 *gru = &layer->gru;
    const unsigned sums = byte_rows_sums(&gru->gates) + 2 * byte_rows_sums(&gru->candidate_h);
    for (unsigned i = 0; i < sums; i++) {
        state->acc_q22[i] = 0;
    }
    for (unsigned i = 0; i < gru->units; i++) {
        state->h_q15[i] = 0;
        state->h_before_q15[i] = 0;
        state->y_q15[i] = 0;
    }
    *state->y_end = state->y_list;
}

/* The end of a list whose events are made even in number: an event of value 0 adds nothing. */
static struct event *padded(const struct event *list, struct event *end)
{
    if ((end - list) & 1) {
        *end++ = (struct event){0, 0};
    }
    return end;
}

static int32_t total(const struct event *list, const struct event *end)
{
    int32_t sum = 0;
    for (; list != end; list++) {
        sum += list->value_q15;
    }
    return sum;
}

/* Sums of rows over the columns in two lists; the second one's columns follow the first one's. */
static int32_t *sum(const struct byte_rows *rows, int32_t *acc_q22, const struct event *x, const struct event *x_end,
                    unsigned x_columns, const struct event *y, const struct event *y_end, unsigned y_columns,
                    int32_t values_total)
{
    const unsigned sums = byte_rows_sums(rows), blocks = sums / ROWS_BLOCK;
    uint32_t *const mixed = (uint32_t *)acc_q22;
    for (unsigned i = 0; i < sums; i++) {
        mixed[i] = 0;
    }
    if (x != x_end) {
        byte_rows_add_events(mixed, rows->codes, x_columns, x, x_end, blocks);
    }
    if (y != y_end) {
        byte_rows_add_events(mixed, rows->codes + blocks * x_columns, y_columns, y, y_end, blocks);
    }
    byte_rows_finish(rows, values_total, acc_q22);
    return acc_q22 + sums;
}

static void sum_all(const struct event_gru *layer, const int16_t *x_q15, const struct event_gru_state *state)
{
    const struct gru8 *gru = &layer->gru;
    const unsigned inputs = gru->inputs, units = gru->units;
    const struct event *const x = state->x_list, *const y = state->y_list;
    const struct event *const x_end = padded(x, events_append(state->x_list, x_q15, inputs, layer->where));
    const struct event *const y_end = padded(y, *state->y_end);
    const int32_t x_total = total(x, x_end), y_total = total(y, y_end);
    int32_t *acc = state->acc_q22;

    acc = sum(&gru->gates, acc, x, x_end, inputs, y, y_end, units, x_total + y_total);
    acc = sum(&gru->candidate_x, acc, x, x_end, inputs, y, y, 0, x_total);
    (void)sum(&gru->candidate_h, acc, x, x, 0, y, y_end, units, y_total);
}

void event_gru_step(const struct event_gru *layer, const int16_t *x_q15, const struct event_gru_state *state)
{
    struct event *list = state->y_list;

    sum_all(layer, x_q15, state);
    for (unsigned i = 0; i < layer->gru.units; i++) {
        const int16_t h = state->h_q15[i];
        int32_t c = gru8_unit(&layer->gru, state->acc_q22, i, h).c_q15, y = 0;
        if (c > layer->threshold_q15[i]) { /* c is positive, so neither y nor c - theta needs saturation */
            y = c;
            c -= layer->threshold_q15[i];
            *list++ = (struct event){y, layer->where[i]};
        }
        state->h_before_q15[i] = h;
        state->h_q15[i] = (int16_t)c;
        state->y_q15[i] = (int16_t)y;
    }
    *state->y_end = list;
}
