/* event_driver.c -- runs the event kernels on the host, for tests/test_kernels_events.py.
 *
 * stdin   u32: rows R, columns D of a list of changes, other columns E, steps T, least; then
 *         weights [D + E][R] int8, start [R] int32, and of each step x [D] and u [E] int16.
 * stdout  Of each step acc [R] int32 and sent [D] int16; at the end start [R] int32. Every array has a
 *         heap block of exactly its size.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/events.h"

static void *take(size_t count, size_t size)
{
    void *block = malloc(count * size + 1u);
    if (!block || fread(block, size, count, stdin) != count) {
        abort();
    }
    return block;
}

static void give(const void *block, size_t count, size_t size)
{
    if (fwrite(block, size, count, stdout) != count) {
        abort();
    }
}

int main(void)
{
    uint32_t *sizes = take(5, 4);
    const unsigned rows = sizes[0], changing = sizes[1], others = sizes[2], columns = changing + others;
    int8_t *weight = take((size_t)columns * rows, 1);
    int32_t *start = take(rows, 4), *acc = malloc(4u * rows);
    int16_t *sent = calloc(changing ? changing : 1, 2);
    uint16_t *where = malloc(2u * (columns + 2u));
    const struct event_weights weights = {weight, (uint16_t)rows, (uint16_t)columns};
    for (unsigned i = 0; i < columns + 2u; i++) {
        where[i] = (uint16_t)i;
    }
    for (uint32_t t = 0; t < sizes[3]; t++) {
        int16_t *x = take(changing, 2), *u = take(others, 2);
        struct event *deltas = malloc((changing + 1u) * sizeof *deltas), *list = malloc((others + 1u) * sizeof *list);
        struct event *end = events_append_changes(deltas, x, sent, changing, where, (int32_t)sizes[4]);
        *end = (struct event){0, where[columns]};
        end = events_append(list, u, others, where + changing);
        *end = (struct event){0, where[columns + 1u]};
        events_sum_deltas(&weights, list, start, acc, deltas);
        give(acc, rows, 4);
        give(sent, changing, 2);
        free(x), free(u), free(deltas), free(list);
    }
    give(start, rows, 4);
    free(sizes), free(weight), free(start), free(acc), free(sent), free(where);
    return 0;
}
