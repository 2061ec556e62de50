import numpy as np
import pytest

from hil.artefact import Artefact, DenseLayer, EmbeddedGruLayer, FrontEnd, Rows
from hil.fixed import WEIGHT_LEVELS_Q2

pytest_plugins = ["pytester"]

FIRST = ("cli_demo", "sweep_workers", "docs", "pytest_plugin", "tune", "results", "firmware_build", "kernels_chip")
"""Files of few and long tests, begun first: no worker sits over one of them while the other has nothing left."""


def pytest_collection_modifyitems(items):
    """Long files first."""
    order = {f"test_{name}": i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(FIRST)))


def make_rows(rng, outputs, inputs):
    """Random rows of the canonical arithmetic."""
    return Rows(
        weight_q2=rng.choice(WEIGHT_LEVELS_Q2, (outputs, inputs)).astype(np.int8),
        bias_q17=(rng.integers(-(1 << 12), 1 << 12, outputs) << 5).astype(np.int32),
        shift=rng.integers(1, 4, outputs).astype(np.int8),
    )


def make_artefact(seed=0, inputs=5, hidden=(4, 3), dense=6, outputs=3, frames=9, name="random"):
    """A small artefact with random weights."""
    rng = np.random.default_rng(seed)
    widths = (inputs, *hidden)
    recurrent = tuple(EmbeddedGruLayer(make_rows(rng, 2 * h, d + h)) for d, h in zip(widths, hidden, strict=False))
    return Artefact(
        name=name,
        labels=tuple(f"class{i}" for i in range(outputs)),
        frontend=FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, frames, 2, np.zeros(inputs, np.int16)),
        recurrent=recurrent,
        readout_shift=4,
        dense=(
            DenseLayer(make_rows(rng, dense, hidden[-1]), "relu"),
            DenseLayer(make_rows(rng, outputs, dense), "linear"),
        ),
        provenance={"recipe": "0" * 64},
    )


@pytest.fixture
def artefact():
    return make_artefact()
