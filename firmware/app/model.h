/* model.h -- what the application knows of a model; model.c is generated (hil.codegen).
 *
 * Shapes  D inputs, S units of all recurrent layers together, O outputs.
 */
#ifndef APP_MODEL_H
#define APP_MODEL_H

#include <stdint.h>

#include "frontend/frontend.h"

/* Inner values of a recurrent layer after the last step, for INSPECT.
 * H = units; the arrays belong to the model and stay valid until the next step. */
struct inner_form;
struct model_layer {
    uint16_t inputs;          /* D of this layer */
    uint16_t units;           /* H */
    const int32_t *acc;       /* sums; eGRU: [2H] Q17, z rows then g rows */
    const uint8_t *shift;     /* eGRU: [H][2] of a unit's z row and g row, Q17 to Q15 with the row's scale */
    const int16_t *h_q15;     /* [H] state after the step */
    const int16_t *h_before_q15; /* [H] state before the step, or NULL */
    const struct inner_form *form; /* what INNER shows of it (inner.h) */
    const void *cell;         /* the kernel's structure, where the form needs it */
};

/* A kernel measured by BENCH. `prepare` runs outside the window before each call. */
struct bench_kernel {
    const char *name;
    void (*prepare)(void);
    void (*run)(void);
};

/* Most hops whose readout sums are kept for a window of a stream with CARRY. */
#define MODEL_AUDIO_HOPS 16u

/* What a model needs to listen. */
struct model_audio {
    const struct frontend *frontend;
    int16_t *samples;     /* [W] the frame under way */
    int32_t *work;        /* [N] */
    int16_t *vectors_q15; /* [T][D rounded up to even] feature vectors of a window, aligned to 4 */
    int32_t *hops_q15;    /* [MODEL_AUDIO_HOPS][H of the last layer] */
    int32_t *history_q15; /* [8][O] outputs to be averaged */
    int32_t *logits_q15;  /* [O] */
    uint16_t frames;      /* T */
};
extern const struct model_audio *const model_audio; /* NULL: takes features only */

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

/* Readout sums since the start or since they were cleared: [model_summed], written by streams only. */
extern const uint16_t model_summed;
extern int32_t *const model_sums_q15;

/* States after the last step, layers side by side: h_q15 [S]. */
void model_read_states(int16_t *h_q15);

/* Readout sums clipped by the last model_output. */
uint32_t model_saturated(void);

/* Layer i, or NULL if there is none. */
const struct model_layer *model_layer(unsigned i);

#endif
