/*
 * Vectors of the level that this file is compiled for, and what torch has as sigmoid and tanh.
 *
 * REAL_IS_DOUBLE and VECTOR_BYTES come from the command line.
 */

#include <stdint.h>
#include <string.h>

#if defined(__clang__) || __GNUC__ >= 12
#define HAS_SHUFFLE 1
#else
#define HAS_SHUFFLE 0
#endif

#if REAL_IS_DOUBLE
typedef double real;
typedef int64_t bits;
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define ROUNDER 0x1.8p52  /* added and taken away, it rounds to an integer */
#define LN2_HIGH 0x1.62e42feep-1 /* few enough bits that a multiple of it is exact */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define SIGMOID_LIMIT 708
#define TANH_LIMIT 20
#else
typedef float real;
typedef int32_t bits;
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define ROUNDER 0x1.8p23f
#define LN2_HIGH 0x1.63p-1f
#define LN2_LOW -0x1.bd0106p-13f
#define SIGMOID_LIMIT 87
#define TANH_LIMIT 10
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef bits mask __attribute__((vector_size(VECTOR_BYTES)));
typedef real loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define LANES_ARE (VECTOR_BYTES / (REAL_IS_DOUBLE ? 8 : 4)) /* for the preprocessor */
#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const real *from) { return *(const loose *)from; }
INLINE void store(real *to, vec v) { *(loose *)to = v; }

/* The first n lanes, the others 0; n is LANES, a constant, wherever speed matters. */
INLINE vec load_some(const real *from, int n)
{
    vec v = {0};
    if (n == LANES)
        return load(from);
    memcpy(&v, from, (size_t)n * sizeof(real));
    return v;
}

INLINE void store_some(real *to, vec v, int n)
{
    if (n == LANES)
        store(to, v);
    else
        memcpy(to, &v, (size_t)n * sizeof(real));
}

INLINE vec splat(real a) { return a - (vec){0}; }
INLINE vec where(mask m, vec a) { return (vec)(m & (mask)a); }
INLINE vec choose(mask m, vec a, vec b) { return (vec)((m & (mask)a) | (~m & (mask)b)); }
INLINE vec clamp(vec x, real limit)
{
    x = choose(x > splat(limit), splat(limit), x);
    return choose(x < splat(-limit), splat(-limit), x);
}

/* Of each half of two vectors, its sum with the other half: [a, b], then [a, b, c, d] of two such, and so on. */
#if LANES_ARE == 16
#define HALVES_LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HALVES_HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define QUARTERS_LOW 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define QUARTERS_HIGH 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif LANES_ARE == 8
#define HALVES_LOW 0, 1, 2, 3, 8, 9, 10, 11
#define HALVES_HIGH 4, 5, 6, 7, 12, 13, 14, 15
#define QUARTERS_LOW 0, 1, 4, 5, 8, 9, 12, 13
#define QUARTERS_HIGH 2, 3, 6, 7, 10, 11, 14, 15
#elif LANES_ARE == 4
#define HALVES_LOW 0, 1, 4, 5
#define HALVES_HIGH 2, 3, 6, 7
#define QUARTERS_LOW 0, 2, 4, 6
#define QUARTERS_HIGH 1, 3, 5, 7
#endif

/* Sums of the lanes of each of four vectors. */
INLINE void sums_of(const vec v[4], real sums[4])
{
#if LANES_ARE >= 4 && HAS_SHUFFLE
    const vec ab = __builtin_shufflevector(v[0], v[1], HALVES_LOW) + __builtin_shufflevector(v[0], v[1], HALVES_HIGH);
    const vec cd = __builtin_shufflevector(v[2], v[3], HALVES_LOW) + __builtin_shufflevector(v[2], v[3], HALVES_HIGH);
    const vec all = __builtin_shufflevector(ab, cd, QUARTERS_LOW) + __builtin_shufflevector(ab, cd, QUARTERS_HIGH);
    for (int i = 0; i < 4; i++) {
        sums[i] = 0;
        for (int lane = 0; lane < LANES / 4; lane++)
            sums[i] += all[i * (LANES / 4) + lane];
    }
#else
    for (int i = 0; i < 4; i++) {
        sums[i] = 0;
        for (int lane = 0; lane < LANES; lane++)
            sums[i] += v[i][lane];
    }
#endif
}

/* exp(x) = scale (1 + returned), |returned| <= 0.42: Taylor's series on half an octave to either side of 0. */
INLINE vec exp_less_one(vec x, vec *scale)
{
    const vec rounder = splat((real)ROUNDER);
    const vec shifted = x * splat((real)0x1.71547652b82fep0) + rounder; /* 1 / ln 2 */
    const vec octaves = shifted - rounder;
    const vec r = (x - octaves * splat(LN2_HIGH)) - octaves * splat(LN2_LOW);
    *scale = (vec)(((mask)shifted - (mask)rounder + EXPONENT_BIAS) << MANTISSA);
    vec p;
#if REAL_IS_DOUBLE
    p = splat(1.0 / 6227020800.0);
    p = p * r + splat(1.0 / 479001600.0);
    p = p * r + splat(1.0 / 39916800.0);
    p = p * r + splat(1.0 / 3628800.0);
    p = p * r + splat(1.0 / 362880.0);
    p = p * r + splat(1.0 / 40320.0);
    p = p * r + splat(1.0 / 5040.0);
#else
    p = splat(1.0f / 5040.0f);
#endif
    p = p * r + splat((real)1 / 720);
    p = p * r + splat((real)1 / 120);
    p = p * r + splat((real)1 / 24);
    p = p * r + splat((real)1 / 6);
    p = p * r + splat((real)1 / 2);
    return r + r * r * p;
}

/* Right to a few units in the last place; below -87 (-708 of double) 0 to within the smallest normal number. */
INLINE vec sigmoid(vec x)
{
    vec scale, p = exp_less_one(clamp(-x, SIGMOID_LIMIT), &scale);
    return splat(1) / (splat(1) + scale + scale * p);
}

/* Relative to itself right to a few units in the last place, also near 0. */
INLINE vec tanh_of(vec x)
{
    vec scale, p = exp_less_one(clamp(x + x, 2 * TANH_LIMIT), &scale);
    const vec e = scale * p + (scale - splat(1));
    return e / (e + splat(2));
}
