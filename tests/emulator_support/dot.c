/* int8 x int16 dot products over a matrix [2H][D + H] at H = 64, D = 32: row by row, and four rows at a time. */
#include <stdint.h>

enum { H = 64, U = 96, ROWS = 2 * H };

int8_t weights[ROWS * U];
int16_t input[U];
volatile int32_t result[ROWS];
volatile uint32_t repeats = 1;

__attribute__((noinline)) void rows_one(const int8_t *w, const int16_t *x, volatile int32_t *out) {
    for (int r = 0; r < ROWS; r++) {
        int32_t acc = 0;
        for (int i = 0; i < U; i++) acc += w[r * U + i] * x[i];
        out[r] = acc;
    }
}

int main(void) {
    uint32_t seed = 1;
    for (int i = 0; i < ROWS * U; i++) weights[i] = (int8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    for (int i = 0; i < U; i++) input[i] = (int16_t)((seed = seed * 1664525u + 1013904223u) >> 16);
    for (uint32_t n = repeats; n > 0; n--) rows_one(weights, input, result);
    return 0;
}
