/* sound.c -- what microphones hear: samples given by Python, read between two of them by virtual time.
 *
 * Time begins with the first reading, so that what a program hears does not depend on when it begins to listen.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "state.h"

typedef unsigned __int128 u128;

static const uint64_t SECOND_PS = 1000000000000u;

uint64_t sound_step_q32(const struct sound *s, uint64_t ps) {
    return (uint64_t)(((u128)ps * s->rate << 32) / SECOND_PS);
}

uint64_t sound_position_q32(struct sound *s, uint64_t ps) {
    if (!s->started) {
        s->started = true;
        s->start_ps = ps;
    }
    return sound_step_q32(s, ps - s->start_ps);
}

/* The sample at a position, with 8 more bits from the straight line to the next one; silence outside. */
int32_t sound_at_q8(struct sound *s, uint64_t position_q32) {
    uint64_t i = position_q32 >> 32;
    if (i >= s->count) {
        s->over = true;
        return 0;
    }
    int32_t here = s->samples[i], next = i + 1 < s->count ? s->samples[i + 1] : 0;
    int64_t part = (int64_t)(next - here) * (int64_t)(position_q32 & 0xFFFFFFFFu);
    return here * 256 + (int32_t)(part >> 24);
}

/* The file is over, and then there are to be no more samples: so the program comes to rest. */
bool sound_stands_still(const struct sound *s) {
    return s->over && s->stop;
}

int emu_sound(struct emu *e, uint32_t which, const int16_t *samples, uint64_t count, uint32_t rate, int stop) {
    if (which >= SOUNDS || rate == 0 || count > (1u << 31)) return -1;
    int16_t *copy = malloc(count ? count * sizeof *copy : 1);
    if (copy == NULL) return -1;
    memcpy(copy, samples, count * sizeof *copy);
    free(e->sound[which].samples);
    e->sound[which] = (struct sound){.samples = copy, .count = count, .rate = rate, .stop = stop != 0};
    e->attention = 1;
    return 0;
}

void sound_free(struct emu *e) {
    for (uint32_t i = 0; i < SOUNDS; i++) {
        free(e->sound[i].samples);
        e->sound[i] = (struct sound){0};
    }
}

int emu_sound_over(struct emu *e, uint32_t which) {
    return which < SOUNDS && e->sound[which].over;
}

uint64_t emu_sound_taken(struct emu *e, uint32_t which) {
    return which < SOUNDS ? e->sound[which].taken : 0;
}

void emu_supply(struct emu *e, uint32_t millivolts) {
    e->supply_mv = millivolts;
}
