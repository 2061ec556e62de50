/* run.h -- the requests that run the model or one kernel, each call in its own measured window. */
#ifndef APP_RUN_H
#define APP_RUN_H

#include "session.h"

/* Most steps of one STEPS frame: its features fit the body and its answer fits the replay
 * buffer. 0: not even one. */
uint16_t run_max_steps(uint8_t detail);

void run_begin(struct session *session);
void run_steps(struct session *session);
void run_finish(struct session *session);
void run_inspect(struct session *session);
void run_bench(struct session *session);

#endif
