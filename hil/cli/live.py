"""``hil live``: what is heard goes to the device as it is heard."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, FORCE, MODEL, OUT, RIG, device_workspace, examples, find_recipe, options
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.capture.decide import Decider
    from hil.capture.live import Live
    from hil.capture.recorder import Recorder
    from hil.capture.source import Source
    from hil.experiment.workspace import Workspace
    from hil.link.device import Device, Hello
    from hil.recipe import Recipe
    from hil.rig import Rig, RigRequest


@click.command(
    short_help="A microphone's or a file's sound to the device, as it is heard",
    epilog=examples(
        "hil live keyword-demo --rig samd21                     # the system's microphone",
        "hil live keyword-demo --input speech.wav",
        "hil live keyword-demo --input speech.wav --fast        # as fast as the rig goes, for tests",
        "hil live keyword-demo --input 'USB Audio' --record walk --consent 'Ada, by word'",
    ),
)
@options(MODEL, OUT, RIG, COMPILER, FORCE, FAST_LOAD)
@click.option(
    "--input",
    "given",
    default="",
    help="Device (number or part of its name) or sound file.  [default: the system's microphone]",
)
@click.option("--record", type=click.Path(path_type=Path), help="Keep what is heard and decided, as a capture.")
@click.option("--consent", help="With --record: note about the consent of those who can be heard.")
@click.option("--seconds", type=click.FloatRange(0), help="Stop after so much sound.  [default: at Ctrl-C]")
@click.option("--fast", is_flag=True, help="Send a sound file as fast as the rig takes it.")
def live(
    model: str,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    force: bool,
    fast_load: bool,
    given: str,
    record: Path | None,
    consent: str | None,
    seconds: float | None,
    fast: bool,
) -> int:
    """
    Stream sound to the device in real time: features, network and decisions are the device's.

    Shown are level, spectrogram, the outputs' shares, detections, how much of the time the device computes, the time
    from a sound to the decision about it, and what was lost. The twin runs along; the first difference is told, and
    ends the command with code 1. In a terminal this is a screen, elsewhere lines. Ctrl-C ends with a summary.
    """
    from hil.capture.source import open_source
    from hil.cli.line import raise_speed
    from hil.experiment.device_stages import make_firmware, opened_rig
    from hil.rig import connect

    recipe = find_recipe(model)
    if consent is not None and record is None:
        raise UsageError("--consent goes with --record: nothing is kept without it")
    with device_workspace(model, recipe, out, force) as ws:
        decider = decider_of(recipe, ws)
        source = open_source(given, decider.artefact.sound.rate_hz, fast=fast)
        with opened_rig(ws, rig, fast_load=fast_load) as opened:
            firmware = make_firmware(recipe, ws, compiler, opened)
            opened.flash(firmware)
            made = connect(opened, firmware)
            for note in made.notes:
                ws.progress.say(f"note: {note}")
            rate_hz = decider.artefact.sound.rate_hz
            raise_speed(opened, made.hello, made.device, rate_hz, paced=not fast)
            with _recorder(record, consent, opened, made.hello, decider, source.name, ws) as recorder:
                state = _run(source, decider, made.device, recorder, opened, seconds, fast, ws)
    return 0 if state.exact else 1


def decider_of(recipe: Recipe, ws: Workspace) -> Decider:
    """The twin of the model in a folder of results, listening as its recipe says."""
    from hil.artefact import load_artefact
    from hil.capture.decide import Decider
    from hil.experiment.listen import listening_of
    from hil.experiment.stages import ARTEFACT

    artefact = load_artefact(ws.path(ARTEFACT))
    return Decider(artefact, listening_of(recipe.stream, artefact))


@contextmanager
def _recorder(
    folder: Path | None,
    consent: str | None,
    rig: Rig,
    hello: Hello,
    decider: Decider,
    name: str,
    ws: Workspace,
) -> Iterator[Recorder | None]:
    """A capture beside the run, if one was asked for."""
    if folder is None:
        yield None
        return
    from hil.capture.info import ARTEFACT, CaptureInfo
    from hil.capture.recorder import Recorder
    from hil.cli.capture_record import check_folder, consent_of, tell_failed, with_model
    from hil.experiment.workspace import Workspace as Folder

    with Folder(folder, ws.progress).locked():
        check_folder(folder, resume=False)
        info = CaptureInfo(
            id=secrets.token_hex(4),
            wall=round(time.time(), 4),
            rate_hz=decider.artefact.sound.rate_hz,
            rig=rig.name,
            input=name,
            consent=consent_of(consent, resume=False),
        )
        decider.artefact.save(folder / ARTEFACT)
        with Recorder(folder, with_model(info, decider, rig.tier.value, hello.build_id)) as recorder:
            recorder.event("source", name=name, wall=round(time.time(), 4))
            yield recorder
            tell_failed(recorder.close(), ws.progress)
        click.echo(f"{folder}: {recorder.kept / info.rate_hz:.1f} s of sound kept", err=True)


def _run(
    source: Source,
    decider: Decider,
    device: Device,
    recorder: Recorder | None,
    rig: Rig,
    seconds: float | None,
    fast: bool,
    ws: Workspace,
) -> Live:
    from hil.capture.live import LiveRun
    from hil.cli.live_view import make_view

    with make_view(
        decider.artefact, f"{decider.artefact.name} on {rig.name} ({rig.tier.value}), {source.name}"
    ) as view:
        run = LiveRun(source, decider, device, recorder, fast=fast)
        try:
            with source:
                run.run(seconds, view.show)
        except KeyboardInterrupt:
            view.say("stopped")
    state, rate = run.state, decider.artefact.sound.rate_hz
    for line in summary(state, rate, rig.tier.value, fast):
        click.echo(line)
    return state


def summary(state: Live, rate_hz: int, tier: str, fast: bool) -> list[str]:
    """What a run has come to, in lines."""
    heard_s = state.samples / rate_hz
    verdict = "all as the twin" if state.exact else f"NOT as the twin: {state.first}"
    load = state.busy_us * 1e-6 / heard_s if heard_s else 0.0
    lines = [
        f"{heard_s:.1f} s of sound, {state.decisions} decisions, {state.detections} detections, {verdict}; "
        f"{state.vectors:,} feature vectors",
        f"the device computed {load:.1%} of the time ({tier}); {state.repetitions} requests sent again, "
        f"{state.bad_frames} damaged frames, {state.lost} samples of sound lost",
    ]
    if state.latencies_s and not fast:
        lines.append(
            f"from sound to decision: median {1e3 * state.latency_s(50):.0f} ms, "
            f"p99 {1e3 * state.latency_s(99):.0f} ms (by the host's clock)"
        )
    return lines
