/* Programs with known cycle counts: int8 x int16 dot products over the eGRU matrix 2H x (D + H), and
 * a step of a float GRU at D = H = 32 with the compiler's library and newlib's expf and tanhf. */
#include <math.h>
#include <stdint.h>

enum { ROWS = 128, COLUMNS = 96 };

/* One row after the other: w [ROWS][COLUMNS], x [COLUMNS], out [ROWS]. */
__attribute__((noinline)) void rows_one(const int8_t *w, const int16_t *x, int32_t *out) {
    for (int r = 0; r < ROWS; r++) {
        int32_t acc = 0;
        for (int i = 0; i < COLUMNS; i++) acc += w[r * COLUMNS + i] * x[i];
        out[r] = acc;
    }
}

/* Four rows side by side, each input loaded once for four weights; sizes known at run time only. */
__attribute__((noinline)) void rows_four(const int8_t *w, const int16_t *x, int32_t *out, int columns, int rows) {
    for (int r = 0; r < rows; r += 4) {
        const int8_t *w0 = w + r * columns, *w1 = w0 + columns, *w2 = w1 + columns, *w3 = w2 + columns;
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (int i = 0; i < columns; i++) {
            int32_t v = x[i];
            a0 += w0[i] * v;
            a1 += w1[i] * v;
            a2 += w2[i] * v;
            a3 += w3[i] * v;
        }
        out[r] = a0;
        out[r + 1] = a1;
        out[r + 2] = a2;
        out[r + 3] = a3;
    }
}

enum { D = 32, H = 32 };
float gru_w[3 * H * D], gru_u[3 * H * H], gru_b[3 * H], gru_c[3 * H], gru_x[D], gru_h[H];

static float sigmoid(float a) { return 1.0f / (1.0f + expf(-a)); }

static float dot(const float *w, const float *x, int n, float acc) {
    for (int i = 0; i < n; i++) acc += w[i] * x[i];
    return acc;
}

/* Gates in the order r, z, n; the recurrent part of n with its own bias is inside the reset gate. */
__attribute__((noinline)) void gru_step(void) {
    float next[H];
    for (int j = 0; j < H; j++) {
        float gate[2];
        for (int g = 0; g < 2; g++) {
            int row = g * H + j;
            gate[g] = sigmoid(dot(gru_u + row * H, gru_h, H, dot(gru_w + row * D, gru_x, D, gru_b[row])));
        }
        int row = 2 * H + j;
        float inner = dot(gru_u + row * H, gru_h, H, gru_c[row]);
        float n = tanhf(dot(gru_w + row * D, gru_x, D, gru_b[row]) + gate[0] * inner);
        next[j] = (1.0f - gate[1]) * n + gate[1] * gru_h[j];
    }
    for (int j = 0; j < H; j++) gru_h[j] = next[j];
}

static const int8_t weights[ROWS * COLUMNS];
static int16_t input[COLUMNS];
static int32_t output[ROWS];

int main(void) {
    rows_one(weights, input, output);
    rows_four(weights, input, output, COLUMNS, ROWS);
    gru_step();
    return 0;
}
