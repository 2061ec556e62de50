/* Every array of hil/cells/csrc in memory of exactly its size, for the sanitizers to see who goes beyond it. */

#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

#define JOIN3(a, b, c) a##b##_##c
#define KERNELS(type, level) JOIN3(recurrent_, type, level)

typedef TYPE real;

static uint32_t state = 1;

/* Uniform in +-1, a third of them 0 of an event array. */
static real draw(void)
{
    state = state * 1664525u + 1013904223u;
    return (real)((double)(state >> 8) / (1 << 23) - 1);
}

static real *array(int64_t elements, int events)
{
    real *made = malloc((size_t)elements * sizeof *made);
    for (int64_t i = 0; i < elements; i++) {
        made[i] = draw();
        if (events && made[i] < (real)0.3)
            made[i] = 0;
    }
    return made;
}

static int failures;

static void run(int64_t T, int64_t N, int64_t H, int32_t form, int32_t products, real threshold, int options)
{
    const struct recurrent_kernels *k = &KERNELS(TYPE, LEVEL);
    struct recurrent_event_gru g = {
        .steps = T, .batch = N, .units = H, .threads = 1, .is_double = sizeof(real) == 8, .form = form,
        .products = products, .move = 1, .damping = options & 1 ? 0 : 3.6, .support = 3.6,
    };
    real *theta = array(H, 0);
    for (int64_t i = 0; i < H; i++)
        theta[i] = threshold;
    void *owned[] = {
        array(N * H, 0), array(N * H, 1), array(3 * H * H, 0), array(3 * H, 0), array(T * N * H, 0),
        array(T * N * 3 * H, 0), array(T * N * H, 0), array(T * N * H, 0), array(T * N * H, 0),
        array(T * N * H, 0), array(T * N * H, 0), array(T * N * (4 * H + RECURRENT_PAD), 0), array(N * H, 0),
        array(N * H, 0), array(5 * H, 0), array(3 * H * H, 0), theta,
    };
    g.h_0 = owned[0], g.y_0 = owned[1], g.R = owned[2], g.d = owned[3], g.theta = theta;
    g.moves = options & 2 && form == FORM_THRESHOLD ? owned[4] : NULL;
    g.gates = owned[5], g.inner = owned[6], g.c = owned[7], g.y = owned[8];
    g.d_y = options & 1 ? NULL : owned[9], g.d_c = options & 2 ? owned[10] : NULL;
    g.d_pre = owned[11], g.d_stride = 4 * H + RECURRENT_PAD;
    g.d_h_0 = owned[12], g.d_y_0 = options & 2 ? NULL : owned[13], g.sums = owned[14], g.d_R = owned[15];
    int64_t events = 0;
    void *packed = k->pack_forward(&g);
    failures += k->forward(&g, packed, 0, N, &events) != RECURRENT_OK;
    free(packed);
    packed = k->pack_backward(&g);
    failures += k->backward(&g, packed, 0, N, g.sums) != RECURRENT_OK;
    free(packed);
    failures += k->weights(&g, 0, k->weight_panels(H)) != RECURRENT_OK;
    for (int64_t i = 0; i < 3 * H * H; i++)
        failures += !(((real *)g.d_R)[i] > -1e6 && ((real *)g.d_R)[i] < 1e6);
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

int main(void)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 2, 7}, {2, 35, 33}, {2, 9, 64}, {12, 33, 31}, {2, 13, 97}};
    int runs = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int32_t form = FORM_THRESHOLD; form <= FORM_VALUE; form++)
            for (int32_t products = PRODUCTS_BY_DENSITY; products <= PRODUCTS_SPARSE; products++)
                for (int options = 0; options < 4; options++, runs++)
                    run(sizes[i][0], sizes[i][1], sizes[i][2], form, products, (real)0.2 * (real)options, options);
    printf("%d runs, %d failures\n", runs, failures);
    return failures != 0;
}
