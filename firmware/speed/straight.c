/* straight.c -- code without a loop, far larger than the flash cache: what weights as instructions look like. */
#include <stdint.h>

#define X4(s) s s s s
#define X16(s) X4(s) X4(s) X4(s) X4(s)
#define X256(s) X16(X16(s))
#define STEP "adds %0, %0, %3\n\tsubs %1, %1, %4\n\tadds %2, %2, %3\n\tsubs %0, %0, %4\n\t"

static volatile uint32_t result;

__attribute__((noinline)) static uint32_t weights(uint32_t x, uint32_t y)
{
    uint32_t a = 0, b = 1, c = 2;

    __asm__ volatile(".syntax unified\n\t" X256(STEP) : "+l"(a), "+l"(b), "+l"(c) : "l"(x), "l"(y) : "cc");
    return a ^ b ^ c;
}

int main(void)
{
    uint32_t sum = 0;

    for (uint32_t n = SPEED_REPEATS; n > 0; n--) {
        sum += weights(n, sum);
    }
    result = sum;
    return 0;
}
