#include "float_lstm.h"

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

void float_lstm_step(const struct float_lstm *layer, const float *x, float *h, float *c, float *scratch)
{
    const unsigned inputs = layer->inputs, units = layer->units, columns = inputs + units;
    const float *const in = scratch, *const forget = in + units, *const g = forget + units, *const out = g + units;

    for (unsigned row = 0; row < 4 * units; row++) {
        scratch[row] = row_sum(layer->bias[row], layer->weight + row * columns, x, inputs, h, units);
    }
    for (unsigned i = 0; i < units; i++) {
        c[i] = float_sigmoid(forget[i]) * c[i] + float_sigmoid(in[i]) * float_tanh(g[i]);
        h[i] = float_sigmoid(out[i]) * float_tanh(c[i]);
    }
}
