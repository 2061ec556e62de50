#include "events.h"

#include <stddef.h>

static void add_columns(const struct event_weights *weights, const struct event *list, uint32_t end, int32_t *acc_q17)
{
    for (; list->where != end; list++) {
        const int8_t *const column = &weights->weight_q2[list->where * weights->rows];
        for (unsigned row = 0; row < weights->rows; row++) {
            acc_q17[row] += column[row] * list->value_q15;
        }
    }
}

void events_sum(const struct event_weights *weights, const struct event *list, const int32_t *start_q17,
                int32_t *acc_q17)
{
    for (unsigned row = 0; row < weights->rows; row++) {
        acc_q17[row] = start_q17[row];
    }
    add_columns(weights, list, weights->columns, acc_q17);
}

void events_sum_deltas(const struct event_weights *weights, const struct event *list, int32_t *start_q17,
                       int32_t *acc_q17, const struct event *deltas)
{
    add_columns(weights, deltas, weights->columns, start_q17);
    for (unsigned row = 0; row < weights->rows; row++) {
        acc_q17[row] = start_q17[row];
    }
    add_columns(weights, list, weights->columns + 1u, acc_q17);
}

#if !defined(__ARM_ARCH_6M__)
struct event *events_append(struct event *list, const int16_t *x_q15, unsigned count, const uint16_t *where)
{
    for (unsigned i = 0; i < count; i++) {
        if (x_q15[i] != 0) {
            *list++ = (struct event){x_q15[i], where[i]};
        }
    }
    return list;
}
#endif

struct event *events_append_changes(struct event *list, const int16_t *x_q15, int16_t *sent_q15, unsigned count,
                                    const uint16_t *where, int32_t least_q15)
{
    for (unsigned i = 0; i < count; i++) {
        const int32_t change = x_q15[i] - sent_q15[i];
        if (change > least_q15 || -change > least_q15) {
            *list++ = (struct event){change, where[i]};
            sent_q15[i] = x_q15[i];
        }
    }
    return list;
}
