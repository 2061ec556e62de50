/* dot.c -- int8 x int16 dot products over a matrix [2H][D + H] at H = 64, D = 32, row by row. */
#include <stdint.h>

#define ROWS 128u
#define COLUMNS 96u

static int8_t weights[ROWS * COLUMNS];
static int16_t x[COLUMNS];
static volatile int32_t y[ROWS];

static uint32_t next(uint32_t seed)
{
    return seed * 1664525u + 1013904223u;
}

__attribute__((noinline)) static void multiply(const int8_t *w, const int16_t *v, volatile int32_t *out)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        int32_t acc = 0;

        for (uint32_t i = 0; i < COLUMNS; i++) {
            acc += w[row * COLUMNS + i] * v[i];
        }
        out[row] = acc;
    }
}

int main(void)
{
    uint32_t seed = 1;

    for (uint32_t i = 0; i < ROWS * COLUMNS; i++) {
        seed = next(seed);
        weights[i] = (int8_t)(uint8_t)(seed >> 24);
    }
    for (uint32_t i = 0; i < COLUMNS; i++) {
        seed = next(seed);
        x[i] = (int16_t)(uint16_t)(seed >> 16);
    }
    for (uint32_t n = SPEED_REPEATS; n > 0; n--) {
        multiply(weights, x, y);
    }
    return 0;
}
