/* float_lstm.h -- one time step of a float32 LSTM: the other baseline in single precision.
 *
 *   i, f, o = sigmoid(W [x, h] + b)    g = tanh(W_g [x, h] + b_g)    c' = f c + i g    h' = o tanh(c')
 *
 * Source  Hochreiter and Schmidhuber 1997 with forget gates, as torch.nn.LSTM (its two biases added up).
 * Oracle  tests/test_kernels_float.py:float64_lstm, within 1e-5.
 * Shapes  D inputs, H units.
 */
#ifndef KERNELS_FLOAT_LSTM_H
#define KERNELS_FLOAT_LSTM_H

#include <stdint.h>

struct float_lstm {
    const float *weight;  /* [4H, D + H] row-major: i rows, f rows, g rows, o rows; columns: inputs, then state */
    const float *bias;    /* [4H] */
    uint16_t inputs;      /* D */
    uint16_t units;       /* H */
};

/* One time step.
 *
 *   x        [D]   not modified.
 *   h, c     [H]   output and cell state: read, then overwritten.
 *   scratch  [4H]  contents undefined on entry and on return.
 *
 * None of them may overlap. */
void float_lstm_step(const struct float_lstm *layer, const float *x, float *h, float *c, float *scratch);

#endif
