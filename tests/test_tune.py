"""Kernels by measurement: the front, the budget, the artefact's build section, the cache."""

import json

import numpy as np
import pytest
from conftest import make_artefact

from hil.artefact import load_artefact
from hil.errors import UsageError
from hil.experiment import tune as tuning
from hil.experiment.progress import Quiet
from hil.experiment.stages import ARTEFACT
from hil.experiment.tune import Budget, Candidate, choices_for, choose, front, inputs_of_layers
from hil.experiment.tune_stages import TUNED, tune
from hil.experiment.workspace import Workspace
from hil.layer_build import LayerBuild
from hil.recipe import load_recipe
from hil.report.kernel_plots import tuned_svg

RECIPE = """\
name = "tiny"
[data]
source = "synthetic-keywords"
keywords = ["yes"]
"""
FAST, SMALL, MIDDLE = LayerBuild("straight"), LayerBuild("compact"), LayerBuild("packed4")


def candidates():
    """Two layers; of each a fast, a small and a middling kernel, and one that another beats in everything."""
    made = []
    for name in ("recurrent.0", "dense.0"):
        made += [
            Candidate(name, FAST, 1000, 9000, 300),
            Candidate(name, MIDDLE, 4000, 4000, 300),
            Candidate(name, SMALL, 7000, 1500, 300),
            Candidate(name, LayerBuild("events"), 4500, 9500, 900),
        ]
    return made


def test_the_front_has_every_model_that_none_beats_and_no_other():
    """Fewest cycles first; a dense layer's cycles are shared out over the steps of a clip."""
    points = front(candidates(), 10)
    assert (points[0].build, points[0].cycles) == ({"recurrent.0": FAST, "dense.0": FAST}, 1100)
    assert (points[-1].build, points[-1].flash_bytes) == ({"recurrent.0": SMALL, "dense.0": SMALL}, 3000)
    assert all(choice.kernel != "events" for point in points for choice in point.build.values())
    for a in points:
        for b in points:
            better = (b.cycles <= a.cycles, b.flash_bytes <= a.flash_bytes, b.ram_bytes <= a.ram_bytes)
            assert a is b or not all(better)


@pytest.mark.parametrize(
    ("flash", "expected"),
    [
        (None, (FAST, FAST)),
        (18000, (FAST, FAST)),
        (17999, (FAST, MIDDLE)),
        (10499, (MIDDLE, MIDDLE)),
        (7999, (MIDDLE, SMALL)),
        (5499, (SMALL, SMALL)),
        (3000, (SMALL, SMALL)),
    ],
)
def test_a_faster_kernel_gives_way_only_because_the_budget_says_so(flash, expected):
    """At each limit, one byte below it the next smaller form."""
    build = choose(front(candidates(), 10), Budget(flash)).build
    assert (build["recurrent.0"], build["dense.0"]) == expected


def test_a_budget_that_nothing_fits_is_refused_with_what_is_needed():
    with pytest.raises(UsageError, match=r"at least 3,000 bytes of flash, at least 600 of RAM"):
        choose(front(candidates(), 10), Budget(2999))
    with pytest.raises(UsageError, match="--ram"):
        choose(front(candidates(), 10), Budget(None, 599))


def test_code_in_ram_is_tried_up_to_the_budget():
    """Every kernel of the layer, and the reference, which is no kernel, never."""
    artefact = make_artefact(seed=3)
    tried = list(choices_for(artefact, "recurrent.0", Budget(None, 2048)))
    assert {choice.kernel for choice in tried} == {"packed4", "straight", "compact", "events", "deltas"}
    assert max(choice.ram_bytes for choice in tried) == 2048


def test_layers_are_measured_on_what_they_see():
    """The middle of a clip, through the layers before."""
    artefact = make_artefact(seed=3)
    features = np.random.default_rng(1).integers(-9999, 9999, (20, artefact.inputs)).astype(np.int16)
    seen = inputs_of_layers(artefact, features)
    assert set(seen) == {f"recurrent.{i}" for i in range(len(artefact.recurrent))} | {"dense.0", "dense.1"}
    np.testing.assert_array_equal(seen["recurrent.0"], features[6:14])
    assert inputs_of_layers(artefact, None)["recurrent.0"].shape == seen["recurrent.0"].shape


@pytest.fixture
def ws(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "RAM_STEPS", (512,))
    monkeypatch.setattr(tuning, "TILE_ROWS", (13,))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    made = Workspace(tmp_path / "out", Quiet())
    make_artefact(seed=3, inputs=16, hidden=(20, 4)).save(made.path(ARTEFACT))
    return made


def test_tuning_measures_chooses_proves_and_writes_the_build(ws, tmp_path):
    """On the emulated chip, twice: generous, then small, from the cache; the model's hash stays."""
    recipe, before = load_recipe(tmp_path), load_artefact(ws.path(ARTEFACT))
    fast = tune(recipe, ws, "emulator", None, Budget(), fast_load=True)
    measured = sorted(ws.path("tune").glob("*.json"))
    after = load_artefact(ws.path(ARTEFACT))
    assert after.build == fast.chosen.build
    assert after.sha256() == before.sha256()
    assert after.build["recurrent.0"].kernel == "straight"
    assert fast.after.cycles < fast.before.cycles
    assert json.loads(ws.path(TUNED).read_text())["tier"] == "cycle-model"
    assert "<svg" in tuned_svg(fast)

    least = min(point.flash_bytes for point in fast.front)
    small = tune(recipe, ws, "emulator", None, Budget(least), fast_load=True)
    assert sorted(ws.path("tune").glob("*.json")) == measured
    assert small.candidates == fast.candidates
    assert {name: choice.kernel for name, choice in small.chosen.build.items()}["recurrent.0"] == "compact"
    assert small.before == fast.after
    assert small.after.flash_bytes < small.before.flash_bytes
