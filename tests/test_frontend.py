"""The front ends' C against its twin, bit for bit, and the twin against real arithmetic."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
from frontend_support import HostFrontEnds

from hil.artefact import FrontEnd
from hil.codegen.frontend import LOG2_HEADER_FILE, log2_header
from hil.features import extract
from hil.features.spectrum import PEAK, log2_q10, real_power
from hil.features.tables import fft_points, mel_bands, twiddles_q14
from hil.resources import resource


def frontend(
    kind, rate_hz, window, hop, bands, high_hz=3800.0, gain_shift=0, offset=0, frames=20, mean_shift=0
) -> FrontEnd:
    offsets = np.full(bands, offset, np.int16)
    return FrontEnd(kind, rate_hz, window, hop, 60.0, high_hz, frames, gain_shift, offsets, mean_shift)


FRONT_ENDS = {
    "paper": frontend("magnitude", 8000, 128, 128, 64, gain_shift=3),
    "all_bins": frontend("magnitude", 8000, 128, 128, 65),
    "odd": frontend("magnitude", 8000, 100, 37, 50, gain_shift=15, offset=3),
    "two": frontend("magnitude", 8000, 2, 1, 2),
    "log_mel": frontend("log-mel", 8000, 256, 128, 32, gain_shift=2, offset=-5000),
    "log_mel_8k": frontend("log-mel", 8000, 200, 80, 20),
    "log_mel_16k": frontend("log-mel", 16000, 400, 160, 40, 7600.0, gain_shift=4, offset=-3000),
    "running_1": frontend("log-mel", 8000, 256, 128, 32, gain_shift=2, offset=-32768, mean_shift=1),
    "running_5": frontend("log-mel", 8000, 200, 80, 40, gain_shift=2, offset=-1000, mean_shift=5),
    "running_12": frontend("log-mel", 16000, 400, 160, 40, 7600.0, gain_shift=15, offset=32767, mean_shift=12),
    "longest": frontend("log-mel", 16000, 4096, 512, 40, 7600.0, frames=3),
}
NAMES = sorted(FRONT_ENDS)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """The C under UBSan: an overflow of int32 ends the test run."""
    return HostFrontEnds(FRONT_ENDS, tmp_path_factory.mktemp("frontend"))


def noise(amplitude, count=6000, seed=0):
    return np.random.default_rng(seed).normal(0, amplitude, count).clip(-32768, 32767).astype(np.int16)


def square(level_db, period, count=6000):
    top = round(32767 * 10 ** (level_db / 20))
    return np.where(np.arange(count) // max(1, period // 2) % 2 == 0, top, -top - 1).astype(np.int16)


SIGNALS = {
    "silence": np.zeros(6000, np.int16),
    "one step": np.where(np.arange(6000) == 700, 1, 0).astype(np.int16),
    "least": np.full(6000, -32768, np.int16),
    "largest": np.full(6000, 32767, np.int16),
    **{f"noise {a}": noise(a) for a in (1, 30, 1000, 10_000, 100_000)},
    **{f"square {db} dB, {p}": square(db, p) for db in (0, -20, -40) for p in (2, 16, 37, 128, 1000)},
}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("name", NAMES)
def test_c_equals_twin(host, name, signal):
    """Features and the count of clipped values are equal, for silence, noise and square waves at 0, -20 and -40 dB."""
    expected, clipped = extract(SIGNALS[signal], FRONT_ENDS[name])
    got, got_clipped = host.extract(name, SIGNALS[signal])

    assert got.tolist() == expected.tolist()
    assert got_clipped == clipped


@pytest.mark.parametrize("name", NAMES)
def test_c_equals_twin_for_any_int16(host, name):
    """Five hundred frames of samples drawn from the whole range and at every scale are equal, bit for bit."""
    rng = np.random.default_rng(7)
    fe = dataclasses.replace(FRONT_ENDS[name], hop=FRONT_ENDS[name].window, frames=500 if name != "longest" else 20)
    scale = rng.integers(0, 16, fe.frames)[:, None]
    samples = (rng.integers(-32768, 32768, (fe.frames, fe.window)) >> scale).astype(np.int16).ravel()
    extremes = rng.integers(0, 2, samples.size) * 65535 - 32768
    samples = np.where(np.repeat(rng.integers(0, 4, fe.frames) == 0, fe.window), extremes, samples).astype(np.int16)
    got = host.extract(name, samples, fe)
    expected = extract(samples, fe)
    assert (got[0] == expected[0]).all()
    assert got[1] == expected[1]


def test_worst_case_stays_inside(host):
    """Frames made to drive single bins to their limit (signs of a bin's cosine) overflow nothing and stay equal."""
    for name in ("paper", "log_mel", "log_mel_16k"):
        fe = FRONT_ENDS[name]
        points = fft_points(fe.window)
        for k in range(0, points // 2 + 1, 5):
            for phase in (0, math.pi / 4, math.pi / 2):
                wave = np.cos(2 * math.pi * k * np.arange(8000) / points + phase)
                samples = np.where(wave >= 0, 32500, -32500).astype(np.int16)  # the largest that is still doubled
                assert (host.extract(name, samples)[0] == extract(samples, fe)[0]).all()


@pytest.mark.parametrize("points", [2, 4, 64, 128, 256, 512, 4096])
def test_spectrum_is_close_to_the_real_one(points):
    """|U / N| is within 4 steps of the real transform; full scale is 65,000 steps."""
    u = np.random.default_rng(points).integers(-PEAK, PEAK + 1, (50, points)).astype(np.int32)
    real = np.abs(np.fft.rfft(u)) / points

    assert np.abs(np.sqrt(real_power(u)) - real).max() <= 4


def test_log2_is_within_seven_tenths_of_a_step(host):
    """The table's logarithm is the C's, and within 0.7 / 1024 of the real one, at every power of two and between."""
    rng = np.random.default_rng(1)
    powers = 2 ** np.arange(32, dtype=np.int64)
    values = np.concatenate([powers, powers[1:] - 1, powers + 1, rng.integers(1, 1 << 32, 5000), [2**32 - 1]])
    got = log2_q10(values)

    assert np.abs(got - 1024 * np.log2(values)).max() <= 0.7
    assert got.tolist() == [host.lib.log2_q10(int(v)) for v in values]


def test_square_root_is_rounded_to_nearest(host):
    """Squares, their neighbours and ties between roots."""
    for root in (0, 1, 2, 3, 180, 46340, 65535):
        for value in (root * root, root * root + root, root * root + root + 1, max(0, root * root - 1)):
            exact = math.isqrt(value)
            assert host.lib.sqrt_rounded(value) == exact + (value > exact * exact + exact)
    assert host.lib.sqrt_rounded(2**32 - 1) == 65536


def test_logarithm_does_not_depend_on_the_shift():
    """Noise at levels around each change of the shift has a log-mel that follows the level, without a jump."""
    fe = dataclasses.replace(FRONT_ENDS["log_mel"], gain_shift=0, offset=np.zeros(32, np.int16))
    base = noise(1000, 256, seed=3).astype(np.float64)
    base /= np.abs(base).max()
    levels = np.geomspace(2000, 32000, 60)
    means = [extract(np.rint(base * level).astype(np.int16), fe)[0][0].mean() for level in levels]

    assert np.abs(np.array(means) - means[0] - 2048 * np.log2(levels / levels[0])).max() < 6


def test_running_means_forget_the_level():
    """Noise 20 dB quieter: its features come within 40 steps of the loud one's; with fixed offsets 6,800 stay."""
    loud = noise(3000, 128 * 400)
    quiet = (loud // 10).astype(np.int16)
    for mean_shift, low, high in ((4, 0, 40), (0, 6750, 6850)):
        fe = dataclasses.replace(FRONT_ENDS["log_mel"], gain_shift=0, frames=398, mean_shift=mean_shift)
        a, b = (extract(samples, fe)[0].astype(int) for samples in (loud, quiet))
        assert low <= np.abs(a - b)[300:].mean() <= high


def test_the_first_frame_has_the_fixed_offset(host):
    """Running means begin at the training set's with every clip; the second frame already has another."""
    fixed = dataclasses.replace(FRONT_ENDS["running_5"], mean_shift=0)
    for _ in range(2):
        got = host.extract("running_5", SIGNALS["noise 1000"])[0]
        expected = extract(SIGNALS["noise 1000"], fixed)[0]
        assert (got[0] == expected[0]).all()
        assert (got[1] != expected[1]).any()


def test_a_running_mean_reaches_a_constant():
    """After 12 time constants of silence the mean is the silence: features are 0 although each step rounds."""
    fe = dataclasses.replace(FRONT_ENDS["running_5"], frames=12 * 32)
    x, _ = extract(np.zeros(12 * 32 * 80 + 200, np.int16), fe)
    assert np.abs(x[-1].astype(int) >> 2).max() == 0


def test_tables_are_as_long_as_their_fft():
    """A 256-point front end carries 128 factors: 512 bytes, and no weight outside its bands."""
    mel = mel_bands(32, 256, 8000, 60.0, 3800.0)

    assert twiddles_q14(256).shape == (128, 2)
    assert mel.rise_q15.size == mel.edge[-1] - mel.edge[0] < 129


def test_the_committed_log2_table_is_what_its_maker_writes():
    """firmware/frontend/log2_table.h is the output of hil.codegen.frontend."""
    assert (resource("firmware") / LOG2_HEADER_FILE).read_text() == log2_header()


def _recordings():
    """The folder of Free Spoken Digit recordings, or None."""
    root = os.environ.get("HIL_DATA")
    folder = Path(root) / "fsdd" / "recordings" if root else None
    return folder if folder and folder.is_dir() else None


@pytest.mark.skipif(_recordings() is None, reason="HIL_DATA names no folder with fsdd/recordings")
@pytest.mark.parametrize("name", ["paper", "log_mel", "log_mel_8k", "log_mel_16k", "running_5"])
def test_real_speech_is_equal(host, name):
    """Every recording of spoken digits (HIL_ALL) or every twentieth, at 0, -20 and -40 dB, at the front end's rate."""
    import soundfile
    import soxr

    fe = FRONT_ENDS[name]
    for path in sorted(_recordings().glob("*.wav"))[:: 1 if os.environ.get("HIL_ALL") else 20]:
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == 8000
        samples = samples if fe.rate_hz == rate else soxr.resample(samples, rate, fe.rate_hz)
        whole = dataclasses.replace(fe, frames=max(1, (samples.size - fe.window) // fe.hop + 1))
        for divisor in (1, 10, 100):
            quiet = (samples // divisor).astype(np.int16)
            assert (host.extract(name, quiet, whole)[0] == extract(quiet, whole)[0]).all(), path.name
