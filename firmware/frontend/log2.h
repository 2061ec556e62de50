/* log2.h -- base-2 logarithm of an integer, and its square root. */
#ifndef FRONTEND_LOG2_H
#define FRONTEND_LOG2_H

#include <stdint.h>

/* log2(value) in Q10, value at least 1: a table of 32 intervals, linear in between; at most 0.7
 * steps from the real function. Twin: log2_q10 of hil/features/spectrum.py. */
int32_t log2_q10(uint32_t value);

/* The square root, rounded to nearest: at most 65536. */
uint32_t sqrt_rounded(uint32_t value);

#endif
