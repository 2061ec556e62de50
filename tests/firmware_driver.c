/* firmware_driver.c -- firmware/link for tests/test_firmware_link.py: bytes in, bytes out. */
#include "link/answers.h"
#include "link/cobs.h"
#include "link/crc32.h"
#include "link/receiver.h"
#include "link/sender.h"

#define LINE_BYTES (1u << 20)

void drive_clear(void);
uint32_t drive_line(const uint8_t **line);
void drive_cobs(const uint8_t *bytes, uint32_t n);
void drive_send(uint8_t *frame, uint32_t n);
void drive_receive_begin(void);
uint32_t drive_receive(const uint8_t *bytes, uint32_t n, uint8_t *log);
uint32_t drive_counter(int bad);
void drive_answers_begin(uint8_t seq);
int drive_answer(uint8_t kind, const uint8_t *body, uint32_t n, int last);
void drive_answers_replay(void);

static uint8_t line[LINE_BYTES];
static uint32_t line_used;
static struct receiver receiver;
static struct answers answers;

static void take(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n && line_used < LINE_BYTES; i++) {
        line[line_used++] = bytes[i];
    }
}

void drive_clear(void)
{
    line_used = 0;
}

uint32_t drive_line(const uint8_t **at)
{
    *at = line;
    return line_used;
}

void drive_cobs(const uint8_t *bytes, uint32_t n)
{
    cobs_encode(bytes, n, take);
}

void drive_send(uint8_t *frame, uint32_t n)
{
    sender_send(frame, n, take);
}

void drive_receive_begin(void)
{
    receiver_init(&receiver);
}

static uint32_t log_item(uint8_t *log, uint8_t tag, const uint8_t *bytes, uint32_t n)
{
    log[0] = tag;
    link_put_u16(log + 1, (uint16_t)n);
    for (uint32_t i = 0; i < n; i++) {
        log[3 + i] = bytes[i];
    }
    return 3 + n;
}

/* Logs each frame (header and body) as 'F' and each command as 'T', with its length. */
uint32_t drive_receive(const uint8_t *bytes, uint32_t n, uint8_t *log)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < n; i++) {
        const enum receiver_event event = receiver_push(&receiver, bytes[i]);
        uint32_t length = 0;

        if (event == RECEIVER_FRAME) {
            used += log_item(log + used, 'F', receiver.frame.bytes, LINK_HEADER_BYTES + receiver_body_bytes(&receiver));
        } else if (event == RECEIVER_TEXT) {
            while (receiver.text[length] != '\0') {
                length++;
            }
            used += log_item(log + used, 'T', (const uint8_t *)receiver.text, length);
        }
    }
    return used;
}

uint32_t drive_counter(int bad)
{
    return bad ? receiver.bad_frames : receiver.frames;
}

void drive_answers_begin(uint8_t seq)
{
    if (answers.sink == NULL) {
        answers_init(&answers, take);
    }
    answers_begin(&answers, seq);
}

/* Returns 0 if the frame does not fit. */
int drive_answer(uint8_t kind, const uint8_t *body, uint32_t n, int last)
{
    if (!answers_fits(&answers, n)) {
        return 0;
    }
    uint8_t *at = answers_frame(&answers, kind, n);
    for (uint32_t i = 0; i < n; i++) {
        at[i] = body[i];
    }
    answers_send(&answers, last != 0);
    return 1;
}

void drive_answers_replay(void)
{
    answers_replay(&answers);
}
