/* events.h -- lists of the columns whose value is not 0, and sums over them only.
 *
 * Twin    hil/quant/kernels.py:row_sums_q17, equal bit for bit (tests/test_kernels_events.py):
 *         a column that is not in the list counts as a value of 0.
 * Shapes  R rows, C columns.
 */
#ifndef KERNELS_EVENTS_H
#define KERNELS_EVENTS_H

#include <stdint.h>

/* One column to be added. `where` finds its weights; what it says is a matter of the function that
 * sums: the reference below takes the column's index, generated code its distance in bytes
 * (hil/codegen/event_code.py). Each layer has a table where[C + 1]; its last entry ends a list. */
struct event {
    int32_t value_q15;
    uint32_t where;
};

/* acc = start + the columns of the list; exact, start [R] and acc [R] may be the same. With
 * deltas: first start += their columns, for good, then acc = start + the columns of the list;
 * both lists are ended, deltas by where[C], the list by where[C + 1]. Interrupts stay enabled. */
typedef void events_sum_function(const struct event *list, int32_t *start_q17, int32_t *acc_q17,
                                 const struct event *deltas);

/* Weights for the reference. */
struct event_weights {
    const int8_t *weight_q2; /* [C, R]: by column */
    uint16_t rows;           /* R */
    uint16_t columns;        /* C */
};

/* The reference of every `events_sum_function`; deltas may be NULL. An event's `where` is its
 * column, C ends the list (C and C + 1 with deltas). */
void events_sum(const struct event_weights *weights, const struct event *list, const int32_t *start_q17,
                int32_t *acc_q17);
void events_sum_deltas(const struct event_weights *weights, const struct event *list, int32_t *start_q17,
                       int32_t *acc_q17, const struct event *deltas);

/* Write an event for each value that is not 0, in order; returns where the next one goes.
 *
 *   x      [count]  aligned to 4, not modified.
 *   where  [count]  of these columns.
 *   list            room for count events. */
struct event *events_append(struct event *list, const int16_t *x_q15, unsigned count, const uint16_t *where);

/* Write an event with the change of each value that is more than `least` away from what was
 * last sent, and note that it was sent. An unsent value is unchanged, not 0.
 *
 *   sent  [count]  aligned to 4; the values that the sums hold; all 0 at the start.
 *
 * A change has at most 17 bits; the sums stay those of the values sent, so nothing more can overflow. */
struct event *events_append_changes(struct event *list, const int16_t *x_q15, int16_t *sent_q15, unsigned count,
                                    const uint16_t *where, int32_t least_q15);

#endif
