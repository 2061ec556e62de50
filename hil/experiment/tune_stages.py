"""``hil tune``: measure, choose, build the whole model, prove it, and write the choice into the artefact."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass

import numpy as np

from hil.artefact import Artefact, load_artefact
from hil.codegen import complete_build
from hil.errors import DeviceError, FitError, UsageError
from hil.experiment.device_stages import RigName, chip_for, compile_model, opened_rig
from hil.experiment.feature_file import load_features
from hil.experiment.run import connect
from hil.experiment.stages import ARTEFACT, FEATURES
from hil.experiment.tune import Bench, Budget, Candidate, Int16, Point, choose, front, measure_candidates
from hil.experiment.workspace import Workspace, write_text
from hil.firmware import Firmware, find_compiler
from hil.layer_build import Build
from hil.quant import run_twin
from hil.recipe import Recipe
from hil.rig import Rig
from hil.trace import Tier

TUNED = "tune.json"


@dataclass(frozen=True)
class Whole:
    """
    A whole model on the rig.

    Attributes:
        cycles: Median of the steps of a sequence.
        output_cycles: Of readout and dense layers, once a sequence.
        flash_bytes, ram_bytes: Of the program, RAM without its stack.
        stack_bytes: Ever used.
    """

    cycles: float
    output_cycles: int
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Tuned:
    """
    What tuning has found.

    Attributes:
        rig, tier, compiler: Where and by what.
        candidates: Layers by kernel, as measured.
        front: Models that none beats; fewest cycles first.
        chosen: The fastest that the budget allows.
        budget: What the layers may take.
        before, after: The whole model with the choices until now, and with those chosen; both equal the twin.
    """

    rig: str
    tier: Tier
    compiler: str
    candidates: tuple[Candidate, ...]
    front: tuple[Point, ...]
    chosen: Point
    budget: Budget
    before: Whole
    after: Whole

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"


def tune(
    recipe: Recipe,
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    budget: Budget,
    *,
    fast_load: bool = False,
) -> Tuned:
    """
    Choose kernels by measurement, write them into the folder's artefact, and leave ``tune.json``.

    Raises:
        UsageError: Nothing fits the budget.
        FitError: The model does not fit the chip, whatever the budget says.
        DeviceError: The device differs from the twin.
        HilError: As building and measuring.
    """
    artefact = load_artefact(ws.path(ARTEFACT))
    features = _sequence(ws, artefact)
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        found = find_compiler(compiler)
        bench = Bench(ws, rig, found, recipe.build.optimize, chip_for(recipe.build.chip, rig))
        candidates = measure_candidates(bench, artefact, features, budget)
        points = front(candidates, artefact.frontend.frames)
        until_now = complete_build(artefact, recipe.build.kernel, recipe.build.layers)
        before = _whole(bench, recipe, artefact, until_now, features, compiler)
        chosen, after = _fastest(bench, recipe, artefact, points, budget, features, compiler)
        tuned = Tuned(rig.name, rig.tier, found.version, candidates, points, chosen, budget, before, after)
    ws.amend("quantize", ARTEFACT, dataclasses.replace(artefact, build=chosen.build).save)
    write_text(ws.path(TUNED), tuned.to_json())
    return tuned


def _sequence(ws: Workspace, artefact: Artefact) -> Int16:
    """[T, D] features of a test clip; noise if there are none that fit."""
    try:
        test = load_features(ws.path(FEATURES)).test
        if len(test.x) and test.x.shape[2] == artefact.inputs:
            return test.sequence(0)
    except UsageError:
        pass
    rng = np.random.default_rng(1)
    return rng.integers(-16384, 16384, (artefact.frontend.frames, artefact.inputs)).astype(np.int16)


def _fastest(
    bench: Bench,
    recipe: Recipe,
    artefact: Artefact,
    points: tuple[Point, ...],
    budget: Budget,
    features: Int16,
    compiler: str | None,
) -> tuple[Point, Whole]:
    """The fastest point under the budget that also fits the chip, as its map says before anything is flashed."""
    while True:
        chosen = choose(points, budget)
        try:
            return chosen, _whole(bench, recipe, artefact, chosen.build, features, compiler)
        except FitError as error:
            points = tuple(point for point in points if point is not chosen)
            if not points:
                raise
            bench.ws.progress.say(f"does not fit the chip, so the next one is tried: {error}")


def _whole(
    bench: Bench, recipe: Recipe, artefact: Artefact, build: Build, features: Int16, compiler: str | None
) -> Whole:
    """Build, which checks the fit; then flash, run a sequence and compare it with the twin."""
    firmware = compile_model(recipe, bench.ws, artefact, build, bench.rig, compiler, bench.ws.path("tune") / "model")
    return _run(bench.rig, firmware, artefact, features)


def _run(rig: Rig, firmware: Firmware, artefact: Artefact, features: Int16) -> Whole:
    rig.flash(firmware)
    device, _ = connect(rig, firmware)
    expected, got = run_twin(artefact, features), device.run_sequence(features)
    if not np.array_equal(got.states_q15, expected.states_q15) or not np.array_equal(got.logits, expected.logits):
        raise DeviceError(f"{rig.name}: the device differs from the twin. `hil run MODEL` names the first difference")
    cycles = statistics.median(np.asarray(got.cycles).tolist())
    stack = device.status().stack_bytes
    return Whole(cycles, int(got.output_cycles or 0), firmware.flash_bytes, firmware.ram_bytes, stack)
