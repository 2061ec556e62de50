/* One slice of the batch of recurrent.h, for the type and level that this file is compiled for. */

#include "kernels.h"
#include "products.h"

#include <stdlib.h>

#define JOIN3(a, b, c) a##b##_##c
#define KERNELS(type, level) JOIN3(recurrent_, type, level)

#define SPARSE_PRODUCT_BELOW 0.45 /* share of events from which the dense product is the faster one */
#define WANTED_PRODUCT_BELOW 0.45 /* the same of wanted gradients */
#define CACHE_LINE 64

typedef struct recurrent_event_gru gru_t;

/* Memory for arrays of `elements` reals in all, each of which begins on a cache line; NULL if there is none. */
static real *memory(int64_t elements)
{
    void *at = NULL;
    return posix_memalign(&at, CACHE_LINE, (size_t)elements * sizeof(real)) ? NULL : at;
}

/* The next array of `elements`. */
static real *take(real **at, int64_t elements)
{
    real *taken = *at;
    *at += (elements + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return taken;
}

static int64_t room(int64_t elements) { return (elements + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE; }

static struct rows rows_at(const void *array, int64_t row, int64_t width)
{
    return (struct rows){array ? (real *)(uintptr_t)array + row * width : NULL, width};
}

/* Forward. */

/* R's rows of the gates r and z, and of g, each in panels; the biases that their sums begin with, filled up with 0. */
struct packed_forward {
    struct panels gates, inner;
    struct rows gates_start, inner_start;
    real memory[];
};

static void *pack_forward(const gru_t *g)
{
    const int64_t H = g->units, both = padded(2 * H), one = padded(H);
    const int64_t elements = both * H + one * H + both + one;
    struct packed_forward *p = NULL;
    void *made = NULL;
    if (posix_memalign(&made, CACHE_LINE, sizeof *p + CACHE_LINE + (size_t)elements * sizeof(real)))
        return NULL;
    p = made;
    real *gates = (real *)(((uintptr_t)p->memory + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE), *inner = gates + both * H;
    real *start = inner + one * H;
    const real *R = g->R, *d = g->d;
    pack(R, 1, H, 2 * H, gates);
    pack(R + 2 * H * H, 1, H, H, inner);
    memset(start, 0, (size_t)(both + one) * sizeof(real));
    memcpy(start, d, (size_t)(2 * H) * sizeof(real));
    memcpy(start + both, d + 2 * H, (size_t)H * sizeof(real));
    p->gates = (struct panels){gates, H, 2 * H};
    p->inner = (struct panels){inner, H, H};
    p->gates_start = (struct rows){start, 0};
    p->inner_start = (struct rows){start + both, 0};
    return p;
}

/* A slice's own arrays of a step: sums of products, h, the events heard, and r y (form "value"). */
struct forward_scratch {
    struct rows gates, inner, h, reset;
    struct events heard;
};

/* Who spoke in a row of y, into index [H]; returns how many. */
INLINE int32_t list_row(const real *y, int64_t units, int32_t *index)
{
    int32_t found = 0;
    for (int32_t j = 0; j < units; j++) {
        index[found] = j;
        found += y[j] != 0;
    }
    return found;
}

/* Who spoke in y; returns how many. */
static int64_t list_events(struct rows y, int64_t count, int64_t units, struct events *events)
{
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        const real *row = below(y, i).at;
        const int32_t *index = events->index + i * events->stride;
        const int32_t found = list_row(row, units, events->index + i * events->stride);
        for (int32_t e = 0; e < found; e++)
            events->value[i * events->stride + e] = row[index[e]];
        events->count[i] = found;
        total += found;
    }
    return total;
}

/* r and z, in place, of one sequence's pre-activations. */
static void open_gates(real *gates, const real *sums, int64_t count)
{
    int64_t u = 0;
    for (; u + LANES <= count; u += LANES)
        store(gates + u, sigmoid(load(gates + u) + load(sums + u)));
    if (u < count)
        store_some(gates + u, sigmoid(load_some(gates + u, (int)(count - u)) + load(sums + u)), (int)(count - u));
}

/* One sequence's arrays of a step, from the unit on that is being computed. */
struct forward_row {
    real *r, *z, *g, *q, *c, *y, *h;
    const real *sum, *theta, *moves, *heard;
};

INLINE void move_units(const struct forward_row *a, int64_t u, int n, int form, real move)
{
    const vec z = load_some(a->z + u, n), h = load_some(a->h + u, n), theta = load_some(a->theta + u, n);
    const vec q = load_some(a->sum + u, n), from_x = load_some(a->g + u, n);
    vec g, c;
    if (form == FORM_THRESHOLD) {
        g = tanh_of(from_x + load_some(a->r + u, n) * q);
        c = z * h + (splat(1) - z) * g;
        if (a->moves)
            c = h + load_some(a->moves + u, n) * (c - h);
        else if (move != 1)
            c = h + splat(move) * (c - h);
    } else {
        g = tanh_of(from_x + q);
        c = z * g + (splat(1) - z) * h - load_some(a->heard + u, n);
    }
    const vec o = where(c > theta, splat(1));
    store_some(a->g + u, g, n);
    store_some(a->q + u, q, n);
    store_some(a->c + u, c, n);
    store_some(a->y + u, o * c, n);
    store_some(a->h + u, form == FORM_THRESHOLD ? c - o * theta : c, n);
}

static void move_row(const struct forward_row *a, int64_t units, int form, real move)
{
    int64_t u = 0;
    for (; u + LANES <= units; u += LANES)
        move_units(a, u, LANES, form, move);
    if (u < units)
        move_units(a, u, (int)(units - u), form, move);
}

/* r y and, of the events, r times their value: what form "value" multiplies R_g with. */
static void reset_events(const real *gates, const real *y, int64_t units, int64_t row, struct forward_scratch *s)
{
    real *reset = below(s->reset, row).at, *value = s->heard.value + row * s->heard.stride;
    const int32_t *index = s->heard.index + row * s->heard.stride;
    for (int64_t j = 0; j < units; j++)
        reset[j] = gates[j] * y[j];
    for (int32_t e = 0; e < s->heard.count[row]; e++)
        value[e] *= gates[index[e]];
}

/* Step t of a slice; returns how many events it heard. */
static int64_t forward_step(const gru_t *g, const struct packed_forward *R, struct forward_scratch *s, int64_t t,
                            int64_t first, int64_t count)
{
    const int64_t H = g->units, at = t * g->batch + first;
    struct rows y = t ? rows_at(g->y, at - g->batch, H) : rows_at(g->y_0, first, H);
    const int64_t events = list_events(y, count, H, &s->heard);
    const int sparse = g->products == PRODUCTS_SPARSE
        || (g->products == PRODUCTS_BY_DENSITY && (double)events < SPARSE_PRODUCT_BELOW * (double)(count * H));
    if (sparse)
        sparse_product(R->gates, &s->heard, count, R->gates_start, s->gates);
    else
        dense_product(R->gates, y, count, R->gates_start, s->gates);
    struct rows gates = rows_at(g->gates, at, 3 * H);
    for (int64_t i = 0; i < count; i++) {
        open_gates(below(gates, i).at, below(s->gates, i).at, 2 * H);
        if (g->form == FORM_VALUE)
            reset_events(below(gates, i).at, below(y, i).at, H, i, s);
    }
    if (sparse)
        sparse_product(R->inner, &s->heard, count, R->inner_start, s->inner);
    else
        dense_product(R->inner, g->form == FORM_VALUE ? s->reset : y, count, R->inner_start, s->inner);
    for (int64_t i = 0; i < count; i++) {
        real *r = below(gates, i).at;
        const struct forward_row a = {
            .r = r, .z = r + H, .g = r + 2 * H, .h = below(s->h, i).at, .sum = below(s->inner, i).at,
            .q = rows_at(g->inner, at + i, H).at, .c = rows_at(g->c, at + i, H).at, .y = rows_at(g->y, at + i, H).at,
            .theta = g->theta, .moves = rows_at(g->moves, at + i, H).at, .heard = below(y, i).at,
        };
        if (g->form == FORM_VALUE)
            move_row(&a, H, FORM_VALUE, 1);
        else
            move_row(&a, H, FORM_THRESHOLD, (real)g->move);
    }
    return events;
}

static int32_t forward(const gru_t *g, const void *packed, int64_t first, int64_t count, int64_t *events)
{
    if (!count)
        return RECURRENT_OK;
    const int64_t H = g->units, both = padded(2 * H), one = padded(H);
    real *arrays = memory(room(count * both) + 4 * room(count * one)), *at = arrays;
    int32_t *index = malloc((size_t)(count * H + count) * sizeof *index);
    if (arrays && index) {
        struct forward_scratch s = {
            .gates = {take(&at, count * both), both}, .inner = {take(&at, count * one), one},
            .h = {take(&at, count * one), one}, .reset = {take(&at, count * one), one},
            .heard = {H, index + count * H, index, take(&at, count * one)},
        };
        for (int64_t i = 0; i < count; i++)
            memcpy(below(s.h, i).at, rows_at(g->h_0, first + i, H).at, (size_t)H * sizeof(real));
        for (int64_t t = 0; t < g->steps; t++)
            *events += forward_step(g, packed, &s, t, first, count);
    }
    const int32_t result = arrays && index ? RECURRENT_OK : RECURRENT_NO_MEMORY;
    free(arrays);
    free(index);
    return result;
}

#include "event_gru_backward.h"

const struct recurrent_kernels KERNELS(TYPE, LEVEL) = {
    pack_forward, pack_backward, forward, backward, weights, weight_panels,
};
