"""Data sets in their publishers' layouts, made here in small; the real ones where HIL_DATA has them."""

import dataclasses
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hil.clip import Clip
from hil.datasets import files_fingerprint, load_dataset, load_noise, recipe_folds
from hil.datasets.audio import level_db, loud_windows, loudest_window, read_sounds
from hil.datasets.speech_commands import publisher_part
from hil.datasets.voting import clip_name, vote
from hil.errors import UsageError
from hil.recipe import DataRecipe, load_recipe
from hil.resources import resource

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

PARTS = ("train", "validation", "test")
SPEAKERS = ("ann", "bob", "cy", "dee")
WORDS = ("go", "stop", "tree")
REAL = pytest.mark.skipif(not os.environ.get("HIL_DATA"), reason="needs real data, and HIL_DATA names none")


def tone(count, hz=440.0, rate=8000, level=0.3):
    return level * np.sin(2 * np.pi * hz * np.arange(count) / rate)


def write(path, samples, rate=8000, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def clips(dataset, part):
    return [clip.name for clip in getattr(dataset, part)]


def counts(dataset, part):
    return dict(Counter(dataset.labels[clip.label] for clip in getattr(dataset, part)))


def speakers(dataset):
    return [{clip.speaker for clip in getattr(dataset, part)} for part in PARTS]


def assert_disjoint(dataset):
    train, validation, test = speakers(dataset)
    assert not train & validation
    assert not train & test
    assert not validation & test
    names = [name for part in PARTS for name in clips(dataset, part)]
    assert len(set(names)) == len(names)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty HIL_DATA, and a cache that is empty too."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("HIL_DATA", str(folder))
    monkeypatch.setenv("HIL_CACHE", str(tmp_path / "cache"))
    return folder


def make_fsdd(data, takes=6, speakers=SPEAKERS):
    for digit in range(10):
        for number, speaker in enumerate(speakers):
            for take in range(takes):
                hz = 200 + 90 * digit + 17 * number + take
                write(data / "fsdd" / "recordings" / f"{digit}_{speaker}_{take}.wav", tone(600 + 40 * take, hz))


def make_speech_commands(data, *, silent_words=("tree",), noise_seconds=20):
    """Five speakers a set and word; words in ``silent_words`` are in no list."""
    root = data / "speech_commands"
    by_part = {part: [] for part in PARTS}
    for number in range(4000):
        part = by_part[publisher_part(f"{number:08x}_nohash_0.wav")]
        if len(part) < 5:
            part.append(f"{number:08x}")
    listed = {"validation": [], "test": []}
    for w, word in enumerate(WORDS):
        for part, names in by_part.items():
            for s, speaker in enumerate(names):
                file_name = f"{speaker}_nohash_{s % 2}.wav"
                write(root / word / file_name, tone(15000 + 100 * s, 300 + 200 * w + s, 16000), 16000)
                if part in listed and word not in silent_words:
                    listed[part].append(f"{word}/{file_name}")
    (root / "validation_list.txt").write_text("\n".join(listed["validation"]) + "\n")
    (root / "testing_list.txt").write_text("\n".join(listed["test"]) + "\n")
    rng = np.random.default_rng(1)
    for name in ("tap", "wind"):
        write(root / "_background_noise_" / f"{name}.wav", rng.uniform(-0.3, 0.3, 16000 * noise_seconds), 16000)
    return root


SPEECH = DataRecipe(source="speech_commands", keywords=("go", "stop"), unknown_words=("tree",))


def make_esc10(data):
    names = ["Dog bark", "Rain", "Sea waves", "Baby cry", "Clock tick"]
    names += ["Person sneeze", "Helicopter", "Chainsaw", "Rooster", "Fire crackling"]
    for label, name in enumerate(names):
        for fold in range(1, 6):
            wave = np.concatenate([tone(16000, 100 + 50 * label + fold, 8000), np.zeros(8000)])
            write(
                data / "esc10" / f"{label + 1:03} - {name}" / f"{fold}-{100 * label + fold}-A.ogg",
                wave,
                subtype="VORBIS",
            )
    return data / "esc10"


ESC = DataRecipe(source="esc10", hop_seconds=0.5)


def make_folder(root, labels=("clap", "knock"), files=10, seconds=0.5, rate=16000):
    for i, label in enumerate(labels):
        for n in range(files):
            write(root / label / f"p{n % 5}_{n}.wav", tone(round(seconds * rate), 300 * (i + 1) + 10 * n, rate), rate)
    return DataRecipe(source="folder", folder=str(root))


# --- reading -----------------------------------------------------------------------------------


def read(paths, rate=8000, skip_bad=False):
    notes = []
    return read_sounds(paths, paths[0].parent, rate, skip_bad=skip_bad, notes=notes), notes


def test_sixteen_bit_mono_of_the_right_rate_is_read_as_it_is(tmp_path):
    """Not a bit changes, and there is nothing to say."""
    samples = np.arange(-500, 500, dtype=np.int16) * 65
    (got,), notes = read([write(tmp_path / "a.wav", samples)])
    assert np.array_equal(got, samples)
    assert notes == []


@pytest.mark.parametrize("rate", [16000, 44100, 11025])
def test_another_rate_is_resampled_and_said_so_once(tmp_path, rate):
    """A tone keeps its frequency and level; one note for all files, with their number."""
    paths = [write(tmp_path / f"{i}.wav", tone(rate, 440, rate), rate) for i in range(3)]
    got, notes = read(paths)
    assert [samples.size for samples in got] == [8000] * 3
    inner = slice(400, 7600)
    error = got[0][inner] - 32768 * tone(8000)[inner]
    assert np.abs(error).max() < 0.003 * 0.3 * 32768
    assert notes == [f"{tmp_path}: resampled 3 files from {rate} Hz to 8000 Hz"]


def test_stereo_is_mixed_down_and_said_so(tmp_path):
    """The mean of the channels."""
    left, right = tone(1000), tone(1000, 700)
    (got,), notes = read([write(tmp_path / "a.wav", np.stack([left, right], axis=1))])
    assert np.abs(got - 32768 * (left + right) / 2).max() <= 1.5
    assert notes == [f"{tmp_path}: mixed 1 file of more than one channel down to mono"]


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("wav", "PCM_U8")]
)
def test_other_sample_formats_are_rounded_to_sixteen_bits(tmp_path, suffix, subtype):
    """Within one step of eight bits, or half a step of sixteen."""
    (got,), _ = read([write(tmp_path / f"a.{suffix}", tone(1000), subtype=subtype)])
    assert got.dtype == np.int16
    assert np.abs(got - 32768 * tone(1000)).max() <= (257 if subtype == "PCM_U8" else 1)


def test_beyond_full_scale_is_limited_and_said_so(tmp_path):
    """1.0 is full scale and no news; 1.5 is."""
    full, over = (write(tmp_path / f"{p}.wav", np.array([0.0, p, -p]), subtype="FLOAT") for p in (1.0, 1.5))
    (a, b), notes = read([full, over])
    assert a.tolist() == b.tolist() == [0, 32767, -32768]
    assert notes == [f"{tmp_path}: limited 1 file whose samples went beyond full scale"]


def bad_files(folder):
    write(folder / "good.wav", tone(800))
    (folder / "empty.wav").write_bytes(b"")
    write(folder / "header.wav", np.zeros(0))
    write(folder / "nan.wav", np.array([0.0, np.nan]), subtype="FLOAT")
    write(folder / "infinite.wav", np.array([0.0, np.inf]), subtype="FLOAT")
    (folder / "text.wav").write_text("no sound at all")
    (folder / "folder.wav").mkdir()
    return sorted(folder.glob("*.wav"))


def test_all_unusable_files_are_named_in_one_error(tmp_path):
    """Empty, header only, NaN, infinity, no sound file, no file: six of seven."""
    with pytest.raises(UsageError) as caught:
        read(bad_files(tmp_path))
    text = str(caught.value)
    assert "6 of 7 files cannot be used" in text
    for name, why in {
        "empty": "zero length",
        "header": "zero length",
        "nan": "holds NaN or infinity",
        "infinite": "holds NaN or infinity",
        "text": "cannot be read",
        "folder": "cannot be read",
    }.items():
        assert f"{name}.wav: {why}" in text
    assert "--skip-bad" in text
    assert "good.wav" not in text


def test_unusable_files_are_left_out_only_when_asked_and_then_counted(tmp_path):
    """The good one stays, in its place."""
    paths = bad_files(tmp_path)
    got, notes = read(paths, skip_bad=True)
    assert [path.name for path, samples in zip(paths, got, strict=True) if samples is not None] == ["good.wav"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{tmp_path}: left out 6 of 7 files")
    assert "nan.wav: holds NaN" in notes[0]


def test_the_loudest_window_is_found_to_the_sample():
    """A burst of the window's length; shorter sounds get zeros."""
    samples = np.zeros(1000, np.int16)
    samples[333:433] = 1000
    assert np.array_equal(loudest_window(samples, 100), np.full(100, 1000))
    assert np.array_equal(loudest_window(samples[:99], 100), np.zeros(100))
    assert np.array_equal(loudest_window(samples[:100], 100), samples[:100])
    loud = np.full(70000, -32768, np.int16)
    assert np.array_equal(loudest_window(loud, 60000), loud[:60000])


def test_quiet_windows_are_left_out_but_never_all():
    """-60 dB is a mean square of 1e-6 of full scale."""
    step = np.repeat(np.array([40, 30, 0], np.int16), 100)  # -58.3, -60.8 dB and silence
    assert [i for i, _ in loud_windows(step, 100, 100, -60.0)] == [0]
    assert [i for i, _ in loud_windows(step, 100, 50, -61.0)] == [0, 1, 2]
    assert [i for i, _ in loud_windows(step, 100, 100, -10.0)] == [0]
    assert [i for i, _ in loud_windows(np.zeros(150, np.int16), 100, 100, -10.0)] == [0]
    assert [i for i, _ in loud_windows(step[:50], 100, 50, -60.0)] == [0]
    assert level_db(np.full(10, 16384, np.int16)) == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("library", ["soundfile", "soxr"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, library):
    """A bench need not have it; whoever reads sounds must."""
    path = write(tmp_path / "a.wav", tone(100))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"{library}, which .* cannot be imported .*pip install {library}"):
        read([path])


# --- fsdd --------------------------------------------------------------------------------------


def test_speakers_held_out_are_only_in_the_test_set(data):
    """Named in the recipe; everyone else trains."""
    make_fsdd(data)
    recipe = DataRecipe(source="fsdd", test_speakers=("bob", "dee"), validation_speakers=("cy",))
    dataset = load_dataset(recipe, 8000, notes=[])
    assert speakers(dataset) == [{"ann"}, {"cy"}, {"bob", "dee"}]
    assert dataset.labels == tuple("0123456789")
    assert counts(dataset, "test") == {str(d): 12 for d in range(10)}
    assert all(clip.samples.size == 8000 for clip in dataset.train)


def test_leaving_one_speaker_out_tests_each_clip_once(data):
    """By number or by name; the next speaker validates."""
    make_fsdd(data)
    recipe = DataRecipe(source="fsdd", protocol="leave-one-speaker-out", fold=2)
    assert speakers(load_dataset(recipe, 8000, notes=[])) == [{"ann", "dee"}, {"cy"}, {"bob"}]
    assert recipe_folds(recipe) == SPEAKERS
    sets = [load_dataset(recipe, 8000, fold=fold, notes=[]) for fold in recipe_folds(recipe)]
    for dataset in sets:
        assert_disjoint(dataset)
    tested = [name for dataset in sets for name in clips(dataset, "test")]
    assert sorted(tested) == sorted(
        f"recordings/{d}_{s}_{t}.wav" for d in range(10) for s in SPEAKERS for t in range(6)
    )
    by_number, by_name = (load_dataset(recipe, 8000, fold=fold, notes=[]).sha256() for fold in ("4", "dee"))
    assert by_number == by_name == sets[3].sha256()


def test_takes_can_validate_but_test_speakers_stay_unseen(data):
    """Takes 0 to 4 of the training speakers; the rest of their takes train."""
    make_fsdd(data, takes=7)
    recipe = DataRecipe(source="fsdd", protocol="leave-one-speaker-out", fold="ann", validation="takes")
    dataset = load_dataset(recipe, 8000, notes=[])
    assert speakers(dataset) == [{"bob", "cy", "dee"}, {"bob", "cy", "dee"}, {"ann"}]
    assert {name[-5] for name in clips(dataset, "validation")} == set("01234")
    assert {name[-5] for name in clips(dataset, "train")} == set("56")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_speakers": ("bub",), "validation_speakers": ("cy",)}, "no speaker 'bub'.*did you mean 'bob'"),
        ({}, "test_speakers is empty"),
        ({"test_speakers": ("bob",)}, "validation_speakers is empty"),
        ({"validation": "takes", "validation_speakers": ("cy",)}, "leave one of the two out"),
        ({"protocol": "leave-one-speaker-out", "fold": 0}, r"fold = 0: must be 1 to 4"),
        ({"protocol": "leave-one-speaker-out", "fold": 5}, r"fold = 5: must be 1 to 4"),
        ({"protocol": "leave-one-speaker-out", "fold": "de"}, "did you mean 'dee'"),
    ],
)
def test_wrong_speakers_are_refused(data, change, message):
    """With the speakers there are."""
    make_fsdd(data, takes=1)
    with pytest.raises(UsageError, match=message):
        load_dataset(DataRecipe(source="fsdd", **change), 8000, notes=[])


def test_a_file_with_a_strange_name_is_ignored_and_named(data):
    """Long recordings are cut, and that is said with their number."""
    make_fsdd(data)
    write(data / "fsdd" / "recordings" / "hello.wav", tone(100))
    write(data / "fsdd" / "recordings" / "3_ann_9.wav", tone(9000))
    notes = []
    load_dataset(DataRecipe(source="fsdd", test_speakers=("bob",), validation_speakers=("cy",)), 8000, notes=notes)
    assert len(notes) == 2
    assert notes[0].endswith("ignored 1 files not named DIGIT_SPEAKER_TAKE.wav: hello.wav")
    assert notes[1].endswith("cut 1 of 241 files to their loudest 1 s")


# --- speech commands ---------------------------------------------------------------------------


def test_official_lists_decide_and_the_rest_trains(data):
    """Keywords, unknown, silence, in this order; the same clips in every set as in the lists."""
    root = make_speech_commands(data, silent_words=())
    notes = []
    dataset = load_dataset(SPEECH, 8000, notes=notes)
    assert dataset.labels == ("go", "stop", "unknown", "silence")
    for part, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        spoken = [clip.name for clip in getattr(dataset, part) if dataset.labels[clip.label] != "silence"]
        assert sorted(spoken) == sorted((root / name).read_text().split())
        assert counts(dataset, part) == {"go": 5, "stop": 5, "unknown": 5, "silence": 5}
    assert counts(dataset, "train") == {"go": 5, "stop": 5, "unknown": 5, "silence": 5}
    assert_disjoint(dataset)
    assert sum("resampled" in note for note in notes) == 2  # clips, background noise


def test_the_publishers_rule_splits_words_that_no_list_has(data):
    """As the lists of the whole archive would, with a note."""
    make_speech_commands(data, silent_words=("tree",))
    notes = []
    dataset = load_dataset(dataclasses.replace(SPEECH, unlisted="publisher-rule"), 8000, notes=notes)
    assert [counts(dataset, part)["unknown"] for part in PARTS] == [5, 5, 5]
    assert any("tree: is in no official list" in note for note in notes)
    assert_disjoint(dataset)


def test_unlisted_clips_train_unless_their_speakers_are_tested(data):
    """The 10 clips of tree whose speakers are in the lists of go and stop are left out and counted."""
    make_speech_commands(data, silent_words=("tree",))
    notes = []
    dataset = load_dataset(SPEECH, 8000, notes=notes)
    assert [counts(dataset, part).get("unknown", 0) for part in PARTS] == [5, 0, 0]
    assert any("tree: left out 10 of 15 clips" in note for note in notes)
    assert any("the test set has no clip of unknown" in note for note in notes)
    assert_disjoint(dataset)


def test_unknown_is_balanced_over_words_and_silence_follows_the_ratio(data):
    """At most as many as a keyword has; no silence on request."""
    make_speech_commands(data, silent_words=())
    recipe = dataclasses.replace(SPEECH, keywords=("go",), unknown_words=("*",), unknown_ratio=0.8, silence_ratio=2.0)
    dataset = load_dataset(recipe, 8000, notes=[])
    for part in PARTS:
        assert counts(dataset, part) == {"go": 5, "unknown": 4, "silence": 10}
        drawn = Counter(name.split("/")[0] for name in clips(dataset, part))
        assert drawn["stop"] == drawn["tree"] == 2
    without = load_dataset(dataclasses.replace(recipe, silence_ratio=0.0), 8000, notes=[])
    assert without.labels == ("go", "unknown")


def test_silence_for_training_and_testing_comes_from_different_minutes(data):
    """First 80 %, next 10 %, last 10 % of each recording; training noise is the first share."""
    root = make_speech_commands(data, silent_words=())
    dataset = load_dataset(dataclasses.replace(SPEECH, silence_ratio=10.0), 16000, notes=[])
    seconds = {
        part: [float(name.split("@")[1].split("s-")[0]) for name in clips(dataset, part) if "@" in name]
        for part in PARTS
    }
    assert all(0 <= second <= 15 for second in seconds["train"])
    assert all(16 <= second <= 17 for second in seconds["validation"])
    assert all(18 <= second <= 19 for second in seconds["test"])
    assert len(seconds["train"]) == 50
    noise = load_noise(SPEECH, 16000)
    whole, _ = soundfile.read(root / "_background_noise_" / "tap.wav", dtype="int16")
    assert np.array_equal(noise[0], whole[: 16 * 16000])


def test_the_seed_decides_and_nothing_else(data):
    """Equal hash for equal seed, another one for another."""
    make_speech_commands(data, silent_words=())
    first, again, other = (
        load_dataset(dataclasses.replace(SPEECH, seed=seed), 8000, notes=[]).sha256() for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keywords": ("goo",)}, "has no word 'goo', only go, stop, tree; did you mean 'go'"),
        ({"unknown_words": ("go",)}, "go in keywords and in unknown_words"),
        ({"seconds": 5.0}, "too short to cut 5 s for validation"),
    ],
)
def test_wrong_words_are_refused(data, change, message):
    """With the words there are."""
    make_speech_commands(data)
    with pytest.raises(UsageError, match=message):
        load_dataset(dataclasses.replace(SPEECH, **change), 8000, notes=[])


def test_an_incomplete_copy_is_used_and_what_lacks_is_counted(data):
    """A list may name clips that are not here; without a list it is another layout."""
    root = make_speech_commands(data, silent_words=())
    gone = (root / "testing_list.txt").read_text().split()[0]
    (root / gone).unlink()
    notes = []
    dataset = load_dataset(SPEECH, 8000, notes=notes)
    assert counts(dataset, "test")["go"] == 4
    assert any("go: 1 of 10 clips in the official lists are not here" in note for note in notes)
    (root / "testing_list.txt").unlink()
    with pytest.raises(UsageError, match=r"testing_list.txt: no such file"):
        load_dataset(SPEECH, 8000, notes=[])


# --- esc10 -------------------------------------------------------------------------------------


def test_esc10_windows_stay_with_their_clip(data):
    """2 s of tone and 1 s of silence: windows at 0, 0.5, 1 and 1.5 s sound, the one at 2 s does not."""
    make_esc10(data)
    dataset = load_dataset(dataclasses.replace(ESC, fold=5), 8000, notes=[])
    assert len(dataset.labels) == 10
    assert {name.split("/")[1][0] for name in clips(dataset, "test")} == {"5"}
    assert {name.split("/")[1][0] for name in clips(dataset, "validation")} == {"1"}
    assert {name.split("/")[1][0] for name in clips(dataset, "train")} == set("234")
    assert clips(dataset, "test")[:4] == [f"001 - Dog bark/5-5-A.ogg#{i}" for i in range(4)]
    assert clip_name(dataset.test[3]) == "001 - Dog bark/5-5-A.ogg"
    assert_disjoint(dataset)


def test_the_folds_of_esc10_test_every_clip_once(data):
    """Five of them."""
    make_esc10(data)
    assert recipe_folds(ESC) == (1, 2, 3, 4, 5)
    tested = [
        name for fold in recipe_folds(ESC) for name in {clip_name(c) for c in load_dataset(ESC, 8000, fold=fold).test}
    ]
    assert len(tested) == len(set(tested)) == 50


def test_esc10_is_read_out_of_esc50_too(data):
    """audio/ with a table whose column esc10 picks the clips."""
    audio = data / "esc10" / "audio"
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for target, category in enumerate(("dog", "crackling_fire", "cat")):
        for fold in range(1, 6):
            write(audio / f"{fold}-{target}7{fold}-A-{target}.wav", tone(8000, 300 + target), 8000)
            rows.append(f"{fold}-{target}7{fold}-A-{target}.wav,{fold},{target},{category},{target < 2},x,A")
    table = data / "esc10" / "meta" / "esc50.csv"
    table.parent.mkdir()
    table.write_text("\n".join(rows) + "\n")
    with pytest.raises(UsageError, match="no clip for training of rain"):
        load_dataset(ESC, 8000, notes=[])
    for target, category in enumerate(
        ("rain", "sea_waves", "crying_baby", "clock_tick", "sneezing", "helicopter", "chainsaw", "rooster"), 10
    ):
        for fold in range(1, 6):
            write(audio / f"{fold}-{target}7{fold}-A-{target}.wav", tone(8000, 300 + target), 8000)
            rows.append(f"{fold}-{target}7{fold}-A-{target}.wav,{fold},{target},{category},True,x,A")
    table.write_text("\n".join(rows) + "\n")
    dataset = load_dataset(ESC, 8000, notes=[])
    assert [len(getattr(dataset, part)) for part in PARTS] == [30, 10, 10]
    assert dataset.labels[dataset.test[0].label] == "dog_bark"
    assert dataset.labels[dataset.test[-1].label] == "fire_crackling"
    table.write_text("filename,category\n1-2-A-3.wav,dog\n")
    with pytest.raises(UsageError, match="needs columns filename, category, esc10"):
        load_dataset(ESC, 8000, notes=[])


@pytest.mark.parametrize("fold", [0, 6, "x"])
def test_esc10_has_five_folds(data, fold):
    """1 to 5."""
    make_esc10(data)
    with pytest.raises(UsageError, match=r"must be 1 to 5"):
        load_dataset(ESC, 8000, fold=fold, notes=[])


def test_windows_vote_and_the_larger_sum_breaks_a_tie():
    """Two of three win over one confident one; one against one goes by the logits."""
    window = [Clip(np.zeros(1, np.int16), 8000, label, "s", name) for name, label in
              [("a#0", 0), ("a#2", 0), ("b#0", 1), ("a#3", 0), ("b#1", 1), ("c", 2)]]  # fmt: skip
    logits = np.array([[2, 1, 0], [2, 1, 0], [5, 0, 0], [0, 90, 0], [0, 6, 0], [0, 0, 1]])
    names, labels, voted = vote(window, logits)
    assert names == ("a", "b", "c")
    assert labels.tolist() == [0, 1, 2]
    assert voted.tolist() == [0, 1, 2]
    assert vote(window, -logits.astype(np.float32))[2].shape == (3,)
    with pytest.raises(ValueError, match="6 windows, 5 rows"):
        vote(window, logits[:5])


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_is_split_by_the_hash_of_its_files(tmp_path):
    """Every label is in every set; other files in the folder are ignored and counted."""
    recipe = make_folder(tmp_path / "sounds")
    (tmp_path / "sounds" / "clap" / "notes.txt").write_text("x")
    (tmp_path / "sounds" / "_drafts").mkdir()
    notes = []
    dataset = load_dataset(recipe, 8000, notes=notes)
    assert dataset.labels == ("clap", "knock")
    assert [counts(dataset, part) for part in PARTS] == [
        {"clap": 6, "knock": 6},
        {"clap": 2, "knock": 2},
        {"clap": 2, "knock": 2},
    ]
    assert any("ignored 1 files that are not wav, flac, ogg: .txt" in note for note in notes)
    assert any("resampled 20 files from 16000 Hz" in note for note in notes)
    assert_disjoint(dataset)
    assert load_dataset(recipe, 8000, notes=[]).sha256() == dataset.sha256()
    assert load_dataset(dataclasses.replace(recipe, seed=5), 8000, notes=[]).sha256() != dataset.sha256()


def test_a_folder_is_split_by_a_speaker_pattern(tmp_path):
    """p0 to p4: all their files go together."""
    recipe = dataclasses.replace(make_folder(tmp_path), speaker_pattern=r"^(p\d)_")
    dataset = load_dataset(recipe, 8000, notes=[])
    assert sorted(map(len, speakers(dataset))) == [1, 1, 3]
    assert set.union(*speakers(dataset)) == {f"p{i}" for i in range(5)}
    assert_disjoint(dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": ""}, "data.folder is empty"),
        ({"folder": "/nowhere/at/all"}, "no such folder"),
        ({"keywords": ("clapp", "knock")}, "has no folder 'clapp'.*did you mean 'clap'"),
        ({"keywords": ("clap",)}, "has 1 label folders, needs at least two"),
        ({"speaker_pattern": "("}, "is no regular expression"),
        ({"speaker_pattern": "p"}, "has 0 groups, needs one"),
        ({"speaker_pattern": "(q)"}, r"finds no speaker in 20 of 20 file names:\n  clap/p0_0.wav"),
        ({"speaker_pattern": "(p)"}, "has 1 speakers, needs at least 3"),
    ],
)
def test_a_folder_that_cannot_be_split_is_refused(tmp_path, change, message):
    """With what to change."""
    with pytest.raises(UsageError, match=message):
        load_dataset(dataclasses.replace(make_folder(tmp_path), **change), 8000, notes=[])


def test_a_label_needs_three_files(tmp_path):
    """Three make three sets; two do not."""
    recipe = make_folder(tmp_path, files=3)
    assert [len(getattr(load_dataset(recipe, 8000, notes=[]), part)) for part in PARTS] == [2, 2, 2]
    (tmp_path / "clap" / "p0_0.wav").unlink()
    with pytest.raises(UsageError, match="clap: has 2 files, needs at least 3"):
        load_dataset(recipe, 8000, notes=[])


def test_bad_files_in_a_folder_stop_it_unless_told_otherwise(tmp_path):
    """All by name; with skip_bad the others are used."""
    recipe = make_folder(tmp_path)
    (tmp_path / "clap" / "zero.wav").write_bytes(b"")
    (tmp_path / "knock" / "text.ogg").write_text("no")
    with pytest.raises(
        UsageError, match=r"2 of 22 files cannot be used:\n  clap/zero.wav: zero length\n  knock/text.ogg"
    ):
        load_dataset(recipe, 8000, notes=[])
    notes = []
    dataset = load_dataset(dataclasses.replace(recipe, skip_bad=True), 8000, notes=notes)
    assert sum(len(getattr(dataset, part)) for part in PARTS) == 20
    assert any("left out 2 of 22 files" in note for note in notes)


def test_copies_in_two_sets_are_reported(tmp_path):
    """The same sound under ten names makes a perfect score that means nothing."""
    recipe = make_folder(tmp_path)
    for i in range(10):
        write(tmp_path / "clap" / f"p{i % 5}_{i}.wav", tone(4000))
    notes = []
    load_dataset(recipe, 8000, notes=notes)
    assert any("1 sounds are in more than one set" in note for note in notes)


def test_a_recipes_folder_is_relative_to_the_recipe(tmp_path):
    """And its place does not change the recipe's hash."""
    hashes = []
    for name in ("here", "there"):
        make_folder(tmp_path / name / "sounds")
        path = tmp_path / name / "recipe.toml"
        path.write_text('name = "x"\n[data]\nsource = "folder"\nfolder = "sounds"\n')
        recipe = load_recipe(path)
        assert load_dataset(recipe.data, 8000, notes=[]).labels == ("clap", "knock")
        hashes.append(recipe.sha256())
    assert hashes[0] == hashes[1]


def test_the_fingerprint_follows_the_files(tmp_path):
    """Equal for equal files; another when one changes or comes; none for what is made."""
    recipe = make_folder(tmp_path)
    before = files_fingerprint(recipe)
    assert files_fingerprint(recipe) == before
    write(tmp_path / "clap" / "p0_0.wav", tone(100))
    changed = files_fingerprint(recipe)
    write(tmp_path / "clap" / "p0_99.wav", tone(100))
    assert len({before, changed, files_fingerprint(recipe)}) == 3
    assert files_fingerprint(DataRecipe(keywords=("yes",))) == ""


# --- places and recipes ------------------------------------------------------------------------


def test_missing_data_name_the_command_that_gets_them(data, monkeypatch):
    """With HIL_DATA set, unset, and pointing nowhere."""
    recipe = DataRecipe(source="fsdd", test_speakers=("a",), validation_speakers=("b",))
    with pytest.raises(UsageError, match=r"has no fsdd/.*`hil data get fsdd`"):
        load_dataset(recipe, 8000)
    monkeypatch.setenv("HIL_DATA", str(data / "nowhere"))
    with pytest.raises(UsageError, match="no such folder"):
        load_dataset(recipe, 8000)
    monkeypatch.delenv("HIL_DATA")
    with pytest.raises(UsageError, match=r"HIL_DATA is not set.*`hil data get fsdd`"):
        load_dataset(recipe, 8000)


def test_downloaded_data_are_found_without_hil_data(data, monkeypatch):
    """In the cache; HIL_DATA goes first."""
    recipe = DataRecipe(source="fsdd", test_speakers=("bob",), validation_speakers=("cy",))
    make_fsdd(Path(os.environ["HIL_CACHE"]) / "data", takes=1)
    assert len(load_dataset(recipe, 8000).test) == 10
    make_fsdd(data, takes=2)
    assert len(load_dataset(recipe, 8000).test) == 20
    monkeypatch.delenv("HIL_DATA")
    assert len(load_dataset(recipe, 8000).test) == 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "fsdd", "keywords": ("yes",)}, "keywords is not for source 'fsdd', only for synthetic-keywords"),
        ({"source": "esc10", "test_speakers": ("a",)}, "test_speakers is not for source 'esc10', only for fsdd"),
        ({"source": "speech_commands"}, "keywords is empty"),
        ({"source": "esc10", "hop_seconds": 0.01}, "hop_seconds"),
        ({"source": "folder", "folder": "x", "test_fraction": 0.5}, "test_fraction"),
        ({"source": "fsdd", "test_speakers": ("a",), "validation_speakers": ("a",)}, "a in test_speakers and in"),
    ],
)
def test_a_field_of_another_source_or_out_of_range_is_refused(values, message):
    """A recipe that would be ignored in part is a mistake."""
    with pytest.raises(UsageError, match=message):
        DataRecipe(**values)


def test_a_fold_for_a_source_without_folds_is_refused():
    """It would be ignored."""
    with pytest.raises(UsageError, match="has no folds"):
        load_dataset(SPEECH, 8000, fold=1)


# --- the real data -----------------------------------------------------------------------------


def real(name):
    """The shipped recipe's data, read."""
    recipe = load_recipe(resource("models") / name)
    notes = []
    return load_dataset(recipe.data, recipe.features.rate_hz, notes=notes), notes


@REAL
def test_real_speech_commands_have_the_publishers_counts():
    """The lists decide: 400 and 80 clips of each keyword, 261 for testing; off by the publisher's rule."""
    dataset, _ = real("speech-commands")
    words = ("house", "learn", "left", "marvin", "one")
    assert dataset.labels == (*words, "unknown", "silence")
    assert {word: counts(dataset, "train")[word] for word in words} == dict.fromkeys(words, 400)
    assert {word: counts(dataset, "validation")[word] for word in words} == dict.fromkeys(words, 80)
    assert sum(counts(dataset, "test")[word] for word in words) == 261
    assert [counts(dataset, part)["unknown"] for part in PARTS] == [115, 15, 20]
    assert_disjoint(dataset)


@REAL
def test_the_publishers_rule_makes_the_official_lists():
    """For every keyword clip of the real data."""
    root = Path(os.environ["HIL_DATA"]) / "speech_commands"
    listed = {"validation": "validation_list.txt", "test": "testing_list.txt"}
    official = {name: part for part, file in listed.items() for name in (root / file).read_text().split()}
    words = {name.split("/")[0] for name in official}
    names = [f"{word}/{path.name}" for word in sorted(words) for path in (root / word).glob("*.wav")]
    assert len(names) > 2000
    assert [n for n in names if publisher_part(n.split("/")[1]) != official.get(n, "train")] == []


@REAL
def test_real_digits_are_3000_clips_of_six_speakers():
    """Fold 1 of the recipe: 500 clips of one speaker are for testing, and that speaker is in no other set."""
    dataset, _ = real("fsdd-digits")
    assert sum(len(getattr(dataset, part)) for part in PARTS) == 3000
    assert counts(dataset, "test") == {str(d): 50 for d in range(10)}
    recipe = load_recipe(resource("models") / "fsdd-digits").data
    assert recipe_folds(recipe) == ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    train, validation, test = speakers(dataset)
    assert not test & (train | validation)
    assert train == validation  # takes
    assert len(set(clips(dataset, "train")) | set(clips(dataset, "validation"))) == 2500


@REAL
def test_real_esc10_is_400_clips_in_five_folds_of_80():
    """Of one fold's data set; every source recording in one set only."""
    dataset, _ = real("esc10")
    clips_of = [{clip_name(clip) for clip in getattr(dataset, part)} for part in PARTS]
    assert [len(names) for names in clips_of] == [240, 80, 80]
    assert Counter(name.split("/")[1][0] for names in clips_of for name in names) == dict.fromkeys("12345", 80)
    assert_disjoint(dataset)
