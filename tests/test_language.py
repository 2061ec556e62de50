"""A language model on a small text of the test's own: loss, pruning, counting, resuming, and the grid's commands."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import call

from hil.cells import EventGRU
from hil.datasets.text import END, Corpus, load_corpus
from hil.errors import UsageError
from hil.language.recipe import (
    ActivityRecipe,
    LanguageNetworkRecipe,
    LanguageRecipe,
    LanguageTrainRecipe,
    PruneLevelsRecipe,
    TextRecipe,
    load_language_recipe,
)
from hil.language.result import Grid, GridCell, MatrixCost, grid_from_json
from hil.report.language import markdown, plot_svg, with_grid
from hil.resources import resource
from hil.train.language import Plan, Row, in_columns, make_model, stretches, train
from hil.train.language_file import Snapshot, load_snapshot, save_snapshot
from hil.train.language_model import (
    LanguageModel,
    full_loss,
    lstm_layers,
    readout_loss,
    recurrent_parameters,
    sampled_loss,
)
from hil.train.language_score import score, score_model

RECIPE = """
name = "tiny"
[data]
source = "folder"
folder = "."
[network]
embedding = 12
layers = [16, 12]
[train]
epochs = 4.5
batch = 8
stretch = 20
learning_rate = 0.01
frequent = 5
drawn = 6
[prune]
levels = [0.0, 0.8]
epochs = 1.5
every = 4
[activity]
targets = [1.0, 0.2]
strength = 0.3
"""
TINY = LanguageRecipe(
    "tiny",
    network=LanguageNetworkRecipe(embedding=12, layers=(16, 12)),
    train=LanguageTrainRecipe(epochs=4.5, batch=8, stretch=20, frequent=5, drawn=6),
    prune=PruneLevelsRecipe(levels=(0.0, 0.8), epochs=1.5, every=4),
    activity=ActivityRecipe(targets=(1.0, 0.2), strength=0.3),
)
WORDS = {
    "article": ("the", "a", "one", "every"),
    "noun": ("cat", "dog", "bird", "fish", "horse", "mouse"),
    "verb": ("sees", "hears", "likes", "finds"),
    "colour": ("red", "old", "small"),
}


def text(lines: int, seed: int) -> str:
    """Sentences such as ``the old cat sees a dog``."""
    rng = random.Random(seed)

    def sentence() -> str:
        said = [rng.choice(WORDS["article"]), rng.choice(WORDS["noun"]), rng.choice(WORDS["verb"])]
        if rng.random() < 0.4:
            said.insert(1, rng.choice(WORDS["colour"]))
        return " ".join((*said, rng.choice(WORDS["article"]), rng.choice(WORDS["noun"])))

    return "\n".join(sentence() for _ in range(lines)) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe and its three texts."""
    place = tmp_path / "tiny"
    place.mkdir()
    for seed, (name, lines) in enumerate((("train", 400), ("valid", 50), ("test", 50))):
        (place / f"{name}.txt").write_text(text(lines, seed))
    (place / "language.toml").write_text(RECIPE)
    return place


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return load_corpus(TextRecipe("folder", str(folder)))


def quiet(done: int, total: int, line: str = "") -> None:
    pass


def test_words_are_numbered_by_how_often_they_occur(tmp_path: Path) -> None:
    """Each line ends in <eos>, empty lines are none, equal counts go by the alphabet."""
    for name, content in (("train", "b a b\n\n c a b\n"), ("valid", "c\n"), ("test", "a b\n")):
        (tmp_path / f"{name}.txt").write_text(content)
    corpus = load_corpus(TextRecipe("folder", str(tmp_path)))
    assert corpus.words == ("b", END, "a", "c")
    assert corpus.train.tolist() == [0, 2, 0, 1, 3, 2, 0, 1]
    assert (corpus.validation.tolist(), corpus.test.tolist()) == ([3, 1], [2, 0, 1])


def test_a_word_that_nothing_accounts_for_is_an_error(tmp_path: Path) -> None:
    """With <unk> in the training text it is <unk>."""
    for name, content in (("train", "a b\n"), ("valid", "a\n"), ("test", "zebra\n")):
        (tmp_path / f"{name}.txt").write_text(content)
    recipe = TextRecipe("folder", str(tmp_path))
    with pytest.raises(UsageError, match="'zebra' is not in the training text"):
        load_corpus(recipe)
    (tmp_path / "train.txt").write_text("a b <unk>\n")
    corpus = load_corpus(recipe)
    assert corpus.words[corpus.test[0]] == "<unk>"
    (tmp_path / "valid.txt").write_text(" \n")
    with pytest.raises(UsageError, match="holds no words"):
        load_corpus(recipe)


@pytest.mark.parametrize("rows", [1, 256, 257, 600])
def test_the_readouts_loss_is_cross_entropy(rows: int) -> None:
    """Value and gradients, in float64, with and without a last block that is not full."""
    draw = torch.Generator().manual_seed(rows)
    shapes = ((rows, 5), (30, 5), (30,))
    inputs = [torch.randn(s, dtype=torch.float64, generator=draw, requires_grad=True) for s in shapes]
    targets = torch.randint(0, 30, (rows,), generator=draw)
    hidden, W, bias = inputs
    got = readout_loss(hidden, W, bias, targets)
    expected = torch.nn.functional.cross_entropy(hidden @ W.T + bias, targets)
    assert torch.allclose(got, expected, rtol=1e-12)
    for mine, true in zip(torch.autograd.grad(3 * got, inputs), torch.autograd.grad(3 * expected, inputs), strict=True):
        assert torch.allclose(mine, true, rtol=1e-10, atol=1e-15)
    with torch.no_grad():
        assert torch.allclose(readout_loss(hidden, W, bias, targets), expected, rtol=1e-12)


def test_the_sampled_sum_has_no_bias() -> None:
    """Its mean over draws is the sum over all words; with all words drawn it is the loss itself."""
    torch.manual_seed(3)
    model = LanguageModel(torch.ones(60), TINY.network, "event_gru", TINY.train)
    hidden, targets = torch.randn(1, 12), torch.tensor([50])
    own = float(model.logits(hidden)[0, 50].detach())
    whole = math.exp(float(full_loss(model, hidden, targets).detach()) + own)
    sums = [math.exp(float(sampled_loss(model, hidden, targets, 10, 20).detach()) + own) for _ in range(600)]
    error = float(np.std(sums)) / math.sqrt(len(sums))
    assert 0 < error < 0.02 * whole
    assert abs(np.mean(sums) - whole) < 4 * error
    assert sampled_loss(model, hidden, targets, 10, 49).equal(full_loss(model, hidden, targets))
    assert not sampled_loss(model, hidden, targets, 10, 48).equal(full_loss(model, hidden, targets))


@pytest.mark.parametrize(("embedding", "layers"), [(96, (160, 96)), (128, (256, 256, 128)), (750, (1350, 1350, 750))])
def test_the_lstm_beside_it_has_as_many_parameters(embedding: int, layers: tuple[int, ...]) -> None:
    """Within 1 %, and that is what torch's layers have."""
    network = LanguageNetworkRecipe(embedding=embedding, layers=layers)
    wanted = recurrent_parameters("event_gru", embedding, layers)
    sizes = lstm_layers(network)
    assert sizes[-1] == embedding
    assert recurrent_parameters("lstm", embedding, sizes) == pytest.approx(wanted, rel=0.01)
    if embedding < 100:
        for cell, expected in (("event_gru", wanted), ("lstm", recurrent_parameters("lstm", embedding, sizes))):
            model = LanguageModel(torch.ones(7), network, cell, LanguageTrainRecipe())
            assert sum(p.numel() for p in model.layers.parameters() if p.requires_grad) == expected


def test_it_begins_at_the_words_shares(corpus: Corpus) -> None:
    """The loss before training is about that of counting words."""
    model = make_model(TINY, Row("event_gru", 1.0, 1), corpus)
    shares = np.bincount(corpus.train) / len(corpus.train)
    counted = -np.log(shares[corpus.test]).mean()
    assert score(model, torch.from_numpy(corpus.test), corpus.words.index(END)).nats == pytest.approx(counted, abs=0.02)


def test_columns_and_stretches_predict_every_word_once() -> None:
    """Each column begins with the word before its first target; what does not fill the columns is left."""
    words = torch.arange(24)
    columns = in_columns(words, 3)
    assert columns.shape == (8, 3)
    pairs = [
        (int(word), int(target))
        for part, targets in stretches(columns, 3)
        for word, target in zip(part.flatten(), targets.flatten(), strict=True)
    ]
    assert sorted(pairs) == [(i, i + 1) for i in range(21)]
    with pytest.raises(UsageError, match="lower the batch"):
        in_columns(words, 24)


@pytest.mark.parametrize("cell", ["event_gru", "lstm"])
@pytest.mark.parametrize("columns", [1, 4, 7])
def test_a_score_is_what_one_word_after_the_other_gives(cell, columns: int, corpus: Corpus) -> None:
    """Loss, activity and products by a loop over words, columns and all; every word counts once."""
    torch.manual_seed(1)
    model = make_model(TINY, Row(cell, 1.0, 1), corpus).eval()
    with torch.no_grad():
        for _, matrix in model.matrices():
            matrix.mul_(3).masked_fill_(torch.rand_like(matrix) < 0.4, 0.0)
    words = torch.from_numpy(corpus.test)[:101]
    got = score(model, words, 0, columns)
    whole = torch.cat([torch.tensor([0]), words])
    nats, spoke, products = 0.0, torch.zeros(2), dict.fromkeys((name for name, _ in model.matrices()), 0.0)
    steps = len(words) // columns
    with torch.no_grad():
        for first in range(0, columns):
            states = None
            last = len(words) if first == columns - 1 else (first + 1) * steps
            for t in range(first * steps, last):
                run = model.run(whole[t].view(1, 1), states)
                states = run.states
                nats += float(full_loss(model, run.hidden[0], whole[t + 1 : t + 2]))
                units = [events[0, 0] for events in run.events] or [
                    torch.ones(layer.hidden_size) for layer in model.layers
                ]
                spoke += torch.tensor([float(u.mean()) for u in units])
                heard = (torch.ones(12), units[0], units[0], units[1])
                for (name, matrix), x in zip(model.matrices(), heard, strict=True):
                    products[name] += float((matrix[:, x != 0] != 0).sum())
    assert got.nats == pytest.approx(nats / 101, rel=1e-5)
    assert got.activity == pytest.approx([float(s) / 101 for s in spoke], rel=1e-5)
    assert {m.name: m.products for m in got.matrices} == pytest.approx({n: p / 101 for n, p in products.items()})
    assert [m.nonzero for m in got.matrices] == [int((matrix != 0).sum()) for _, matrix in model.matrices()]
    assert got.readout.products == pytest.approx(len(corpus.words) * 12 * got.activity[1])
    if cell == "lstm":
        assert all(matrix.products == matrix.nonzero for matrix in got.matrices)


def test_a_branch_prunes_along_the_cubic_and_nothing_comes_back(corpus: Corpus, tmp_path: Path) -> None:
    """The level's share of all matrices together, to one weight; what was 0 on the way is 0 at the end."""
    row = Row("event_gru", 1.0, 1)
    trunk, half, all_of_it = (tmp_path / name for name in ("trunk", "half", "all"))
    train(Plan(TINY, row, None), corpus, None, trunk, tmp_path / "t", quiet)
    recipe = dataclasses.replace(TINY, prune=dataclasses.replace(TINY.prune, levels=(0.0, 0.8)))
    for level, out in ((0.0, half), (0.8, all_of_it)):
        train(Plan(recipe, row, level), corpus, trunk, out, tmp_path / "b", quiet)

    def zeros(path: Path) -> torch.Tensor:
        model = make_model(TINY, row, corpus)
        model.load_state_dict(load_snapshot(path).parameters)
        return torch.cat([(matrix == 0).flatten() for _, matrix in model.matrices()])

    assert [int(zeros(path).sum()) for path in (trunk, half, all_of_it)] == [0, 0, round(0.8 * 2352)]
    share = TINY.prune.share
    assert [share(0.8, done) for done in (0.0, 0.5, 1.0)] == [0.0, 0.8, 0.8]
    assert share(0.8, 0.25) == pytest.approx(0.7)
    cell = score_model(Plan(recipe, row, 0.8), corpus, all_of_it)
    assert (cell.nonzero, cell.weights) == (2352 - round(0.8 * 2352), 2352)
    assert cell.products == pytest.approx(sum(matrix.products for matrix in cell.matrices))
    assert cell.epochs == 6.0


def test_thresholds_stay_and_training_learns(corpus: Corpus, tmp_path: Path) -> None:
    """Both cells come far below counting words; the EGRU's thresholds are those it was drawn with."""
    counted = math.exp(score(make_model(TINY, Row("lstm", 1, 1), corpus), torch.from_numpy(corpus.test), 0).nats)
    for cell in ("event_gru", "lstm"):
        plan = Plan(TINY, Row(cell, 1.0, 1), None)
        train(plan, corpus, None, tmp_path / cell, tmp_path / "checkpoint", quiet)
        assert math.exp(score_model(plan, corpus, tmp_path / cell).test_nats) < 0.65 * counted
    model = make_model(TINY, Row("event_gru", 1.0, 1), corpus)
    drawn = [layer.threshold.detach().clone() for layer in model.layers if isinstance(layer, EventGRU)]
    model.load_state_dict(load_snapshot(tmp_path / "event_gru").parameters)
    assert len(drawn) == 2
    assert all(before.equal(after) for before, after in zip(drawn, model.thresholds(), strict=True))


@pytest.mark.parametrize("cell", ["event_gru", "lstm"])
def test_training_goes_on_after_an_interruption_with_the_same_bits(cell, corpus: Corpus, tmp_path: Path) -> None:
    """Interrupted in its second pass; a checkpoint of another recipe is not used."""
    plan = Plan(TINY, Row(cell, 0.2 if cell == "event_gru" else 1.0, 1), None)
    whole, parts, checkpoint = (tmp_path / name for name in ("whole", "parts", "checkpoint"))
    train(plan, corpus, None, whole, tmp_path / "other", quiet)

    def interrupt(done: int, total: int, line: str) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, corpus, None, parts, checkpoint, interrupt)
    kept = load_snapshot(checkpoint)
    seen: list[int] = []
    train(plan, corpus, None, parts, checkpoint, lambda done, total, line: seen.append(done))
    assert seen[0] == kept.updates + 1 > 1
    finished = load_snapshot(whole).parameters
    assert all(value.equal(finished[name]) for name, value in load_snapshot(parts).parameters.items())
    again = dataclasses.replace(plan, row=dataclasses.replace(plan.row, seed=2))
    seen.clear()
    train(again, corpus, None, parts, checkpoint, lambda done, total, line: seen.append(done))
    assert seen[0] == 1


def made_up(row: tuple[str, float], level: float, share: float, nats: float) -> GridCell:
    cost = MatrixCost("layer.0.input", 1000, round(1000 * (1 - level)), 0.5, 1000 * share)
    return GridCell(row[0], row[1], level, 1, (4,), 3, nats, nats, (0.5,), (cost,), cost)  # type: ignore[arg-type]


def test_savings_that_multiply_have_a_ratio_of_one() -> None:
    """Shares are those of the dense network's products; losses are against free activity without zeros."""
    free, sparse = ("event_gru", 1.0), ("event_gru", 0.1)
    cells = (
        made_up(free, 0.0, 0.8, 4.0),
        made_up(free, 0.5, 0.4, 4.1),
        made_up(sparse, 0.0, 0.2, 4.3),
        made_up(sparse, 0.5, 0.11, 4.5),
        made_up(("lstm", 1.0), 0.0, 1.0, 3.9),
    )
    grid = Grid("m", "c", 10, (1, 1, 1), cells, {}, {})
    first, second = grid.combined()
    assert [(found.row, found.level) for found in (first, second)] == [("egru", 0.5), ("egru-10", 0.5)]
    assert (first.activity_alone, first.weights_alone, first.both, first.ratio) == pytest.approx((0.8, 0.5, 0.4, 1.0))
    assert (second.activity_alone, second.weights_alone, second.both) == pytest.approx((0.2, 0.5, 0.11))
    assert second.ratio == pytest.approx(1.1)
    assert (first.activity_nats, first.weights_nats, first.both_nats) == pytest.approx((0.0, 0.1, 0.1))
    assert (second.activity_nats, second.weights_nats, second.both_nats) == pytest.approx((0.3, 0.1, 0.5))
    assert dataclasses.replace(grid, cells=cells[2:]).combined() == ()
    assert grid_from_json(grid.to_json()) == grid


def test_the_grid_is_trained_shown_and_published(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row first, then all; what is finished is skipped; the card has the table of grid.json."""
    out = tmp_path / "out"
    code, shown, _ = call(capsys, "language", "grid", folder, "--out", out, "--row", "lstm")
    assert code == 0
    assert "egru" not in (out / "grid.json").read_text()
    (folder / "README.md").write_text("# Tiny\n\nA card.\n\n## Limits\n\nNone.\n")
    code, shown, err = call(capsys, "language", "grid", folder, "--out", out, "--publish")
    assert code == 0
    assert err.count("unchanged, skipped") == 3
    grid = grid_from_json((folder / "grid.json").read_text())
    assert grid.rows == ("egru", "egru-20", "lstm")
    assert [(cell.row, cell.level) for cell in grid.cells] == [
        (row, level) for row in grid.rows for level in (0.0, 0.8)
    ]
    assert all(cell.test_perplexity < 17 for cell in grid.cells)
    free, spare = (grid.at(row, 0.0)[0] for row in ("egru", "egru-20"))
    assert sum(spare.activity) < sum(free.activity)
    card = (folder / "README.md").read_text()
    assert card.startswith("# Tiny\n\nA card.")
    assert markdown(grid).strip() in card
    assert with_grid(card, grid) == card
    assert (folder / "grid.svg").read_text() == plot_svg(grid)
    code, again, _ = call(capsys, "language", "show", folder, "--out", tmp_path / "nowhere")
    assert code == 0
    assert again == shown
    assert all(f"{cell.nonzero:,}" in shown and f"{cell.products:,.0f}" in shown for cell in grid.cells)


def test_wrong_calls_say_what_to_do(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and the nearest name."""
    wrong = {
        ("language", "grid", str(folder), "--row", "lstn"): "did you mean 'lstm'",
        ("language", "show", "pbt"): "did you mean 'ptb'",
        ("language", "show", str(folder), "--out", str(tmp_path)): "no grid here. Make it: `hil language grid",
        ("language", "show", str(tmp_path)): "no such recipe of a language model",
    }
    for arguments, message in wrong.items():
        code, _, err = call(capsys, *arguments)
        assert code == 2
        assert message in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers = [16, 12]", "layers = [16, 11]", "the last must have network.embedding = 12 units"),
        ("layers = [16, 12]", "layers = [12]", "name at least two layers"),
        ("levels = [0.0, 0.8]", "levels = [0.8]", "begin with 0"),
        ("levels = [0.0, 0.8]", "levels = [0.0, 1.0]", "below 1"),
        ("targets = [1.0, 0.2]", "targets = [0.2, 1.0]", "descending"),
        ("drawn = 6", "drawm = 6", "did you mean 'drawn'"),
        ("drawn = 6", "", "give frequent and drawn together"),
        ('folder = "."', "", "data.folder goes with source 'folder'"),
    ],
)
def test_a_wrong_recipe_is_refused(old: str, new: str, message: str, folder: Path) -> None:
    """With the key and what it must be."""
    (folder / "language.toml").write_text(RECIPE.replace(old, new))
    with pytest.raises(UsageError, match=re.escape(message)):
        load_language_recipe(folder)


def test_ctrl_c_leaves_a_checkpoint_and_nothing_half_written(folder: Path, tmp_path: Path) -> None:
    """The next call goes on."""
    (folder / "language.toml").write_text(RECIPE.replace("epochs = 4.5", "epochs = 5000.0"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "hil.cli", "language", "grid", str(folder), "--out", str(out), "--row", "lstm"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    checkpoint, deadline = out / "lstm" / "seed-1" / "trunk.checkpoint", time.monotonic() + 60
    try:
        while not checkpoint.is_file():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {"lstm/seed-1/trunk.checkpoint", "lstm/seed-1/.lock"}
    assert load_snapshot(checkpoint).updates > 0


def test_the_shipped_recipe_can_be_read() -> None:
    """It is Penn Treebank, and has three levels of activity and zeros from 0 to 95 %."""
    recipe = load_language_recipe(resource("models") / "ptb")
    assert recipe.data.source == "ptb"
    assert len(recipe.activity.targets) >= 3
    assert (recipe.prune.levels[0], recipe.prune.levels[-1]) == (0.0, 0.95)


@pytest.mark.skipif("HIL_DATA" not in os.environ, reason="needs Penn Treebank, and HIL_DATA names no folder with it")
def test_penn_treebank_has_its_published_size() -> None:
    """Mikolov's preparation: 929,589 / 73,760 / 82,430 words, 10,000 different ones."""
    corpus = load_corpus(TextRecipe())
    assert [len(part) for part in (corpus.train, corpus.validation, corpus.test)] == [929_589, 73_760, 82_430]
    assert len(corpus.words) == 10_000


@pytest.mark.skipif("HIL_DATA" not in os.environ, reason="needs Penn Treebank, and HIL_DATA names no folder with it")
def test_a_thirtieth_of_penn_treebank_teaches_more_than_counting(tmp_path: Path) -> None:
    """The shipped recipe in smaller updates, on the first 32,000 words, against the shares of all; both cells."""
    recipe = load_language_recipe(resource("models") / "ptb")
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch=8, stretch=25))
    whole = load_corpus(TextRecipe())
    part = dataclasses.replace(
        whole, train=whole.train[:32_000], validation=whole.validation[:4000], test=whole.test[:16]
    )
    shares = np.bincount(whole.train) / len(whole.train)
    counted = math.exp(-np.log(shares[part.validation]).mean())
    for cell in ("event_gru", "lstm"):
        plan = Plan(recipe, Row(cell, 1.0, 1), None)
        model = make_model(recipe, plan.row, whole)  # its bias knows the shares of all words
        save_snapshot(Snapshot("", 0, dict(model.state_dict()), {}), tmp_path / "start")
        train(plan, part, tmp_path / "start", tmp_path / "out", tmp_path / "checkpoint", quiet)
        assert score_model(plan, part, tmp_path / "out").valid_perplexity < 0.92 * counted
