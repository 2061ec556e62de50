/* trace.h -- the last jumps, kept in RAM by the micro trace buffer for whoever looks after a crash.
 *
 * Its writes take bus cycles: it is off inside measured windows.
 */
#ifndef SAMD21_TRACE_H
#define SAMD21_TRACE_H

#include "registers.h"

/* Source and destination of a jump are two words; a power of two of bytes, at least 16. */
#define TRACE_JUMPS 16u
#define TRACE_BYTES (8u * TRACE_JUMPS)
#define TRACE_MASK 3u /* the buffer has 16 << TRACE_MASK bytes */

/* The position in the buffer is not defined after reset. */
void trace_init(void);

static inline void trace_on(void)
{
    MTB_MASTER = MTB_MASTER_ENABLE | TRACE_MASK;
}

static inline void trace_off(void)
{
    MTB_MASTER = TRACE_MASK;
}

#endif
