/* soft_float.c -- multiplications, divisions and additions with the compiler's library. */
#include <stdint.h>

#define VALUES 64u

static float x[VALUES];
static volatile float result;

int main(void)
{
    float y = 0.1f;

    for (uint32_t i = 0; i < VALUES; i++) {
        x[i] = (float)i * 0.37f;
    }
    for (uint32_t n = SPEED_REPEATS; n > 0; n--) {
        for (uint32_t i = 0; i < VALUES; i++) {
            y = y * 0.9375f + x[i] / (1.5f + y);
        }
    }
    result = y;
    return 0;
}
