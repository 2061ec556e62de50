#include "float_math.h"

#include <stdint.h>

#define EXP_OVERFLOW 88.72284f    /* below ln(2^128) by less than an ulp */
#define EXP_UNDERFLOW -103.97208f /* ln(2^-150): half of the smallest subnormal */
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e4p-1f        /* 15 bits: k * LN2_HIGH is exact for |k| < 2^9 */
#define LN2_LOW 0x1.7f7d1cp-20f
#define TANH_SMALL 0.625f /* below: polynomial; above: no cancellation in 1 - 2 / (e^2x + 1) */
#define TANH_ONE 9.02f    /* from here on tanh rounds to 1 */

/* 2^k for -126 <= k <= 127. */
static float power_of_two(int32_t k)
{
    union {
        uint32_t bits;
        float value;
    } result = {(uint32_t)(k + 127) << 23};
    return result.value;
}

/* x = k ln 2 + r with |r| <= ln(2) / 2; e^r = 1 + r + r^2 P(r), P by Remez to 8e-9. */
float float_exp(float x)
{
    if (x != x) {
        return x;
    }
    if (x > EXP_OVERFLOW) {
        return power_of_two(127) * 2.0f;
    }
    if (x < EXP_UNDERFLOW) {
        return 0.0f;
    }
    const int32_t k = (int32_t)(x * LOG2_E + (x < 0.0f ? -0.5f : 0.5f));
    const float kf = (float)k;
    const float r = (x - kf * LN2_HIGH) - kf * LN2_LOW;
    const float p = 0.5f + r * (0x1.5554dcp-3f + r * (0x1.5554b8p-5f + r * (0x1.120be6p-7f + r * 0x1.6d75eep-10f)));
    const float y = 1.0f + (r + r * r * p);
    const int32_t half = k / 2; /* in two steps: 2^k alone may be outside the normal range */
    return y * power_of_two(half) * power_of_two(k - half);
}

float float_tanh(float x)
{
    const float a = x < 0.0f ? -x : x;
    if (a < TANH_SMALL) { /* x + x^3 Q(x^2), Q by Remez to 2e-8 */
        const float u = x * x;
        const float q =
            -0x1.555552p-2f + u * (0x1.110e3ep-3f + u * (-0x1.b92c2cp-5f + u * (0x1.583aacp-6f - u * 0x1.90a25cp-8f)));
        return x + x * u * q;
    }
    const float y = a < TANH_ONE ? 1.0f - 2.0f / (float_exp(2.0f * a) + 1.0f) : a != a ? a : 1.0f;
    return x < 0.0f ? -y : y;
}

float float_sigmoid(float x)
{
    return 1.0f / (1.0f + float_exp(-x));
}
