/* float_math.h -- exponential and tanh in single precision, for the float baseline only.
 *
 * Our own, so that the baseline is the same program under every compiler (newlib and
 * zig's library differ). Error measured against double precision on the host by
 * tests/test_kernels_float.py; one ulp is the last bit of the result.
 */
#ifndef KERNELS_FLOAT_MATH_H
#define KERNELS_FLOAT_MATH_H

/* e^x within 1.1 ulp where the result is normal, within 1 of the smallest steps
 * where it is subnormal. Infinite above 88.7228, 0 below -103.972; NaN stays NaN. */
float float_exp(float x);

/* tanh x within 1.5 ulp, odd. */
float float_tanh(float x);

/* 1 / (1 + e^-x) within 3 ulp for x above -87; 0 below -88.7228, where e^-x is infinite. */
float float_sigmoid(float x);

#endif
