"""Pruning: as many zeros as the schedule wants, the smallest ones, for good."""

import dataclasses

import numpy as np
import pytest
import torch
from test_train import FRONTEND, LABELS, RECIPE, SHORT, TEST, TRAIN, VALIDATION, accuracy
from test_train_session import RICH, Stopped, small, stop_in, training

from hil.errors import UsageError
from hil.float_model import load_float_model
from hil.prune_recipe import PruneRecipe
from hil.quant import quantize, run_twin_batch
from hil.recipe import QuantizeRecipe, load_recipe
from hil.train import Session, fit, fit_quantized, predict
from hil.train.prune import Pruning


@pytest.fixture(scope="module")
def start():
    """A float model without zeros."""
    return fit(SHORT, TRAIN, VALIDATION)


def pruned(recipe, **prune):
    return dataclasses.replace(recipe, prune=PruneRecipe(**prune))


def matrices(model):
    return {name: array for name, array in model.arrays.items() if name.endswith(".weight")}


def zeros(model, part=""):
    """Share of weights that are 0, of the layers whose name begins with ``part``."""
    chosen = [array for name, array in matrices(model).items() if name.startswith(part)]
    return sum(int((array == 0).sum()) for array in chosen) / sum(array.size for array in chosen)


@pytest.mark.parametrize(("kind", "stage"), [("embedded_gru", "quantized"), ("event_embedded_gru", "float")])
def test_the_wanted_share_is_pruned_and_the_artefact_has_it(kind, stage):
    """To the nearest weight, by global magnitude; the twin is the network that was trained."""
    recipe = pruned(SHORT, sparsity=0.6, stage=stage)
    model = fit(recipe, TRAIN, VALIDATION, kind=kind)
    assert zeros(model) == (pytest.approx(0.6, abs=0.003) if stage == "float" else 0)
    done = fit_quantized(recipe, model, TRAIN, VALIDATION)
    assert zeros(done) == pytest.approx(0.6, abs=0.003)
    artefact = quantize(done, FRONTEND, LABELS, recipe.quantize, name="toy")
    assert np.array_equal(run_twin_batch(artefact, TEST.x) / 32768, predict(done, TEST))
    rows = {f"recurrent.{i}.weight": layer.rows for i, layer in enumerate(artefact.recurrent)}
    for name, row in rows.items():
        assert not row.weight_q2[matrices(done)[name] == 0].any()
    assert artefact.zero_weights >= 0.597 * artefact.weights


def test_a_pruned_network_still_learns():
    """Half of the weights do what all did."""
    recipe = pruned(RECIPE, sparsity=0.5)
    done = fit_quantized(recipe, fit(recipe, TRAIN, VALIDATION), TRAIN, VALIDATION)
    assert accuracy(done, TEST) > 0.9


def test_the_smallest_go_first_and_never_come_back():
    """Each step prunes more of the smallest magnitudes; what was pruned stays so whatever is written over it."""
    network = small()
    before = [p.detach().clone() for p in network.parameters()]
    pruning = Pruning(network, PruneRecipe(sparsity=0.8, begin=0.0, end=1.0))
    share, count = 0.0, 0
    for done in (0.1, 0.5, 1.0):
        pruning.advance(done)
        now = [(b, p) for b, p in zip(before, network.parameters(), strict=True) if b.dim() == 2]
        gone = torch.cat([b[p == 0].abs() for b, p in now])
        left = torch.cat([b[p != 0].abs() for b, p in now])
        assert gone.max() <= left.min()
        total = len(gone) + len(left)
        share = 0.8 * (1 - (1 - done) ** 3)
        assert len(gone) == round(share * total) > count
        count = len(gone)
        with torch.no_grad():
            for p in network.parameters():
                p.add_(1.0)
        pruning.keep(list(network.parameters()))
        assert sum(int((p == 0).sum()) for p in network.parameters() if p.dim() == 2) == count
        with torch.no_grad():
            for p, b in zip(network.parameters(), before, strict=True):
                p.copy_(torch.where(p == 0, p, b))


def test_columns_are_pruned_whole(start):
    """Of every matrix each column is 0 or has no zero; the share is at most what was wanted, and nearly that."""
    recipe = pruned(SHORT, sparsity=0.4, structure="columns")
    done = fit_quantized(recipe, start, TRAIN, VALIDATION)
    for array in matrices(done).values():
        columns = (array == 0).mean(axis=0)
        assert set(columns) <= {0.0, 1.0}
    assert 0.37 < zeros(done) <= 0.4


def test_only_the_layers_named_are_pruned(start):
    """The share is of theirs."""
    recipe = pruned(SHORT, sparsity=0.7, layers=("recurrent",))
    done = fit_quantized(recipe, start, TRAIN, VALIDATION)
    assert zeros(done, "dense") == 0
    assert zeros(done, "recurrent") == pytest.approx(0.7, abs=0.003)


def test_training_again_keeps_the_mask(start, tmp_path):
    """From the saved file, by a recipe that does not prune: the same zeros, and no others."""
    recipe = pruned(SHORT, sparsity=0.6)
    first = fit_quantized(recipe, start, TRAIN, VALIDATION)
    first.save(tmp_path / "m")
    again = fit_quantized(SHORT, load_float_model(tmp_path / "m"), TRAIN, VALIDATION)
    for name, array in matrices(first).items():
        assert np.array_equal(array == 0, matrices(again)[name] == 0)
        assert not np.array_equal(array, matrices(again)[name])
    counts = first.pruned
    assert sum(n for n, _ in counts.values()) == sum(int((a == 0).sum()) for a in matrices(first).values())
    assert again.pruned == counts
    assert start.pruned == {}


@pytest.mark.parametrize("epoch", [2, 3])
def test_continued_pruning_has_the_same_bits(start, tmp_path, epoch):
    """Interrupted while masks grow, and after; with running means and row scales that are fitted again."""
    recipe = pruned(RICH, sparsity=0.5, end=0.5)
    whole = fit_quantized(recipe, start, TRAIN, VALIDATION, session=Session(FRONTEND))
    with pytest.raises(Stopped):
        fit_quantized(recipe, start, TRAIN, VALIDATION, session=Session(FRONTEND, (), stop_in(epoch), tmp_path / "c"))
    continued = fit_quantized(recipe, start, TRAIN, VALIDATION, session=Session(FRONTEND, checkpoint=tmp_path / "c"))
    assert continued.to_bytes() == whole.to_bytes()
    assert zeros(whole) == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize(("end", "kept"), [(0.2, 1), (0.5, 3), (1.0, 5)])
def test_only_an_epoch_with_the_final_zeros_is_kept(monkeypatch, end, kept):
    """Each epoch is worse than the one before it; the first that counts is the one in which pruning ends."""
    left = iter([0.9, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr("hil.train.loop.score", lambda *_: (next(left), 1.0))
    run = training(epochs=5, prune=PruneRecipe(sparsity=0.5, end=end))
    run.run(VALIDATION)
    assert run.state().best_epoch == kept
    found = [p for p in run.network.parameters() if p.dim() == 2]
    assert sum(int((p == 0).sum()) for p in found) == round(0.5 * sum(p.numel() for p in found))


def test_the_schedule_is_cubic():
    """Zhu and Gupta's equation 1, from 0."""
    recipe = PruneRecipe(sparsity=0.8, begin=0.2, end=0.6)
    shares = [recipe.share(done) for done in (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)]
    assert shares == pytest.approx([0, 0, 0.8 * (1 - 0.75**3), 0.8 * (1 - 0.5**3), 0.8 * (1 - 0.25**3), 0.8, 0.8])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("sparsity = 1.0", "prune.sparsity = 1.0: must be at least 0 and below 1"),
        ("begin = 0.6", "prune: need 0 <= begin < end <= 1, got 0.6 and 0.6"),
        ('layers = ["readout"]', "prune.layers = .*'readout'.*: name 'recurrent' or 'dense', or both"),
        ('structure = "rows"', "prune.structure"),
        ("sparcity = 0.5", "unknown key 'sparcity' in .prune.; did you mean 'sparsity'"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, table, message):
    """With the place and what is right."""
    file = tmp_path / "recipe.toml"
    file.write_text(f'name = "x"\n[data]\nkeywords = ["a"]\n[prune]\n{table}\n')
    with pytest.raises(UsageError, match=message):
        load_recipe(file)


def test_nothing_to_prune_in_is_an_error(start):
    """Quantized training of no epochs cannot prune; the message says what can."""
    recipe = pruned(dataclasses.replace(SHORT, quantize=QuantizeRecipe(epochs=0)), sparsity=0.5)
    with pytest.raises(UsageError, match=r"there is no epoch to prune in: set prune\.stage = 'float'"):
        fit_quantized(recipe, start, TRAIN, VALIDATION)


def test_a_recipe_without_pruning_keeps_its_hash():
    """So do the artefacts that were made from it."""
    assert "prune" not in SHORT.sha256()
    assert SHORT.sha256() == pruned(SHORT, sparsity=0.0, end=0.9).sha256()
    assert SHORT.sha256() != pruned(SHORT, sparsity=0.1).sha256()
