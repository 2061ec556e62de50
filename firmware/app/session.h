/* session.h -- what the device knows of its conversation with the host, and how it answers.
 *
 * docs/link.md says what each request does; hil/link/schema.py says where its fields are.
 */
#ifndef APP_SESSION_H
#define APP_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "audio.h"
#include "capture.h"
#include "link/answers.h"
#include "link/receiver.h"
#include "mlperf.h"

struct session {
    struct receiver receiver; /* its frame is the request under way */
    struct answers answers;
    bool greeted;             /* HELLO has been heard since reset */
    uint8_t next_seq;         /* of the next request; the one before it was answered last */
    uint32_t replays;

    bool begun;               /* between BEGIN and FINISH */
    uint8_t detail;           /* what STEP frames carry: enum link_detail */
    uint32_t hash;            /* CRC-32 of all states since BEGIN, with LINK_DETAIL_HASH */
    uint32_t sequence;
    uint16_t steps;           /* announced by BEGIN */
    uint16_t done;            /* since BEGIN */

    struct audio audio;
    struct mlperf mlperf;
#if defined(MICROPHONE_KIND)
    struct capture capture;
#endif
};

void session_init(struct session *session);

/* Tell the host that the chip has been reset. */
void session_boot(void);

/* Take one byte of the line; carries out the request or the command that it completes. */
void session_take(struct session *session, uint8_t byte);

/* Answer the request under way with one empty frame, or with an ERROR. */
void session_acknowledge(struct session *session);
void session_refuse(struct session *session, uint8_t code, uint32_t detail);

#endif
