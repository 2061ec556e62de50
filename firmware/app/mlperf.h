/* mlperf.h -- the MLPerf Tiny text protocol on the same line as the frames (docs/mlperf.md).
 *
 * A command is text that ends with '%'; every answer ends with the line "m-ready". The input is a
 * clip's feature vectors, [T][D] int16 little-endian, kept where a stream keeps its window.
 */
#ifndef APP_MLPERF_H
#define APP_MLPERF_H

#include <stdbool.h>
#include <stdint.h>

struct session;

struct mlperf {
    uint32_t bytes;   /* of the input announced by "db load"; 0: none */
    uint32_t loaded;  /* of them, so far */
    uint32_t zero_us; /* uptime at which the time of "m-lap-us" began */
    bool answered;    /* the logits of an inference are kept */
};

/* No input. */
void mlperf_forget(struct session *session);

/* Carry out a command, given without its '%', and answer it. */
void mlperf_command(struct session *session, const char *command);

#endif
