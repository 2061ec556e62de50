#include "receiver.h"

#include "crc32.h"

void receiver_init(struct receiver *receiver)
{
    receiver->state = RECEIVER_OUTSIDE;
    receiver->text_length = 0;
    receiver->length = 0;
    receiver->frames = 0;
    receiver->bad_frames = 0;
}

uint8_t *receiver_body(struct receiver *receiver)
{
    return receiver->frame.bytes + LINK_HEADER_BYTES;
}

uint32_t receiver_body_bytes(const struct receiver *receiver)
{
    return receiver->length - LINK_HEADER_BYTES - LINK_CRC_BYTES;
}

static void begin_frame(struct receiver *receiver)
{
    receiver->state = RECEIVER_INSIDE;
    receiver->length = 0;
    receiver->text_length = 0;
    receiver->too_long = false;
    cobs_decoder_reset(&receiver->decoder);
}

static void take_code(struct receiver *receiver, uint8_t byte)
{
    uint8_t decoded;

    if (!cobs_decode(&receiver->decoder, byte, &decoded)) {
        return;
    }
    if (receiver->length == RECEIVER_FRAME_BYTES) {
        receiver->too_long = true;
        return;
    }
    receiver->frame.bytes[receiver->length++] = decoded;
}

static bool frame_is_good(const struct receiver *receiver)
{
    if (receiver->too_long || !cobs_decoder_complete(&receiver->decoder)
        || receiver->length < LINK_HEADER_BYTES + LINK_CRC_BYTES) {
        return false;
    }
    const uint32_t checked = receiver->length - LINK_CRC_BYTES;
    const uint8_t *bytes = receiver->frame.bytes;
    return crc32_update(0, bytes, checked) == link_get_u32(bytes + checked);
}

static enum receiver_event end_frame(struct receiver *receiver)
{
    receiver->state = RECEIVER_OUTSIDE;
    if (!frame_is_good(receiver)) {
        receiver->bad_frames++;
        return RECEIVER_NOTHING;
    }
    receiver->frames++;
    return RECEIVER_FRAME;
}

static bool is_text(uint8_t byte)
{
    return (byte >= ' ' && byte <= '~') || byte == '\r' || byte == '\n';
}

static enum receiver_event take_text(struct receiver *receiver, uint8_t byte)
{
    if (byte == '%') {
        receiver->text[receiver->text_length] = '\0';
        receiver->text_length = 0;
        return RECEIVER_TEXT;
    }
    if (byte == '\r' || byte == '\n') {
        return RECEIVER_NOTHING;
    }
    if (receiver->text_length == RECEIVER_TEXT_BYTES) {
        receiver->text_length--;
    }
    receiver->text[receiver->text_length++] = (char)byte;
    return RECEIVER_NOTHING;
}

static enum receiver_event take_outside(struct receiver *receiver, uint8_t byte)
{
    if (byte == LINK_DELIMITER) {
        return RECEIVER_NOTHING;
    }
    if (byte == LINK_FRAME_TAG) {
        begin_frame(receiver);
        return RECEIVER_NOTHING;
    }
    if (is_text(byte)) {
        return take_text(receiver, byte);
    }
    receiver->text_length = 0;
    receiver->state = RECEIVER_SKIPPING;
    return RECEIVER_NOTHING;
}

enum receiver_event receiver_push(struct receiver *receiver, uint8_t byte)
{
    switch (receiver->state) {
    case RECEIVER_OUTSIDE:
        return take_outside(receiver, byte);
    case RECEIVER_INSIDE:
        if (byte == LINK_DELIMITER) {
            return end_frame(receiver);
        }
        take_code(receiver, byte);
        return RECEIVER_NOTHING;
    default: /* RECEIVER_SKIPPING */
        if (byte == LINK_DELIMITER) {
            receiver->state = RECEIVER_OUTSIDE;
        }
        return RECEIVER_NOTHING;
    }
}
