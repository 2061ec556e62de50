"""
The link's frames, written once: Python reads this table, `hil.link.c_header` writes
``firmware/link/link_schema.h`` from it.  Every byte is explained in docs/link.md.
"""

from __future__ import annotations

import enum

from hil.link import schema_capture
from hil.link.schema_field import Field
from hil.link.schema_field import body_field as _f

PROTOCOL_VERSION = 1
FRAME_TAG = 0xF1
"""First byte of a frame on the wire; text lines are ASCII, so the two cannot be confused."""
DELIMITER = 0x00
MAX_BODY = 1024
"""Largest body of a frame in either direction, bytes."""
HEADER_BYTES = 4
CRC_BYTES = 4
MAX_REPLY = 2048
"""Encoded bytes of all frames that answer one request: the device keeps them for replay."""
WINDOW = 4
"""Requests with `Flag.STREAM` that may be under way at once; the answers to so many are kept."""
MAX_STREAM_LINE = 544
"""Bytes on the line of a request with `Flag.STREAM`: the device's receive ring holds all but one of a window."""
MAX_STREAM_REPLY = MAX_REPLY // WINDOW
"""Encoded bytes of all frames that answer one request with `Flag.STREAM`."""


class Flag(enum.IntFlag):
    """Bits of a header's ``flags``."""

    LAST = 1
    """The last frame of the answer to this request."""
    UNSOLICITED = 2
    """Not an answer: BOOT, FAULT, and what the device sends while it captures."""
    REPLAY = 4
    """Sent again because the request came again."""
    STREAM = 8
    """Of a request: others may be under way with it; it and its answer are small."""


class Kind(enum.IntEnum):
    """Frame types; answers have the top bit set."""

    HELLO = 0x01
    BEGIN = 0x02
    STEPS = 0x03
    FINISH = 0x04
    INSPECT = 0x05
    BENCH = 0x06
    STATUS = 0x07
    ECHO = 0x08
    BAUD = 0x09
    RESET = 0x0A
    CRASH = 0x0B
    LISTEN = 0x0C
    PCM = 0x0D
    CAPTURE = 0x0E
    RESEND = 0x0F
    STOP = 0x10

    IS_HELLO = 0x81
    ACK = 0x82
    STEP = 0x83
    RESULT = 0x84
    INNER = 0x85
    BENCHED = 0x86
    IS_STATUS = 0x87
    ECHOED = 0x88
    LISTENING = 0x89
    HEARD = 0x8A
    FEATURE = 0x8B
    DECISION = 0x8C
    CAPTURING = 0x8D
    STOPPED = 0x8E
    BOOT = 0x90
    META = 0x91
    SOUND = 0x92
    VECTOR = 0x93
    VERDICT = 0x94
    ERROR = 0xE0
    FAULT = 0xF0


STREAMED = frozenset({Kind.META, Kind.SOUND, Kind.VECTOR, Kind.VERDICT})
"""What the device sends without being asked while it captures."""


class ErrorCode(enum.IntEnum):
    """``code`` of an ERROR frame."""

    UNKNOWN_KIND = 1
    BAD_LENGTH = 2
    BAD_STATE = 3
    """STEPS or FINISH without BEGIN, or more steps than announced; detail: steps done."""
    BAD_STEP = 4
    """STEPS does not start at the step expected; detail: the step expected."""
    BAD_INDEX = 5
    """No such layer or kernel; detail: how many there are."""
    BAD_VALUE = 6
    TOO_LARGE = 7
    """The answer would not fit the replay buffer; detail: the largest count."""
    OUT_OF_ORDER = 8
    """A request with STREAM whose turn it is not: one before it was lost; detail: the ``seq`` expected."""


class Detail(enum.IntEnum):
    """``detail`` of BEGIN: what STEP frames carry behind their fixed fields."""

    NONE = 0
    STATES = 1
    """All states after the step."""
    HASH = 2
    """CRC-32 over the states (int16, little-endian) of all steps since BEGIN, low half first."""


class Listen(enum.IntFlag):
    """Bits of ``flags`` of a LISTEN request."""

    CARRY = 1
    """States run on from window to window; otherwise each window begins at zero."""
    DETAIL = 2
    """Each feature vector is returned as a FEATURE frame."""


class Content(enum.IntFlag):
    """Bits of ``content`` of a CAPTURE request: what is sent."""

    SOUND = 1
    """Samples; without this bit no sound leaves the device, and RESEND is refused."""
    FEATURES = 2
    DECISIONS = 4


class Trigger(enum.IntEnum):
    """``trigger`` of a CAPTURE request: which samples are sent."""

    ALL = 0
    DETECTIONS = 1
    """Those around detections: ``before`` and ``after`` each."""


class Microphone(enum.IntEnum):
    """``microphone`` of CAPTURING and META: where samples come from."""

    NONE = 0
    ADC = 1
    I2S = 2
    BUFFER = 3
    """Of a process on the host: a file."""


class Crash(enum.IntEnum):
    """``how`` of a CRASH request: the bench's own test that it notices."""

    HARD_FAULT = 1
    HANG = 2
    LOCKUP = 3


HEADER = (
    _f("kind", "u8", "frame type"),
    _f("seq", "u8", "of the request; an answer repeats it"),
    _f("credit", "u8", "requests that the sender can take now"),
    _f("flags", "u8", "bit set of Flag"),
)

BODIES: dict[Kind, tuple[Field, ...]] = {
    Kind.HELLO: (_f("protocol", "u8", "PROTOCOL_VERSION of the host"),),
    Kind.BEGIN: (
        _f("sequence", "u32", "number chosen by the host, repeated in RESULT"),
        _f("steps", "u16", "feature vectors that will follow"),
        _f("detail", "u8", "one of Detail"),
        _f("reserved", "u8", "0"),
    ),
    Kind.STEPS: (
        _f("first", "u16", "index of the first step in this frame"),
        _f("count", "u16", "steps in this frame"),
        _f("x", "i16*", "[count, D] Q15, features"),
    ),
    Kind.FINISH: (),
    Kind.INSPECT: (_f("layer", "u8", "recurrent layer, 0 is the input side"),),
    Kind.BENCH: (
        _f("kernel", "u8", "index into the firmware's kernels"),
        _f("reserved", "u8", "0"),
        _f("repeats", "u16", "measured calls, 1 to 64"),
    ),
    Kind.STATUS: (),
    Kind.ECHO: (_f("data", "u8*", "returned as it is"),),
    Kind.BAUD: (_f("baud", "u32", "line speed after the answer has been sent"),),
    Kind.RESET: (),
    Kind.CRASH: (_f("how", "u8", "Crash"),),
    Kind.LISTEN: (
        _f("sequence", "u32", "number chosen by the host"),
        _f("frames", "u16", "feature vectors of a window"),
        _f("hop", "u16", "feature vectors from one decision to the next"),
        _f("flags", "u8", "bit set of Listen"),
        _f("smooth_log2", "u8", "2**n decisions are averaged, 0 to 3"),
        _f("hold", "u8", "decisions without a trigger after one"),
        _f("reserved", "u8", "0"),
        _f("margin", "u32", "Q15, least lead of the best averaged output for a trigger"),
        _f("quiet", "u32", "bit set of outputs that never trigger"),
    ),
    Kind.PCM: (
        _f("first", "u32", "index of the first sample in this frame, counted from LISTEN"),
        _f("x", "i16*", "samples"),
    ),
    Kind.CAPTURE: schema_capture.CAPTURE,
    Kind.RESEND: schema_capture.RESEND,
    Kind.STOP: (),
    Kind.IS_HELLO: (
        _f("protocol", "u8", "PROTOCOL_VERSION of the firmware"),
        _f("window", "u8", "requests that may be under way at once"),
        _f("max_steps", "u16", "largest count of a STEPS frame with states"),
        _f("inputs", "u16", "D, features of one step"),
        _f("states", "u16", "S, units of all recurrent layers"),
        _f("outputs", "u16", "O, logits"),
        _f("layers", "u8", "recurrent layers"),
        _f("kernels", "u8", "kernels for BENCH"),
        _f("clock_hz", "u32", "CPU clock that the firmware has set up"),
        _f("baud", "u32", "line speed"),
        _f("device_id", "u32", "DSU.DID"),
        _f("serial", "u32*4", "128-bit serial number of the chip"),
        _f("nvm_ctrlb", "u32", "NVMCTRL.CTRLB read back: wait states, cache"),
        _f("overhead", "u32", "cycles of an empty measured window, already subtracted"),
        _f("reset_cause", "u32", "PM.RCAUSE of the last reset"),
        _f("build_id", "u8*16", "hash of sources and flags"),
        _f("artefact_hash", "u8*32", "SHA-256 of the artefact"),
    ),
    Kind.ACK: (),
    Kind.STEP: (
        _f("step", "u16", "index"),
        _f("interrupts", "u16", "taken inside the measured window; not 0: no measurement"),
        _f("cycles", "u32", "of the step"),
        _f("h", "i16*", "[S] Q15, states after the step, the layers side by side; or as Detail says"),
    ),
    Kind.RESULT: (
        _f("sequence", "u32", "as in BEGIN"),
        _f("steps", "u16", "steps done"),
        _f("interrupts", "u16", "taken inside the measured window of the output layers"),
        _f("cycles", "u32", "of readout and output layers"),
        _f("saturated", "u32", "readout sums that were clipped"),
        _f("logits", "i32*", "[O] Q15"),
    ),
    Kind.INNER: (
        _f("layer", "u8", "as asked"),
        _f("cell", "u8", "of this layer: 0 eGRU, 1 int8 GRU, 2 EGRU, 3 event eGRU"),
        _f("units", "u16", "H of this layer"),
        _f(
            "data",
            "u8*",
            "what hil.trace says of the cell, of an eGRU acc_q17 [2H] i32, z, g, h [H] i16; little-endian",
        ),
    ),
    Kind.BENCHED: (
        _f("kernel", "u8", "as asked"),
        _f("reserved", "u8", "0"),
        _f("interrupts", "u16", "taken inside the windows"),
        _f("cycles", "u32*", "[repeats] of each call"),
    ),
    Kind.IS_STATUS: (
        _f("frames", "u32", "good frames received since reset"),
        _f("bad_frames", "u32", "frames with a wrong COBS code, length or CRC"),
        _f("overruns", "u32", "bytes lost in the UART or the ring buffer"),
        _f("replays", "u32", "requests that came again"),
        _f("stack_bytes", "u32", "stack high-water mark"),
        _f("stack_size", "u32", "stack available"),
        _f("uptime_ms", "u32", "since reset, by the device's clock"),
    ),
    Kind.ECHOED: (_f("data", "u8*", "as sent"),),
    Kind.LISTENING: (
        _f("max_samples", "u16", "most samples of a PCM frame"),
        _f("frames", "u16", "most feature vectors of a window"),
        _f("window", "u16", "samples of a frame"),
        _f("hop", "u16", "samples from one frame to the next"),
    ),
    Kind.HEARD: (
        _f("samples", "u32", "taken since LISTEN"),
        _f("frames", "u32", "feature vectors since LISTEN"),
        _f("clipped", "u32", "feature values clipped since LISTEN"),
        _f("busy_us", "u32", "spent in front end and network since LISTEN, by the device's clock, modulo 2**32"),
        _f("parts", "u16", "FEATURE and DECISION frames of this answer, before this frame"),
        _f("reserved", "u16", "0"),
    ),
    Kind.FEATURE: (
        _f("frame", "u32", "index of the feature vector since LISTEN"),
        _f("x", "i16*", "[D] Q15"),
    ),
    Kind.DECISION: (
        _f("index", "u32", "of the decision since LISTEN"),
        _f("frame", "u32", "index of the last feature vector of its window"),
        _f("label", "u8", "output with the best average"),
        _f("triggered", "u8", "1: a detection"),
        _f("reserved", "u16", "0"),
        _f("margin", "u32", "Q15, lead of the best average over the second best"),
        _f("logits", "i32*", "[O] Q15, of this window alone"),
    ),
    Kind.CAPTURING: schema_capture.CAPTURING,
    Kind.STOPPED: schema_capture.STOPPED,
    Kind.BOOT: (_f("reset_cause", "u32", "PM.RCAUSE"),),
    Kind.META: schema_capture.META,
    Kind.SOUND: schema_capture.SOUND,
    Kind.VECTOR: schema_capture.VECTOR,
    Kind.VERDICT: schema_capture.VERDICT,
    Kind.ERROR: (
        _f("code", "u8", "ErrorCode"),
        _f("request", "u8", "kind of the request"),
        _f("reserved", "u16", "0"),
        _f("detail", "u32", "see ErrorCode"),
    ),
    Kind.FAULT: (
        _f("r0", "u32", "stacked"),
        _f("r1", "u32", "stacked"),
        _f("r2", "u32", "stacked"),
        _f("r3", "u32", "stacked"),
        _f("r12", "u32", "stacked"),
        _f("lr", "u32", "stacked"),
        _f("pc", "u32", "stacked: where it happened"),
        _f("xpsr", "u32", "stacked"),
        _f("sp", "u32", "before the exception"),
        _f("exc_return", "u32", "LR in the handler"),
        _f("stack_bytes", "u32", "stack high-water mark"),
    ),
}
