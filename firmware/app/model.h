/* model.h -- what the application knows of a model; model.c is generated (hil.codegen).
 *
 * Shapes  D inputs, S units of all recurrent layers together, O outputs.
 */
#ifndef APP_MODEL_H
#define APP_MODEL_H

#include <stdint.h>

/* Inner values of a recurrent layer after the last step, for INSPECT.
 * H = units; the arrays belong to the model and stay valid until the next step. */
struct model_layer {
    uint16_t inputs;          /* D of this layer */
    uint16_t units;           /* H */
    const int32_t *acc_q17;   /* [2H] sums, z rows then g rows */
    const uint8_t *shift;     /* [2H] of each row, Q17 to Q15 with its scale */
    const int16_t *h_q15;     /* [H] state after the step */
    const int16_t *h_before_q15; /* [H] state before the step */
};

/* A kernel measured by BENCH. `prepare` runs outside the window before each call. */
struct bench_kernel {
    const char *name;
    void (*prepare)(void);
    void (*run)(void);
};

extern const uint8_t model_artefact_hash[32]; /* all zero: a firmware without a model (bench) */
extern const uint8_t model_build_id[16];
extern const uint16_t model_inputs;  /* D, 0 without a model */
extern const uint16_t model_states;  /* S */
extern const uint16_t model_outputs; /* O */
extern const uint8_t model_layers;
extern const uint8_t model_kernels;  /* entries of model_bench */
extern const struct bench_kernel model_bench[];

/* Zero all states and sums: the start of a sequence. */
void model_reset(void);

/* One time step: x [D] Q15, aligned to 4. The measured window is exactly this call. */
void model_step(const int16_t *x);

/* Readout and output layers on the sums so far: logits [O] Q15. */
void model_output(int32_t *logits_q15);

/* States after the last step, layers side by side: h_q15 [S]. */
void model_read_states(int16_t *h_q15);

/* Readout sums clipped by the last model_output. */
uint32_t model_saturated(void);

/* Layer i, or NULL if there is none. */
const struct model_layer *model_layer(unsigned i);

#endif
