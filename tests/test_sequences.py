"""Sequences of vectors instead of sound: files, splits, scaling, lengths, and the whole way to the chip."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_artefact
from sequence_files import DIGITS, SPEAKERS, make_mnist, make_uea
from test_cli import call

from hil.artefact import SequenceInput, artefact_from_bytes
from hil.cells import Network, network_from
from hil.clip import SequenceSet
from hil.codegen import emit_c
from hil.datasets import files_fingerprint, load_saved_sequences, load_sequences, save_sequences
from hil.datasets.mnist import pooled
from hil.datasets.sequences import of_each_label, without_validation
from hil.datasets.uea import read_ts
from hil.errors import ArtefactError, UsageError
from hil.experiment.feature_file import Features, load_features, save_features
from hil.features import FeatureSet, fit_sequences, scale_set
from hil.quant import quantize, run_twin, run_twin_batch, run_twins
from hil.recipe import CellRecipe, DataRecipe, FeatureRecipe, QuantizeRecipe, Recipe, TrainRecipe
from hil.train import fit, fit_quantized, predict

STANDARD = FeatureRecipe(kind="sequence")
RANGE = FeatureRecipe(kind="sequence", normalize="range")
VOWELS = DataRecipe(source="uea", problem="JapaneseVowels", validation_fraction=0.2)
ROWS = DataRecipe(source="mnist", validation_fraction=0.25)
TS = """\
# comment
@problemName Two
@timeStamps false
@dimensions 2
@classLabel true no yes
@data
1,2.5,3:4,5,6:yes

-1:1e-3:no
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    make_uea(root)
    make_mnist(root)
    monkeypatch.setenv("HIL_DATA", str(root))
    return root


def sequences(lengths: list[int], values: list[list[float]]) -> SequenceSet:
    count = len(lengths)
    y, names = np.arange(count) % 2, tuple(f"s{i}" for i in range(count))
    return SequenceSet(np.array(values, np.float32), np.array(lengths, np.int64), y, names)


def test_a_ts_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Dimensions become columns, lengths differ, classes are numbered in the header's order."""
    path = tmp_path / "Two_TRAIN.ts"
    path.write_text(TS)
    header, got = read_ts(path)
    assert header.classes == ("no", "yes")
    assert got.values.tolist() == [[1, 4], [2.5, 5], [3, 6], [-1, np.float32(1e-3)]]
    assert (got.lengths.tolist(), got.y.tolist(), got.names) == ([3, 1], [1, 0], ("Two_TRAIN#0", "Two_TRAIN#1"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@data", "", "has no line @data"),
        ("true no yes", "false", "names no classes"),
        ("@timeStamps false", "@timeStamps true", "time stamps"),
        (":yes", ":perhaps", "line 7: class 'perhaps' is none of no, yes"),
        ("2.5", "?", "line 7: .*missing values are not supported"),
        ("2.5", "nan", "line 7: has values that are not finite"),
        ("4,5,6", "4,5", r"line 7: dimensions of \[2, 3\] steps"),
        (":4,5,6", "", "line 7: 1 dimensions, expected 2"),
        ("1,2.5,3:4,5,6:yes\n\n-1:1e-3:no", "", "has no series"),
    ],
)
def test_a_ts_file_that_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """With file and line."""
    assert old in TS
    path = tmp_path / "Two_TRAIN.ts"
    path.write_text(TS.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        read_ts(path)


def test_the_archives_test_set_stays_whole_and_training_validates(data: Path) -> None:
    """A fifth of each class's training series validates; a seed fixes which; no series is in two sets."""
    got = load_sequences(VOWELS)
    assert got.labels == tuple("123456789")
    assert [len(part) for part in (got.train, got.validation, got.test)] == [SPEAKERS * 5, SPEAKERS, SPEAKERS * 3]
    assert np.bincount(got.validation.y).tolist() == [1] * SPEAKERS
    assert set(got.train.names) | set(got.validation.names) == {f"JapaneseVowels_TRAIN#{i}" for i in range(54)}
    assert got.test.names == tuple(f"JapaneseVowels_TEST#{i}" for i in range(27))
    assert load_sequences(VOWELS).sha256() == got.sha256()
    assert load_sequences(dataclasses.replace(VOWELS, seed=2)).validation.names != got.validation.names
    whole = read_ts(data / "uea" / "JapaneseVowels" / "JapaneseVowels_TRAIN.ts")[1]
    starts = np.cumsum(whole.lengths) - whole.lengths
    i = int(got.validation.names[1].split("#")[1])
    first = int(got.validation.lengths[0])
    given = got.validation.values[first : first + got.validation.lengths[1]]
    assert given.tolist() == whole.values[starts[i] : starts[i] + whole.lengths[i]].tolist()


def test_pictures_become_rows_or_pixels(data: Path) -> None:
    """A row a step, a pixel a step, and a pixel of means; the order is that of reading."""
    with np.load(data / "mnist" / "mnist.npz") as arrays:
        pictures = arrays["x_test"]
    rows, pixels = load_sequences(ROWS), load_sequences(dataclasses.replace(ROWS, view="pixels", pool=7))
    assert rows.test.values.reshape(40, 28, 28).tolist() == pictures.tolist()
    assert (rows.test.lengths == 28).all()
    assert pixels.test.values.shape == (40 * 16, 1)
    assert pixels.test.values[5, 0] == int(np.floor(pictures[0, 7:14, 7:14].mean() + 0.5))
    assert [len(part) for part in (rows.train, rows.validation, rows.test)] == [90, 30, 40]


def test_means_of_squares_round_to_nearest_halves_up() -> None:
    """Sums 1, 2, 3 and 1020 of four pixels."""
    squares = [[0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1], [255] * 4]
    pictures = np.array(squares, np.uint8).reshape(4, 2, 2)
    assert pooled(pictures, 2).ravel().tolist() == [0, 1, 1, 255]


def test_a_part_of_mnist_has_equal_shares(data: Path) -> None:
    """So many clips, of each digit as many; more than there are is refused."""
    part = load_sequences(dataclasses.replace(ROWS, train_clips=40, test_clips=20, validation_fraction=0.25))
    assert np.bincount(part.test.y).tolist() == [2] * DIGITS
    assert np.bincount(np.append(part.train.y, part.validation.y)).tolist() == [4] * DIGITS
    assert set(part.train.names).isdisjoint(part.validation.names)
    with pytest.raises(UsageError, match=r"data.test_clips = 41: at most 40"):
        load_sequences(dataclasses.replace(ROWS, test_clips=41))


def test_shares_differ_by_one_at_most() -> None:
    """7 of 3 labels: 3, 2, 2; a label of two clips keeps one for training."""
    y = np.repeat([0, 1, 2], 5)
    taken = of_each_label(y, 7, np.random.default_rng(1))
    assert np.bincount(y[taken]).tolist() == [3, 2, 2]
    learn, validate = without_validation(np.array([0, 0, 1, 1, 1]), 0.4, np.random.default_rng(1))
    assert (np.bincount(np.array([0, 0, 1, 1, 1])[validate]).tolist(), len(learn)) == ([1, 1], 3)
    with pytest.raises(UsageError, match="one clip of class 1"):
        without_validation(np.array([0, 0, 1]), 0.2, np.random.default_rng(1))


def test_missing_data_say_what_to_do(data: Path) -> None:
    """A wrong problem gets a suggestion; MNIST says how it is downloaded; a changed file changes the fingerprint."""
    with pytest.raises(UsageError, match=r"JapaneseVowel: no such problem; did you mean 'JapaneseVowels'"):
        load_sequences(dataclasses.replace(VOWELS, problem="JapaneseVowel"))
    before = files_fingerprint(ROWS)
    (data / "mnist" / "mnist.npz").write_bytes(b"not an archive")
    assert files_fingerprint(ROWS) != before
    with pytest.raises(UsageError, match=r"is not MNIST as an npz file.*hil data get mnist"):
        load_sequences(ROWS)
    np.savez(data / "mnist" / "mnist.npz", **{f"{k}_{p}": np.zeros((2, 2)) for k in "xy" for p in ("train", "test")})
    with pytest.raises(UsageError, match=r"x_train is float64 \(2, 2\)"):
        load_sequences(ROWS)


def test_a_data_set_comes_back_from_its_file(data: Path, tmp_path: Path) -> None:
    """Equal to the last value; a changed byte is found."""
    dataset = load_sequences(VOWELS)
    path = tmp_path / "dataset.npz"
    save_sequences(dataset, path)
    assert load_saved_sequences(path).sha256() == dataset.sha256()
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(altered)
    with pytest.raises(UsageError, match="corrupt"):
        load_saved_sequences(path)


def test_scale_is_fitted_on_training_alone() -> None:
    """Mean to 0 and deviation to 2**13; other sets clip at the ends of Q15; the padding is 0."""
    train = sequences([2, 2], [[0, 5], [2, 5], [0, 5], [2, 5]])
    given = fit_sequences(STANDARD, train)
    assert (given.frames, given.center.tolist(), given.scale.tolist()) == (2, [1, 5], [8192, 1])
    got = scale_set(sequences([3, 1], [[0, 5], [3, 6], [6, 4], [-9, 5.5]]), given)
    assert got.x.tolist() == [[[-8192, 0], [16384, 1], [32767, -1]], [[-32768, 0], [0, 0], [0, 0]]]
    assert got.lengths is not None
    assert (got.lengths.tolist(), got.saturated) == ([3, 1], 2)
    assert got.sequence(1).tolist() == [[-32768, 0]]
    assert got.steps.tolist() == [[-8192, 0], [16384, 1], [32767, -1], [-32768, 0]]
    assert scale_set(train, given).lengths is None
    with pytest.raises(UsageError, match="vectors have 1 values, the scale was fitted for 2"):
        scale_set(sequences([1], [[0.0]]), given)


def test_range_keeps_zero_and_fills_q15() -> None:
    """The largest magnitude of training becomes 32767, whatever its column."""
    given = fit_sequences(RANGE, sequences([2], [[0, 1], [-4, 2]]))
    assert given.center.tolist() == [0, 0]
    assert scale_set(sequences([2], [[0, 1], [4, -2]]), given).x.tolist() == [[[0, 8192], [32767, -16384]]]


def trained(data: Path, cell: str = "embedded_gru") -> tuple[Recipe, FeatureSet, FeatureSet, SequenceInput]:
    recipe = Recipe(
        name="vowels",
        data=VOWELS,
        features=STANDARD,
        cell=CellRecipe(kind=cell, hidden=(6, 5), dense=6),  # type: ignore[arg-type]
        train=TrainRecipe(epochs=3, batch=16),
        quantize=QuantizeRecipe(epochs=2),
    )
    dataset = load_sequences(recipe.data)
    given = fit_sequences(recipe.features, dataset.train)
    return recipe, scale_set(dataset.train, given), scale_set(dataset.test, given), given


@pytest.mark.parametrize("cell", ["embedded_gru", "event_embedded_gru"])
def test_training_and_twin_end_each_sequence_at_its_length(data: Path, cell: str) -> None:
    """
    The network's integers are the twin's for every length, whatever stands in the padding.

    Many at once equal one by one; a sequence that is cut gives what a shorter one does.
    """
    recipe, train, test, given = trained(data, cell)
    model = fit(recipe, train, test, kind=recipe.cell.kind)
    quantized = fit_quantized(recipe, model, train, test)
    labels = tuple("123456789")
    artefact = quantize(quantized, given, labels, recipe.quantize, name="vowels")
    lengths = test.lengths
    assert lengths is not None
    noisy = dataclasses.replace(test, x=np.where(test.x == 0, np.int16(12345), test.x))
    seen = predict(quantized, noisy) * 32768
    assert seen.tolist() == run_twin_batch(artefact, test.x, lengths).tolist()
    for i, trace in enumerate(run_twins(artefact, noisy.x, lengths=lengths, detail=True)):
        one = run_twin(artefact, noisy.sequence(i), detail=True)
        assert trace.logits.tolist() == one.logits.tolist() == seen[i].tolist()
        assert trace.states_q15.tolist() == one.states_q15.tolist()
        assert trace.activity == one.activity
        assert trace.layers[1].h_q15.tolist() == one.layers[1].h_q15.tolist()
    with pytest.raises(UsageError, match=r"lengths .* do not fit"):
        run_twins(artefact, test.x, lengths=lengths + 29)


def test_padding_has_no_part_in_float_training_nor_in_event_rates(data: Path) -> None:
    """Outputs, gradients and rates of padded sequences are those of each at its own length."""
    network = Network("event_embedded_gru", 3, (4,), 4, 2, 3, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([6, 2])
    logits, (rate,) = network.run(x, lengths=lengths)
    alone = [network.run(x[i : i + 1, : int(n)]) for i, n in enumerate(lengths)]
    assert torch.allclose(logits, torch.cat([one[0] for one in alone]), atol=1e-6)
    assert torch.allclose(rate, (6 * alone[0][1][0] + 2 * alone[1][1][0]) / 8, atol=1e-6)


def test_features_with_lengths_come_back_from_their_file(data: Path, tmp_path: Path) -> None:
    """Arrays, lengths and scale."""
    _, train, test, given = trained(data)
    path = tmp_path / "features.safetensors"
    save_features(Features(tuple("123456789"), given, train, train, test), path)
    back = load_features(path)
    assert isinstance(back.frontend, SequenceInput)
    assert (back.frontend.frames, back.frontend.scale.tolist()) == (given.frames, given.scale.tolist())
    assert back.test.lengths is not None
    assert test.lengths is not None
    assert (back.test.x.tolist(), back.test.lengths.tolist()) == (test.x.tolist(), test.lengths.tolist())


def test_an_artefact_for_sequences_is_of_version_4_and_takes_no_sound() -> None:
    """It comes back from its bytes; broken scales are refused; its firmware has no front end."""
    given = SequenceInput(9, np.zeros(5, np.float32), np.ones(5, np.float32))
    artefact = dataclasses.replace(make_artefact(), frontend=given)
    data = artefact.to_bytes()
    manifest = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["manifest"])
    assert (manifest["version"], manifest["frontend"]) == (4, {"kind": "sequence", "frames": 9})
    assert artefact_from_bytes(data).sha256() == artefact.sha256()
    assert emit_c(artefact, audio=True) == emit_c(artefact)
    with pytest.raises(UsageError, match="random has no front end for sound: it takes sequences of 5 values a step"):
        _ = artefact.sound
    for broken, message in (
        ({"scale": np.zeros(5, np.float32)}, "not positive"),
        ({"scale": np.full(5, np.nan, np.float32)}, "not finite"),
        ({"scale": np.ones(4, np.float32)}, "5 centers for 4 scales"),
        ({"center": np.zeros(5)}, "center is not a vector of float32"),
        ({"frames": 0}, "frames is 0"),
    ):
        with pytest.raises(ArtefactError, match=message):
            dataclasses.replace(artefact, frontend=dataclasses.replace(given, **broken))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataRecipe(source="uea"), "data.problem = ''"),
        (lambda: DataRecipe(source="uea", problem="../x"), "data.problem = '../x'"),
        (lambda: DataRecipe(source="mnist", seconds=0.5), "data.seconds is not for source 'mnist', only for sound"),
        (lambda: DataRecipe(source="fsdd", view="pixels"), "data.view is not for source 'fsdd', only for mnist"),
        (lambda: DataRecipe(source="mnist", test_clips=5), "data.test_clips = 5: must be 0, or at least 20"),
        (lambda: FeatureRecipe(kind="sequence", hop=64), "features.hop is not for features of kind 'sequence'"),
        (lambda: FeatureRecipe(normalize="range"), "features.normalize is not for features of kind 'log-mel'"),
        (lambda: Recipe("a", VOWELS), "features.kind = 'log-mel' does not go with data.source = 'uea'"),
        (lambda: Recipe("a", DataRecipe(source="fsdd"), STANDARD), "'sequence' does not go with data.source = 'fsdd'"),
    ],
)
def test_a_recipe_says_what_does_not_go_together(make, message: str) -> None:
    """The field and what it is for."""
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        make()


def test_network_from_reads_what_lengths_trained(data: Path) -> None:
    """A saved model predicts with lengths as the network in training did."""
    recipe, train, test, _ = trained(data)
    model = fit(recipe, train, test)
    network = network_from(model)
    lengths = torch.tensor(test.lengths)
    logits = network(torch.tensor(test.x, dtype=torch.float32) / 32768, lengths).detach().double().numpy()
    assert logits.tolist() == predict(model, test).tolist()


RECIPE = """
name = "vowels"
[data]
source = "uea"
problem = "JapaneseVowels"
[features]
kind = "sequence"
[cell]
hidden = [6, 5]
dense = 6
[train]
epochs = 3
batch = 16
[quantize]
epochs = 2
"""


def test_the_whole_way_to_the_chip(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `hil results` trains, evaluates and publishes; every sequence runs at its own length, every step equals the twin's.

    Then the shipped artefact runs from its vectors, and sound is refused.
    """
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "vowels"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    command = ("results", "models/vowels", "--seeds", "1", "--device-clips", "27", "--fast-load", "--publish")
    code, _, err = call(capsys, *command)
    assert code == 0, err
    outcome = json.loads((folder / "results.json").read_text())
    steps = int(load_sequences(VOWELS).test.lengths.sum())
    (run,) = outcome["runs"]
    assert (run["clips"], run["device_clips"], run["device_outputs_exact"]) == (27, 27, 27)
    assert run["device_steps"] == run["device_steps_exact"] == steps < 27 * 29
    code, text, err = call(capsys, "run", "models/vowels", "--fast-load")
    assert code == 0, err
    assert "bit-exact in 174 of 174 steps" in " ".join(text.split())
    code, _, err = call(capsys, "run", "models/vowels", "--mode", "audio")
    assert (code, "vowels has no front end for sound" in err) == (2, True)
