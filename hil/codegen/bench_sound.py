"""Kernels of the sound path for a bench firmware: the front ends, their FFT, and CMSIS-DSP's beside them."""

from __future__ import annotations

import random
from typing import Literal

import numpy as np

from hil.artefact import FrontEnd
from hil.codegen.bench_kernel import STEPS, BenchKernel, Maker, uniform
from hil.codegen.c_text import buffer, constant
from hil.codegen.frontend import frontend_buffers, frontend_constants
from hil.features.tables import fft_points, hann_q15, mel_weights_q15, twiddles_q14
from hil.fixed import to_q15

MFCC_OUTPUTS = 13
"""Cepstral coefficients of ``arm_mfcc_q15``, as is usual."""
_LEVEL = 0.25
"""Noise that goes in, 1.0 = full scale."""


def front_end(name: str, frontend: FrontEnd) -> Maker:
    """One frame of noise at a quarter of full scale to one feature vector."""

    def make(inputs: int, units: int, rng: random.Random) -> BenchKernel:
        stride = frontend.window + frontend.window % 2
        samples = to_q15(uniform(rng, STEPS * stride, _LEVEL))
        definitions = (
            constant(f"{name}_inputs", samples, "[STEPS][W] Q15, W rounded up to even")
            + frontend_constants(f"bench_{name}", frontend)
            + frontend_buffers(f"bench_{name}", frontend, samples=False)
            + buffer("int16_t", f"bench_{name}_x", frontend.features, "[F]")
        )
        run = f"(void)frontend_frame(&bench_{name}, {name}_x, bench_{name}_work, bench_{name}_x);"
        return BenchKernel("frontend/frontend.h", "int16_t", stride, definitions, run)

    return make


def own_fft(name: str, points: int) -> Maker:
    """``fft_real_power``: real samples to powers."""

    def make(inputs: int, units: int, rng: random.Random) -> BenchKernel:
        samples = to_q15(uniform(rng, STEPS * points, 0.99)).astype(np.int32)
        definitions = (
            constant(f"{name}_inputs", samples, "[STEPS][N]")
            + constant(f"{name}_twiddle_q14", twiddles_q14(points).astype(np.int16), "[N / 2][2] Q14")
            + buffer("int32_t", f"{name}_z", points, "[N]")
        )
        run = f"fft_real_power({name}_z, {points.bit_length() - 1}u, {name}_twiddle_q14);"
        return BenchKernel("frontend/fft.h", "int32_t", points, definitions, run, _copy(name, points))

    return make


def cmsis_rfft(name: str, points: int) -> Maker:
    """``arm_rfft_q15``: real samples to complex bins; their squares are not in it."""

    def make(inputs: int, units: int, rng: random.Random) -> BenchKernel:
        definitions = (
            _noise(name, points, rng, 0.99)
            + buffer("int16_t", f"{name}_z", points, "[N], changed by the call")
            + buffer("int16_t", f"{name}_y", 2 * points, "[N][2]")
            + f"static arm_rfft_instance_q15 {name}_plan;\n"
        )
        prepare = f"(void)arm_rfft_init_{points}_q15(&{name}_plan, 0, 1);\n    {_copy(name, points)}"
        run = f"arm_rfft_q15(&{name}_plan, {name}_z, {name}_y);"
        return BenchKernel("dsp/transform_functions.h", "int16_t", points, definitions, run, prepare)

    return make


def cmsis_mfcc(name: str, points: int, rate_hz: int, bands: int) -> Maker:
    """``arm_mfcc_q15``: window, FFT, magnitudes, mel filters, logarithm and DCT."""

    def make(inputs: int, units: int, rng: random.Random) -> BenchKernel:
        weights = np.minimum(mel_weights_q15(bands, points, rate_hz, 60.0, 0.475 * rate_hz), 32767)
        first = np.array([int(np.flatnonzero(row)[0]) for row in weights], np.uint32)
        length = np.array([int(np.flatnonzero(row)[-1]) for row in weights], np.uint32) - first + 1
        packed = np.concatenate([row[f : f + n] for row, f, n in zip(weights, first, length, strict=True)])
        angles = np.pi * np.outer(np.arange(MFCC_OUTPUTS), np.arange(bands) + 0.5) / bands
        dct = to_q15((np.cos(angles) * np.sqrt(2.0 / bands)).astype(np.float32).ravel())
        definitions = (
            _noise(name, points, rng, _LEVEL)
            + constant(f"{name}_window_q15", hann_q15(points).astype(np.int16), "[N] Hann, Q15")
            + constant(f"{name}_first", first, "[F] first bin of each filter")
            + constant(f"{name}_length", length, "[F] bins of each filter")
            + constant(f"{name}_filter_q15", packed.astype(np.int16), "weights of the filters, one after the other")
            + constant(f"{name}_dct_q15", dct, f"[{MFCC_OUTPUTS}][F]")
            + buffer("int16_t", f"{name}_z", points, "[N], changed by the call")
            + buffer("int32_t", f"{name}_scratch", points + 2, "[N + 2]")
            + buffer("int16_t", f"{name}_y", MFCC_OUTPUTS, "cepstral coefficients")
            + f"static arm_mfcc_instance_q15 {name}_plan;\n"
        )
        tables = ", ".join(f"{name}_{table}" for table in ("dct_q15", "first", "length", "filter_q15", "window_q15"))
        prepare = (
            f"(void)arm_mfcc_init_{points}_q15(&{name}_plan, {bands}, {MFCC_OUTPUTS}, {tables});\n"
            f"    {_copy(name, points)}"
        )
        run = f"(void)arm_mfcc_q15(&{name}_plan, {name}_z, {name}_y, {name}_scratch);"
        return BenchKernel("dsp/transform_functions.h", "int16_t", points, definitions, run, prepare)

    return make


def _noise(name: str, points: int, rng: random.Random, level: float) -> str:
    return constant(f"{name}_inputs", to_q15(uniform(rng, STEPS * points, level)), "[STEPS][N] Q15")


def _copy(name: str, points: int) -> str:
    return f"for (unsigned i = 0; i < {points}u; i++) {{\n        {name}_z[i] = {name}_x[i];\n    }}"


def _plain(
    kind: Literal["log-mel", "magnitude"], rate_hz: int, window: int, hop: int, bands: int, mean_shift: int = 0
) -> FrontEnd:
    return FrontEnd(kind, rate_hz, window, hop, 60.0, 0.475 * rate_hz, 1, 2, np.zeros(bands, np.int16), mean_shift)


FRONT_ENDS = {
    "frontend_magnitude": _plain("magnitude", 8000, 128, 128, 64),
    "frontend_log_mel": _plain("log-mel", 8000, 256, 128, 32),
    "frontend_log_mel_10ms": _plain("log-mel", 8000, 200, 80, 40),
    "frontend_log_mel_running": _plain("log-mel", 8000, 200, 80, 40, 6),
    "frontend_log_mel_16khz": _plain("log-mel", 16000, 400, 160, 40),
}
"""Front ends for BENCH: the paper's, the recipes' log-mel, and 25/10 ms at 8 and 16 kHz."""

POINTS = (128, 256, 512)
OWN_FFT = {f"fft_real_power_{points}": points for points in POINTS}
CMSIS_FFT = {f"arm_rfft_q15_{points}": points for points in POINTS}
"""Points of the FFTs that are measured alone."""
CMSIS_MFCC = {"arm_mfcc_q15_256": "frontend_log_mel", "arm_mfcc_q15_512": "frontend_log_mel_16khz"}
"""Front ends of `FRONT_ENDS` by the one of CMSIS-DSP that is to stand beside."""


def _mfcc_beside(name: str, frontend: FrontEnd) -> Maker:
    return cmsis_mfcc(name, fft_points(frontend.window), frontend.rate_hz, frontend.features)


SOUND_KERNELS: dict[str, Maker] = {
    **{name: front_end(name, frontend) for name, frontend in FRONT_ENDS.items()},
    **{name: own_fft(name, points) for name, points in OWN_FFT.items()},
    **{name: cmsis_rfft(name, points) for name, points in CMSIS_FFT.items()},
    **{name: _mfcc_beside(name, FRONT_ENDS[beside]) for name, beside in CMSIS_MFCC.items()},
}
"""Those of CMSIS-DSP need `hil.firmware.cmsis_dsp` when they are compiled."""
