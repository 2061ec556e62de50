/* link_schema.h -- the link's frames as C constants and field accessors.
 *
 * Written by `python -m hil.link.c_header` from hil/link/schema.py: change that file, not this one.
 * docs/link.md explains every byte. A body is a packed byte array, little-endian:
 *
 *   LINK_<KIND>_BYTES        length of the body, or of its part before an array of variable length
 *   LINK_<KIND>_<FIELD>_AT   where an array begins in the body
 *   link_<kind>_get_<field>, link_<kind>_put_<field>   a scalar field, whatever its alignment
 */
#ifndef LINK_LINK_SCHEMA_H
#define LINK_LINK_SCHEMA_H

#include <stdint.h>

#define LINK_PROTOCOL_VERSION 1u
#define LINK_MAX_BODY 1024u
#define LINK_MAX_REPLY 2048u
#define LINK_WINDOW 4u
#define LINK_MAX_STREAM_LINE 544u
#define LINK_MAX_STREAM_REPLY 512u
#define LINK_HEADER_BYTES 4u
#define LINK_CRC_BYTES 4u
#define LINK_FRAME_TAG 0xF1u
#define LINK_DELIMITER 0x00u

enum link_kind { /* frame types; answers have the top bit set */
    LINK_HELLO = 0x01,
    LINK_BEGIN = 0x02,
    LINK_STEPS = 0x03,
    LINK_FINISH = 0x04,
    LINK_INSPECT = 0x05,
    LINK_BENCH = 0x06,
    LINK_STATUS = 0x07,
    LINK_ECHO = 0x08,
    LINK_BAUD = 0x09,
    LINK_RESET = 0x0A,
    LINK_CRASH = 0x0B,
    LINK_LISTEN = 0x0C,
    LINK_PCM = 0x0D,
    LINK_CAPTURE = 0x0E,
    LINK_RESEND = 0x0F,
    LINK_STOP = 0x10,
    LINK_IS_HELLO = 0x81,
    LINK_ACK = 0x82,
    LINK_STEP = 0x83,
    LINK_RESULT = 0x84,
    LINK_INNER = 0x85,
    LINK_BENCHED = 0x86,
    LINK_IS_STATUS = 0x87,
    LINK_ECHOED = 0x88,
    LINK_LISTENING = 0x89,
    LINK_HEARD = 0x8A,
    LINK_FEATURE = 0x8B,
    LINK_DECISION = 0x8C,
    LINK_CAPTURING = 0x8D,
    LINK_STOPPED = 0x8E,
    LINK_BOOT = 0x90,
    LINK_META = 0x91,
    LINK_SOUND = 0x92,
    LINK_VECTOR = 0x93,
    LINK_VERDICT = 0x94,
    LINK_ERROR = 0xE0,
    LINK_FAULT = 0xF0,
};

enum link_flag { /* bits of a header's flags */
    LINK_LAST = 0x01,
    LINK_UNSOLICITED = 0x02,
    LINK_REPLAY = 0x04,
    LINK_STREAM = 0x08,
};

enum link_error { /* code of an ERROR frame */
    LINK_ERROR_UNKNOWN_KIND = 0x01,
    LINK_ERROR_BAD_LENGTH = 0x02,
    LINK_ERROR_BAD_STATE = 0x03,
    LINK_ERROR_BAD_STEP = 0x04,
    LINK_ERROR_BAD_INDEX = 0x05,
    LINK_ERROR_BAD_VALUE = 0x06,
    LINK_ERROR_TOO_LARGE = 0x07,
    LINK_ERROR_OUT_OF_ORDER = 0x08,
};

enum link_detail { /* what STEP frames carry, as BEGIN says */
    LINK_DETAIL_NONE = 0x00,
    LINK_DETAIL_STATES = 0x01,
    LINK_DETAIL_HASH = 0x02,
};

enum link_listen { /* bits of a LISTEN request's flags */
    LINK_LISTEN_CARRY = 0x01,
    LINK_LISTEN_DETAIL = 0x02,
};

enum link_content { /* bits of a CAPTURE request's content */
    LINK_CONTENT_SOUND = 0x01,
    LINK_CONTENT_FEATURES = 0x02,
    LINK_CONTENT_DECISIONS = 0x04,
};

enum link_trigger { /* trigger of a CAPTURE request */
    LINK_TRIGGER_ALL = 0x00,
    LINK_TRIGGER_DETECTIONS = 0x01,
};

enum link_microphone { /* where samples come from */
    LINK_MICROPHONE_NONE = 0x00,
    LINK_MICROPHONE_ADC = 0x01,
    LINK_MICROPHONE_I2S = 0x02,
    LINK_MICROPHONE_BUFFER = 0x03,
};

enum link_crash { /* how of a CRASH request */
    LINK_CRASH_HARD_FAULT = 0x01,
    LINK_CRASH_HANG = 0x02,
    LINK_CRASH_LOCKUP = 0x03,
};

static inline uint8_t link_get_u8(const uint8_t *at)
{
    return at[0];
}

static inline uint16_t link_get_u16(const uint8_t *at)
{
    return (uint16_t)((uint32_t)at[0] | (uint32_t)at[1] << 8);
}

static inline uint32_t link_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void link_put_u8(uint8_t *at, uint8_t value)
{
    at[0] = value;
}

static inline void link_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void link_put_u32(uint8_t *at, uint32_t value)
{
    link_put_u16(at, (uint16_t)value);
    link_put_u16(at + 2, (uint16_t)(value >> 16));
}

static inline void link_put_i16(uint8_t *at, int16_t value)
{
    link_put_u16(at, (uint16_t)value);
}

static inline void link_put_i32(uint8_t *at, int32_t value)
{
    link_put_u32(at, (uint32_t)value);
}

/* HEADER */
/* frame type */
static inline uint8_t link_header_get_kind(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_header_put_kind(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* of the request; an answer repeats it */
static inline uint8_t link_header_get_seq(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_header_put_seq(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* requests that the sender can take now */
static inline uint8_t link_header_get_credit(const uint8_t *body)
{
    return link_get_u8(body + 2);
}
static inline void link_header_put_credit(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 2, value);
}
/* bit set of Flag */
static inline uint8_t link_header_get_flags(const uint8_t *body)
{
    return link_get_u8(body + 3);
}
static inline void link_header_put_flags(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 3, value);
}

/* HELLO */
#define LINK_HELLO_BYTES 1u
/* PROTOCOL_VERSION of the host */
static inline uint8_t link_hello_get_protocol(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_hello_put_protocol(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}

/* BEGIN */
#define LINK_BEGIN_BYTES 8u
/* number chosen by the host, repeated in RESULT */
static inline uint32_t link_begin_get_sequence(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_begin_put_sequence(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* feature vectors that will follow */
static inline uint16_t link_begin_get_steps(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_begin_put_steps(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* one of Detail */
static inline uint8_t link_begin_get_detail(const uint8_t *body)
{
    return link_get_u8(body + 6);
}
static inline void link_begin_put_detail(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 6, value);
}
/* 0 */
static inline uint8_t link_begin_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 7);
}
static inline void link_begin_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 7, value);
}

/* STEPS */
#define LINK_STEPS_BYTES 4u
/* index of the first step in this frame */
static inline uint16_t link_steps_get_first(const uint8_t *body)
{
    return link_get_u16(body);
}
static inline void link_steps_put_first(uint8_t *body, uint16_t value)
{
    link_put_u16(body, value);
}
/* steps in this frame */
static inline uint16_t link_steps_get_count(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_steps_put_count(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
#define LINK_STEPS_X_AT 4u /* i16[rest]: [count, D] Q15, features */

/* FINISH */
#define LINK_FINISH_BYTES 0u

/* INSPECT */
#define LINK_INSPECT_BYTES 1u
/* recurrent layer, 0 is the input side */
static inline uint8_t link_inspect_get_layer(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_inspect_put_layer(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}

/* BENCH */
#define LINK_BENCH_BYTES 4u
/* index into the firmware's kernels */
static inline uint8_t link_bench_get_kernel(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_bench_put_kernel(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* 0 */
static inline uint8_t link_bench_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_bench_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* measured calls, 1 to 64 */
static inline uint16_t link_bench_get_repeats(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_bench_put_repeats(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}

/* STATUS */
#define LINK_STATUS_BYTES 0u

/* ECHO */
#define LINK_ECHO_BYTES 0u
#define LINK_ECHO_DATA_AT 0u /* u8[rest]: returned as it is */

/* BAUD */
#define LINK_BAUD_BYTES 4u
/* line speed after the answer has been sent */
static inline uint32_t link_baud_get_baud(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_baud_put_baud(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}

/* RESET */
#define LINK_RESET_BYTES 0u

/* CRASH */
#define LINK_CRASH_BYTES 1u
/* Crash */
static inline uint8_t link_crash_get_how(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_crash_put_how(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}

/* LISTEN */
#define LINK_LISTEN_BYTES 20u
/* number chosen by the host */
static inline uint32_t link_listen_get_sequence(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_listen_put_sequence(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* feature vectors of a window */
static inline uint16_t link_listen_get_frames(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_listen_put_frames(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* feature vectors from one decision to the next */
static inline uint16_t link_listen_get_hop(const uint8_t *body)
{
    return link_get_u16(body + 6);
}
static inline void link_listen_put_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 6, value);
}
/* bit set of Listen */
static inline uint8_t link_listen_get_flags(const uint8_t *body)
{
    return link_get_u8(body + 8);
}
static inline void link_listen_put_flags(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 8, value);
}
/* 2**n decisions are averaged, 0 to 3 */
static inline uint8_t link_listen_get_smooth_log2(const uint8_t *body)
{
    return link_get_u8(body + 9);
}
static inline void link_listen_put_smooth_log2(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 9, value);
}
/* decisions without a trigger after one */
static inline uint8_t link_listen_get_hold(const uint8_t *body)
{
    return link_get_u8(body + 10);
}
static inline void link_listen_put_hold(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 10, value);
}
/* 0 */
static inline uint8_t link_listen_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 11);
}
static inline void link_listen_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 11, value);
}
/* Q15, least lead of the best averaged output for a trigger */
static inline uint32_t link_listen_get_margin(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_listen_put_margin(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* bit set of outputs that never trigger */
static inline uint32_t link_listen_get_quiet(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_listen_put_quiet(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}

/* PCM */
#define LINK_PCM_BYTES 4u
/* index of the first sample in this frame, counted from LISTEN */
static inline uint32_t link_pcm_get_first(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_pcm_put_first(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
#define LINK_PCM_X_AT 4u /* i16[rest]: samples */

/* CAPTURE */
#define LINK_CAPTURE_BYTES 28u
/* number chosen by the host, repeated in META */
static inline uint32_t link_capture_get_sequence(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_capture_put_sequence(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* feature vectors of a window; 0: no features and no decisions are made */
static inline uint16_t link_capture_get_frames(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_capture_put_frames(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* feature vectors from one decision to the next */
static inline uint16_t link_capture_get_hop(const uint8_t *body)
{
    return link_get_u16(body + 6);
}
static inline void link_capture_put_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 6, value);
}
/* bit set of Listen, without DETAIL */
static inline uint8_t link_capture_get_flags(const uint8_t *body)
{
    return link_get_u8(body + 8);
}
static inline void link_capture_put_flags(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 8, value);
}
/* as in LISTEN */
static inline uint8_t link_capture_get_smooth_log2(const uint8_t *body)
{
    return link_get_u8(body + 9);
}
static inline void link_capture_put_smooth_log2(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 9, value);
}
/* as in LISTEN */
static inline uint8_t link_capture_get_hold(const uint8_t *body)
{
    return link_get_u8(body + 10);
}
static inline void link_capture_put_hold(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 10, value);
}
/* bit set of Content */
static inline uint8_t link_capture_get_content(const uint8_t *body)
{
    return link_get_u8(body + 11);
}
static inline void link_capture_put_content(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 11, value);
}
/* as in LISTEN */
static inline uint32_t link_capture_get_margin(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_capture_put_margin(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* as in LISTEN */
static inline uint32_t link_capture_get_quiet(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_capture_put_quiet(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* one of Trigger */
static inline uint8_t link_capture_get_trigger(const uint8_t *body)
{
    return link_get_u8(body + 20);
}
static inline void link_capture_put_trigger(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 20, value);
}
/* 0 */
static inline uint8_t link_capture_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 21);
}
static inline void link_capture_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 21, value);
}
/* with DETECTIONS: samples sent before the detecting window's last one, at most ring */
static inline uint16_t link_capture_get_before(const uint8_t *body)
{
    return link_get_u16(body + 22);
}
static inline void link_capture_put_before(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 22, value);
}
/* with DETECTIONS: samples sent behind it */
static inline uint32_t link_capture_get_after(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_capture_put_after(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}

/* RESEND */
#define LINK_RESEND_BYTES 6u
/* index of the first sample, as in SOUND */
static inline uint32_t link_resend_get_first(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_resend_put_first(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* samples, at most max_samples */
static inline uint16_t link_resend_get_count(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_resend_put_count(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}

/* STOP */
#define LINK_STOP_BYTES 0u

/* IS_HELLO */
#define LINK_IS_HELLO_BYTES 100u
/* PROTOCOL_VERSION of the firmware */
static inline uint8_t link_is_hello_get_protocol(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_is_hello_put_protocol(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* requests that may be under way at once */
static inline uint8_t link_is_hello_get_window(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_is_hello_put_window(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* largest count of a STEPS frame with states */
static inline uint16_t link_is_hello_get_max_steps(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_is_hello_put_max_steps(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
/* D, features of one step */
static inline uint16_t link_is_hello_get_inputs(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_is_hello_put_inputs(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* S, units of all recurrent layers */
static inline uint16_t link_is_hello_get_states(const uint8_t *body)
{
    return link_get_u16(body + 6);
}
static inline void link_is_hello_put_states(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 6, value);
}
/* O, logits */
static inline uint16_t link_is_hello_get_outputs(const uint8_t *body)
{
    return link_get_u16(body + 8);
}
static inline void link_is_hello_put_outputs(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 8, value);
}
/* recurrent layers */
static inline uint8_t link_is_hello_get_layers(const uint8_t *body)
{
    return link_get_u8(body + 10);
}
static inline void link_is_hello_put_layers(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 10, value);
}
/* kernels for BENCH */
static inline uint8_t link_is_hello_get_kernels(const uint8_t *body)
{
    return link_get_u8(body + 11);
}
static inline void link_is_hello_put_kernels(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 11, value);
}
/* CPU clock that the firmware has set up */
static inline uint32_t link_is_hello_get_clock_hz(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_is_hello_put_clock_hz(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* line speed */
static inline uint32_t link_is_hello_get_baud(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_is_hello_put_baud(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* DSU.DID */
static inline uint32_t link_is_hello_get_device_id(const uint8_t *body)
{
    return link_get_u32(body + 20);
}
static inline void link_is_hello_put_device_id(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 20, value);
}
#define LINK_IS_HELLO_SERIAL_AT 24u /* u32[4]: 128-bit serial number of the chip */
/* NVMCTRL.CTRLB read back: wait states, cache */
static inline uint32_t link_is_hello_get_nvm_ctrlb(const uint8_t *body)
{
    return link_get_u32(body + 40);
}
static inline void link_is_hello_put_nvm_ctrlb(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 40, value);
}
/* cycles of an empty measured window, already subtracted */
static inline uint32_t link_is_hello_get_overhead(const uint8_t *body)
{
    return link_get_u32(body + 44);
}
static inline void link_is_hello_put_overhead(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 44, value);
}
/* PM.RCAUSE of the last reset */
static inline uint32_t link_is_hello_get_reset_cause(const uint8_t *body)
{
    return link_get_u32(body + 48);
}
static inline void link_is_hello_put_reset_cause(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 48, value);
}
#define LINK_IS_HELLO_BUILD_ID_AT 52u /* u8[16]: hash of sources and flags */
#define LINK_IS_HELLO_ARTEFACT_HASH_AT 68u /* u8[32]: SHA-256 of the artefact */

/* ACK */
#define LINK_ACK_BYTES 0u

/* STEP */
#define LINK_STEP_BYTES 8u
/* index */
static inline uint16_t link_step_get_step(const uint8_t *body)
{
    return link_get_u16(body);
}
static inline void link_step_put_step(uint8_t *body, uint16_t value)
{
    link_put_u16(body, value);
}
/* taken inside the measured window; not 0: no measurement */
static inline uint16_t link_step_get_interrupts(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_step_put_interrupts(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
/* of the step */
static inline uint32_t link_step_get_cycles(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_step_put_cycles(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
#define LINK_STEP_H_AT 8u /* i16[rest]: [S] Q15, states after the step, the layers side by side; or as Detail says */

/* RESULT */
#define LINK_RESULT_BYTES 16u
/* as in BEGIN */
static inline uint32_t link_result_get_sequence(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_result_put_sequence(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* steps done */
static inline uint16_t link_result_get_steps(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_result_put_steps(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* taken inside the measured window of the output layers */
static inline uint16_t link_result_get_interrupts(const uint8_t *body)
{
    return link_get_u16(body + 6);
}
static inline void link_result_put_interrupts(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 6, value);
}
/* of readout and output layers */
static inline uint32_t link_result_get_cycles(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_result_put_cycles(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* readout sums that were clipped */
static inline uint32_t link_result_get_saturated(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_result_put_saturated(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
#define LINK_RESULT_LOGITS_AT 16u /* i32[rest]: [O] Q15 */

/* INNER */
#define LINK_INNER_BYTES 4u
/* as asked */
static inline uint8_t link_inner_get_layer(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_inner_put_layer(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* of this layer: 0 eGRU, 1 int8 GRU, 2 EGRU, 3 event eGRU */
static inline uint8_t link_inner_get_cell(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_inner_put_cell(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* H of this layer */
static inline uint16_t link_inner_get_units(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_inner_put_units(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
#define LINK_INNER_DATA_AT 4u /* u8[rest]: what hil.trace says of the cell, of an eGRU acc_q17 [2H] i32, z, g, h [H] i16; little-endian */

/* BENCHED */
#define LINK_BENCHED_BYTES 4u
/* as asked */
static inline uint8_t link_benched_get_kernel(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_benched_put_kernel(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* 0 */
static inline uint8_t link_benched_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_benched_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* taken inside the windows */
static inline uint16_t link_benched_get_interrupts(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_benched_put_interrupts(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
#define LINK_BENCHED_CYCLES_AT 4u /* u32[rest]: [repeats] of each call */

/* IS_STATUS */
#define LINK_IS_STATUS_BYTES 28u
/* good frames received since reset */
static inline uint32_t link_is_status_get_frames(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_is_status_put_frames(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* frames with a wrong COBS code, length or CRC */
static inline uint32_t link_is_status_get_bad_frames(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_is_status_put_bad_frames(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* bytes lost in the UART or the ring buffer */
static inline uint32_t link_is_status_get_overruns(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_is_status_put_overruns(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* requests that came again */
static inline uint32_t link_is_status_get_replays(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_is_status_put_replays(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* stack high-water mark */
static inline uint32_t link_is_status_get_stack_bytes(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_is_status_put_stack_bytes(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* stack available */
static inline uint32_t link_is_status_get_stack_size(const uint8_t *body)
{
    return link_get_u32(body + 20);
}
static inline void link_is_status_put_stack_size(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 20, value);
}
/* since reset, by the device's clock */
static inline uint32_t link_is_status_get_uptime_ms(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_is_status_put_uptime_ms(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}

/* ECHOED */
#define LINK_ECHOED_BYTES 0u
#define LINK_ECHOED_DATA_AT 0u /* u8[rest]: as sent */

/* LISTENING */
#define LINK_LISTENING_BYTES 8u
/* most samples of a PCM frame */
static inline uint16_t link_listening_get_max_samples(const uint8_t *body)
{
    return link_get_u16(body);
}
static inline void link_listening_put_max_samples(uint8_t *body, uint16_t value)
{
    link_put_u16(body, value);
}
/* most feature vectors of a window */
static inline uint16_t link_listening_get_frames(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_listening_put_frames(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
/* samples of a frame */
static inline uint16_t link_listening_get_window(const uint8_t *body)
{
    return link_get_u16(body + 4);
}
static inline void link_listening_put_window(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 4, value);
}
/* samples from one frame to the next */
static inline uint16_t link_listening_get_hop(const uint8_t *body)
{
    return link_get_u16(body + 6);
}
static inline void link_listening_put_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 6, value);
}

/* HEARD */
#define LINK_HEARD_BYTES 20u
/* taken since LISTEN */
static inline uint32_t link_heard_get_samples(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_heard_put_samples(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* feature vectors since LISTEN */
static inline uint32_t link_heard_get_frames(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_heard_put_frames(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* feature values clipped since LISTEN */
static inline uint32_t link_heard_get_clipped(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_heard_put_clipped(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* spent in front end and network since LISTEN, by the device's clock, modulo 2**32 */
static inline uint32_t link_heard_get_busy_us(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_heard_put_busy_us(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* FEATURE and DECISION frames of this answer, before this frame */
static inline uint16_t link_heard_get_parts(const uint8_t *body)
{
    return link_get_u16(body + 16);
}
static inline void link_heard_put_parts(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 16, value);
}
/* 0 */
static inline uint16_t link_heard_get_reserved(const uint8_t *body)
{
    return link_get_u16(body + 18);
}
static inline void link_heard_put_reserved(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 18, value);
}

/* FEATURE */
#define LINK_FEATURE_BYTES 4u
/* index of the feature vector since LISTEN */
static inline uint32_t link_feature_get_frame(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_feature_put_frame(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
#define LINK_FEATURE_X_AT 4u /* i16[rest]: [D] Q15 */

/* DECISION */
#define LINK_DECISION_BYTES 16u
/* of the decision since LISTEN */
static inline uint32_t link_decision_get_index(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_decision_put_index(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* index of the last feature vector of its window */
static inline uint32_t link_decision_get_frame(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_decision_put_frame(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* output with the best average */
static inline uint8_t link_decision_get_label(const uint8_t *body)
{
    return link_get_u8(body + 8);
}
static inline void link_decision_put_label(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 8, value);
}
/* 1: a detection */
static inline uint8_t link_decision_get_triggered(const uint8_t *body)
{
    return link_get_u8(body + 9);
}
static inline void link_decision_put_triggered(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 9, value);
}
/* 0 */
static inline uint16_t link_decision_get_reserved(const uint8_t *body)
{
    return link_get_u16(body + 10);
}
static inline void link_decision_put_reserved(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 10, value);
}
/* Q15, lead of the best average over the second best */
static inline uint32_t link_decision_get_margin(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_decision_put_margin(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
#define LINK_DECISION_LOGITS_AT 16u /* i32[rest]: [O] Q15, of this window alone */

/* CAPTURING */
#define LINK_CAPTURING_BYTES 24u
/* nominal samples a second */
static inline uint32_t link_capturing_get_rate(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_capturing_put_rate(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* samples a second that the device's clock makes, times 1000 */
static inline uint32_t link_capturing_get_rate_millihertz(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_capturing_put_rate_millihertz(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* one of Microphone */
static inline uint8_t link_capturing_get_microphone(const uint8_t *body)
{
    return link_get_u8(body + 8);
}
static inline void link_capturing_put_microphone(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 8, value);
}
/* conversions that make one sample; 1 for I2S */
static inline uint8_t link_capturing_get_oversampling(const uint8_t *body)
{
    return link_get_u8(body + 9);
}
static inline void link_capturing_put_oversampling(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 9, value);
}
/* samples that the DMA writes from one interrupt to the next */
static inline uint16_t link_capturing_get_block(const uint8_t *body)
{
    return link_get_u16(body + 10);
}
static inline void link_capturing_put_block(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 10, value);
}
/* samples that the device keeps: for RESEND, and for what goes before a detection */
static inline uint16_t link_capturing_get_ring(const uint8_t *body)
{
    return link_get_u16(body + 12);
}
static inline void link_capturing_put_ring(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 12, value);
}
/* most samples of a SOUND frame */
static inline uint16_t link_capturing_get_max_samples(const uint8_t *body)
{
    return link_get_u16(body + 14);
}
static inline void link_capturing_put_max_samples(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 14, value);
}
/* samples of a frame of features, 0 without a front end */
static inline uint16_t link_capturing_get_window(const uint8_t *body)
{
    return link_get_u16(body + 16);
}
static inline void link_capturing_put_window(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 16, value);
}
/* samples from one frame of features to the next */
static inline uint16_t link_capturing_get_hop(const uint8_t *body)
{
    return link_get_u16(body + 18);
}
static inline void link_capturing_put_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 18, value);
}
/* most feature vectors of a window */
static inline uint16_t link_capturing_get_frames(const uint8_t *body)
{
    return link_get_u16(body + 20);
}
static inline void link_capturing_put_frames(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 20, value);
}
/* supply voltage in millivolts, 0: not measured */
static inline uint16_t link_capturing_get_supply_mv(const uint8_t *body)
{
    return link_get_u16(body + 22);
}
static inline void link_capturing_put_supply_mv(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 22, value);
}

/* STOPPED */
#define LINK_STOPPED_BYTES 36u
/* unsolicited frames sent since CAPTURE: of the next one, had there been one */
static inline uint32_t link_stopped_get_number(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_stopped_put_number(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* sampled since CAPTURE, the lost ones included */
static inline uint32_t link_stopped_get_samples(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_stopped_put_samples(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* of these never taken, because the device was late */
static inline uint32_t link_stopped_get_lost(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_stopped_put_lost(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* of these taken and not sent, because the line had no room */
static inline uint32_t link_stopped_get_unsent(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_stopped_put_unsent(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* feature vectors made */
static inline uint32_t link_stopped_get_frames(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_stopped_put_frames(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* decisions made */
static inline uint32_t link_stopped_get_decisions(const uint8_t *body)
{
    return link_get_u32(body + 20);
}
static inline void link_stopped_put_decisions(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 20, value);
}
/* feature values clipped */
static inline uint32_t link_stopped_get_clipped(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_stopped_put_clipped(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}
/* share of the time since CAPTURE that the core slept, 1/1000 */
static inline uint16_t link_stopped_get_asleep_permille(const uint8_t *body)
{
    return link_get_u16(body + 28);
}
static inline void link_stopped_put_asleep_permille(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 28, value);
}
/* share that making features took */
static inline uint16_t link_stopped_get_features_permille(const uint8_t *body)
{
    return link_get_u16(body + 30);
}
static inline void link_stopped_put_features_permille(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 30, value);
}
/* share that the network took */
static inline uint16_t link_stopped_get_network_permille(const uint8_t *body)
{
    return link_get_u16(body + 32);
}
static inline void link_stopped_put_network_permille(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 32, value);
}
/* share that interrupts and the preparation of samples took */
static inline uint16_t link_stopped_get_sampling_permille(const uint8_t *body)
{
    return link_get_u16(body + 34);
}
static inline void link_stopped_put_sampling_permille(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 34, value);
}

/* BOOT */
#define LINK_BOOT_BYTES 4u
/* PM.RCAUSE */
static inline uint32_t link_boot_get_reset_cause(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_boot_put_reset_cause(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}

/* META */
#define LINK_META_BYTES 132u
/* of the unsolicited frame since CAPTURE, as in SOUND */
static inline uint32_t link_meta_get_number(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_meta_put_number(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* as in CAPTURE */
static inline uint32_t link_meta_get_sequence(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_meta_put_sequence(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* device time since reset, microseconds, low word */
static inline uint32_t link_meta_get_time_us_low(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_meta_put_time_us_low(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* high word */
static inline uint32_t link_meta_get_time_us_high(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_meta_put_time_us_high(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* sampled up to that time since CAPTURE, the lost ones included */
static inline uint32_t link_meta_get_samples(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_meta_put_samples(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* as in STOPPED, so far */
static inline uint32_t link_meta_get_lost(const uint8_t *body)
{
    return link_get_u32(body + 20);
}
static inline void link_meta_put_lost(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 20, value);
}
/* as in STOPPED, so far */
static inline uint32_t link_meta_get_unsent(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_meta_put_unsent(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}
/* as in CAPTURING */
static inline uint32_t link_meta_get_rate(const uint8_t *body)
{
    return link_get_u32(body + 28);
}
static inline void link_meta_put_rate(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 28, value);
}
/* as in CAPTURING */
static inline uint32_t link_meta_get_rate_millihertz(const uint8_t *body)
{
    return link_get_u32(body + 32);
}
static inline void link_meta_put_rate_millihertz(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 32, value);
}
/* as in CAPTURING */
static inline uint8_t link_meta_get_microphone(const uint8_t *body)
{
    return link_get_u8(body + 36);
}
static inline void link_meta_put_microphone(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 36, value);
}
/* as in CAPTURING */
static inline uint8_t link_meta_get_oversampling(const uint8_t *body)
{
    return link_get_u8(body + 37);
}
static inline void link_meta_put_oversampling(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 37, value);
}
/* as in CAPTURE */
static inline uint8_t link_meta_get_content(const uint8_t *body)
{
    return link_get_u8(body + 38);
}
static inline void link_meta_put_content(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 38, value);
}
/* as in CAPTURE */
static inline uint8_t link_meta_get_trigger(const uint8_t *body)
{
    return link_get_u8(body + 39);
}
static inline void link_meta_put_trigger(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 39, value);
}
/* as in CAPTURING */
static inline uint16_t link_meta_get_supply_mv(const uint8_t *body)
{
    return link_get_u16(body + 40);
}
static inline void link_meta_put_supply_mv(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 40, value);
}
/* share of the time since the META before that the core slept, 1/1000 */
static inline uint16_t link_meta_get_asleep_permille(const uint8_t *body)
{
    return link_get_u16(body + 42);
}
static inline void link_meta_put_asleep_permille(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 42, value);
}
/* as in CAPTURING */
static inline uint16_t link_meta_get_window(const uint8_t *body)
{
    return link_get_u16(body + 44);
}
static inline void link_meta_put_window(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 44, value);
}
/* hop of CAPTURING: samples */
static inline uint16_t link_meta_get_window_hop(const uint8_t *body)
{
    return link_get_u16(body + 46);
}
static inline void link_meta_put_window_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 46, value);
}
/* as in CAPTURE */
static inline uint16_t link_meta_get_frames(const uint8_t *body)
{
    return link_get_u16(body + 48);
}
static inline void link_meta_put_frames(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 48, value);
}
/* as in CAPTURE: feature vectors */
static inline uint16_t link_meta_get_hop(const uint8_t *body)
{
    return link_get_u16(body + 50);
}
static inline void link_meta_put_hop(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 50, value);
}
/* as in CAPTURE */
static inline uint8_t link_meta_get_flags(const uint8_t *body)
{
    return link_get_u8(body + 52);
}
static inline void link_meta_put_flags(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 52, value);
}
/* as in CAPTURE */
static inline uint8_t link_meta_get_smooth_log2(const uint8_t *body)
{
    return link_get_u8(body + 53);
}
static inline void link_meta_put_smooth_log2(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 53, value);
}
/* as in CAPTURE */
static inline uint8_t link_meta_get_hold(const uint8_t *body)
{
    return link_get_u8(body + 54);
}
static inline void link_meta_put_hold(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 54, value);
}
/* 0 */
static inline uint8_t link_meta_get_reserved(const uint8_t *body)
{
    return link_get_u8(body + 55);
}
static inline void link_meta_put_reserved(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 55, value);
}
/* as in CAPTURE */
static inline uint32_t link_meta_get_margin(const uint8_t *body)
{
    return link_get_u32(body + 56);
}
static inline void link_meta_put_margin(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 56, value);
}
/* as in CAPTURE */
static inline uint32_t link_meta_get_quiet(const uint8_t *body)
{
    return link_get_u32(body + 60);
}
static inline void link_meta_put_quiet(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 60, value);
}
/* as in IS_HELLO */
static inline uint32_t link_meta_get_clock_hz(const uint8_t *body)
{
    return link_get_u32(body + 64);
}
static inline void link_meta_put_clock_hz(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 64, value);
}
#define LINK_META_SERIAL_AT 68u /* u32[4]: as in IS_HELLO */
#define LINK_META_BUILD_ID_AT 84u /* u8[16]: as in IS_HELLO */
#define LINK_META_ARTEFACT_HASH_AT 100u /* u8[32]: as in IS_HELLO */

/* SOUND */
#define LINK_SOUND_BYTES 24u
/* of the unsolicited frame since CAPTURE: one more each; in an answer to RESEND 0xFFFFFFFF */
static inline uint32_t link_sound_get_number(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_sound_put_number(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* device time of the first sample, microseconds modulo 2**32 */
static inline uint32_t link_sound_get_time_us(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_sound_put_time_us(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* index of the first sample since CAPTURE; every sample counts, sent or not */
static inline uint32_t link_sound_get_first(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_sound_put_first(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* samples before the first that were never taken, since CAPTURE */
static inline uint32_t link_sound_get_lost(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_sound_put_lost(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* samples before the first that the line had no room for, since CAPTURE */
static inline uint32_t link_sound_get_unsent(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_sound_put_unsent(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* with DETECTIONS: number of the stretch that was sent without a pause; else 0 */
static inline uint16_t link_sound_get_segment(const uint8_t *body)
{
    return link_get_u16(body + 20);
}
static inline void link_sound_put_segment(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 20, value);
}
/* supply voltage in millivolts, 0: not measured */
static inline uint16_t link_sound_get_supply_mv(const uint8_t *body)
{
    return link_get_u16(body + 22);
}
static inline void link_sound_put_supply_mv(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 22, value);
}
#define LINK_SOUND_X_AT 24u /* i16[rest]: samples without their constant part */

/* VECTOR */
#define LINK_VECTOR_BYTES 12u
/* as in SOUND */
static inline uint32_t link_vector_get_number(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_vector_put_number(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* index of the feature vector since CAPTURE */
static inline uint32_t link_vector_get_frame(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_vector_put_frame(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* index of the last sample of its frame */
static inline uint32_t link_vector_get_sample(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_vector_put_sample(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
#define LINK_VECTOR_X_AT 12u /* i16[rest]: [D] Q15 */

/* VERDICT */
#define LINK_VERDICT_BYTES 28u
/* as in SOUND */
static inline uint32_t link_verdict_get_number(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_verdict_put_number(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* of the decision since CAPTURE */
static inline uint32_t link_verdict_get_index(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_verdict_put_index(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* index of the last feature vector of its window */
static inline uint32_t link_verdict_get_frame(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_verdict_put_frame(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* index of the last sample of its window */
static inline uint32_t link_verdict_get_sample(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_verdict_put_sample(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* device time at which it was made, microseconds modulo 2**32 */
static inline uint32_t link_verdict_get_time_us(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_verdict_put_time_us(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* output with the best average */
static inline uint8_t link_verdict_get_label(const uint8_t *body)
{
    return link_get_u8(body + 20);
}
static inline void link_verdict_put_label(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 20, value);
}
/* 1: a detection */
static inline uint8_t link_verdict_get_triggered(const uint8_t *body)
{
    return link_get_u8(body + 21);
}
static inline void link_verdict_put_triggered(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 21, value);
}
/* 0 */
static inline uint16_t link_verdict_get_reserved(const uint8_t *body)
{
    return link_get_u16(body + 22);
}
static inline void link_verdict_put_reserved(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 22, value);
}
/* Q15, lead of the best average over the second best */
static inline uint32_t link_verdict_get_margin(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_verdict_put_margin(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}
#define LINK_VERDICT_LOGITS_AT 28u /* i32[rest]: [O] Q15, of this window alone */

/* ERROR */
#define LINK_ERROR_BYTES 8u
/* ErrorCode */
static inline uint8_t link_error_get_code(const uint8_t *body)
{
    return link_get_u8(body);
}
static inline void link_error_put_code(uint8_t *body, uint8_t value)
{
    link_put_u8(body, value);
}
/* kind of the request */
static inline uint8_t link_error_get_request(const uint8_t *body)
{
    return link_get_u8(body + 1);
}
static inline void link_error_put_request(uint8_t *body, uint8_t value)
{
    link_put_u8(body + 1, value);
}
/* 0 */
static inline uint16_t link_error_get_reserved(const uint8_t *body)
{
    return link_get_u16(body + 2);
}
static inline void link_error_put_reserved(uint8_t *body, uint16_t value)
{
    link_put_u16(body + 2, value);
}
/* see ErrorCode */
static inline uint32_t link_error_get_detail(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_error_put_detail(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}

/* FAULT */
#define LINK_FAULT_BYTES 44u
/* stacked */
static inline uint32_t link_fault_get_r0(const uint8_t *body)
{
    return link_get_u32(body);
}
static inline void link_fault_put_r0(uint8_t *body, uint32_t value)
{
    link_put_u32(body, value);
}
/* stacked */
static inline uint32_t link_fault_get_r1(const uint8_t *body)
{
    return link_get_u32(body + 4);
}
static inline void link_fault_put_r1(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 4, value);
}
/* stacked */
static inline uint32_t link_fault_get_r2(const uint8_t *body)
{
    return link_get_u32(body + 8);
}
static inline void link_fault_put_r2(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 8, value);
}
/* stacked */
static inline uint32_t link_fault_get_r3(const uint8_t *body)
{
    return link_get_u32(body + 12);
}
static inline void link_fault_put_r3(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 12, value);
}
/* stacked */
static inline uint32_t link_fault_get_r12(const uint8_t *body)
{
    return link_get_u32(body + 16);
}
static inline void link_fault_put_r12(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 16, value);
}
/* stacked */
static inline uint32_t link_fault_get_lr(const uint8_t *body)
{
    return link_get_u32(body + 20);
}
static inline void link_fault_put_lr(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 20, value);
}
/* stacked: where it happened */
static inline uint32_t link_fault_get_pc(const uint8_t *body)
{
    return link_get_u32(body + 24);
}
static inline void link_fault_put_pc(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 24, value);
}
/* stacked */
static inline uint32_t link_fault_get_xpsr(const uint8_t *body)
{
    return link_get_u32(body + 28);
}
static inline void link_fault_put_xpsr(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 28, value);
}
/* before the exception */
static inline uint32_t link_fault_get_sp(const uint8_t *body)
{
    return link_get_u32(body + 32);
}
static inline void link_fault_put_sp(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 32, value);
}
/* LR in the handler */
static inline uint32_t link_fault_get_exc_return(const uint8_t *body)
{
    return link_get_u32(body + 36);
}
static inline void link_fault_put_exc_return(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 36, value);
}
/* stack high-water mark */
static inline uint32_t link_fault_get_stack_bytes(const uint8_t *body)
{
    return link_get_u32(body + 40);
}
static inline void link_fault_put_stack_bytes(uint8_t *body, uint32_t value)
{
    link_put_u32(body + 40, value);
}

#endif
