"""The synthetic data set: what is in it, and that a seed fixes every sample."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter

import numpy as np
import pytest

from hil.clip import Clip, Dataset
from hil.datasets import load_dataset, load_saved_dataset, save_dataset
from hil.datasets.espeak import ACCENTS, Utterance, speak, variants
from hil.datasets.noise import KINDS, noise
from hil.datasets.synthetic import LEVEL_DB, SNR_DB, _fitted, split_sizes, split_variants
from hil.errors import ToolError, UsageError
from hil.recipe import DataRecipe

RECIPE = DataRecipe(keywords=("yes", "no"), unknown_words=("house", "tree"), clips=120, seed=3)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(RECIPE, 8000)


def _all(dataset: Dataset) -> list[Clip]:
    return [*dataset.train, *dataset.validation, *dataset.test]


def test_seed_fixes_every_sample(dataset):
    """Two runs give the same hash; another seed gives another."""
    other = load_dataset(dataclasses.replace(RECIPE, seed=4), 8000)

    assert load_dataset(RECIPE, 8000).sha256() == dataset.sha256()
    assert other.sha256() != dataset.sha256()


def test_clip_does_not_depend_on_the_others(dataset):
    """A clip is the same in a larger data set: its generator and its utterance are its own."""
    larger = load_dataset(dataclasses.replace(RECIPE, clips=160), 8000)

    for small, large in ((dataset.train, larger.train), (dataset.test, larger.test)):
        assert [c.name for c in small] == [c.name for c in large[: len(small)]]
        assert all((a.samples == b.samples).all() for a, b in zip(small, large, strict=False))


def test_utterance_does_not_depend_on_those_before():
    """espeak-ng carries state and draws random breath; neither reaches the next utterance or the next run."""
    requests = [Utterance(f"{a}+{v}", "seven", 160, 50, 50) for v in ("whisper", "f2", "Demonic") for a in ACCENTS[:3]]
    forwards = [samples.tobytes() for samples, _ in speak(requests)]
    backwards = [samples.tobytes() for samples, _ in speak(requests[::-1])]

    assert forwards == backwards[::-1]
    assert len(set(forwards)) == len(requests)


def test_labels_sizes_and_rate(dataset):
    """Keywords, unknown, silence; an eighth each for validation and test; every label equally often."""
    assert dataset.labels == ("yes", "no", "unknown", "silence")
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [90, 15, 15]
    for part in (dataset.train, dataset.validation, dataset.test):
        counts = Counter(clip.label for clip in part)
        assert max(counts.values()) - min(counts[i] for i in range(4)) <= 1
    for clip in _all(dataset):
        assert (clip.samples.shape, clip.samples.dtype, clip.rate_hz) == ((8000,), np.int16, 8000)
    assert len({clip.name for clip in _all(dataset)}) == 120


def test_speakers_and_their_variants_are_disjoint(dataset):
    """No voice occurs in two sets, nor does its variant with another accent."""
    parts = [{c.speaker for c in part} for part in (dataset.train, dataset.validation, dataset.test)]
    timbres = [{speaker.split("+")[-1] for speaker in part} for part in parts]

    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not parts[one] & parts[other]
        assert not timbres[one] & timbres[other]
    assert len(parts[0]) > 50


def test_832_voices():
    """Accents times variants; every variant is in exactly one part."""
    names = variants()
    parts = split_variants(names, seed=1)

    assert len(ACCENTS) * len(names) == 832
    assert sorted(name for part in parts for name in part) == sorted(names)


def test_demo_has_300_test_clips():
    """2,400 clips give 300 test clips, which are 18,600 steps of 62 frames."""
    assert split_sizes(2400) == (1800, 300, 300)


def test_silence_is_noise_only(dataset):
    """The loudest silence is at least the smallest signal-to-noise ratio below the loudest speech; none is all zero."""
    rms = {i: [np.sqrt(np.mean(c.samples.astype(float) ** 2)) for c in _all(dataset) if c.label == i] for i in range(4)}

    limit = 32768 * 10 ** ((LEVEL_DB[1] - SNR_DB[0] + 3) / 20)
    assert max(rms[3]) < limit
    assert min(rms[3]) > 0
    assert np.median(rms[0]) > 4 * np.median(rms[3])


def test_clips_keep_their_headroom(dataset):
    """No sample reaches full scale: loud mixtures are scaled, not clipped."""
    assert max(int(np.abs(c.samples.astype(np.int32)).max()) for c in _all(dataset)) <= 32112


def test_clips_differ(dataset):
    """Every clip is its own: voice, position, level and noise vary."""
    assert len({c.samples.tobytes() for c in _all(dataset)}) == 120


def test_rate_and_length_follow_the_recipe():
    """16 kHz and 1.5 s give 24,000 samples."""
    recipe = dataclasses.replace(RECIPE, clips=100, seconds=1.5)

    assert {c.samples.size for c in _all(load_dataset(recipe, 16000))} == {24000}


def test_progress_reaches_the_end():
    """Progress counts utterances up to their number, one at a time."""
    seen: list[tuple[int, int]] = []
    load_dataset(dataclasses.replace(RECIPE, clips=100), 8000, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert 70 <= len(seen) <= 80


@pytest.mark.parametrize("word", ["", "###", "a\0b", "日本", "two  words", "-go"])
def test_word_that_cannot_be_spoken(word):
    """A word outside letters, digits and inner ' - or space is refused by name before anything is spoken."""
    with pytest.raises(UsageError, match=r"data\.keywords: .* cannot be spoken"):
        load_dataset(dataclasses.replace(RECIPE, keywords=("yes", word)), 8000)


def test_slow_voice_speaks_faster():
    """A word that takes a voice longer than the clip is spoken faster and fits, at most at its limit."""
    slow = Utterance("en-us+Marco", "marvin", 100, 50, 50)
    (samples, rate_hz), *_ = speak([slow])
    speech = samples[:: rate_hz // 8000] / 32768.0
    window = round(0.8 * speech.size)
    fitted = _fitted(speech, slow, window, 8000)

    assert _fitted(speech, slow, speech.size, 8000) is speech
    assert 0.4 * window < fitted.size <= window


def test_word_longer_than_the_clip():
    """A word that does not fit even when spoken fast is an error with its length, not a cut word."""
    with pytest.raises(UsageError, match=r"takes \d\.\d\d s by '.*' .* longer than data\.seconds = 0\.2"):
        load_dataset(dataclasses.replace(RECIPE, seconds=0.2), 8000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown_words": ()}, r"data\.unknown_words is empty"),
        ({"unknown_words": ("yes",)}, "'yes', which is also in data.unknown_words"),
        ({"keywords": ("yes", "silence")}, "'silence', which is also a label of its own"),
        ({"keywords": tuple(f"word{i}" for i in range(12))}, r"data\.clips = 120: 14 labels need at least 10[89]|11\d"),
    ],
)
def test_impossible_recipe(change, message):
    """Labels that collide or do not fit the number of clips are refused, with what to do."""
    clips = 100 if len(change.get("keywords", ())) > 10 else 120
    with pytest.raises(UsageError, match=message.replace("120", str(clips))):
        load_dataset(dataclasses.replace(RECIPE, clips=clips, **change), 8000)


def test_rate_limit():
    """3,999 Hz is refused, 4,000 Hz is not."""
    with pytest.raises(UsageError, match="3999"):
        load_dataset(RECIPE, 3999)
    assert load_dataset(dataclasses.replace(RECIPE, clips=100), 4000).test[0].samples.size == 4000


@pytest.mark.parametrize("library", ["espeakng_loader", "soxr"])
def test_missing_library_names_the_extra(library, monkeypatch):
    """Without espeakng-loader or soxr the error says which extra to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match="extra 'train'"):
        load_dataset(RECIPE, 8000)


def test_voice_that_does_not_exist():
    """A voice that espeak-ng lacks is a ToolError naming it."""
    with pytest.raises(ToolError, match=r"no such voice.*'xx-yy'"):
        list(speak([Utterance("xx-yy", "yes", 160, 50, 50)]))


def test_library_that_does_not_load(monkeypatch, tmp_path):
    """A broken library is a ToolError with the loader's message."""
    import espeakng_loader

    broken = tmp_path / "libespeak-ng.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(broken))
    with pytest.raises(ToolError, match=r"(?s)ended early.*libespeak-ng\.so"):
        list(speak([Utterance("en", "yes", 160, 50, 50)]))


def test_speaking_can_be_left_early():
    """Leaving after the first of many utterances ends the speaking processes at once."""
    speech = speak([Utterance("en", "yes", 160, 50, 50)] * 2000)
    samples, rate_hz = next(speech)
    speech.close()

    assert (rate_hz, samples.dtype) == (22050, np.int16)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_unit_power(kind):
    """Every kind has a mean square of 1 and is repeated by its generator's seed."""
    one, again = (noise(kind, 8000, 8000, np.random.default_rng(5)) for _ in range(2))

    assert np.mean(one**2) == pytest.approx(1, rel=1e-9)
    assert (one == again).all()


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_colour_of_noise(kind, slope_db):
    """Power falls by 0, 3 and 6 dB an octave."""
    power = sum(np.abs(np.fft.rfft(noise(kind, 8000, 8000, np.random.default_rng(i)))) ** 2 for i in range(20))
    octaves = [10 * np.log10(power[low : 2 * low].mean()) for low in (100, 200, 400, 800, 1600)]

    assert np.diff(octaves).mean() == pytest.approx(slope_db, abs=0.4)


def test_hum_is_at_mains_frequency():
    """The strongest line of hum is a multiple of 50 or 60 Hz, within half a percent."""
    for seed in range(5):
        peak_hz = np.abs(np.fft.rfft(noise("hum", 8000, 8000, np.random.default_rng(seed)))).argmax()
        ratios = [peak_hz / mains_hz for mains_hz in (50, 60)]
        assert min(abs(r - round(r)) / r for r in ratios) < 0.02


def test_saved_data_set_is_the_same(dataset, tmp_path):
    """A saved data set reads back with the same hash, and equal data give equal files."""
    one, two = tmp_path / "a" / "one.npz", tmp_path / "two.npz"
    save_dataset(dataset, one)
    save_dataset(load_saved_dataset(one), two)

    assert load_saved_dataset(two).sha256() == dataset.sha256()
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "two.npz"]


def test_empty_parts_are_saved(tmp_path):
    """Empty sets read back empty."""
    empty = Dataset(("a",), (), (), ())
    save_dataset(empty, tmp_path / "empty.npz")

    assert load_saved_dataset(tmp_path / "empty.npz") == empty


def test_missing_data_set(tmp_path):
    """A missing file says how to make it."""
    with pytest.raises(UsageError, match="no such data set"):
        load_saved_dataset(tmp_path / "none.npz")


@pytest.mark.parametrize("damage", ["flip", "truncate", "text", "empty", "pickle", "other arrays"])
def test_damaged_data_set(dataset, tmp_path, damage):
    """A file that was altered, cut or is something else is refused with what to do; nothing is unpickled."""
    path = tmp_path / "clips.npz"
    save_dataset(dataset, path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    contents = {"flip": bytes(whole), "truncate": bytes(whole[:-100]), "text": b"hello", "empty": b""}
    if damage in contents:
        path.write_bytes(contents[damage])
    elif damage == "pickle":
        np.savez(path, format=np.array([{}], dtype=object))
    else:
        np.savez(path, something=np.zeros(3))

    with pytest.raises(UsageError, match="delete it and run again"):
        load_saved_dataset(path)


def test_altered_samples_are_noticed(dataset, tmp_path):
    """A file whose arrays are whole but are not those that were hashed is refused."""
    path = tmp_path / "clips.npz"
    save_dataset(dataset, path)
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["test.label"] = changed["test.label"][::-1]
    np.savez(path, **changed)

    with pytest.raises(UsageError, match="do not have the hash"):
        load_saved_dataset(path)
