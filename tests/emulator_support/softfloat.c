/* Soft-float code: y = y * a + x[i] / (b + i) with the compiler's library. */
#include <stdint.h>

volatile float result;
volatile uint32_t repeats = 1;
float x[64];

int main(void) {
    for (int i = 0; i < 64; i++) x[i] = (float)i * 0.37f;
    float y = 0.1f;
    for (uint32_t n = repeats; n > 0; n--) {
        for (int i = 0; i < 64; i++) y = y * 0.9375f + x[i] / (1.5f + y);
    }
    result = y;
    return 0;
}
