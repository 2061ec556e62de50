/*
 * A whole sequence of an event-based GRU, forward and backward, with the products that silent units make needless
 * left out.  Arrays are dense, row-major, of float or double; t is the slowest index: [T, N, H] is T steps of N
 * sequences of H units.  Gates stand in the order r, z, g.  Nothing is kept between calls.
 *
 * Form "threshold":                                    Form "value":
 *   r, z = sigmoid(a + R y + d)                          r, z = sigmoid(a + R y + d)
 *   q = R_g y + d_g      g = tanh(a_g + r q)             q = R_g (r y) + d_g    g = tanh(a_g + q)
 *   c = z h + (1 - z) g, or h + move (that - h)          c = z g + (1 - z) h - y
 *   y' = o c             h' = c - o theta                y' = o c               h' = c
 *
 * with o = 1 where c > theta, else 0.  theta must not be negative, so that y is 0 exactly where a unit is silent.
 */

enum recurrent_products { PRODUCTS_BY_DENSITY, PRODUCTS_DENSE, PRODUCTS_SPARSE };
enum recurrent_form { FORM_THRESHOLD, FORM_VALUE };
enum recurrent_result { RECURRENT_OK, RECURRENT_NO_MEMORY, RECURRENT_NO_LEVEL };

struct recurrent_event_gru {
    int64_t steps, batch, units; /* T, N, H, each at least 1 */
    int32_t threads;             /* at least 1; sequences are divided among them, weights' columns in the last part */
    int32_t level;               /* of vector code, below recurrent_levels() */
    int32_t is_double;
    int32_t form;
    int32_t products;     /* recurrent_products; the result is the same up to the order of sums */
    double move;          /* without moves: the share of the way from h to c, 1 for all of it */
    double damping;       /* surrogate of the step at v = c - theta: damping max(0, 1 - support |v|) */
    double support;       /* more than 0 */
    const void *h_0, *y_0;        /* [N, H] */
    const void *R;                /* [3H, H] */
    const void *d;                /* [3H] */
    const void *theta;            /* [H] */
    const void *moves;            /* [T, N, H], or NULL */
    void *gates;                  /* [T, N, 3H]; forward: in a = W x + b, out r, z, g */
    void *inner;                  /* [T, N, H] q */
    void *c, *y;                  /* [T, N, H] */
    int64_t events;               /* forward: how many of y are not 0 */
    const void *d_y, *d_c;        /* [T, N, H] gradients that arrive, or NULL for none */
    int64_t d_stride;             /* of a row of d_pre: at least 4H + recurrent_pad() */
    void *d_pre;                  /* [T N, d_stride] out; columns: g, r, z as the inputs see them, then q; then zeros */
    void *d_h_0;                  /* [N, H] out */
    void *d_y_0;                  /* [N, H] out, or NULL: not wanted */
    void *sums;                   /* [threads, 5H] out: of d_pre over rows, and d_theta */
    void *d_R;                    /* [3H, H] out of recurrent_event_gru_weights */
};

int32_t recurrent_levels(void);            /* how many levels of vector code this machine can run */
const char *recurrent_level_name(int32_t); /* "generic", "avx2", "avx512" */
int64_t recurrent_pad(void);               /* elements */

/* Each returns a recurrent_result.  Backward takes what forward left, and the same options. */
int32_t recurrent_event_gru_forward(struct recurrent_event_gru *);
int32_t recurrent_event_gru_backward(struct recurrent_event_gru *);

/* d_R from d_pre and y, by the columns of units that spoke; worth it where few did. */
int32_t recurrent_event_gru_weights(struct recurrent_event_gru *);
