"""An artefact to a firmware, a firmware on a rig to a `Result`; each with its files and a manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hil.artefact import Artefact, EmbeddedGruLayer, load_artefact
from hil.chips import Board, chip
from hil.codegen import complete_build, emit_c
from hil.errors import ArtefactError, ToolError
from hil.experiment.bench import EGRU, GRU8, Bench, bench_sources, load_bench, measure
from hil.experiment.bench import FLOAT_GRU as FLOAT_GRU_KERNEL
from hil.experiment.feature_file import load_features
from hil.experiment.hashes import code_sha256, values_sha256
from hil.experiment.result import Result, result_from_json
from hil.experiment.run import GRU8_TITLE, Background, run_on_rig, twin_title
from hil.experiment.stages import ARTEFACT, FEATURES, FLOAT_EGRU, FLOAT_GRU, QUANTIZED, file_sha256
from hil.experiment.workspace import Manifest, Workspace, write_text
from hil.firmware import Firmware, Library, compile_firmware, find_compiler, load_firmware
from hil.float_model import CELL_NAMES, FloatModel, load_float_model
from hil.layer_build import Build, LayerBuild
from hil.recipe import Recipe
from hil.rig import Rig, RigRequest, Target, load_rig, more_rigs
from hil.trace import Tier

ELF, FIRMWARE, RESULT, BENCH = "firmware.elf", "firmware.json", "result.json", "bench.json"
GAIN = "gain.json"
GAIN_KERNELS = (EGRU, GRU8, FLOAT_GRU_KERNEL)
GAIN_REPEATS = 8
DEFAULT_CHIP = "atsamd21j18a"
RigName = str | RigRequest
Objects = MutableMapping[str, bytes]
"""Object files by content."""
_DEVICE_CODE = ("codegen", "layer_build.py", "features", "firmware", "firmware/", "fixed.py", "chips.py")
_RUN_CODE = ("link", "rig", "probe", "emulator", "quant", "experiment", "trace.py")


@contextmanager
def opened_rig(ws: Workspace, rig: RigName, *, fast_load: bool = False, chip_erase: bool = False) -> Iterator[Rig]:
    """The rig that a name leads to, said where the user sees it.  Raises as `hil.rig.load_rig`."""
    with load_rig(rig, fast_load=fast_load, chip_erase=chip_erase) as opened:
        ws.progress.say(f"rig: {opened.name} ({opened.tier.value}): {opened.reason}")
        yield opened


def make_firmware(
    recipe: Recipe, ws: Workspace, compiler: str | None, rig: Target, known: Objects | None = None
) -> Firmware:
    """
    Stage ``firmware``: C from the folder's artefact, compiled for the rig's chip and wiring.

    The recipe's chip counts for its memory: the rig's may be in another package.  A program that is already there is
    taken without a compiler, unless one is asked for.  ``known`` as for `hil.firmware.compile_firmware`.

    Raises:
        ArtefactError: The artefact is missing, damaged or too new.
        FitError: The program is larger than the chip's flash or RAM.
        ToolError: There is no compiler, or it failed.
    """
    artefact = load_artefact(ws.path(ARTEFACT))
    _note_changes(recipe, ws)
    board, chip_name = rig.wiring, chip_for(recipe.build.chip, rig)
    build = complete_build(artefact, recipe.build.kernel, recipe.build.layers)
    inputs = {
        "artefact": artefact.sha256(),
        "chip": chip_name,
        "optimize": recipe.build.optimize,
        "kernels": values_sha256(build),
        "board": values_sha256(board),
        "compiler": _compiler_name(ws, compiler),
        "code": code_sha256(*_DEVICE_CODE),
    }

    def make(folder: Path) -> dict[str, str]:
        compile_model(recipe, ws, artefact, build, rig, compiler, folder, known)
        return {}

    ws.stage("firmware", inputs, [ELF, FIRMWARE], make)
    return load_firmware(ws.path(FIRMWARE))


def compile_model(
    recipe: Recipe,
    ws: Workspace,
    artefact: Artefact,
    build: Build,
    rig: Target,
    compiler: str | None,
    folder: Path,
    known: Objects | None = None,
) -> Firmware:
    """The firmware of a model with these kernels, in a folder.  Raises as `make_firmware`."""
    sources, chip_name = emit_c(artefact, audio=True, build=build), chip_for(recipe.build.chip, rig)
    return _compile(ws, sources, chip_name, rig.wiring, compiler, recipe.build.optimize, folder, known=known)


def _compiler_name(ws: Workspace, asked: str | None) -> str:
    """The compiler's version; what the last build used if there is no compiler here."""
    try:
        return find_compiler(asked).version
    except ToolError:
        known = ws.manifest("firmware")
        if asked is not None or known is None:
            raise
        return known.inputs.get("compiler", "")


def _compile(
    ws: Workspace,
    sources: dict[str, str],
    chip_name: str,
    board: Board,
    compiler: str | None,
    optimize: str,
    folder: Path,
    library: Library | None = None,
    known: Objects | None = None,
) -> Firmware:
    with ws.progress.task("compiling") as update:
        return compile_firmware(
            sources,
            chip=chip(chip_name),
            board=board,
            compiler=find_compiler(compiler),
            optimize=optimize,
            out=folder,
            progress=update,
            library=library,
            known=known,
        )


def chip_for(wanted: str, rig: Target) -> str:
    """The rig's chip if its memories are as large as the wanted one's, else the wanted one, which the rig refuses."""
    one, other = chip(wanted), chip(rig.chip)
    return rig.chip if (one.flash_bytes, one.ram_bytes) == (other.flash_bytes, other.ram_bytes) else wanted


def make_run(
    recipe: Recipe,
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    fast_load: bool = False,
    jobs: int = 1,
    trained: Workspace | None = None,
) -> Result:
    """
    Stages ``firmware`` and ``run``: the test sequences through a rig, compared with the twin.

    A run on a real device is never skipped.  With ``jobs`` the sequences are spread over so many emulated chips,
    with the same result.

    Args:
        recipe: Of the model.
        ws: Folder of artefact and features, and of what is made.
        rig_name, compiler, fast_load: As for `hil.rig.load_rig` and `make_firmware`.
        jobs: Emulated chips at once.
        trained: Folder of the stages before; None: ``ws``.

    Raises:
        UsageError: Artefact or features are missing or do not fit together, or there is only one of the rig.
        RigError, DeviceError: As `hil.experiment.run.run_on_rig`.
    """
    artefact = load_artefact(ws.path(ARTEFACT))
    features = load_features(ws.path(FEATURES))
    if features.frontend.frames != artefact.frontend.frames or features.labels != artefact.labels:
        raise ArtefactError(ws.path(ARTEFACT), "was made from other features: run `hil quantize MODEL` again")
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = make_firmware(recipe, ws, compiler, rig)
        inputs = {
            "artefact": artefact.sha256(),
            "features": file_sha256(ws.path(FEATURES)),
            "elf": firmware.elf_sha256,
            "rig": rig.sha256,
            "code": code_sha256(*_RUN_CODE),
        }

        others = more_rigs(rig, min(jobs, len(features.test.x)) - 1)

        def make(folder: Path) -> dict[str, str]:
            background = _background(recipe, trained or ws, artefact)
            with ExitStack() as stack:
                more = [stack.enter_context(other) for other in others]
                result = run_on_rig(artefact, features, firmware, rig, background, ws.progress, more)
            write_text(folder / RESULT, result.to_json())
            return {"bit_exact": str(result.bit_exact)}

        ws.stage("run", inputs, [RESULT], make, always=rig.tier is Tier.SILICON)
    path = ws.path(RESULT)
    return result_from_json(path.read_text(encoding="utf-8"), path)


def run_bench(
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    *,
    inputs: int,
    units: int,
    kernels: Sequence[str],
    repeats: int,
    chip_name: str | None = None,
    fast_load: bool = False,
    library: Library | None = None,
) -> Bench:
    """
    Build a bench firmware, measure its kernels on a rig, and leave ``bench.json``.

    Args:
        ws: Folder for the program and the result.
        rig_name, compiler: As for `make_run`.
        inputs, units, kernels, repeats: As `hil.experiment.bench.measure`.
        chip_name: None: the rig's.
        fast_load: As `hil.rig.load_rig`.
        library: C of other authors that the kernels call.

    Raises:
        UsageError: No such kernel, or a shape that is too large.
        HilError: As `make_run`.
    """
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = compile_bench(
            ws, rig, compiler, inputs=inputs, units=units, kernels=kernels, chip_name=chip_name, library=library
        )
        done = measure(firmware, rig, ws.progress, inputs=inputs, units=units, kernels=kernels, repeats=repeats)
    write_text(ws.path(BENCH), done.to_json())
    return done


def compile_bench(
    ws: Workspace,
    rig: Target,
    compiler: str | None,
    *,
    inputs: int,
    units: int,
    kernels: Sequence[str],
    chip_name: str | None = None,
    library: Library | None = None,
) -> Firmware:
    """The firmware of `run_bench`.  Arguments and errors as there."""
    sources = bench_sources(inputs, units, kernels)
    built_for = chip_for(chip_name or rig.chip, rig)
    return _compile(ws, sources, built_for, rig.wiring, compiler, "2", ws.path("bench"), library)


def make_gain(recipe: Recipe, ws: Workspace, rig_name: RigName, compiler: str | None, fast_load: bool = False) -> Bench:
    """
    Stage ``gain``: a step of the model's first layer against the float GRU's of its shape, in the same run.

    Raises:
        HilError: As `make_run`.
    """
    inputs, units = first_shape(recipe, ws)
    layer = _first_layer(recipe, ws)
    sources = bench_sources(inputs, units, GAIN_KERNELS, layer)
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        chip_name = chip_for(recipe.build.chip, rig)
        known = {
            "shape": f"{inputs} {units}",
            "sources": hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest(),
            "chip": chip_name,
            "optimize": recipe.build.optimize,
            "compiler": find_compiler(compiler).version,
            "rig": rig.sha256,
            "code": code_sha256(*_DEVICE_CODE, *_RUN_CODE),
        }

        def make(folder: Path) -> dict[str, str]:
            firmware = _compile(ws, sources, chip_name, rig.wiring, compiler, recipe.build.optimize, folder / "bench")
            done = measure(
                firmware, rig, ws.progress, inputs=inputs, units=units, kernels=GAIN_KERNELS, repeats=GAIN_REPEATS
            )
            write_text(folder / GAIN, done.to_json())
            return {}

        ws.stage("gain", known, [GAIN], make, always=rig.tier is Tier.SILICON)
    return load_bench(ws.path(GAIN))


def first_shape(recipe: Recipe, ws: Workspace) -> tuple[int, int]:
    """
    Inputs and units of the model's first layer.

    Raises:
        UsageError: Its sequences decide how many inputs there are, and its features are not there.
    """
    sound = recipe.data.is_sound
    return recipe.features.bands if sound else load_features(ws.path(FEATURES)).frontend.features, recipe.cell.hidden[0]


def _first_layer(recipe: Recipe, ws: Workspace) -> tuple[EmbeddedGruLayer, LayerBuild] | None:
    """The eGRU layer that the model begins with and its kernel; None: there is no such layer here."""
    if not ws.path(ARTEFACT).is_file():
        return None
    artefact = load_artefact(ws.path(ARTEFACT))
    layer = artefact.recurrent[0]
    build = complete_build(artefact, recipe.build.kernel, recipe.build.layers)
    return (layer, build["recurrent.0"]) if isinstance(layer, EmbeddedGruLayer) else None


def with_gain(result: Result, ws: Workspace) -> Result:
    """``result`` with the cycles of stage ``gain``, if they were taken on the same rig, tier and compiler."""
    if not ws.path(GAIN).is_file():
        return result
    done = load_bench(ws.path(GAIN))
    if (done.rig, done.tier, done.compiler) != (result.rig, result.tier, result.compiler):
        return result
    return dataclasses.replace(result, bench=done.cycles, bench_shape=(done.inputs, done.units))


def _note_changes(recipe: Recipe, ws: Workspace) -> None:
    made = load_artefact(ws.path(ARTEFACT)).provenance.get("recipe_sha256")
    if made not in (None, recipe.sha256()):
        ws.progress.say(
            f"note: the recipe has changed since {ws.path(ARTEFACT)} was made (`hil quantize` makes it anew)"
        )


def _background(recipe: Recipe, ws: Workspace, artefact: Artefact) -> Background:
    """What is known of the stages before: whatever was made from other features is left out, and said."""
    manifests = {
        stage: ws.manifest(stage) for stage in ("data", "features", "float-gru", "float-egru", "quantize", "firmware")
    }
    accuracy: dict[str, float] = {}
    notes: list[str] = []
    cell = CELL_NAMES[recipe.cell.kind]
    for title, stage in (("float GRU", "float-gru"), (f"float {cell}", "float-egru")):
        value = _accuracy(ws, manifests[stage])
        if value is None:
            notes.append(f"{title}: not trained on these features here, its accuracy is left out")
        else:
            accuracy[title] = value
    gru8 = ws.manifest("gru8")
    if gru8 and twin_title(artefact) != GRU8_TITLE and gru8.inputs["float"] == file_sha256(ws.path(FLOAT_GRU)):
        accuracy[GRU8_TITLE] = float(gru8.facts["test_accuracy"])
    models = {"float GRU": FLOAT_GRU, f"float {cell}": FLOAT_EGRU, f"quantized {cell}": QUANTIZED}
    found = {title: _model(ws, name) for title, name in models.items()}
    gru = found["float GRU"]
    return Background(
        folder=ws.folder,
        recipe_sha256=str(artefact.provenance.get("recipe_sha256", recipe.sha256())),
        data_sha256=str(artefact.provenance.get("data_sha256", "unknown")),
        float_accuracy=accuracy,
        float_parameter_bytes=gru.parameter_bytes if gru else 0,
        curves={title: model.curve for title, model in found.items() if model},
        seconds={stage: manifest.seconds for stage, manifest in manifests.items() if manifest},
        notes=tuple(notes),
    )


def _accuracy(ws: Workspace, manifest: Manifest | None) -> float | None:
    if manifest is None or manifest.inputs.get("features") != file_sha256(ws.path(FEATURES)):
        return None
    return float(manifest.facts["test_accuracy"])


def _model(ws: Workspace, name: str) -> FloatModel | None:
    try:
        return load_float_model(ws.path(name))
    except ArtefactError:
        return None
