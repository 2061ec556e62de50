"""
The shipped recipes of sequences, in small: trained, rounded and run on the emulated chip, every step the twin's.

Without HIL_DATA on stand-ins that the test makes, in the same formats; with it on a part of the real data.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sequence_files import make_mnist, make_uea

from hil.chips import chip
from hil.codegen import emit_c
from hil.datasets import load_sequences
from hil.experiment.compare import compare
from hil.experiment.device_stages import chip_for
from hil.features import fit_sequences, scale_set
from hil.firmware import compile_firmware, find_compiler
from hil.pytest_plugin.bench import BenchRig
from hil.quant import quantize, run_twins
from hil.recipe import Recipe, load_recipe
from hil.resources import resource
from hil.train import fit, fit_quantized, predict

REAL = bool(os.environ.get("HIL_DATA"))
SMALL = {
    # recipe, units, epochs in floats and in integers, rate, clips to learn from; least accuracy on stand-ins, real data
    "japanese-vowels/recipe.toml": ((12, 10), 25, 8, 0.03, 0, 0.75, 0.75),
    "mnist-rows/recipe.toml": ((12, 10), 20, 6, 0.03, 400, 0.35, 0.35),
    "smnist/quick.toml": ((48,), 20, 2, 0.01, 800, 0.7, 0.2),
}


@pytest.fixture(params=SMALL, ids=lambda name: name.split("/")[0])
def small(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, float]:
    """A recipe cut down, and the accuracy it must reach."""
    if not REAL:
        make_uea(tmp_path, train=12, test=4)
        make_mnist(tmp_path, train=60, test=6)
        monkeypatch.setenv("HIL_DATA", str(tmp_path))
    hidden, epochs, more, rate, clips, made, real = SMALL[request.param]
    whole = load_recipe(resource("models") / request.param)
    data = whole.data
    if data.source == "mnist":
        data = replace(data, train_clips=clips if REAL else 0, test_clips=100 if REAL else 0, validation_fraction=0.2)
    recipe = replace(
        whole,
        data=data,
        cell=replace(whole.cell, hidden=hidden),
        train=replace(whole.train, epochs=epochs, batch=16, learning_rate=rate),
        quantize=replace(whole.quantize, epochs=more),
    )
    return recipe, real if REAL else made


def test_a_shipped_recipe_learns_and_runs_on_the_chip(
    small: tuple[Recipe, float], rig: BenchRig, tmp_path: Path
) -> None:
    """The loss falls, accuracy is well above chance, the twin gives what training saw, the chip what the twin gives."""
    recipe, least = small
    dataset = load_sequences(recipe.data)
    given = fit_sequences(recipe.features, dataset.train)
    train, validation, test = (scale_set(p, given) for p in (dataset.train, dataset.validation, dataset.test))
    model = fit(recipe, train, validation, kind=recipe.cell.kind)
    assert model.curve[-1].loss < model.curve[0].loss
    quantized = fit_quantized(recipe, model, train, validation)
    artefact = quantize(quantized, given, dataset.labels, recipe.quantize, name=recipe.name)
    traces = run_twins(artefact, test.x, lengths=test.lengths)
    logits = np.stack([trace.logits for trace in traces])
    assert (predict(quantized, test) * 32768).tolist() == logits.tolist()
    assert (logits.argmax(axis=1) == test.y).mean() >= least
    firmware = compile_firmware(
        emit_c(artefact, audio=True),
        chip=chip(chip_for(recipe.build.chip, rig)),
        board=rig.wiring,
        compiler=find_compiler(None),
        optimize=recipe.build.optimize,
        out=tmp_path,
    )
    device = rig.start(firmware)
    widths = [layer.units for layer in artefact.recurrent]
    for i in range(4):
        got = device.run_sequence(test.sequence(i))
        assert len(got.states_q15) == len(test.sequence(i))
        assert compare(traces[i], got, widths, i).first is None
