"""
Bodies of the frames of a capture: the device sends what its own microphone hears.

Part of `hil.link.schema`; explained in docs/link.md, "Capture".
"""

from __future__ import annotations

from hil.link.schema_field import body_field as _f

CAPTURE = (
    _f("sequence", "u32", "number chosen by the host, repeated in META"),
    _f("frames", "u16", "feature vectors of a window; 0: no features and no decisions are made"),
    _f("hop", "u16", "feature vectors from one decision to the next"),
    _f("flags", "u8", "bit set of Listen, without DETAIL"),
    _f("smooth_log2", "u8", "as in LISTEN"),
    _f("hold", "u8", "as in LISTEN"),
    _f("content", "u8", "bit set of Content"),
    _f("margin", "u32", "as in LISTEN"),
    _f("quiet", "u32", "as in LISTEN"),
    _f("trigger", "u8", "one of Trigger"),
    _f("reserved", "u8", "0"),
    _f("before", "u16", "with DETECTIONS: samples sent before the detecting window's last one, at most ring"),
    _f("after", "u32", "with DETECTIONS: samples sent behind it"),
)

RESEND = (
    _f("first", "u32", "index of the first sample, as in SOUND"),
    _f("count", "u16", "samples, at most max_samples"),
)

CAPTURING = (
    _f("rate", "u32", "nominal samples a second"),
    _f("rate_millihertz", "u32", "samples a second that the device's clock makes, times 1000"),
    _f("microphone", "u8", "one of Microphone"),
    _f("oversampling", "u8", "conversions that make one sample; 1 for I2S"),
    _f("block", "u16", "samples that the DMA writes from one interrupt to the next"),
    _f("ring", "u16", "samples that the device keeps: for RESEND, and for what goes before a detection"),
    _f("max_samples", "u16", "most samples of a SOUND frame"),
    _f("window", "u16", "samples of a frame of features, 0 without a front end"),
    _f("hop", "u16", "samples from one frame of features to the next"),
    _f("frames", "u16", "most feature vectors of a window"),
    _f("supply_mv", "u16", "supply voltage in millivolts, 0: not measured"),
)

STOPPED = (
    _f("number", "u32", "unsolicited frames sent since CAPTURE: of the next one, had there been one"),
    _f("samples", "u32", "sampled since CAPTURE, the lost ones included"),
    _f("lost", "u32", "of these never taken, because the device was late"),
    _f("unsent", "u32", "of these taken and not sent, because the line had no room"),
    _f("frames", "u32", "feature vectors made"),
    _f("decisions", "u32", "decisions made"),
    _f("clipped", "u32", "feature values clipped"),
    _f("asleep_permille", "u16", "share of the time since CAPTURE that the core slept, 1/1000"),
    _f("features_permille", "u16", "share that making features took"),
    _f("network_permille", "u16", "share that the network took"),
    _f("sampling_permille", "u16", "share that interrupts and the preparation of samples took"),
)

META = (
    _f("number", "u32", "of the unsolicited frame since CAPTURE, as in SOUND"),
    _f("sequence", "u32", "as in CAPTURE"),
    _f("time_us_low", "u32", "device time since reset, microseconds, low word"),
    _f("time_us_high", "u32", "high word"),
    _f("samples", "u32", "sampled up to that time since CAPTURE, the lost ones included"),
    _f("lost", "u32", "as in STOPPED, so far"),
    _f("unsent", "u32", "as in STOPPED, so far"),
    _f("rate", "u32", "as in CAPTURING"),
    _f("rate_millihertz", "u32", "as in CAPTURING"),
    _f("microphone", "u8", "as in CAPTURING"),
    _f("oversampling", "u8", "as in CAPTURING"),
    _f("content", "u8", "as in CAPTURE"),
    _f("trigger", "u8", "as in CAPTURE"),
    _f("supply_mv", "u16", "as in CAPTURING"),
    _f("asleep_permille", "u16", "share of the time since the META before that the core slept, 1/1000"),
    _f("window", "u16", "as in CAPTURING"),
    _f("window_hop", "u16", "hop of CAPTURING: samples"),
    _f("frames", "u16", "as in CAPTURE"),
    _f("hop", "u16", "as in CAPTURE: feature vectors"),
    _f("flags", "u8", "as in CAPTURE"),
    _f("smooth_log2", "u8", "as in CAPTURE"),
    _f("hold", "u8", "as in CAPTURE"),
    _f("reserved", "u8", "0"),
    _f("margin", "u32", "as in CAPTURE"),
    _f("quiet", "u32", "as in CAPTURE"),
    _f("clock_hz", "u32", "as in IS_HELLO"),
    _f("serial", "u32*4", "as in IS_HELLO"),
    _f("build_id", "u8*16", "as in IS_HELLO"),
    _f("artefact_hash", "u8*32", "as in IS_HELLO"),
)

SOUND = (
    _f("number", "u32", "of the unsolicited frame since CAPTURE: one more each; in an answer to RESEND 0xFFFFFFFF"),
    _f("time_us", "u32", "device time of the first sample, microseconds modulo 2**32"),
    _f("first", "u32", "index of the first sample since CAPTURE; every sample counts, sent or not"),
    _f("lost", "u32", "samples before the first that were never taken, since CAPTURE"),
    _f("unsent", "u32", "samples before the first that the line had no room for, since CAPTURE"),
    _f("segment", "u16", "with DETECTIONS: number of the stretch that was sent without a pause; else 0"),
    _f("supply_mv", "u16", "supply voltage in millivolts, 0: not measured"),
    _f("x", "i16*", "samples without their constant part"),
)

VECTOR = (
    _f("number", "u32", "as in SOUND"),
    _f("frame", "u32", "index of the feature vector since CAPTURE"),
    _f("sample", "u32", "index of the last sample of its frame"),
    _f("x", "i16*", "[D] Q15"),
)

VERDICT = (
    _f("number", "u32", "as in SOUND"),
    _f("index", "u32", "of the decision since CAPTURE"),
    _f("frame", "u32", "index of the last feature vector of its window"),
    _f("sample", "u32", "index of the last sample of its window"),
    _f("time_us", "u32", "device time at which it was made, microseconds modulo 2**32"),
    _f("label", "u8", "output with the best average"),
    _f("triggered", "u8", "1: a detection"),
    _f("reserved", "u16", "0"),
    _f("margin", "u32", "Q15, lead of the best average over the second best"),
    _f("logits", "i32*", "[O] Q15, of this window alone"),
)
