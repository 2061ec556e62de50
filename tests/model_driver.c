/* model_driver.c -- runs a generated model.c over one sequence, for tests/kernel_support.py.
 *
 * stdin   x [T, D] int16.
 * stdout  For each step and layer what INNER shows of it, and h_before [H] int16 where it is kept;
 *         then the states of all layers [S] int16. At the end logits [O] int32 and saturated uint32.
 *         The whole is done twice, so that a reset that forgets something shows.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/inner.h"

static void give(const void *block, size_t count, size_t size)
{
    if (fwrite(block, size, count, stdout) != count) {
        abort();
    }
}

static void run(const int16_t *features, size_t steps)
{
    int16_t *x = malloc(2u * model_inputs), *h = malloc(2u * model_states);
    int32_t *logits = malloc(4u * model_outputs);
    model_reset();
    for (size_t t = 0; t < steps; t++) {
        for (size_t i = 0; i < model_inputs; i++) {
            x[i] = features[t * model_inputs + i];
        }
        model_step(x);
        for (unsigned i = 0; i < model_layers; i++) {
            const struct model_layer *layer = model_layer(i);
            uint8_t *inner = malloc((size_t)layer->form->unit_bytes * layer->units);
            layer->form->put(inner, layer);
            give(inner, layer->units, layer->form->unit_bytes);
            if (layer->h_before_q15) {
                give(layer->h_before_q15, layer->units, 2);
            }
            free(inner);
        }
        model_read_states(h);
        give(h, model_states, 2);
    }
    model_output(logits);
    const uint32_t saturated = model_saturated();
    give(logits, model_outputs, 4);
    give(&saturated, 1, 4);
    free(x), free(h), free(logits);
}

int main(void)
{
    const size_t room = 1u << 20;
    int16_t *features = malloc(2 * room);
    const size_t count = fread(features, 2, room, stdin);
    if (model_layer(model_layers) || count % model_inputs) {
        abort();
    }
    run(features, count / model_inputs);
    run(features, count / model_inputs);
    free(features);
    return 0;
}
