"""Inputs that moved too little count as unchanged, never as 0: in training, in the twin, in C and on the chip."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from kernel_support import build_model, model_differences, random_artefact, random_q15, run_model
from test_train import FRONTEND, LABELS, SHORT, TEST, TRAIN, VALIDATION

from hil.artefact import artefact_from_bytes
from hil.cells.network import held_inputs
from hil.chips import chip
from hil.codegen import emit_c
from hil.errors import ArtefactError, UsageError
from hil.experiment.work import matrices_of
from hil.firmware import compile_firmware, find_compiler
from hil.float_model import load_float_model
from hil.layer_build import LayerBuild
from hil.quant import ListenTwin, quantize, run_twin, run_twin_batch, run_twins, sent_inputs
from hil.recipe import CellRecipe
from hil.rig import load_rig, load_rig_file
from hil.trace import Listening
from hil.train import fit, fit_quantized, predict

LEAST = 3000


def walk(seed, shape):
    """[..., T, D] inputs that move by less than LEAST as often as by more, and jump at times."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, LEAST, shape) + 40000 * rng.choice([-1, 0, 1], shape, p=[0.02, 0.96, 0.02])
    return np.clip(np.cumsum(steps, axis=-2), -32768, 32767).astype(np.int16)


def held(artefact, least=LEAST):
    return dataclasses.replace(artefact, hold_q15=least)


@pytest.mark.parametrize("events", [False, True])
def test_the_twin_is_the_dense_network_on_what_was_taken(events):
    """Held inputs are those of before, not zeros; nothing else differs.  A threshold of 0 changes nothing."""
    plain = random_artefact(1, (6, 4), inputs=5, dense=(4, 3), events=events)
    x = walk(2, (3, 15, 5))
    taken = sent_inputs(x, LEAST)
    assert 0.2 < (np.diff(taken, axis=1) != 0).mean() < 0.8
    for got, expected in zip(run_twins(held(plain), x), run_twins(plain, taken), strict=True):
        np.testing.assert_array_equal(got.states_q15, expected.states_q15)
        np.testing.assert_array_equal(got.logits, expected.logits)
    zeroed = np.where(np.diff(taken, axis=1, prepend=np.int16(0)) != 0, taken, 0)
    assert any(
        (run_twin(held(plain), a).states_q15 != run_twin(plain, b).states_q15).any()
        for a, b in zip(x, zeroed, strict=True)
    )
    np.testing.assert_array_equal(run_twin_batch(held(plain), x), run_twin_batch(plain, taken))
    np.testing.assert_array_equal(run_twin_batch(held(plain, 0), x), run_twin_batch(plain, x))


@pytest.mark.parametrize("least", [0, 1, 32767])
def test_training_takes_what_the_twin_takes(least):
    """Also at the ends of Q15, where a difference has 17 bits."""
    x = random_q15(np.random.default_rng(3), (2, 20, 4), extreme=True)
    x[:, ::2] = random_q15(np.random.default_rng(4), (2, 10, 4))
    got = held_inputs(torch.tensor(x, dtype=torch.float32) / 32768, least)
    np.testing.assert_array_equal((got * 32768).numpy(), sent_inputs(x, least))


@pytest.mark.parametrize(
    ("events", "kernel"), [(False, "packed4"), (False, "deltas"), (True, "events"), (True, "deltas")]
)
def test_generated_c_is_equal_to_the_twin(tmp_path, events, kernel):
    """Whole sequences under sanitizers, also after a reset, whether the kernel visits changes or everything."""
    artefact = held(random_artefact(5, (7, 4), inputs=6, dense=(4, 3), events=events))
    x = walk(6, (20, 6))
    program = build_model(tmp_path, emit_c(artefact, build={"recurrent.0": LayerBuild(kernel)}))
    for features in (x, x[::-1].copy()):
        expected = run_twin(artefact, features, detail=True)
        assert model_differences(artefact, features, expected, run_model(program, artefact, features)) == []


def test_the_chip_is_equal_and_visits_only_changes(tmp_path):
    """An event eGRU by `deltas`: states and outputs, sequence after sequence; few changes cost fewer cycles."""
    artefact = held(random_artefact(7, (16, 8), inputs=40, dense=(6, 4), events=True))
    file = load_rig_file("emulator")
    cycles = {}
    for kernel in ("events", "deltas"):
        build = {"recurrent.0": LayerBuild(kernel)}
        firmware = compile_firmware(
            emit_c(artefact, build=build), chip=chip(file.chip), board=file.board, compiler=find_compiler(None),
            optimize="2", out=tmp_path / kernel,
        )  # fmt: skip
        with load_rig("emulator", fast_load=True) as rig:
            rig.flash(firmware)
            device = rig.open()
            device.hello(expected_artefact_hash=artefact.sha256())
            for seed in (8, 9):
                x = walk(seed, (10, 40))
                got, expected = device.run_sequence(x), run_twin(artefact, x)
                np.testing.assert_array_equal(got.states_q15, expected.states_q15)
                np.testing.assert_array_equal(got.logits, expected.logits)
            quiet = device.run_sequence(np.full((10, 40), 20000, np.int16))
            cycles[kernel] = int(np.median(quiet.cycles[1:]))
    assert cycles["deltas"] < 0.8 * cycles["events"]


def test_a_stream_runs_on_with_what_was_taken():
    """Carried states carry the inputs too, whatever the pieces; a fresh window begins at 0."""
    artefact = held(random_artefact(9, (5,), inputs=4, dense=(3,)))
    x = walk(10, (24, 4))
    plain = dataclasses.replace(artefact, hold_q15=0)
    for carry in (True, False):
        listening = Listening(frames=8, hop=4, carry=carry)
        whole = ListenTwin(artefact, listening).feed(x)
        pieces = ListenTwin(artefact, listening)
        assert [d for part in (x[:5], x[5:6], x[6:]) for d in pieces.feed(part)] == whole
        if carry:
            assert whole == ListenTwin(plain, listening).feed(sent_inputs(x, LEAST))
        else:
            assert whole[0].logits == tuple(run_twin_batch(artefact, x[None, :8])[0])


def test_a_recipe_with_hold_trains_and_hands_it_on(tmp_path):
    """Float model, quantized model and artefact keep it; the twin gives what training saw; a file of version 3."""
    recipe = dataclasses.replace(SHORT, cell=CellRecipe(hidden=(8, 6), dense=8, hold=0.1))
    model = fit_quantized(recipe, fit(recipe, TRAIN, VALIDATION), TRAIN, VALIDATION)
    model.save(tmp_path / "m")
    assert load_float_model(tmp_path / "m").hold_q15 == 3277
    artefact = quantize(model, FRONTEND, LABELS, recipe.quantize, name="toy")
    data = artefact.to_bytes()
    manifest = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["manifest"])
    assert (manifest["version"], manifest["hold_q15"]) == (3, 3277)
    assert artefact_from_bytes(data).to_bytes() == data
    assert np.array_equal(run_twin_batch(artefact, TEST.x) / 32768, predict(model, TEST))
    density = matrices_of(artefact, TEST.x, run_twins(artefact, TEST.x))[0].density
    changes = np.diff(sent_inputs(TEST.x, 3277), axis=1, prepend=np.int16(0))
    assert density == pytest.approx((changes != 0).mean())
    assert 0.05 < density < 0.6
    assert fit(recipe, TRAIN, VALIDATION, kind="gru").hold_q15 == 0
    assert recipe.sha256() != dataclasses.replace(recipe, cell=SHORT.cell).sha256() == SHORT.sha256()


def test_a_hold_out_of_range_is_refused():
    """In a recipe and in a model."""
    with pytest.raises(UsageError, match=r"cell\.hold = 0\.6: must be within 0 and 0\.5"):
        CellRecipe(hold=0.6)
    with pytest.raises(ArtefactError, match="hold_q15 is 32768, expected 0 to 32767"):
        held(random_artefact(1, (3,), inputs=2, dense=(3,)), 32768)
