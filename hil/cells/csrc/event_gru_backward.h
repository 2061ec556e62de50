/* The second half of event_gru.c: gradients of a slice, and of R. */

#define WEIGHT_ROWS 256 /* rows of d_pre at a time: that many of a panel fit the nearest cache */

/*
 * R's rows of the gates r and z, and of g: in panels [K, H], and turned [H, padded K], 0 behind K.  Form "threshold"
 * has all rows turned as one matrix, gates_turned.
 */
struct packed_backward {
    struct panels gates, inner, gates_turned, inner_turned;
    real memory[];
};

static struct panels turn(const real *R, int64_t K, int64_t columns, real *turned)
{
    const int64_t width = padded(K);
    memset(turned, 0, (size_t)(columns * width) * sizeof(real));
    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; i < columns; i++)
            turned[i * width + k] = R[k * columns + i];
    return (struct panels){turned, K, columns};
}

static void *pack_backward(const gru_t *g)
{
    const int64_t H = g->units, one = padded(H), wide = padded(2 * H) + one + PANEL;
    void *made = NULL;
    if (posix_memalign(&made, CACHE_LINE,
                       sizeof(struct packed_backward) + CACHE_LINE + (size_t)(3 * H * one + H * wide) * sizeof(real)))
        return NULL;
    struct packed_backward *p = made;
    real *gates = (real *)(((uintptr_t)p->memory + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    real *inner = gates + 2 * H * one, *turned = inner + H * one;
    const real *R = g->R, *R_g = R + 2 * H * H;
    pack(R, 0, 2 * H, H, gates);
    pack(R_g, 0, H, H, inner);
    p->gates = (struct panels){gates, 2 * H, H};
    p->inner = (struct panels){inner, H, H};
    if (g->form == FORM_VALUE) {
        p->gates_turned = turn(R, 2 * H, H, turned);
        p->inner_turned = turn(R_g, H, H, turned + H * padded(2 * H));
    } else
        p->gates_turned = turn(R, 3 * H, H, turned);
    return p;
}

/* A slice's own arrays of a step. */
struct backward_scratch {
    struct rows heard, carry; /* d_y through R, and d_h: of the step that comes next */
    struct rows reset, d_c;   /* form "value": d (r y), and d_c */
    real *step, *total; /* [5, padded H] sums over rows */
    int64_t group;      /* rows that a word of wanted tells about */
    uint32_t *wanted;   /* [groups, H] */
};

/* One sequence's arrays of a step. */
struct backward_row {
    const real *r, *z, *g, *q, *c, *y, *h_before, *y_before, *theta, *moves, *heard, *d_y, *d_c_in;
    real *carry, *d_g, *d_r, *d_z, *d_q, *d_c, *sum_g, *sum_r, *sum_z, *sum_q, *sum_theta;
};

struct surrogate {
    real damping, support, move;
};

INLINE void add_some(real *to, vec v, int n) { store_some(to, load_some(to, n) + v, n); }

INLINE vec fired(const real *y, int n) { return where(load_some(y, n) != splat(0), splat(1)); }

INLINE vec triangle(vec v, struct surrogate s)
{
    const vec height = splat(1) - splat(s.support) * choose(v < splat(0), -v, v);
    return splat(s.damping) * where(height > splat(0), height);
}

/* d c, from what arrives at y, h and c; adds d theta to its sum. */
INLINE vec state_gradient(const struct backward_row *a, int64_t u, int n, int form, struct surrogate s)
{
    const vec c = load_some(a->c + u, n), theta = load_some(a->theta + u, n), d_h = load_some(a->carry + u, n);
    const vec o = fired(a->y + u, n), psi = triangle(c - theta, s);
    vec d_y = load_some(a->heard + u, n);
    if (a->d_y)
        d_y += load_some(a->d_y + u, n);
    const vec d_o = form == FORM_THRESHOLD ? c * d_y - theta * d_h : c * d_y;
    const vec d_v = psi * d_o;
    add_some(a->sum_theta + u, form == FORM_THRESHOLD ? -(d_v + o * d_h) : -d_v, n);
    const vec d_c = o * d_y + d_v + d_h;
    return a->d_c_in ? d_c + load_some(a->d_c_in + u, n) : d_c;
}

INLINE void turn_back(const struct backward_row *a, int64_t u, int n, int form, struct surrogate s)
{
    vec d_c = state_gradient(a, u, n, form, s);
    const vec r = load_some(a->r + u, n), z = load_some(a->z + u, n), g = load_some(a->g + u, n);
    vec h = load_some(a->h_before + u, n), carry, d_g, d_z;
    if (form == FORM_THRESHOLD) {
        if (a->y_before)
            h -= fired(a->y_before + u, n) * load_some(a->theta + u, n);
        const vec move = a->moves ? load_some(a->moves + u, n) : splat(s.move);
        const vec kept = d_c - move * d_c;
        d_c = move * d_c;
        carry = kept + z * d_c;
        d_g = (d_c - z * d_c) * (splat(1) - g * g);
        d_z = (h - g) * d_c * (z - z * z);
        const vec d_q = d_g * r, d_r = d_g * load_some(a->q + u, n) * (r - r * r);
        store_some(a->d_q + u, d_q, n);
        store_some(a->d_r + u, d_r, n);
        add_some(a->sum_q + u, d_q, n);
        add_some(a->sum_r + u, d_r, n);
    } else {
        carry = d_c - z * d_c;
        d_g = z * d_c * (splat(1) - g * g);
        d_z = (g - h) * d_c * (z - z * z);
        store_some(a->d_q + u, d_g, n);
        store_some(a->d_c + u, d_c, n);
        add_some(a->sum_q + u, d_g, n);
    }
    store_some(a->carry + u, carry, n);
    store_some(a->d_g + u, d_g, n);
    store_some(a->d_z + u, d_z, n);
    add_some(a->sum_g + u, d_g, n);
    add_some(a->sum_z + u, d_z, n);
}

static void turn_back_row(const struct backward_row *a, int64_t units, int form, struct surrogate s)
{
    int64_t u = 0;
    for (; u + LANES <= units; u += LANES)
        turn_back(a, u, LANES, form, s);
    if (u < units)
        turn_back(a, u, (int)(units - u), form, s);
}

/* Flags of the units at step t whose event or surrogate is not 0; returns how many. */
static int64_t find_wanted(const gru_t *g, const struct backward_scratch *s, int64_t t, int64_t first, int64_t count)
{
    const int64_t H = g->units;
    const real *theta = g->theta;
    const real slope = g->damping != 0 ? (real)g->support : 1, start = g->damping != 0 ? 1 : 0;
    uint32_t *wanted = s->wanted;
    int64_t total = 0;
    for (int64_t group = 0; group < count; group += s->group, wanted += H) {
        memset(wanted, 0, (size_t)H * sizeof *wanted);
        for (int64_t i = 0; i < s->group && group + i < count; i++) {
            const real *c = rows_at(g->c, t * g->batch + first + group + i, H).at;
            for (int64_t u = 0; u < H; u++)
                wanted[u] |= (uint32_t)(slope * (c[u] - theta[u]) + start > 0) << i;
        }
        for (int64_t u = 0; u < H; u++)
            total += __builtin_popcount(wanted[u]);
    }
    return total;
}

static void wanted_products(struct panels turned, struct rows A, int64_t count, const struct backward_scratch *s,
                            struct rows out)
{
    for (int64_t i = 0; i < count; i += s->group)
        wanted_product(turned, below(A, i), s->wanted + i / s->group * turned.columns, below(out, i));
}

/* Form "value": d r through r y, and what y is owed by it and by its being taken from the state. */
static void turn_back_reset(const gru_t *g, struct backward_scratch *s, int64_t t, int64_t first, int64_t count)
{
    const int64_t H = g->units, at = t * g->batch + first;
    real *sum_r = s->step + padded(H);
    for (int64_t i = 0; i < count; i++) {
        const real *r = rows_at(g->gates, at + i, 3 * H).at;
        const real *y = t ? rows_at(g->y, at + i - g->batch, H).at : rows_at(g->y_0, first + i, H).at;
        const real *d_reset = below(s->reset, i).at, *d_c = below(s->d_c, i).at;
        real *d_r = rows_at(g->d_pre, at + i, g->d_stride).at + H, *d_y = below(s->heard, i).at;
        for (int64_t u = 0; u < H; u++) {
            d_r[u] = y[u] * d_reset[u] * (r[u] - r[u] * r[u]);
            sum_r[u] += d_r[u];
            d_y[u] = r[u] * d_reset[u] - d_c[u];
        }
    }
}

static void turn_back_rows(const gru_t *g, struct backward_scratch *s, int64_t t, int64_t first, int64_t count)
{
    const int64_t H = g->units, one = padded(H), at = t * g->batch + first;
    const struct surrogate surrogate = {(real)g->damping, (real)g->support, (real)g->move};
    for (int64_t i = 0; i < count; i++) {
        const real *r = rows_at(g->gates, at + i, 3 * H).at;
        real *d = rows_at(g->d_pre, at + i, g->d_stride).at;
        const struct backward_row a = {
            .r = r, .z = r + H, .g = r + 2 * H, .q = rows_at(g->inner, at + i, H).at,
            .c = rows_at(g->c, at + i, H).at, .y = rows_at(g->y, at + i, H).at,
            .h_before = t ? rows_at(g->c, at + i - g->batch, H).at : rows_at(g->h_0, first + i, H).at,
            .y_before = t ? rows_at(g->y, at + i - g->batch, H).at : NULL,
            .theta = g->theta, .moves = rows_at(g->moves, at + i, H).at, .heard = below(s->heard, i).at,
            .d_y = rows_at(g->d_y, at + i, H).at, .d_c_in = rows_at(g->d_c, at + i, H).at,
            .carry = below(s->carry, i).at, .d_g = d, .d_r = d + H, .d_z = d + 2 * H, .d_q = d + 3 * H,
            .d_c = below(s->d_c, i).at,
            .sum_g = s->step, .sum_r = s->step + one, .sum_z = s->step + 2 * one, .sum_q = s->step + 3 * one,
            .sum_theta = s->step + 4 * one,
        };
        if (g->form == FORM_VALUE)
            turn_back_row(&a, H, FORM_VALUE, surrogate);
        else
            turn_back_row(&a, H, FORM_THRESHOLD, surrogate);
        memset(d + 4 * H, 0, (size_t)(g->d_stride - 4 * H) * sizeof(real));
    }
}

/* Step t of a slice.  Of y_0 every gradient is wanted, or none. */
static void backward_step(const gru_t *g, const struct packed_backward *R, struct backward_scratch *s, int64_t t,
                          int64_t first, int64_t count)
{
    const int64_t H = g->units, one = padded(H);
    memset(s->step, 0, (size_t)(5 * one) * sizeof(real));
    turn_back_rows(g, s, t, first, count);
    int sparse = 0;
    if (t && g->products != PRODUCTS_DENSE) {
        const int64_t found = find_wanted(g, s, t - 1, first, count);
        sparse = g->products == PRODUCTS_SPARSE || (double)found < WANTED_PRODUCT_BELOW * (double)(count * H);
    }
    const struct rows d = rows_at(g->d_pre, t * g->batch + first, g->d_stride);
    const struct rows d_gates = {d.at + H, d.stride}, d_inner = {d.at + 3 * H, d.stride};
    if (g->form == FORM_VALUE) {
        memset(s->reset.at, 0, (size_t)(count * one) * sizeof(real));
        if (sparse)
            wanted_products(R->inner_turned, d_inner, count, s, s->reset);
        else
            dense_product(R->inner, d_inner, count, s->reset, s->reset);
        turn_back_reset(g, s, t, first, count);
        if (sparse)
            wanted_products(R->gates_turned, d_gates, count, s, s->heard);
        else
            dense_product(R->gates, d_gates, count, s->heard, s->heard);
    } else if (t || g->d_y_0) {
        memset(s->heard.at, 0, (size_t)(count * one) * sizeof(real));
        if (sparse)
            wanted_products(R->gates_turned, d_gates, count, s, s->heard);
        else {
            dense_product(R->inner, d_inner, count, s->heard, s->heard);
            dense_product(R->gates, d_gates, count, s->heard, s->heard);
        }
    }
    for (int64_t i = 0; i < 5 * one; i++)
        s->total[i] += s->step[i];
}

static int32_t backward(const gru_t *g, const void *packed, int64_t first, int64_t count, void *sums)
{
    const int64_t H = g->units, one = padded(H);
    const int64_t group = group_rows(3 * H, count > 0 ? count : 1), groups = (count + group - 1) / group;
    real *arrays = memory(4 * room(count * one) + 2 * room(5 * one)), *at = arrays;
    uint32_t *wanted = malloc((size_t)(groups * H + 1) * sizeof *wanted);
    if (arrays && wanted) {
        memset(arrays, 0, (size_t)(4 * room(count * one) + 2 * room(5 * one)) * sizeof(real));
        struct backward_scratch s = {
            .heard = {take(&at, count * one), one}, .carry = {take(&at, count * one), one},
            .reset = {take(&at, count * one), one}, .d_c = {take(&at, count * one), one},
            .step = take(&at, 5 * one), .total = take(&at, 5 * one), .group = group, .wanted = wanted,
        };
        for (int64_t t = g->steps - 1; t >= 0; t--)
            backward_step(g, packed, &s, t, first, count);
        for (int64_t i = 0; i < count; i++) {
            memcpy(rows_at(g->d_h_0, first + i, H).at, below(s.carry, i).at, (size_t)H * sizeof(real));
            if (g->d_y_0)
                memcpy(rows_at(g->d_y_0, first + i, H).at, below(s.heard, i).at, (size_t)H * sizeof(real));
        }
        for (int64_t i = 0; i < 5; i++)
            memcpy((real *)sums + i * H, s.total + i * one, (size_t)H * sizeof(real));
    }
    const int32_t result = arrays && wanted ? RECURRENT_OK : RECURRENT_NO_MEMORY;
    free(arrays);
    free(wanted);
    return result;
}

/* Of R: a panel of it is the sum over rows (t, n) of what a unit sent, times the row's gradient. */

static int64_t weight_panels(int64_t units) { return panels_of(2 * units) + panels_of(units); }

/* Up to WEIGHT_ROWS rows, by unit: who spoke when, with what, and the same times r (form "value"). */
struct spoken {
    int32_t *count, *row, *now; /* now: [H] who speaks in the row at hand */
    real *value, *reset;
};

static void list_spoken(const gru_t *g, int64_t from, int64_t count, struct spoken *s)
{
    const int64_t H = g->units;
    memset(s->count, 0, (size_t)H * sizeof *s->count);
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = from + i;
        const real *y = row < g->batch ? rows_at(g->y_0, row, H).at : rows_at(g->y, row - g->batch, H).at;
        const real *r = rows_at(g->gates, row, 3 * H).at;
        const int32_t found = list_row(y, H, s->now);
        for (int32_t e = 0; e < found; e++) {
            const int32_t j = s->now[e];
            const int64_t at = (int64_t)j * WEIGHT_ROWS + s->count[j]++;
            s->row[at] = (int32_t)i;
            s->value[at] = y[j];
            if (g->form == FORM_VALUE)
                s->reset[at] = r[j] * y[j];
        }
    }
}

/* Where panel p of the weights is: its first column in d_pre, its first row of R, how many, and what it multiplies. */
struct weight_panel {
    int64_t column, row, rows;
    int inner;
};

static struct weight_panel weight_panel(int64_t p, int64_t units)
{
    const int64_t gates = panels_of(2 * units), inner = p >= gates, at = (inner ? p - gates : p) * PANEL;
    const int64_t rows = (inner ? units : 2 * units) - at;
    return (struct weight_panel){
        (inner ? 3 : 1) * units + at, (inner ? 2 * units : 0) + at, rows < PANEL ? rows : PANEL, (int)inner,
    };
}

/* panel [H, PANEL] += the part of the sum that `spoken` tells of, from rows `from` of d_pre on. */
static void add_panel(const gru_t *g, const struct weight_panel *w, const struct spoken *s, int64_t from, int64_t count,
                      real *block, real *panel)
{
    for (int64_t i = 0; i < count; i++) {
        const real *d = rows_at(g->d_pre, from + i, g->d_stride).at + w->column;
        store(block + i * PANEL, load(d));
        store(block + i * PANEL + LANES, load(d + LANES));
    }
    const real *value = w->inner && g->form == FORM_VALUE ? s->reset : s->value;
    for (int64_t j = 0; j < g->units; j++, panel += PANEL) {
        if (!s->count[j])
            continue;
        vec sum[2] = {load(panel), load(panel + LANES)};
        gather(block, s->count[j], s->row + j * WEIGHT_ROWS, value + j * WEIGHT_ROWS, sum);
        store(panel, sum[0]);
        store(panel + LANES, sum[1]);
    }
}

static int32_t weights(const gru_t *g, int64_t first, int64_t count)
{
    const int64_t H = g->units, rows = g->steps * g->batch, list = H * WEIGHT_ROWS;
    real *arrays = memory(room(WEIGHT_ROWS * PANEL) + room(count * H * PANEL) + 2 * room(list)), *at = arrays;
    int32_t *index = malloc((size_t)(2 * H + list) * sizeof *index);
    if (arrays && index) {
        real *block = take(&at, WEIGHT_ROWS * PANEL), *panels = take(&at, count * H * PANEL);
        struct spoken s = {index, index + 2 * H, index + H, take(&at, list), take(&at, list)};
        memset(panels, 0, (size_t)(count * H * PANEL) * sizeof(real));
        for (int64_t from = 0; from < rows; from += WEIGHT_ROWS) {
            const int64_t some = from + WEIGHT_ROWS < rows ? WEIGHT_ROWS : rows - from;
            list_spoken(g, from, some, &s);
            for (int64_t p = 0; p < count; p++) {
                const struct weight_panel w = weight_panel(first + p, H);
                add_panel(g, &w, &s, from, some, block, panels + p * H * PANEL);
            }
        }
        for (int64_t p = 0; p < count; p++) {
            const struct weight_panel w = weight_panel(first + p, H);
            for (int64_t i = 0; i < w.rows; i++)
                for (int64_t j = 0; j < H; j++)
                    ((real *)g->d_R)[(w.row + i) * H + j] = panels[(p * H + j) * PANEL + i];
        }
    }
    const int32_t result = arrays && index ? RECURRENT_OK : RECURRENT_NO_MEMORY;
    free(arrays);
    free(index);
    return result;
}
