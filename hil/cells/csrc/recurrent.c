/* Chooses the level, divides the work among threads. */

#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Registers that the operating system saves, as XGETBV tells. */
static uint32_t saved_registers(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

enum { YMM_SAVED = 0x06, ZMM_SAVED = 0xe6 };
enum { LEAF1_FMA = 1 << 12, LEAF1_OSXSAVE = 1 << 27, LEAF1_POPCNT = 1 << 23 };
enum { LEAF7_AVX2 = 1 << 5, LEAF7_BMI2 = 1 << 8, LEAF7_BMI1 = 1 << 3 };
#define LEAF7_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */

int32_t recurrent_levels(void)
{
    const uint32_t leaf1 = LEAF1_FMA | LEAF1_OSXSAVE | LEAF1_POPCNT, leaf7 = LEAF7_AVX2 | LEAF7_BMI1 | LEAF7_BMI2;
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1)
        return 1;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & leaf7) != leaf7)
        return 1;
    const uint32_t saved = saved_registers();
    if ((saved & YMM_SAVED) != YMM_SAVED)
        return 1;
    return (b & LEAF7_AVX512) == LEAF7_AVX512 && (saved & ZMM_SAVED) == ZMM_SAVED ? 3 : 2;
}

static const struct recurrent_kernels *const levels[][2] = {
    {&recurrent_float_generic, &recurrent_double_generic},
    {&recurrent_float_avx2, &recurrent_double_avx2},
    {&recurrent_float_avx512, &recurrent_double_avx512},
};
static const char *const names[] = {"generic", "avx2", "avx512"};
#else
int32_t recurrent_levels(void) { return 1; }

static const struct recurrent_kernels *const levels[][2] = {{&recurrent_float_generic, &recurrent_double_generic}};
static const char *const names[] = {"generic"};
#endif

const char *recurrent_level_name(int32_t level)
{
    return level >= 0 && level < recurrent_levels() ? names[level] : "";
}

int64_t recurrent_pad(void) { return RECURRENT_PAD; }

/* A thread's part of the work, and what came of it. */
struct part {
    struct recurrent_event_gru *gru;
    const struct recurrent_kernels *kernels;
    const void *packed;
    int64_t first, count, events;
    char *sums;
    int32_t result;
    pthread_t thread;
    int started;
};

static void *forward_part(void *part)
{
    struct part *p = part;
    p->result = p->kernels->forward(p->gru, p->packed, p->first, p->count, &p->events);
    return NULL;
}

static void *backward_part(void *part)
{
    struct part *p = part;
    p->result = p->kernels->backward(p->gru, p->packed, p->first, p->count, p->sums);
    return NULL;
}

static void *weights_part(void *part)
{
    struct part *p = part;
    p->result = p->kernels->weights(p->gru, p->first, p->count);
    return NULL;
}

/* Divide `items` among the threads; the first part is done here, and so is one whose thread does not start. */
static int32_t divide(struct recurrent_event_gru *gru, const struct recurrent_kernels *kernels, const void *packed,
                      int64_t items, void *(*work)(void *))
{
    const int64_t threads = gru->threads;
    const int64_t sums = 5 * gru->units * (int64_t)(gru->is_double ? sizeof(double) : sizeof(float));
    struct part *parts = calloc((size_t)threads, sizeof *parts);
    if (!parts)
        return RECURRENT_NO_MEMORY;
    for (int64_t i = threads - 1; i >= 0; i--) {
        struct part *p = &parts[i];
        p->gru = gru;
        p->kernels = kernels;
        p->packed = packed;
        p->first = items * i / threads;
        p->count = items * (i + 1) / threads - p->first;
        p->sums = gru->sums ? (char *)gru->sums + i * sums : NULL;
        p->started = i && p->count && !pthread_create(&p->thread, NULL, work, p);
        if (!p->started)
            work(p);
    }
    int32_t result = RECURRENT_OK;
    gru->events = work == forward_part ? 0 : gru->events;
    for (int64_t i = 0; i < threads; i++) {
        if (parts[i].started)
            pthread_join(parts[i].thread, NULL);
        if (parts[i].result != RECURRENT_OK)
            result = parts[i].result;
        gru->events += parts[i].events;
    }
    free(parts);
    return result;
}

static const struct recurrent_kernels *chosen(const struct recurrent_event_gru *gru)
{
    if (gru->level < 0 || gru->level >= recurrent_levels())
        return NULL;
    return levels[gru->level][gru->is_double ? 1 : 0];
}

int32_t recurrent_event_gru_forward(struct recurrent_event_gru *gru)
{
    const struct recurrent_kernels *kernels = chosen(gru);
    if (!kernels)
        return RECURRENT_NO_LEVEL;
    void *packed = kernels->pack_forward(gru);
    if (!packed)
        return RECURRENT_NO_MEMORY;
    const int32_t result = divide(gru, kernels, packed, gru->batch, forward_part);
    free(packed);
    return result;
}

int32_t recurrent_event_gru_backward(struct recurrent_event_gru *gru)
{
    const struct recurrent_kernels *kernels = chosen(gru);
    if (!kernels)
        return RECURRENT_NO_LEVEL;
    void *packed = kernels->pack_backward(gru);
    if (!packed)
        return RECURRENT_NO_MEMORY;
    const int32_t result = divide(gru, kernels, packed, gru->batch, backward_part);
    free(packed);
    return result;
}

int32_t recurrent_event_gru_weights(struct recurrent_event_gru *gru)
{
    const struct recurrent_kernels *kernels = chosen(gru);
    if (!kernels)
        return RECURRENT_NO_LEVEL;
    return divide(gru, kernels, NULL, kernels->weight_panels(gru->units), weights_part);
}

/* Found in the library's bytes by hil.native. */
const char recurrent_source_mark[] = "hil-core-source:" SOURCE_HASH;
