"""The commands.  Whatever is heavy is imported inside the command that uses it, so that ``hil --help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import hil as package
from hil.cli.baseline import baseline
from hil.cli.bench import bench
from hil.cli.calibrate import calibrate
from hil.cli.capture import capture
from hil.cli.common import (
    COMPILER,
    DEBUG,
    DEMO_MODEL,
    FAST_LOAD,
    FORCE,
    MODEL,
    OUT,
    RIG,
    TENSORBOARD,
    TRAININGS,
    device_workspace,
    examples,
    find_events,
    find_recipe,
    model_folder,
    options,
    workspace,
)
from hil.cli.curve import curve
from hil.cli.data import data
from hil.cli.doctor import doctor
from hil.cli.emulate import emulate
from hil.cli.language import language
from hil.cli.live import live
from hil.cli.mlperf import mlperf
from hil.cli.replay import replay
from hil.cli.results import results
from hil.cli.rigs import rigs
from hil.cli.sweep import sweep
from hil.cli.train import train
from hil.cli.tune import tune
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.experiment.result import Result
    from hil.experiment.workspace import Workspace
    from hil.recipe import Recipe
    from hil.rig import RigRequest


@click.group(
    name="hil",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("hil demo", "hil run models/keyword-demo --rig emulator", "hil COMMAND --help"),
)
@click.version_option(package.__version__, package_name="hil")
@DEBUG
def hil() -> None:
    """
    Train tiny recurrent networks, run them on a microcontroller, and prove what they do there.

    MODEL is a recipe folder such as models/keyword-demo, or the name of a model that is shipped.  Each command
    starts from the files that the one before it left: train, quantize, build, flash or run, report.

    \b
    Exit codes: 0 done, 1 the device differs from its twin, 2 your call or a file, 3 a compiler or
    the emulator, 4 the bench, 5 the firmware, 70 a bug in hil, 130 interrupted.
    """


for command in (
    baseline,
    bench,
    calibrate,
    capture,
    curve,
    data,
    doctor,
    emulate,
    language,
    live,
    mlperf,
    replay,
    results,
    rigs,
    sweep,
    train,
    tune,
):
    hil.add_command(command)


@hil.command(short_help="Quantization-aware training, artefact", epilog=examples("hil quantize models/keyword-demo"))
@options(MODEL, OUT, FORCE, TENSORBOARD)
def quantize(model: str, out: Path | None, force: bool, tensorboard: Path | None) -> None:
    """
    Quantization-aware training of the float eGRU, then the artefact (model.artefact).

    The float GRU, if it is there, is rounded to 8-bit weights beside it (gru8.artefact, `hil baseline`).
    """
    from hil.experiment.baseline import make_gru8
    from hil.experiment.stages import FLOAT_GRU, make_artefact

    recipe = find_recipe(model)
    with workspace(recipe, out, force) as ws:
        make_artefact(recipe, ws, tensorboard=tensorboard)
        if ws.path(FLOAT_GRU).is_file():
            make_gru8(recipe, ws)


@hil.command(
    short_help="C and ELF",
    epilog=examples("hil build models/keyword-demo", "hil build models/keyword-demo --compiler zig"),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE)
def build(model: str, out: Path | None, rig: RigRequest, compiler: str | None, force: bool) -> None:
    """
    C from the artefact, and the ELF: sizes by section, checked against the chip.

    The rig says how the UART is wired.
    """
    from hil.cli.show import show_firmware
    from hil.experiment.device_stages import make_firmware
    from hil.rig import target_of

    recipe = find_recipe(model)
    with device_workspace(model, recipe, out, force) as ws:
        show_firmware(make_firmware(recipe, ws, compiler, target_of(rig)))


@hil.command(short_help="ELF onto a rig", epilog=examples("hil flash models/keyword-demo --rig emulator"))
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.option("--chip-erase", is_flag=True, help="Erase the whole chip first, also a protected one.")
def flash(
    model: str, out: Path | None, rig: RigRequest, compiler: str | None, force: bool, fast_load: bool, chip_erase: bool
) -> None:
    """
    Put the firmware on a rig, read it back, and see that it answers.

    pyOCD does it, on a board as on the emulator, whose chip ends with the command.
    """
    from hil.cli.show import show_hello
    from hil.experiment.device_stages import make_firmware, opened_rig
    from hil.rig import connect

    recipe = find_recipe(model)
    with (
        device_workspace(model, recipe, out, force) as ws,
        opened_rig(ws, rig, fast_load=fast_load, chip_erase=chip_erase) as running,
    ):
        firmware = make_firmware(recipe, ws, compiler, running)
        report = running.flash(firmware)
        ws.progress.say(f"{running.name}: {report.how}, {report.bytes} bytes in {report.seconds:.1f} s")
        made = connect(running, firmware)
        for note in (*report.notes, *made.notes):
            ws.progress.say(f"note: {note}")
        show_hello(made.hello)


@hil.command(
    short_help="Test sequences on a rig, compared",
    epilog=examples(
        "hil run models/keyword-demo --rig emulator",
        "hil run keyword-demo --jobs 4               # on four emulated chips at once",
        "hil run keyword-demo --mode audio",
        "hil run keyword-demo --input speech.wav --input more.flac",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Emulated chips at once; the same result."
)
@click.option(
    "--mode",
    type=click.Choice(["features", "audio"]),
    default="features",
    show_default=True,
    help="What goes over the link: feature vectors, or the clips' samples.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Stream a recording instead of the test set; may be repeated.",
)
def run(
    model: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    fast_load: bool,
    jobs: int,
    mode: str,
    inputs: tuple[Path, ...],
) -> int:
    """
    Stream the test sequences through a rig and compare every step with the twin.

    As sound (--mode audio, --input) features, network and decisions are all the device's. A recording is decided about
    window by window, as the recipe's [stream] says; each decision is printed with the time of its window's end.

    Where nothing was trained, the artefact of the model's folder runs on the test vectors beside it.
    """
    recipe = find_recipe(model)
    if jobs > 1 and (inputs or mode == "audio"):
        raise UsageError("--jobs goes with the test set's features: a stream of sound is one chip's")
    with device_workspace(model, recipe, out, force) as ws:
        if inputs or mode == "audio":
            from hil.cli import sound

            if inputs:
                return sound.run_inputs(recipe, ws, rig, compiler, inputs, fast_load)
            return sound.run_clips(recipe, ws, rig, compiler, fast_load)
        return _run(model, recipe, ws, rig, compiler, fast_load, jobs)


@hil.command(
    short_help="Table and page of the last run",
    epilog=examples("hil report models/keyword-demo", "hil report keyword-demo --out /tmp/kd"),
)
@options(MODEL, OUT)
def report(model: str, out: Path | None) -> None:
    """The table of the last run, and the HTML report."""
    from hil.cli.beside import show_beside
    from hil.experiment.beside import events_workspace
    from hil.experiment.device_stages import RESULT
    from hil.experiment.result import result_from_json
    from hil.experiment.shipped import SHIPPED

    recipe = find_recipe(model)
    with workspace(recipe, out, force=False) as ws:
        path = next((p for p in (ws.path(RESULT), ws.path(SHIPPED) / RESULT) if p.is_file()), ws.path(RESULT))
        if not path.is_file():
            raise UsageError(f"{path}: no result here. Make it: `hil run {model}`")
        result = result_from_json(path.read_text(encoding="utf-8"), path)
        beside = events_workspace(ws).path(RESULT)
        if beside.is_file():
            show_beside(result, result_from_json(beside.read_text(encoding="utf-8"), beside), ws)
        else:
            _report(result, ws)


@hil.command(
    short_help="Everything, from data to report",
    epilog=examples("hil demo", "hil demo models/keyword-demo --out /tmp/kd", "hil demo --compiler zig"),
)
@click.argument("model", default=DEMO_MODEL)
@options(OUT, RIG, COMPILER, FORCE, TRAININGS, FAST_LOAD)
def demo(
    model: str, out: Path | None, rig: RigRequest, compiler: str | None, force: bool, jobs: int, fast_load: bool
) -> int:
    """
    Everything, from data to report; stages that have not changed are skipped.

    With an events.toml beside the recipe an event eGRU is trained and run on the same clips, and shown beside it.
    """
    from hil.cli.beside import show_beside
    from hil.experiment.baseline import make_gru8
    from hil.experiment.beside import check_events, make_events, run_events
    from hil.experiment.device_stages import make_gain, make_run
    from hil.experiment.stages import make_data, make_features, make_models

    recipe, events = find_recipe(model), find_events(model)
    if events is not None:
        check_events(recipe, events)
    check_bench(rig, compiler, fast_load)
    with workspace(recipe, out, force) as ws:
        make_data(recipe, ws)
        make_features(recipe, ws)
        make_models(recipe, ws, quantized=True, jobs=jobs)
        make_gru8(recipe, ws)
        make_gain(recipe, ws, rig, compiler, fast_load)
        if events is None:
            return _run(model, recipe, ws, rig, compiler, fast_load)
        make_events(recipe, events, ws, jobs)
        results = (make_run(recipe, ws, rig, compiler, fast_load), run_events(events, ws, rig, compiler, fast_load))
        show_beside(*results, ws)
        return 0 if all(result.bit_exact for result in results) else 1


def check_bench(rig: RigRequest, compiler: str | None, fast_load: bool) -> None:
    """Whatever would fail after minutes of training fails now.  Raises `RigError`, `UsageError` or `ToolError`."""
    from hil.firmware import find_compiler
    from hil.probe.flash import find_pyocd
    from hil.rig import load_rig_file

    load_rig_file(rig)
    find_compiler(compiler)
    if not fast_load:
        find_pyocd()


def _run(
    model: str,
    recipe: Recipe,
    ws: Workspace,
    rig: RigRequest,
    compiler: str | None,
    fast_load: bool,
    jobs: int = 1,
) -> int:
    from hil.experiment.device_stages import make_run
    from hil.experiment.shipped import is_shipped, make_shipped_run

    if is_shipped(ws):
        result = make_shipped_run(recipe, ws, model_folder(model), rig, compiler, fast_load)
    else:
        result = make_run(recipe, ws, rig, compiler, fast_load, jobs)
    _report(result, ws)
    return 0 if result.bit_exact else 1


def _report(result: Result, ws: Workspace) -> None:
    from hil.cli.show import show_result
    from hil.experiment.device_stages import with_gain

    show_result(with_gain(result, ws), ws)
