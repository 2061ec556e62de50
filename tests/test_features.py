"""Front ends: the integer definition, offset and gain, quiet and loud input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from hil.artefact import FrontEnd
from hil.clip import Clip
from hil.datasets import load_dataset
from hil.errors import UsageError
from hil.features import extract, extract_set, fit_frontend, frame_count
from hil.features.spectrum import frames_of, log_mel, magnitude
from hil.features.tables import fft_points, hann_q15, mel_weights_q15
from hil.recipe import DataRecipe, FeatureRecipe

LOG_MEL = FeatureRecipe()
PAPER = FeatureRecipe(kind="magnitude", window=128, hop=128, bands=64)
SILENT_RAW = -16 << 10
"""Raw log-mel value of digital silence."""


def _clip(samples, name="clip", rate_hz=8000, label=0) -> Clip:
    return Clip(np.asarray(samples).astype(np.int16), rate_hz, label, "nobody", name)


def _noise(amplitude, seed=0, count=8000):
    return np.random.default_rng(seed).normal(0, amplitude, count).clip(-32768, 32767).astype(np.int16)


def _frontend(recipe: FeatureRecipe, offset=0, gain_shift=0, frames=62) -> FrontEnd:
    fitted = fit_frontend(dataclasses.replace(recipe, gain_shift=gain_shift), [_clip(_noise(1000))], frames)
    return dataclasses.replace(fitted, offset=np.full(recipe.bands, offset, np.int16))


@pytest.fixture(scope="module")
def speech() -> list[Clip]:
    """Forty spoken words without silence clips."""
    recipe = DataRecipe(keywords=("yes", "left"), unknown_words=("house",), clips=100, seed=5)
    dataset = load_dataset(recipe, 8000)
    return [clip for clip in dataset.train if dataset.labels[clip.label] != "silence"][:40]


def _at(clip: Clip, level_db: float) -> Clip:
    """The clip with its root mean square at -20 dB of full scale, changed by ``level_db``."""
    real = clip.samples / np.sqrt(np.mean(clip.samples.astype(float) ** 2))
    return _clip(np.rint(real * 3277 * 10 ** (level_db / 20)).clip(-32768, 32767), clip.name)


def _real_magnitude(frame, bands):
    """The paper's features in real numbers."""
    return np.abs(np.fft.rfft(frame.astype(float)))[:bands] / len(frame)


def _real_log_mel(frame, bands, rate_hz, low_hz, high_hz):
    """Logarithm of the energy of windowed samples in triangles, in real numbers; with the floor of the definition."""
    window, points = len(frame), fft_points(len(frame))
    power = np.abs(np.fft.rfft(frame * (hann_q15(window) / 32768), points) / points) ** 2
    energy = mel_weights_q15(bands, points, rate_hz, low_hz, high_hz) / 32768 @ power
    return 1024 * (np.log2(energy + 2.0**-8) - 8)


@pytest.mark.parametrize("amplitude", [3, 300, 10000])
def test_magnitude_is_close_to_the_real_one(amplitude):
    """Magnitudes are within two steps and a half of the real ones, at every level."""
    frames = frames_of(_noise(amplitude, seed=amplitude), 128, 128, 50)
    got, clipped = magnitude(frames, 64)

    assert np.abs(got - [_real_magnitude(frame, 64) for frame in frames]).max() <= 2.5
    assert clipped == 0


@pytest.mark.parametrize(("window", "amplitude"), [(256, 3), (256, 10000), (200, 300)])
def test_log_mel_is_close_to_the_real_one(window, amplitude):
    """Log-mel values are within 0.02 octaves of the real ones, the mean within 0.002; also where the FFT pads."""
    frames = frames_of(_noise(amplitude, seed=window), window, 128, 40)
    real = np.array([_real_log_mel(frame, 20, 8000, 60.0, 3800.0) for frame in frames])
    difference = log_mel(frames, 20, 8000, 60.0, 3800.0) - real

    assert np.abs(difference).max() < 20
    assert abs(difference.mean()) < 2


@pytest.mark.parametrize(("window", "points"), [(2, 2), (127, 128), (128, 128), (129, 256), (4096, 4096)])
def test_fft_points(window, points):
    """The FFT is the smallest power of two that holds the window."""
    assert fft_points(window) == points


@pytest.mark.parametrize(
    ("rate_hz", "hop", "seconds", "frames"),
    [(8000, 128, 1.0, 62), (8000, 124, 1.0, 64), (16000, 160, 1.0, 100), (8000, 128, 0.001, 1), (8000, 125, 1.0, 64)],
)
def test_frame_count(rate_hz, hop, seconds, frames):
    """A frame starts at each whole hop: 62 for a second at 8 kHz and a hop of 128; never fewer than one."""
    assert frame_count(dataclasses.replace(LOG_MEL, rate_hz=rate_hz, hop=hop), seconds) == frames


def test_framing_pads_and_cuts():
    """Zeros follow a short clip; samples after the last frame are left out."""
    ramp = np.arange(1, 301, dtype=np.int16)

    assert frames_of(ramp, 200, 100, 3)[2].tolist() == [*range(201, 301), *[0] * 100]
    assert (frames_of(ramp, 100, 100, 2) == ramp[:200].reshape(2, 100)).all()
    assert frames_of(np.zeros(0, np.int16), 4, 2, 3).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize("recipe", [LOG_MEL, PAPER], ids=["log-mel", "magnitude"])
def test_short_clip_is_padded(recipe):
    """A clip of 1,000 samples has the features of the same clip followed by silence."""
    frontend = _frontend(recipe)
    short = _noise(2000, count=1000)

    x, _ = extract(short, frontend)
    padded, _ = extract(np.concatenate([short, np.zeros(9000, np.int16)]), frontend)
    assert x.shape == (62, recipe.bands)
    assert (x == padded).all()


@pytest.mark.parametrize("count", [0, 1, 7935, 7936, 8064, 8065, 20000])
def test_any_length_gives_the_same_shape(count):
    """Whatever the length, T frames of F int16 come out."""
    x, saturated = extract(_noise(100, count=count), _frontend(LOG_MEL))

    assert (x.shape, x.dtype, saturated) == ((62, 32), np.int16, 0)


def test_silence():
    """Digital silence is -16 octaves in every band of log-mel and 0 in every bin of magnitude."""
    zeros = np.zeros(8000, np.int16)

    assert (extract(zeros, _frontend(LOG_MEL))[0] == SILENT_RAW).all()
    assert (extract(zeros, _frontend(PAPER))[0] == 0).all()


@pytest.mark.parametrize(("value", "raw", "clipped"), [(-32768, 32767, 62), (-32767, 32767, 0), (32767, 32767, 0)])
def test_direct_current_at_full_scale(value, raw, clipped):
    """A constant is all in bin 0; -1.0 alone has a magnitude that Q15 cannot hold, which is clipped and counted."""
    x, saturated = extract(np.full(8064, value, np.int16), _frontend(PAPER))

    assert (x[:, 0] == raw).all()
    assert (x[:, 1:] == 0).all()
    assert saturated == clipped


def test_impulse_is_flat():
    """An impulse of 128 a has magnitude a in every bin of its frame and nothing elsewhere."""
    samples = np.zeros(8000, np.int16)
    samples[128 * 3 + 17] = 128 * 200
    x, _ = extract(samples, _frontend(PAPER))

    assert np.abs(x[3] - 200).max() <= 1
    assert (np.delete(x, 3, axis=0) == 0).all()


def test_full_scale_square_wave():
    """A full-scale square wave of 16 samples has harmonic m at 1 / (8 sin(pi m / 16)); log-mel needs no clipping."""
    square = np.where(np.arange(8064) // 8 % 2 == 0, 32767, -32768).astype(np.int16)
    x, saturated = extract(square, _frontend(PAPER))

    assert saturated == 0
    for harmonic in (1, 3, 5, 7):
        assert x[0, 8 * harmonic] == pytest.approx(32768 / (8 * math.sin(math.pi * harmonic / 16)), abs=2)
    assert x[0, [4, 16, 32, 20]].max() <= 1
    raw, saturated = extract(square, _frontend(LOG_MEL))
    assert saturated == 0
    assert 18000 < raw[0].max() < 20000


def test_largest_possible_log_energy_fits():
    """Any int16 input stays below +22 octaves: the logarithm needs no clipping."""
    for samples in (np.full(256, -32768), np.where(np.arange(256) % 2, 32767, -32768), _noise(30000, count=256)):
        frames = samples.astype(np.int16)[None]
        assert log_mel(frames, 4, 8000, 0.0, 4000.0).max() < 22 << 10


def test_sine_is_in_its_band():
    """A sine at a band's centre gives that band the most energy."""
    weights = mel_weights_q15(32, 256, 8000, 60.0, 3800.0)
    for band in (2, 15, 30):
        bin_index = int(weights[band].argmax())
        sine = np.rint(8000 * np.sin(2 * np.pi * bin_index * np.arange(8000) / 256)).astype(np.int16)
        assert extract(sine, _frontend(LOG_MEL))[0][10].argmax() == band


@pytest.mark.parametrize("level_db", [0, -20, -40])
@pytest.mark.parametrize("recipe", [LOG_MEL, PAPER], ids=["log-mel", "magnitude"])
def test_quiet_speech_still_has_features(speech, recipe, level_db):
    """Speech at 0, -20 and -40 dB has raw features in most frames, each larger than silence's."""
    frontend = _frontend(recipe)
    silent = 0 if recipe.kind == "magnitude" else SILENT_RAW
    features = extract_set([_at(clip, level_db) for clip in speech], frontend)

    assert (features.x >= silent).all()
    assert (features.x > silent).any(axis=2).mean() > 0.5


def test_log_mel_follows_the_level(speech):
    """20 dB less is 6.64 octaves less where speech is loud: nothing adapts to the clip."""
    frontend = _frontend(LOG_MEL)
    loud, quiet = (extract_set([_at(clip, level) for clip in speech], frontend).x for level in (-10, -30))
    strong = quiet > 0

    assert strong.mean() > 0.03
    assert np.abs((loud - quiet)[strong] / 1024 - math.log2(100)).max() < 0.1


@pytest.mark.parametrize("level_db", [0, -20, -40])
@pytest.mark.parametrize("recipe", [LOG_MEL, PAPER], ids=["log-mel", "magnitude"])
def test_fitted_gain_is_the_largest_that_fits(speech, recipe, level_db):
    """At most 0.1 % of the training values saturate with the fitted gain; with one step more it is more."""
    clips = [_at(clip, level_db) for clip in speech]
    frontend = fit_frontend(recipe, clips, 62)
    more = dataclasses.replace(frontend, gain_shift=frontend.gain_shift + 1)
    features = extract_set(clips, frontend)

    assert features.saturated <= features.x.size / 1000 < extract_set(clips, more).saturated
    assert np.abs(features.x.astype(int)).max() > 1 << 13


def test_gain_of_quiet_magnitudes_is_larger(speech):
    """Magnitudes 40 dB down are fitted a gain of about 2**6 or more above that of loud ones."""
    loud, quiet = (fit_frontend(PAPER, [_at(c, level) for c in speech], 62).gain_shift for level in (0, -40))

    assert 5 <= quiet - loud <= 8


@pytest.mark.parametrize("recipe", [LOG_MEL, PAPER], ids=["log-mel", "magnitude"])
@pytest.mark.parametrize("gain_shift", [0, 1, 15])
def test_offset_and_gain(recipe, gain_shift):
    """x is ``saturate((raw - offset) << gain_shift)`` and every clipped value is counted."""
    samples = _noise(1500, seed=9)
    raw, _ = extract(samples, _frontend(recipe))
    frontend = _frontend(recipe, offset=37, gain_shift=gain_shift)
    exact = (raw.astype(np.int64) - 37) * 2**gain_shift
    x, saturated = extract(samples, frontend)

    assert (x == np.clip(exact, -32768, 32767)).all()
    assert saturated == np.count_nonzero((exact > 32767) | (exact < -32768))
    assert (saturated > 0) == (gain_shift == 15)


@pytest.mark.parametrize("recipe", [LOG_MEL, PAPER], ids=["log-mel", "magnitude"])
def test_offset_is_the_mean_of_the_training_set(speech, recipe):
    """Each band's offset is its rounded mean over the training set."""
    raw = extract_set(speech, _frontend(recipe)).x.reshape(-1, recipe.bands)

    assert np.abs(fit_frontend(recipe, speech, 62).offset - raw.mean(axis=0)).max() <= 0.5


def test_gain_of_the_recipe_is_kept(speech):
    """A gain in the recipe is not fitted."""
    assert fit_frontend(dataclasses.replace(LOG_MEL, gain_shift=7), speech, 62).gain_shift == 7


def test_constant_training_set_gets_the_largest_gain():
    """A training set of silence alone has no deviation: the gain is 15 and the features are 0."""
    frontend = fit_frontend(LOG_MEL, [_clip(np.zeros(8000))], 62)

    assert frontend.gain_shift == 15
    assert (extract(np.zeros(8000, np.int16), frontend)[0] == 0).all()


def test_feature_set(speech):
    """A set keeps order, labels and names; its progress ends at its size; its saturation is the sum over clips."""
    frontend = _frontend(LOG_MEL, gain_shift=6)
    seen = []
    features = extract_set(speech, frontend, progress=lambda done, total: seen.append((done, total)))

    assert features.x.shape == (40, 62, 32)
    assert (features.x.dtype, features.y.dtype) == (np.int16, np.int64)
    assert features.y.tolist() == [clip.label for clip in speech]
    assert features.names == tuple(clip.name for clip in speech)
    assert seen[-1] == (40, 40)
    assert features.saturated == sum(extract(clip.samples, frontend)[1] for clip in speech) > 0
    assert (features.x[7] == extract(speech[7].samples, frontend)[0]).all()


def test_log_mel_weights():
    """Triangles reach at most 1.0, a bin is in two bands at most, none outside the outer corners is in one."""
    weights = mel_weights_q15(32, 256, 8000, 60.0, 3800.0)
    bins_hz = np.arange(129) * 31.25

    assert weights.max() <= 32768
    assert (np.count_nonzero(weights, axis=0) <= 2).all()
    assert not weights[:, (bins_hz <= 60) | (bins_hz >= 3800)].any()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (dataclasses.replace(LOG_MEL, bands=128), "lies between the bins of a 256-point FFT"),
        (dataclasses.replace(PAPER, bands=66), "a 128-point FFT has 65 bins"),
    ],
)
def test_too_many_bands(recipe, message):
    """More bands than the FFT resolves are refused before any clip is read."""
    with pytest.raises(UsageError, match=message):
        fit_frontend(recipe, [_clip(_noise(100))], 62)


def test_all_bins_of_the_fft_are_allowed():
    """65 magnitude bins of a 128-point FFT are its limit and work."""
    assert fit_frontend(dataclasses.replace(PAPER, bands=65), [_clip(_noise(100))], 62).features == 65


def test_other_rate_is_refused():
    """A clip of 16 kHz does not go through a front end for 8 kHz."""
    with pytest.raises(UsageError, match="'tuba' has 16000 Hz, the front end takes 8000 Hz"):
        fit_frontend(LOG_MEL, [_clip(_noise(100), name="tuba", rate_hz=16000)], 62)


def test_empty_training_set_is_refused():
    """Nothing can be fitted to no clips."""
    with pytest.raises(UsageError, match="empty training set"):
        fit_frontend(LOG_MEL, [], 62)


@pytest.mark.parametrize("samples", [np.zeros(10), np.zeros((2, 10), np.int16), np.zeros(10, np.int32)])
def test_samples_are_int16(samples):
    """Floats, other integers and several channels are refused rather than converted."""
    with pytest.raises(UsageError, match="expected a vector of int16"):
        extract(samples, _frontend(LOG_MEL))
