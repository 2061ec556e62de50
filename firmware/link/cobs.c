#include "cobs.h"

void cobs_encode(const uint8_t *bytes, size_t n, cobs_sink sink)
{
    size_t at = 0;

    for (;;) {
        size_t run = 0;

        while (run < COBS_MAX_RUN && at + run < n && bytes[at + run] != 0) {
            run++;
        }
        const uint8_t code = (uint8_t)(run + 1);
        sink(&code, 1);
        if (run > 0) {
            sink(bytes + at, run);
        }
        at += run;
        if (at == n) {
            return;
        }
        if (run < COBS_MAX_RUN) {
            at++; /* the zero that the code byte stands for */
        }
    }
}

void cobs_decoder_reset(struct cobs_decoder *decoder)
{
    decoder->left = 0;
    decoder->begun = false;
    decoder->owes_zero = false;
}

bool cobs_decode(struct cobs_decoder *decoder, uint8_t byte, uint8_t *out)
{
    if (decoder->left > 0) {
        decoder->left--;
        *out = byte;
        return true;
    }
    const bool zero = decoder->owes_zero;
    decoder->left = (uint8_t)(byte - 1);
    decoder->owes_zero = byte <= COBS_MAX_RUN;
    decoder->begun = true;
    *out = 0;
    return zero;
}

bool cobs_decoder_complete(const struct cobs_decoder *decoder)
{
    return decoder->begun && decoder->left == 0;
}
