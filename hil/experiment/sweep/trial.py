"""One trial of a sweep: refused if it cannot fit the chip, else trained, built, run and measured."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, load_artefact
from hil.codegen import complete_build
from hil.config import from_table
from hil.errors import DeviceError, FitError, UsageError
from hil.experiment.device_stages import compile_model, make_firmware
from hil.experiment.feature_file import Features, load_features
from hil.experiment.hashes import code_sha256, values_sha256
from hil.experiment.results import right_clips
from hil.experiment.stages import ARTEFACT, DATA, FEATURES, file_sha256, make_data, make_features, make_models
from hil.experiment.workspace import Workspace, link_file, write_text
from hil.features import FeatureSet
from hil.firmware import Firmware, find_compiler
from hil.fixed import Q15_ONE
from hil.float_model import MAX_READOUT_SHIFT, FloatModel, array_shapes
from hil.quant import quantize, run_twin_batch, run_twins
from hil.recipe import Recipe
from hil.rig import Rig, RigRequest, connect, load_rig, target_of
from hil.trace import Tier

Int16 = npt.NDArray[np.int16]

MEASURED, FIT = "measured.json", "fit.json"
CLIPS = 4
"""Validation clips of a trial that go through the rig."""
INSTRUCTION_KERNELS = ("straight", "events", "deltas")
"""Kernels whose code is as long as there are weights that are not zero."""
LEAST_ZEROS = 0.5
"""Share of zeros taken for such kernels before training, more than training without pruning leaves; about 0.27 is
usual.  A model that does not fit even so is refused; whether another one does, the linker says after training."""


class Refused(UsageError):
    """
    A trial that cannot run on the chip.

    Attributes:
        over: What is too much, as a share of what there is; 0: not known.
        trained: It was refused only after training.
    """

    def __init__(self, why: str, over: float = 0.0, trained: bool = False):
        self.over, self.trained = over, trained
        super().__init__(why)


@dataclass(frozen=True)
class Place:
    """
    Where trials are built and run.

    Attributes:
        rig, compiler, fast_load: As `hil.experiment.device_stages.make_run`.
        inputs: Folder of data and features, which trials share.
        objects: Compiled once for all trials.
    """

    rig: RigRequest
    compiler: str | None
    fast_load: bool
    inputs: Path
    objects: MutableMapping[str, bytes]


@dataclass(frozen=True)
class Measured:
    """
    What a trial is judged by.

    Attributes:
        accuracy: Of the artefact's twin on the validation set, 0..1; of clips, where windows vote.
        cycles: A clip's steps and its output, mean over the clips that went through the rig.
        steps: Time steps of a clip.
        flash_bytes, ram_bytes: Of the whole program, RAM without its stack.
        stack_bytes: Ever used.
        tier, rig: Where cycles were counted.
        artefact_sha256: Of the model.
        clips: That went through the rig, each step equal to the twin.
    """

    accuracy: float
    cycles: float
    steps: int
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    tier: str
    rig: str
    artefact_sha256: str
    clips: int


def measure_trial(recipe: Recipe, ws: Workspace, place: Place) -> Measured:
    """
    Stages of a recipe in a folder of its own, as far as they are not there yet.

    Args:
        recipe: Of the trial.
        ws: Its folder, locked, with data and features (`link_inputs`).
        place: Where to build and run.

    Raises:
        Refused: It does not fit the chip.
        DeviceError: The device differs from the twin.
        HilError: As the stages.
    """
    check_fit(recipe, ws, place)
    make_models(recipe, ws, quantized=True, jobs=1, baseline=False)
    return _on_rig(recipe, ws, place)


@dataclass(frozen=True)
class Inputs:
    """
    Data and features that trials have in common.

    Attributes:
        ws: Their folder; its name is a hash of what decides them.
        data_sha256: Of the clips.
    """

    ws: Workspace
    data_sha256: str


def make_inputs(recipe: Recipe, ws: Workspace, place: Place) -> Inputs:
    """Stages ``data`` and ``features``, once for all trials that have them in common.  Raises as these do."""
    name = values_sha256({"data": recipe.data, "features": recipe.features})[:12]
    shared = dataclasses.replace(ws, folder=place.inputs / name, force=False)
    with shared.locked(wait=True):
        data = make_data(recipe, shared).facts["sha256"]
        make_features(recipe, shared)
    return Inputs(shared, data)


def link_inputs(inputs: Inputs, ws: Workspace) -> None:
    """Make them the trial's."""
    for file in (DATA, FEATURES, "data.manifest.json", "features.manifest.json"):
        link_file(inputs.ws.path(file), ws.path(file))


def check_fit(recipe: Recipe, ws: Workspace, place: Place) -> None:
    """
    Stage ``fit``: a program with random weights of the recipe's shape, through the real linker.

    Raises:
        Refused: It is larger than the chip's flash or RAM, or there can be no such model.
    """
    target = target_of(place.rig)
    inputs = {
        "features": file_sha256(ws.path(FEATURES)),
        "recipe": " ".join(
            values_sha256(part) for part in (recipe.cell, recipe.events, recipe.quantize, recipe.prune, recipe.build)
        ),
        "target": f"{target.chip} {values_sha256(target.wiring)}",
        "compiler": find_compiler(place.compiler).version,
        "code": code_sha256("codegen", "quant", "firmware", "firmware/", "chips.py", "experiment/sweep/trial.py"),
    }

    def make(folder: Path) -> dict[str, str]:
        artefact = random_artefact(recipe, load_features(ws.path(FEATURES)))
        build = complete_build(artefact, recipe.build.kernel, recipe.build.layers)
        firmware = compile_model(recipe, ws, artefact, build, target, place.compiler, folder / "program", place.objects)
        facts = {"flash_bytes": str(firmware.flash_bytes), "ram_bytes": str(firmware.ram_bytes)}
        write_text(folder / FIT, json.dumps(facts) + "\n")
        return facts

    with _refusing(trained=False):
        ws.stage("fit", inputs, [FIT], make)


def random_artefact(recipe: Recipe, features: Features) -> Artefact:
    """
    A model of the recipe's shape; the same one every time.

    Its size is that of the trained one where weights are data.  Where they are instructions, half of those that are
    not pruned are zero, so that it is smaller.

    Raises:
        UsageError: There can be no such model.
    """
    rng = np.random.default_rng(1)
    shape = (features.frontend.features, recipe.cell.hidden, recipe.cell.dense, len(features.labels))
    arrays = {name: _random(rng, name, dims, recipe) for name, dims in array_shapes(recipe.cell.kind, *shape).items()}
    model = FloatModel(recipe.cell.kind, *shape, MAX_READOUT_SHIFT // 2, arrays)
    artefact = quantize(model, features.frontend, features.labels, recipe.quantize, name=recipe.name)
    build = complete_build(artefact, recipe.build.kernel, recipe.build.layers)
    if not any(choice.kernel in INSTRUCTION_KERNELS for choice in build.values()):
        return artefact
    zeros = 1 - (1 - LEAST_ZEROS) * (1 - recipe.prune.sparsity)
    for name, array in arrays.items():
        if array.ndim == 2:
            few = np.abs(array) <= np.quantile(np.abs(array), zeros)
            arrays[name] = np.where(few, np.float32(0), array)
    model = dataclasses.replace(model, arrays=arrays)
    return quantize(model, features.frontend, features.labels, recipe.quantize, name=recipe.name)


def _random(rng: np.random.Generator, name: str, dims: tuple[int, ...], recipe: Recipe) -> npt.NDArray[np.float32]:
    if name.endswith(".threshold"):
        return np.full(dims, recipe.events.threshold, np.float32)
    if len(dims) < 2:
        return np.zeros(dims, np.float32)
    return np.asarray(rng.normal(size=dims) / np.sqrt(dims[-1]), np.float32)


@contextmanager
def _refusing(trained: bool) -> Iterator[None]:
    try:
        yield
    except FitError as error:
        why = f"needs {error.needed_bytes:,} bytes of {error.memory}, {error.available_bytes:,} are there"
        raise Refused(why, error.needed_bytes / error.available_bytes - 1, trained) from error
    except UsageError as error:
        if trained:
            raise
        raise Refused(str(error)) from error


def _on_rig(recipe: Recipe, ws: Workspace, place: Place) -> Measured:
    """Stage ``measured``: some validation clips through the rig, each step compared with the twin."""
    artefact, features = load_artefact(ws.path(ARTEFACT)), load_features(ws.path(FEATURES))
    with load_rig(place.rig, fast_load=place.fast_load) as rig:
        with _refusing(trained=True):
            firmware = make_firmware(recipe, ws, place.compiler, rig, place.objects)
        inputs = {
            "artefact": artefact.sha256(),
            "features": file_sha256(ws.path(FEATURES)),
            "elf": firmware.elf_sha256,
            "rig": rig.sha256,
            "code": code_sha256("link", "rig", "probe", "emulator", "quant", "trace.py", "experiment/sweep/trial.py"),
        }

        def make(folder: Path) -> dict[str, str]:
            validation = features.validation
            logits = run_twin_batch(artefact, validation.x) / Q15_ONE
            right = right_clips(validation, logits, recipe.data.hop_seconds > 0)
            cycles, stack_bytes = _count(rig, firmware, artefact, _some(validation), ws)
            measured = Measured(
                accuracy=float(right.mean()),
                cycles=statistics.mean(cycles),
                steps=validation.x.shape[1],
                flash_bytes=firmware.flash_bytes,
                ram_bytes=firmware.ram_bytes,
                stack_bytes=stack_bytes,
                tier=rig.tier.value,
                rig=rig.name,
                artefact_sha256=artefact.sha256(),
                clips=len(cycles),
            )
            write_text(folder / MEASURED, json.dumps(dataclasses.asdict(measured), sort_keys=True) + "\n")
            return {}

        ws.stage("measured", inputs, [MEASURED], make, always=rig.tier is Tier.SILICON)
    path = ws.path(MEASURED)
    return from_table(json.loads(path.read_text(encoding="utf-8")), Measured, str(path))


def _some(validation: FeatureSet) -> Int16:
    """[C, T, D] of clips spread evenly over the set."""
    rows = np.linspace(0, len(validation.y) - 1, min(CLIPS, len(validation.y))).round().astype(np.int64)
    return np.asarray(validation.x[np.unique(rows)], np.int16)


def _count(rig: Rig, firmware: Firmware, artefact: Artefact, clips: Int16, ws: Workspace) -> tuple[list[int], int]:
    """Cycles of each clip, and the most stack ever used.  Raises `DeviceError` if a step differs from the twin."""
    expected = run_twins(artefact, clips)
    with ws.progress.task(f"{len(clips)} validation clips on {rig.name}") as update:
        rig.flash(firmware)
        device = connect(rig, firmware).device
        cycles = []
        for i, x in enumerate(clips):
            got = device.run_sequence(x)
            if not np.array_equal(got.states_q15, expected[i].states_q15) or not np.array_equal(
                got.logits, expected[i].logits
            ):
                raise DeviceError(
                    f"{rig.name}: the device differs from the twin in {ws.folder}. `hil run {ws.folder} --out "
                    f"{ws.folder}` names the first difference"
                )
            if got.cycles is None or got.output_cycles is None or got.interrupts is None or got.interrupts.any():
                raise DeviceError(f"{rig.name}: an interrupt fell into a measured step of {ws.folder}: run it again")
            cycles.append(int(got.cycles.sum()) + got.output_cycles)
            update(i + 1, len(clips))
        return cycles, device.status().stack_bytes
