"""What a sweep varies, what it finds, and which values come next."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from conftest import make_artefact
from safetensors.numpy import save_file
from test_experiment_run import features_for

from hil.errors import PortLost, UsageError
from hil.experiment.progress import Quiet
from hil.experiment.recipe_file import recipe_toml
from hil.experiment.sweep import worker
from hil.experiment.sweep.early import Watching, make_pruner
from hil.experiment.sweep.interrupts import Interrupts
from hil.experiment.sweep.objects import ObjectFiles
from hil.experiment.sweep.outcome import Row, SweepOutcome, front, parse_objectives
from hil.experiment.sweep.sampler import SAMPLERS, DistinctSampler, values_key
from hil.experiment.sweep.space import Choices, Range, flat, make_space, recipe_for, shown
from hil.experiment.sweep.study import OtherData, Settings, open_storage, quiet_optuna, require_data, require_equal
from hil.experiment.sweep.trial import Measured, random_artefact
from hil.experiment.sweep.worker import ATTEMPTS, again, take_over
from hil.experiment.workspace import Workspace
from hil.layer_build import LayerBuild
from hil.prune_recipe import PruneRecipe
from hil.recipe import BuildRecipe, CellRecipe, DataRecipe, Recipe, load_recipe
from hil.report.sweep import front_svg

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # these tests ask for trials
RECIPE = Recipe("tiny", DataRecipe(keywords=("yes",)))


def test_parameters_by_their_shortest_name():
    """Choices, ranges of whole numbers and of any, steps, logarithms; a list of one is written like a number."""
    space = make_space(
        RECIPE, ["hidden=16,30+20", "dense=8..16:4", "train.learning_rate=1e-3..3e-2:log", "noise=0..0.5"]
    )
    assert space.domains == {
        "cell.hidden": Choices(("16", "30+20")),
        "cell.dense": Range(8, 16, step=4),
        "train.learning_rate": Range(0.001, 0.03, log=True),
        "train.augment.noise": Range(0.0, 0.5),
    }
    assert space.combinations is None
    assert make_space(RECIPE, [f"{key}={text}" for key, text in space.texts().items()]) == space
    assert make_space(RECIPE, ["hidden=8..64"]).domains["cell.hidden"] == Range(8, 64, step=1)


def test_a_finite_space_has_all_its_combinations():
    space = make_space(RECIPE, ["hidden=4,5+6", "dense=8..10", "row_scales=true,false"])
    assert space.combinations == 12
    every = list(space.all())
    assert (len(every), every[0], every[-1]) == (
        12,
        {"cell.hidden": "4", "cell.dense": 8, "quantize.row_scales": "true"},
        {"cell.hidden": "5+6", "cell.dense": 10, "quantize.row_scales": "false"},
    )
    assert make_space(RECIPE, ["noise=0..0.3:0.1"]).combinations == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden=16", "no such key of a recipe; did you mean 'hidden'"),
        ("cell.hiden=16", "did you mean 'cell.hidden'"),
        ("learning_rate=0.1", "could be train.learning_rate or quantize.learning_rate"),
        ("data.clips=100,200", "other clips cannot be compared"),
        ("build.chip=atsamd21j17a", "it is the rig's"),
        ("hidden", "expected NAME=VALUES"),
        ("hidden=16,x", "cell.hidden = x: is not a whole number"),
        ("hidden=16,16", "given twice"),
        ("hidden=0,16", "0 units"),
        ("dense=16..8", "must begin below its end"),
        ("dense=8..16:log2", "'log2' is not a whole number"),
        ("dense=8..16:9", "at most 8"),
        ("noise=0..0.1:log", "must begin above 0"),
        ("optimize=2,4", "is none of 2, 3, s"),
        ("kind=egru", "could be"),
        ("cell.kind=embeded_gru", "did you mean 'embedded_gru'"),
        ("row_scales=yes", "neither true nor false"),
    ],
)
def test_a_wrong_parameter_says_what_to_write(text, message):
    with pytest.raises(UsageError, match=message):
        make_space(RECIPE, [text])


def test_values_make_a_recipe():
    """Of the types that the recipe has; those of one table are checked together."""
    values = {"cell.hidden": "30+20", "cell.dense": 8, "train.keep": "last", "quantize.bias_bits": "3"}
    made = recipe_for(RECIPE, values)
    assert (made.cell, made.train.keep, made.quantize.bias_bits) == (CellRecipe(hidden=(30, 20), dense=8), "last", 3)
    assert recipe_for(RECIPE, {"cell.hidden": 12}).cell.hidden == (12,)
    with pytest.raises(UsageError, match="exclude each other"):
        recipe_for(RECIPE, {"train.keep": "last", "train.patience": 5})
    assert shown({"train.epochs": 3, "quantize.epochs": 2, "cell.dense": 8, "x.rate": 0.0123456}) == (
        "train.epochs=3 quantize.epochs=2 dense=8 rate=0.01235"
    )


def test_a_recipe_is_written_and_read_back(tmp_path):
    """Also one with choices for single layers."""
    build = BuildRecipe(kernel="compact", layers={"recurrent.0": LayerBuild("straight", 512)})
    recipe = replace(recipe_for(RECIPE, {"cell.hidden": "7+5", "train.augment.noise": 1 / 3}), build=build)
    (tmp_path / "recipe.toml").write_text(recipe_toml(recipe, "A test."))
    assert load_recipe(tmp_path) == recipe


def row(number: int, accuracy: float, cycles: float, flash: int) -> Row:
    return Row(number, "complete", {"cell.dense": number}, accuracy, cycles, flash, 9000)


ROWS = (row(0, 0.9, 100, 50), row(1, 0.8, 100, 50), row(2, 0.8, 90, 60), row(3, 0.9, 100, 50), row(4, 0.7, 95, 40))


@pytest.mark.parametrize(
    ("objectives", "numbers"),
    [
        (("accuracy", "cycles", "flash"), [0, 3, 2, 4]),
        (("accuracy", "cycles"), [0, 3, 2]),
        (("flash", "accuracy"), [4, 0, 3]),
        (("accuracy",), [0, 3]),
        (("cycles",), [2]),
    ],
)
def test_the_front_has_what_none_beats_and_no_other(objectives, numbers):
    """Best first by the first objective; of equals all."""
    assert [r.number for r in front(ROWS, objectives)] == numbers


def test_objectives_by_name():
    assert parse_objectives("accuracy, ram") == ("accuracy", "ram")
    with pytest.raises(UsageError, match="did you mean 'cycles'"):
        parse_objectives("cycle")
    with pytest.raises(UsageError, match="twice"):
        parse_objectives("ram,ram")


@pytest.mark.parametrize("objectives", [("accuracy", "cycles", "flash"), ("ram", "accuracy"), ("accuracy",)])
def test_the_plot_and_the_table_show_the_front(objectives):
    """Equal outcomes give equal text; the numbers of the front are in it, and what the cycles are worth."""
    outcome = SweepOutcome(
        "s", "tiny", {"cell.dense": "0..4"}, objectives, 9, "tpe", 1, "emulator", "cycle-model", "c", "gcc", 31, ROWS
    )
    text = front_svg(outcome)
    assert text == front_svg(outcome)
    assert text.startswith("<?xml")
    if len(objectives) > 1 and "cycles" in objectives:
        assert "cycle-model" in text
    assert json.loads(outcome.to_json())["front"] == [r.number for r in outcome.front]


def suggestions(name: str, seed: int, texts: list[str], count: int, restart: bool = False) -> list[dict]:
    """Values of so many trials, each worth a number that depends on them; with ``restart`` the sampler is made anew."""
    space = make_space(RECIPE, texts)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=DistinctSampler(name, seed, space))
    made = []
    for i in range(count):
        if restart and i == count // 2:
            study.sampler = DistinctSampler(name, seed, space)
        trial = study.ask(study.sampler._distributions)
        made.append(dict(trial.params))
        size = sum(map(float, trial.params.values()))
        study.tell(trial, (size % 7, size))
    return made


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_combination_comes_twice(name):
    """Of 12 there are; a grid has them in order."""
    made = suggestions(name, 3, ["hidden=4,5,6,7", "dense=8..10"], 12)
    assert len({values_key(values) for values in made}) == 12
    if name == "grid":
        assert made == list(make_space(RECIPE, ["hidden=4,5,6,7", "dense=8..10"]).all())


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_a_seed_decides_the_values_also_after_a_restart(name):
    """A worker that begins anew goes on with the values of one that did not stop; another seed has others."""
    texts = ["dense=8..64", "train.learning_rate=1e-3..3e-2:log"]
    made = suggestions(name, 1, texts, 16)
    assert suggestions(name, 1, texts, 16, restart=True) == made
    assert suggestions(name, 2, texts, 16)[:3] != made[:3]


def test_what_differs_from_the_study_is_named():
    """Values of the recipe that are swept may differ; a value beside them, or the compiler, may not."""
    space = {"cell.hidden": "4,5"}
    known = Settings(flat(RECIPE), space, ("accuracy",), "tpe", 1, "emulator", "cycle-model", "c", "gcc 12")
    swept = replace(known, recipe=flat(replace(RECIPE, cell=CellRecipe(hidden=(9,)))))
    require_equal(known, swept, "s")
    other = replace(known, recipe=flat(recipe_for(RECIPE, {"train.epochs": 7})), compiler="gcc 13")
    with pytest.raises(UsageError) as caught:
        require_equal(known, other, "s")
    assert "the compiler gcc 12 there, gcc 13 here" in str(caught.value)
    assert "recipe: train.epochs = 30 there, 7 here" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sweep.db", "Expected such as sqlite:////shared/sweep.db"),
        ("nosql://host/x", "nosql"),
        ("sqlite:////nowhere/at/all/x.db", "Is its folder there"),
        ("postgresql+psycopg9://me:secret@host/x", "psycopg9"),
    ],
)
def test_a_wrong_storage_says_what_to_do(url, message):
    """And shows no password."""
    with pytest.raises(UsageError, match=message) as caught:
        open_storage(url, 60, lambda study, trial: None)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_not_opened(tmp_path):
    (tmp_path / "x.db").write_text("no database, but long enough to be taken for one " * 10)
    with pytest.raises(UsageError, match="is the file an SQLite database"):
        open_storage(f"sqlite:///{tmp_path / 'x.db'}", 60, lambda study, trial: None)


@pytest.mark.parametrize("kind", ["embedded_gru", "event_embedded_gru"])
def test_the_model_that_stands_in_for_a_trained_one(kind):
    """The shape of the recipe, the same every time; as instructions half of what is not pruned is zero."""
    features = features_for(make_artefact(inputs=8, outputs=3))
    recipe = replace(RECIPE, cell=CellRecipe(kind, (12, 9), 6))
    for kernel, pruned, least, most in (
        ("", 0.8, 0.1, 0.4),
        ("straight", 0, 0.49, 0.7),
        ("straight", 0.8, 0.89, 1),
    ):
        recipe = replace(recipe, build=BuildRecipe(kernel=kernel), prune=PruneRecipe(pruned))
        made = random_artefact(recipe, features)
        assert [layer.units for layer in made.recurrent] == [12, 9]
        assert (made.inputs, made.dense[-1].rows.outputs) == (8, 3)
        zeros = np.mean(np.concatenate([layer.rows.weight_q2.ravel() for layer in made.recurrent]) == 0)
        assert least <= zeros <= most
        assert random_artefact(recipe, features).sha256() == made.sha256()


def test_paths_of_this_machine_are_no_part_of_the_recipe():
    """Workers of one study have their data in different places."""
    recipe = Recipe("own", DataRecipe(source="folder", folder=str(Path("/somewhere"))))
    assert "somewhere" not in json.dumps(flat(recipe))


def begun(study: optuna.Study, **attributes: object) -> optuna.trial.FrozenTrial:
    """A trial that a worker has begun; what is asked for is remembered of it."""
    trial = study.ask({"cell.dense": optuna.distributions.IntDistribution(4, 99)})
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return study.get_trials()[trial.number]


@pytest.fixture
def study(tmp_path):
    """On a storage where a worker counts as gone after a second."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    storage = open_storage(url, 1, again)
    with quiet_optuna():
        yield optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    storage.remove_session()
    storage.engine.dispose()


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def test_a_silent_worker_of_another_machine_is_given_up(study, tmp_path):
    """Its trial is queued with the same values once it has been silent for too long, not before."""
    trial = begun(study, worker="elsewhere:1", folder=str(tmp_path))
    study._storage.record_heartbeat(trial._trial_id)
    take_over(study)
    assert states(study) == ["RUNNING"]
    deadline = time.monotonic() + 30
    while states(study) == ["RUNNING"] and time.monotonic() < deadline:
        time.sleep(0.2)
        take_over(study)
    assert states(study) == ["FAIL", "WAITING"]
    repeated = study.ask()
    assert (repeated.params, repeated.user_attrs["retry_of"]) == (trial.params, 0)


def test_a_worker_of_this_machine_is_seen_to_be_gone_by_its_lock(study, tmp_path):
    """Another one's folder of the same name says nothing."""
    ws = Workspace(tmp_path / "trial", Quiet())
    with ws.locked():
        ws.path("kept").touch()
        begun(study, worker=f"{platform.node()}:1", folder=str(ws.folder))
        begun(study, worker="elsewhere:1", folder=str(ws.folder))
        take_over(study)
        assert states(study) == ["RUNNING", "RUNNING"]
    take_over(study)
    assert states(study) == ["FAIL", "RUNNING", "WAITING"]


def test_a_trial_that_ends_its_workers_is_given_up(study, tmp_path):
    """After the third, with the reason; Ctrl-C is nobody's fault."""
    (tmp_path / "gone").mkdir()
    begun(study, worker=f"{platform.node()}:1", folder=str(tmp_path / "gone"))
    for i in range(ATTEMPTS):
        take_over(study)
        if i == 0:
            again(study, study.get_trials()[study.ask().number], blame=False)
        if i < ATTEMPTS - 1:
            trial = study.ask()
            trial.set_user_attr("worker", f"{platform.node()}:1")
            trial.set_user_attr("folder", str(tmp_path / "gone"))
    last = study.get_trials()[-1]
    assert (last.state.name, last.user_attrs["verdict"]) == ("FAIL", "failed")
    assert "enough memory" in last.user_attrs["reason"]


def test_a_trial_below_the_others_is_stopped(tmp_path):
    """Its learning curve is read from the checkpoints of both stages while it trains; each epoch is reported once."""
    recipe = recipe_for(RECIPE, {"train.epochs": 6})
    study = optuna.create_study(direction="maximize", pruner=make_pruner(recipe, stop_early=True))

    def curve(stage: str, accuracies: list[float]) -> None:
        manifest = json.dumps({"curve": [{"validation_accuracy": value} for value in accuracies]})
        save_file({"x": np.zeros(1)}, tmp_path / f"{stage}.checkpoint", metadata={"manifest": manifest})

    for _ in range(5):
        trial = study.ask()
        watching = Watching(Quiet(), tmp_path, trial, recipe, Interrupts())
        curve("float-egru", [0.5, 0.6, 0.7, 0.8])
        watching.look()
        watching.look()
        (tmp_path / "float-egru.checkpoint").unlink()
        curve("quantize", [0.9])
        watching.look()
        (tmp_path / "quantize.checkpoint").unlink()
        study.tell(trial, 0.9)
    assert study.trials[-1].intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 7: 0.9}

    trial = study.ask()
    watching = Watching(Quiet(), tmp_path, trial, recipe, Interrupts())
    curve("float-egru", [0.4, 0.5])
    with watching.task("training") as update:
        update(1, 9)
        watching._looked = 0.0
        curve("float-egru", [0.4, 0.5, 0.6])
        with pytest.raises(optuna.TrialPruned):
            update(2, 9)
    assert trial.user_attrs["reason"] == "below the median after 3 epochs"


def test_object_files_are_a_dictionary(tmp_path):
    files = ObjectFiles(tmp_path / "objects")
    assert (len(files), "a" in files) == (0, False)
    files["a"] = b"1"
    files["a"] = b"2"
    assert (dict(files), len(files)) == ({"a": b"2"}, 1)
    del files["a"]
    with pytest.raises(KeyError):
        del files["a"]


def test_ctrl_c_waits_while_the_storage_is_used():
    """It takes effect where work may be interrupted; the handler that was there comes back."""
    interrupts, seen = Interrupts(), []

    def work() -> None:
        with interrupts.allowed():
            seen.append("work")
            with interrupts.forbidden():
                os.kill(os.getpid(), signal.SIGINT)
                seen.append("report")
            seen.append("never")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interrupts.held_back():
            with pytest.raises(KeyboardInterrupt):
                work()
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("storage")
            with pytest.raises(KeyboardInterrupt):
                work()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["work", "report", "storage"]


@pytest.fixture
def sweep(study, tmp_path, monkeypatch):
    """A worker's, in this process; what it would train is for a test to say."""
    space = make_space(RECIPE, ["dense=4..99"])
    study.sampler = DistinctSampler("random", 1, space)
    study.set_user_attr("trials", 2)
    monkeypatch.setattr(worker, "_inputs", lambda sweep, recipe: None)
    monkeypatch.setattr(worker, "link_inputs", lambda inputs, ws: None)
    return worker.Sweep(study, RECIPE, space, ("accuracy", "cycles"), Workspace(tmp_path / "s", Quiet()), None)


def test_a_trial_that_another_worker_has_done_meanwhile_is_left_to_it(sweep, monkeypatch):
    """Its result stays; the worker goes on with the next."""
    measured = Measured(0.5, 10, 9, 1, 1, 1, "cycle-model", "emulator", "0" * 64, 4)

    def measure(recipe, ws, place):
        if len(sweep.study.trials) == 1:
            sweep.study.tell(0, (0.25, 5.0))
        return measured

    monkeypatch.setattr(worker, "measure_trial", measure)
    worker.work(sweep)
    assert [trial.values for trial in sweep.study.trials] == [[0.25, 5.0], [0.5, 10.0]]
    assert "trial 0: done by another worker" in sweep.ws.progress.said


@pytest.mark.parametrize(
    ("error", "after", "attempt"),
    [
        (ValueError("a bug"), ["FAIL", "WAITING"], 2),
        (KeyboardInterrupt(), ["FAIL", "WAITING"], 1),
        (SystemExit(143), ["FAIL", "WAITING"], 1),
        (PortLost("metro", "gone"), ["FAIL", "WAITING"], 1),
    ],
)
def test_what_ends_a_worker_queues_its_trial_again(sweep, monkeypatch, error, after, attempt):
    """And is not swallowed; the trial itself is suspected only where it may be the cause."""

    def measure(recipe, ws, place):
        raise error

    monkeypatch.setattr(worker, "measure_trial", measure)
    with pytest.raises(type(error)):
        worker.work(sweep)
    assert states(sweep.study) == after
    assert sweep.study.trials[1].user_attrs["attempt"] == attempt


def test_values_that_cannot_be_trained_fail_with_their_reason_and_five_in_a_row_end_the_sweep(sweep, monkeypatch):
    def measure(recipe, ws, place):
        raise UsageError("the loss is nan: lower the learning rate")

    monkeypatch.setattr(worker, "measure_trial", measure)
    with pytest.raises(UsageError, match="5 trials in a row failed, the last one: the loss is nan"):
        worker.work(sweep)
    assert states(sweep.study) == ["FAIL"] * 5
    assert {trial.user_attrs["verdict"] for trial in sweep.study.trials} == {"failed"}


def test_other_data_are_refused(study):
    """The first worker's hash counts."""
    require_data(study, "abc", "1" * 64)
    require_data(study, "abc", "1" * 64)
    with pytest.raises(OtherData, match=r"111111111111\.\.\. there, 222222222222\.\.\. here"):
        require_data(study, "abc", "2" * 64)
