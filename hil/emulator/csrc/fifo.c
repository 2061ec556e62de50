/* fifo.c -- bytes between the chip's lines and the host. */
#include <stdlib.h>

#include "state.h"

static bool grow(struct fifo *f) {
    uint32_t size = f->size ? 2 * f->size : 256;
    uint8_t *data = malloc(size);
    if (data == NULL) return false;
    for (uint32_t i = 0; i < f->count; i++) data[i] = f->data[(f->head + i) % f->size];
    free(f->data);
    f->data = data;
    f->head = 0;
    f->size = size;
    return true;
}

bool fifo_push(struct fifo *f, uint8_t byte) {
    if (f->count == f->size && !grow(f)) return false;
    f->data[(f->head + f->count++) % f->size] = byte;
    return true;
}

/* The oldest byte, or -1. */
int fifo_pop(struct fifo *f) {
    if (f->count == 0) return -1;
    uint8_t byte = f->data[f->head];
    f->head = (f->head + 1) % f->size;
    f->count--;
    return byte;
}

void fifo_free(struct fifo *f) {
    free(f->data);
    *f = (struct fifo){0};
}
