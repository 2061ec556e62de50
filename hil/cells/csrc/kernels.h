/* What event_gru.c is compiled to for each type and level, for recurrent.c to choose from. */

#include <stdint.h>

#include "recurrent.h"

#define RECURRENT_PAD 32 /* elements: no level reads further behind a row of d_pre than this */

struct recurrent_kernels {
    /* R as the slices take it, shared by all; NULL without memory.  The caller frees it. */
    void *(*pack_forward)(const struct recurrent_event_gru *);
    void *(*pack_backward)(const struct recurrent_event_gru *);
    /* Sequences first to first + count; events counts what they heard, sums is [5H]; a recurrent_result. */
    int32_t (*forward)(const struct recurrent_event_gru *, const void *packed, int64_t first, int64_t count,
                       int64_t *events);
    int32_t (*backward)(const struct recurrent_event_gru *, const void *packed, int64_t first, int64_t count,
                        void *sums);
    /* Rows of d_R, by panels first to first + count of weight_panels. */
    int32_t (*weights)(const struct recurrent_event_gru *, int64_t first, int64_t count);
    int64_t (*weight_panels)(int64_t units);
};

extern const struct recurrent_kernels recurrent_float_generic, recurrent_double_generic;
#if defined(__x86_64__)
extern const struct recurrent_kernels recurrent_float_avx2, recurrent_double_avx2;
extern const struct recurrent_kernels recurrent_float_avx512, recurrent_double_avx512;
#endif
