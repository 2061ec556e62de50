/*
 * Products of a few rows with a weight matrix, dense, or only as much of them as events ask for.
 *
 * A matrix is packed into panels of PANEL columns: [panel][K][PANEL], the last one filled up with zeros.
 */

#include "vectors.h"

#define PANEL (2 * LANES)
#if VECTOR_BYTES == 16
#define TILE 4
#elif VECTOR_BYTES == 32
#define TILE 6
#else
#define TILE 8
#endif
/* Rows that a tile of sums in registers has: two vectors each, beside two of the matrix. */

/* Who spoke, of each row: count of them, which, and with what. */
struct events {
    int64_t stride; /* of a row of index and value */
    int32_t *count, *index;
    real *value;
};

INLINE int64_t panels_of(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
INLINE int64_t padded(int64_t columns) { return panels_of(columns) * PANEL; }

/* Panels [panel][K][PANEL] of A [K, columns], or with turned of A [columns, K]. */
static void pack(const real *A, int turned, int64_t K, int64_t columns, real *panels)
{
    const int64_t step = turned ? 1 : columns, across = turned ? K : 1;
    for (int64_t first = 0; first < columns; first += PANEL)
        for (int64_t k = 0; k < K; k++)
            for (int i = 0; i < PANEL; i++)
                *panels++ = first + i < columns ? A[k * step + (first + i) * across] : 0;
}

/* Rows of numbers: where the first one begins, and how far it is to the next. */
struct rows {
    real *at;
    int64_t stride;
};

/* A matrix [K, columns] in panels. */
struct panels {
    const real *at;
    int64_t K, columns;
};

/* out[row, 0..PANEL) = start[row, 0..PANEL) + A[row, 0..K) panel, of `count` rows, a constant up to TILE. */
INLINE void tile(const int count, const real *panel, int64_t K, struct rows A, struct rows start, struct rows out)
{
    vec sum[TILE][2];
    for (int i = 0; i < count; i++) {
        sum[i][0] = load(start.at + i * start.stride);
        sum[i][1] = load(start.at + i * start.stride + LANES);
    }
    for (int64_t k = 0; k < K; k++) {
        const vec left = load(panel + k * PANEL), right = load(panel + k * PANEL + LANES);
        for (int i = 0; i < count; i++) {
            const vec a = splat(A.at[i * A.stride + k]);
            sum[i][0] += a * left;
            sum[i][1] += a * right;
        }
    }
    for (int i = 0; i < count; i++) {
        store(out.at + i * out.stride, sum[i][0]);
        store(out.at + i * out.stride + LANES, sum[i][1]);
    }
}

INLINE struct rows below(struct rows r, int64_t count)
{
    return (struct rows){r.at + count * r.stride, r.stride};
}

/* out [count, padded columns] = start + A [count, K] M; a start of stride 0 is the same for every row. */
static void dense_product(struct panels M, struct rows A, int64_t count, struct rows start, struct rows out)
{
    for (int64_t p = 0; p < panels_of(M.columns); p++) {
        int64_t i = 0;
        for (; i + TILE <= count; i += TILE)
            tile(TILE, M.at, M.K, below(A, i), below(start, i), below(out, i));
        for (; i + 2 <= count; i += 2)
            tile(2, M.at, M.K, below(A, i), below(start, i), below(out, i));
        if (i < count)
            tile(1, M.at, M.K, below(A, i), below(start, i), below(out, i));
        M.at += M.K * PANEL;
        start.at += PANEL;
        out.at += PANEL;
    }
}

/* Two vectors: start + sum over e of value[e] rows[index[e]]; four sums at a time, so that none waits for another. */
INLINE void gather(const real *rows, int32_t count, const int32_t *index, const real *value, vec sum[2])
{
    vec other[3][2] = {{{0}}};
    int32_t e = 0;
    for (; e + 4 <= count; e += 4) {
        for (int i = 0; i < 4; i++) {
            const real *row = rows + (int64_t)index[e + i] * PANEL;
            const vec v = splat(value[e + i]);
            vec *to = i ? other[i - 1] : sum;
            to[0] += v * load(row);
            to[1] += v * load(row + LANES);
        }
    }
    for (; e < count; e++) {
        const real *row = rows + (int64_t)index[e] * PANEL;
        const vec v = splat(value[e]);
        sum[0] += v * load(row);
        sum[1] += v * load(row + LANES);
    }
    for (int half = 0; half < 2; half++)
        sum[half] += (other[0][half] + other[1][half]) + other[2][half];
}

/* As dense_product, A given by its events. */
static void sparse_product(struct panels M, const struct events *A, int64_t count, struct rows start, struct rows out)
{
    for (int64_t p = 0; p < panels_of(M.columns); p++) {
        for (int64_t i = 0; i < count; i++) {
            const real *from = below(start, i).at;
            vec sum[2] = {load(from), load(from + LANES)};
            gather(M.at, A->count[i], A->index + i * A->stride, A->value + i * A->stride, sum);
            store(below(out, i).at, sum[0]);
            store(below(out, i).at + LANES, sum[1]);
        }
        M.at += M.K * PANEL;
        start.at += PANEL;
        out.at += PANEL;
    }
}

/* *to[i] += a . b[i] of `count` (a constant) rows; K a multiple of PANEL. */
INLINE void dots(const int count, const real *a, const real *const *b, int64_t K, real *const *to)
{
    vec sum[4][2] = {{{0}}}, both[4];
    real sums[4];
    for (int64_t k = 0; k < K; k += PANEL) {
        const vec left = load(a + k), right = load(a + k + LANES);
        for (int i = 0; i < count; i++) {
            sum[i][0] += left * load(b[i] + k);
            sum[i][1] += right * load(b[i] + k + LANES);
        }
    }
    for (int i = 0; i < 4; i++)
        both[i] = sum[i][0] + sum[i][1];
    sums_of(both, sums);
    for (int i = 0; i < count; i++)
        *to[i] += sums[i];
}

#define NEAR_BYTES (40 * 1024) /* of rows that are read again and again: what the nearest cache holds of them */
#define MOST_ROWS 32           /* that one word of flags tells about */

/* How many rows of A a product of wanted units takes at a time. */
static int64_t group_rows(int64_t K, int64_t count)
{
    int64_t rows = NEAR_BYTES / (padded(K) * (int64_t)sizeof(real));
    rows = rows < 4 ? 4 : rows > MOST_ROWS ? MOST_ROWS : rows;
    return rows < count ? rows : count;
}

/*
 * out[row, i] += M[i] . A[row], only where bit `row` of wanted[i] is set, of up to MOST_ROWS rows.
 *
 * M is [columns, padded K], A at least padded K wide; M is 0 in what is behind K.
 */
static void wanted_product(struct panels M, struct rows A, const uint32_t *wanted, struct rows out)
{
    const int64_t K = padded(M.K);
    for (int64_t i = 0; i < M.columns; i++) {
        const real *m = M.at + i * K, *from[4];
        real *to[4];
        int found = 0;
        for (uint32_t left = wanted[i]; left; left &= left - 1) {
            const int row = __builtin_ctz(left);
            from[found] = A.at + row * A.stride;
            to[found++] = out.at + row * out.stride + i;
            if (found == 4) {
                dots(4, m, from, K, to);
                found = 0;
            }
        }
        if (found == 3)
            dots(3, m, from, K, to);
        else if (found == 2)
            dots(2, m, from, K, to);
        else if (found == 1)
            dots(1, m, from, K, to);
    }
}
