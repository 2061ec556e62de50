/* cobs.h -- Consistent Overhead Byte Stuffing: no zero in the code, one byte more for every 254.
 *
 * Source  Cheshire and Baker, IEEE/ACM Transactions on Networking 7 (1999).
 */
#ifndef LINK_COBS_H
#define LINK_COBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most bytes that n bytes can become. */
#define COBS_MAX(n) ((n) + (n) / 254u + 1u)

/* The longest run of bytes without a zero that one code byte announces. */
#define COBS_MAX_RUN 254u

/* Takes the code's bytes as they come. */
typedef void (*cobs_sink)(const uint8_t *bytes, size_t n);

/* Encode n bytes, piece by piece, without a buffer. */
void cobs_encode(const uint8_t *bytes, size_t n, cobs_sink sink);

struct cobs_decoder {
    uint8_t left;     /* bytes of the run still to come */
    bool begun;       /* a code byte has been seen */
    bool owes_zero;   /* the run stands for a zero after it, unless it is the last */
};

void cobs_decoder_reset(struct cobs_decoder *decoder);

/* Feed one byte of the code, not 0. Returns whether it yields a byte, in *out. */
bool cobs_decode(struct cobs_decoder *decoder, uint8_t byte, uint8_t *out);

/* Whether the code may end here. */
bool cobs_decoder_complete(const struct cobs_decoder *decoder);

#endif
