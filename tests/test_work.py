"""Effective multiply-accumulates: counted by hand, by matrix, and shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import make_artefact
from kernel_support import random_gru8_artefact
from test_report import RESULT

from hil.artefact import Artefact, EventEmbeddedGruLayer
from hil.experiment.result import result_from_json
from hil.experiment.work import Matrix, matrices_of, step_macs, step_weights, zero_share
from hil.quant import run_twins
from hil.report.facts import facts


def events() -> Artefact:
    """Two event layers of 4 and 3 units on 5 inputs, the first with three zero columns of inputs."""
    artefact = make_artefact()
    layers = [EventEmbeddedGruLayer(layer.rows, np.full(layer.units, 3000, np.int16)) for layer in artefact.recurrent]
    layers[0].rows.weight_q2[:, :3] = 0
    return dataclasses.replace(artefact, recurrent=tuple(layers))


def test_weights_and_inputs_that_are_not_0_are_counted() -> None:
    """Weights of each matrix by hand; density of the inputs that are 0 every third step, and of the twin's outputs."""
    artefact = events()
    x = np.random.default_rng(1).integers(-9000, 9000, (3, 9, 5)).astype(np.int16)
    x[:, ::3] = 0
    traces = run_twins(artefact, x, detail=True)
    found = {m.name: m for m in matrices_of(artefact, x, traces)}
    assert list(found) == [
        "recurrent.0, inputs", "recurrent.0, state", "recurrent.1, inputs", "recurrent.1, state", "dense.0", "dense.1",
    ]  # fmt: skip
    first = artefact.recurrent[0].rows.weight_q2
    assert found["recurrent.0, inputs"] == Matrix(
        "recurrent.0, inputs", 40, int((first[:, :5] != 0).sum()), pytest.approx(2 / 3)
    )
    spoken = np.mean([(trace.layers[0].output_q15 != 0).mean() for trace in traces])
    assert 0.01 < spoken < 0.9
    assert found["recurrent.0, state"].density == pytest.approx(spoken)
    assert found["recurrent.1, inputs"].density == pytest.approx(spoken)
    assert found["recurrent.1, inputs"].weights == 2 * 3 * 4
    assert found["dense.1"] == Matrix(
        "dense.1", 18, int(np.count_nonzero(artefact.dense[1].rows.weight)), 1.0, "output"
    )
    assert sum(m.weights for m in found.values()) == artefact.weights
    assert sum(m.weights - m.nonzero for m in found.values()) == artefact.zero_weights


def test_a_cell_of_several_matrices_is_split_the_same_way() -> None:
    """An int8 GRU's three matrices by layer: every weight is counted once."""
    artefact = random_gru8_artefact(2, (4,))
    x = np.random.default_rng(1).integers(1, 9000, (2, 9, 5)).astype(np.int16)
    found = matrices_of(artefact, x, run_twins(artefact, x))
    assert [m.weights for m in found[:2]] == [3 * 4 * 5, 3 * 4 * 4]
    assert sum(m.weights for m in found) == artefact.weights
    assert found[0].density == 1.0


def test_a_step_is_the_recurrent_layers() -> None:
    """Dense layers run once a sequence; zeros are those of all layers."""
    matrices = (Matrix("a", 100, 50, 0.5), Matrix("b", 60, 60, 1.0), Matrix("c", 40, 10, 1.0, "output"))
    assert step_macs(matrices) == 25 + 60
    assert step_weights(matrices) == 160
    assert zero_share(matrices) == pytest.approx(1 - 120 / 200)


def test_a_result_shows_them_and_keeps_them() -> None:
    """Each matrix, their sum, and what a product costs in cycles, with its tier; JSON and back."""
    result = dataclasses.replace(
        RESULT, matrices=(Matrix("recurrent.0, state", 4000, 2000, 0.1), Matrix("dense.0", 400, 400, 1.0, "output"))
    )
    lines = {fact.name: fact for fact in facts(result) if fact.group == "Work of a step"}
    assert lines["recurrent.0, state"].value == "2,000 of 4,000 weights are not 0, 10.0 % of their inputs"
    assert lines["dense.0"].value == "400 of 400 weights are not 0, 100.0 % of their inputs, once a sequence"
    assert lines["weights that are 0, all layers"].value == "45.5 %"
    assert lines["effective multiply-accumulates, recurrent layers"].value == "200 of 4,000 = 5.0 %"
    each = lines["cycles a step for each of them, mean"]
    assert each.value == f"{np.mean(result.cycles) / 200:,.2f}"
    assert each.tier is result.tier
    assert result_from_json(result.to_json()) == result
    assert not [fact for fact in facts(RESULT) if fact.group == "Work of a step"]
