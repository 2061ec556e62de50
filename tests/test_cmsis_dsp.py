"""CMSIS-DSP beside our own FFT: fetched once, checked, slower and less exact on this core."""

import statistics

import cffi
import numpy as np
import pytest

from hil.errors import ToolError
from hil.experiment.device_stages import run_bench
from hil.experiment.progress import Quiet
from hil.experiment.sound_bench import bench_frontends
from hil.experiment.workspace import Workspace
from hil.features.spectrum import PEAK, real_power
from hil.firmware import cmsis_dsp, compile_host_library
from hil.firmware.cmsis_dsp import ARCHIVE

DRIVER = """\
#include "dsp/transform_functions.h"

void rfft(int16_t *samples, int16_t *bins);
void rfft(int16_t *samples, int16_t *bins)
{
    arm_rfft_instance_q15 plan;

    (void)arm_rfft_init_256_q15(&plan, 0, 1);
    arm_rfft_q15(&plan, samples, bins);
}
"""
POINTS = 256


@pytest.fixture(scope="module")
def library():
    """The package; without a package index these tests have nothing to measure."""
    try:
        return cmsis_dsp()
    except ToolError as error:
        if "is not in the cache, and pip" not in str(error):
            raise
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No package index, and a cache of the test's own."""
    monkeypatch.setenv("HIL_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cmsis-dsp" / ARCHIVE


def test_without_an_index_the_message_says_what_to_do(offline):
    """Which package, why, and where a copy could be put; nothing is left in the cache."""
    with pytest.raises(
        ToolError, match=rf"not in the cache, and pip could not .*\n?.*copy {ARCHIVE} to {offline.parent}"
    ):
        cmsis_dsp()
    assert list(offline.parent.iterdir()) == []


def test_another_package_is_refused(offline):
    """A file in the cache with another hash is named, with both hashes, and never compiled."""
    offline.parent.mkdir()
    offline.write_bytes(b"something else")
    with pytest.raises(ToolError, match=r"has SHA-256 [0-9a-f]{64}, expected 307d3229.*: delete it"):
        cmsis_dsp()


def test_the_bench_says_when_it_is_missing(offline, tmp_path):
    """The own front ends are measured all the same, and the reason why there are no others is told."""
    said = []

    class Told(Quiet):
        def say(self, text):
            said.append(text)

    bench, costs = bench_frontends(Workspace(tmp_path / "out", Told(), False), "emulator", None, 1, fast_load=True)
    by_name = {cost.name: cost for cost in costs}
    assert not [name for name in bench.cycles if name.startswith("arm_")]
    assert any("without CMSIS-DSP's" in text for text in said)
    # 15 % of the CPU for log-mel at 8 kHz, 25/10 ms and 40 bands, also with running means
    assert by_name["frontend_log_mel_10ms"].load < 0.15
    assert by_name["frontend_log_mel_running"].load < 0.15
    assert by_name["fft_real_power_256"].load is None


def signal_to_noise(got, real):
    return 10 * np.log10((real**2).sum() / ((got - real) ** 2).sum())


def test_own_fft_is_more_exact(library, tmp_path):
    """Magnitudes of 256 points against real arithmetic, of noise at 0 and -40 dB: 9 dB more, with as good a scaling."""
    ffi = cffi.FFI()
    ffi.cdef("void rfft(int16_t *samples, int16_t *bins);")
    built = compile_host_library({"driver.c": DRIVER}, tmp_path, parts=(), sanitize=False, library=library)
    lib = ffi.dlopen(str(built))
    rng = np.random.default_rng(3)
    for level in (0.99, 0.0099):
        samples = np.rint(rng.uniform(-level, level, (200, POINTS)) * 32767).astype(np.int16)
        peak = int(np.abs(samples.astype(int)).max())
        own_shift, arm_shift = ((limit // peak).bit_length() - 1 for limit in (PEAK, 32767))
        bins = np.zeros((200, 2 * POINTS), np.int16)
        scaled = samples << arm_shift
        for frame, out in zip(scaled, bins, strict=True):
            lib.rfft(ffi.from_buffer("int16_t[]", frame), ffi.from_buffer("int16_t[]", out))
        arm = np.hypot(bins[:, 0 : POINTS + 1 : 2], bins[:, 1 : POINTS + 2 : 2]) / 2.0**arm_shift
        own = np.sqrt(real_power(samples.astype(np.int32) << own_shift)) / 2.0**own_shift
        real = np.abs(np.fft.rfft(samples)) / POINTS
        assert signal_to_noise(own, real) > signal_to_noise(arm, real) + 9 > 60


def test_own_fft_takes_fewer_cycles(library, tmp_path):
    """On the emulated chip: 256 points with their powers in at most 77 % of the cycles of CMSIS-DSP's without."""
    names = ("fft_real_power_256", "arm_rfft_q15_256", "frontend_log_mel", "arm_mfcc_q15_256")
    bench = run_bench(
        Workspace(tmp_path, Quiet(), False),
        "emulator",
        None,
        inputs=8,
        units=8,
        kernels=names,
        repeats=2,
        fast_load=True,
        library=library,
    )
    own, arm, log_mel, mfcc = (statistics.median(bench.cycles[name]) for name in names)
    assert own < 0.77 * arm
    assert log_mel < 0.3 * mfcc
