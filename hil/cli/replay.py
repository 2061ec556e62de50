"""``hil replay``: a capture through a rig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, OUT, RIG, examples, opened, options
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.artefact import Artefact
    from hil.capture.decide import Decider
    from hil.capture.reader import Capture
    from hil.capture.replay import Replay
    from hil.chips import Microphone
    from hil.experiment.workspace import Workspace
    from hil.firmware import Firmware
    from hil.rig import Rig, RigRequest


@click.command(
    short_help="A field recording through a rig, compared",
    epilog=examples(
        "hil replay walk --rig emulator",
        "hil replay walk --rig samd21 --no-fallback",
        "hil replay noise --model keyword-demo                  # a capture without decisions",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@options(OUT, RIG, COMPILER, FAST_LOAD)
@click.option("--model", help="Decides, where nobody decided in the field.")
def replay(
    folder: Path, out: Path | None, rig: RigRequest, compiler: str | None, fast_load: bool, model: str | None
) -> int:
    """
    Stream a capture to a rig, with the model that decided in the field, and compare.

    Every feature vector and decision is compared with the twin's, and the decisions with those of the field. What
    cannot be compared is counted: windows that touch a gap, and whatever comes behind one where states run on.
    """
    from hil.capture import load_capture
    from hil.capture.replay import replay as carry_out
    from hil.experiment.device_stages import opened_rig
    from hil.experiment.run import connect

    capture = load_capture(folder)
    decider = _decider(capture, model)
    with (
        opened(out or Path("build") / f"replay-{capture.info.id}", force=False) as ws,
        opened_rig(ws, rig, fast_load=fast_load) as running,
    ):
        firmware = compile_for(decider.artefact, ws, compiler, running)
        running.flash(firmware)
        device, _ = connect(running, firmware)
        running.stream()
        done = carry_out(capture, decider.artefact, decider.listening, device, ws.progress)
    for line in summary(done, running.name, running.tier.value):
        click.echo(line)
    return 0 if done.exact else 1


def _decider(capture: Capture, model: str | None) -> Decider:
    """The model of the field, or the one that is named where there was none."""
    from hil.artefact import load_artefact
    from hil.capture.decide import Decider
    from hil.capture.info import ARTEFACT
    from hil.cli.capture_record import find_decider

    info = capture.info
    if not info.model:
        if model is None:
            raise UsageError(f"{capture.folder}: nobody decided about it in the field; name a --model that shall")
        decider = find_decider(model)
        if decider.artefact.sound.rate_hz != info.rate_hz:
            raise UsageError(
                f"{capture.folder}: has {info.rate_hz} Hz, {model} takes {decider.artefact.sound.rate_hz} Hz"
            )
        return decider
    if model is not None:
        raise UsageError(f"--model {model}: {info.model} decided in the field; its artefact is in {capture.folder}")
    artefact = load_artefact(capture.folder / ARTEFACT)
    if artefact.sha256() != info.artefact_sha256:
        raise UsageError(
            f"{capture.folder / ARTEFACT}: is another model ({artefact.sha256()[:12]}) than the one that decided "
            f"({info.artefact_sha256[:12]})"
        )
    return Decider(artefact, info.listening)


def compile_for(
    artefact: Artefact, ws: Workspace, compiler: str | None, rig: Rig, microphone: Microphone | None = None
) -> Firmware:
    """A model's firmware for a rig, with a microphone if one is given."""
    from hil.chips import chip
    from hil.codegen import complete_build, emit_c
    from hil.experiment.device_stages import DEFAULT_CHIP, chip_for
    from hil.firmware import compile_firmware, find_compiler

    with ws.progress.task("compiling") as update:
        return compile_firmware(
            emit_c(artefact, audio=True, build=complete_build(artefact, "", {})),
            chip=chip(chip_for(DEFAULT_CHIP, rig)),
            board=rig.wiring,
            compiler=find_compiler(compiler),
            optimize="2",
            out=ws.folder,
            progress=update,
            microphone=microphone,
        )


def summary(done: Replay, rig: str, tier: str) -> list[str]:
    """What a replay has come to, in lines."""
    field, twin = done.field, "all as the twin" if done.first is None else f"NOT as the twin: {done.first}"
    lines = [
        f"{done.seconds:.1f} s of sound in {done.stretches} stretches on {rig} ({tier}): "
        f"{done.decisions} decisions, {twin}"
    ]
    if field.compared:
        lines.append(
            f"as in the field: {field.equal} of {field.compared} outputs, {field.labels_equal} of {field.labels} "
            f"labels, {field.detections_equal} of {field.detections} detections"
        )
    if done.not_comparable:
        lines.append(f"{done.not_comparable} decisions of the field cannot be compared: a gap is in their past")
    if field.first:
        lines.append(f"differs: {field.first}")
    return lines
