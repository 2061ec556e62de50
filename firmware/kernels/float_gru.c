#include "float_gru.h"

#include "float_math.h"

/* bias + w x + w' h for one row; w' follows w. */
static float row_sum(float bias, const float *weight, const float *x, unsigned inputs, const float *h, unsigned units)
{
    float sum = bias;
    for (unsigned i = 0; i < inputs; i++) {
        sum += weight[i] * x[i];
    }
    for (unsigned i = 0; i < units; i++) {
        sum += weight[inputs + i] * h[i];
    }
    return sum;
}

void float_gru_step(const struct float_gru *layer, const float *x, float *h, float *scratch)
{
    const unsigned inputs = layer->inputs, units = layer->units, columns = inputs + units;
    const float *weight = layer->weight, *bias = layer->bias;
    float *const reset_h = scratch, *const z = scratch + units, *const g = z + units;

    for (unsigned i = 0; i < units; i++, weight += columns) {
        reset_h[i] = h[i] * float_sigmoid(row_sum(*bias++, weight, x, inputs, h, units));
    }
    for (unsigned i = 0; i < units; i++, weight += columns) {
        z[i] = float_sigmoid(row_sum(*bias++, weight, x, inputs, h, units));
    }
    for (unsigned i = 0; i < units; i++, weight += columns) {
        g[i] = float_tanh(row_sum(*bias++, weight, x, inputs, reset_h, units));
    }
    for (unsigned i = 0; i < units; i++) {
        h[i] += z[i] * (g[i] - h[i]);
    }
}
