"""``hil capture`` itself: what is asked for, the capture, what is told."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.capture.info import ARTEFACT, INDEX
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.capture.decide import Decider
    from hil.capture.info import CaptureInfo
    from hil.capture.reader import Capture
    from hil.capture.record import Told
    from hil.capture.recorder import Recorder
    from hil.capture.source import Source
    from hil.capture.trigger import Trigger, TriggerKind
    from hil.experiment.progress import Progress, Update
    from hil.trace import Decision

DEFAULT_RATE_HZ = 16_000
TELL_S = 1.0
"""From one line of progress to the next."""


@dataclass(frozen=True)
class Asked:
    """The command line of ``hil capture``."""

    rig: str
    given: str
    out: Path | None
    model: str | None
    rate: int | None
    trigger: TriggerKind
    before: float
    after: float
    segment: float
    seconds: float | None
    consent: str | None
    resume: bool
    fast: bool
    features: bool
    compiler: str | None
    fast_load: bool

    @property
    def kept(self) -> Trigger:
        """What of the sound is kept."""
        from hil.capture.trigger import Trigger

        return Trigger(self.trigger, self.before, self.after)


def record(asked: Asked) -> None:
    """Carry out ``hil capture``."""
    from hil.cli.progress import make_progress
    from hil.experiment.workspace import Workspace

    if asked.out is None:
        raise UsageError(
            "name a folder for the capture: hil capture --out FOLDER (or a subcommand: hil capture --help)"
        )
    if asked.trigger != "all" and not asked.model:
        raise UsageError(f"--trigger {asked.trigger} needs a --model: without one nothing is decided")
    progress = make_progress()
    with Workspace(asked.out, progress).locked():
        if asked.rig == "none":
            _record(asked, asked.out, progress)
        else:
            from hil.cli.capture_device import record_device

            record_device(asked, asked.out, progress)


def _record(asked: Asked, folder: Path, progress: Progress) -> None:
    from hil.capture.reader import load_capture
    from hil.capture.record import HostCapture
    from hil.capture.recorder import Recorder
    from hil.capture.trigger import Keeper

    decider = find_decider(asked.model) if asked.model else None
    info = _info(asked, decider)
    check_folder(folder, asked.resume)
    if decider is not None and not asked.resume:
        decider.artefact.save(folder / ARTEFACT)
    with Recorder(folder, info, resume=asked.resume) as recorder:
        streams = streams_before(load_capture(folder)) if asked.resume else 0
        with _source(asked, info, recorder) as source:
            recorder.event("source", name=source.name, wall=round(time.time(), 4))
            run = HostCapture(source, recorder, Keeper(recorder, asked.kept), decider, streams, fast=asked.fast)
            try:
                with progress.task(f"recording {source.name} (Ctrl-C ends it)") as update:
                    run.run(asked.seconds, _teller(update, decider, progress, asked.seconds))
            except KeyboardInterrupt:
                progress.say("stopped")
        tell_failed(recorder.close(), progress)
    told = run.told
    click.echo(
        f"{folder}: {recorder.kept / info.rate_hz:.1f} s of sound kept of {told.seconds:.1f} s heard, "
        f"{recorder.segments} segments, {recorder.lost} samples lost, {told.decisions} decisions, "
        f"{told.detections} detections"
    )


def check_folder(folder: Path, resume: bool) -> None:
    """Raises `UsageError` if there is a capture that is not to be gone on with, or none that is."""
    if resume and not (folder / INDEX).exists():
        raise UsageError(f"{folder}: is no capture to go on with: leave out --resume")
    if not resume and (folder / INDEX).exists():
        raise UsageError(f"{folder}: holds a capture. Go on with it: --resume, or choose another folder.")


def tell_failed(failed: list[str], progress: Progress) -> None:
    """Segments that could not be closed."""
    for line in failed:
        progress.say(f"warning: a segment stays a journal, which opens as well: {line}")


def find_decider(model: str) -> Decider:
    """The twin of a model as its recipe lets it listen.  Raises `UsageError` if there is no such model."""
    from hil.artefact import load_artefact
    from hil.capture.decide import Decider
    from hil.cli.common import device_workspace, find_recipe
    from hil.experiment.listen import listening_of
    from hil.experiment.stages import ARTEFACT as BUILT
    from hil.recipe import StreamRecipe

    if model.endswith(".artefact"):
        artefact = load_artefact(Path(model))
        return Decider(artefact, listening_of(StreamRecipe(), artefact))
    recipe = find_recipe(model)
    with device_workspace(model, recipe, None, False) as ws:
        artefact = load_artefact(ws.path(BUILT))
    return Decider(artefact, listening_of(recipe.stream, artefact))


def streams_before(capture: Capture) -> int:
    """How often listening has begun in an interrupted capture."""
    return sum(event["kind"] == "stream" for event in capture.events)


def _source(asked: Asked, info: CaptureInfo, recorder: Recorder) -> Source:
    """From where the capture ended; what a microphone has missed meanwhile is a gap."""
    from hil.capture.reader import load_capture
    from hil.capture.record import RESUMED, missed_since
    from hil.capture.source import FileSource, open_source

    source = open_source(asked.given, info.rate_hz, fast=asked.fast, start=recorder.position)
    if asked.resume and not isinstance(source, FileSource):
        recorder.gap(missed_since(load_capture(recorder.folder), time.time()), RESUMED)
    return source


def _teller(
    update: Update, decider: Decider | None, progress: Progress, seconds: float | None
) -> Callable[[Told], None]:
    """Shows detections as they come, and how long the capture is once a second."""
    next_s = 0.0

    def show(told: Told) -> None:
        nonlocal next_s
        for decision in told.last:
            if decision.triggered and decider is not None:
                at = last_sample_s(decider, decision)
                progress.say(f"{at:10.3f} s  {decider.artefact.labels[decision.label]}")
        if told.seconds >= next_s:
            next_s = told.seconds + TELL_S
            update(int(told.seconds), int(seconds or 0), f"{told.seconds:.0f} s, {told.detections} detections")

    return show


def last_sample_s(decider: Decider, decision: Decision) -> float:
    """When a decision's window was complete, seconds since its stream began."""
    from hil.capture.decide import last_sample

    return last_sample(decider.artefact, decision) / decider.artefact.sound.rate_hz


def consent_of(given: str | None, resume: bool) -> str:
    """What is to be noted: asked for where somebody can answer, else its absence is said."""
    if given is not None or resume:
        return given or ""
    if sys.stdin.isatty() and sys.stderr.isatty():
        note = click.prompt("Who can be heard, and who agreed to it (Enter: nothing is noted)", default="", err=True)
        if note:
            return str(note)
    click.echo("warning: no consent is noted for those who can be heard (--consent TEXT)", err=True)
    return ""


def _info(asked: Asked, decider: Decider | None) -> CaptureInfo:
    from hil.capture.info import CaptureInfo

    made = CaptureInfo(
        id=secrets.token_hex(4),
        wall=round(time.time(), 4),
        rate_hz=asked.rate or DEFAULT_RATE_HZ,
        rig=asked.rig,
        input=asked.given,
        consent=consent_of(asked.consent, asked.resume),
        trigger=asked.trigger,
        segment_s=asked.segment,
    )
    if decider is None:
        return made
    artefact = decider.artefact
    if asked.rate not in (None, artefact.sound.rate_hz):
        raise UsageError(f"--rate {asked.rate}: {artefact.name} takes {artefact.sound.rate_hz} Hz")
    return with_model(made, decider, "host")


def with_model(info: CaptureInfo, decider: Decider, tier: str, build_id: str = "") -> CaptureInfo:
    """The same with what decides."""
    artefact = decider.artefact
    return replace(
        info,
        rate_hz=artefact.sound.rate_hz,
        tier=tier,
        model=artefact.name,
        artefact_sha256=artefact.sha256(),
        build_id=build_id,
        labels=artefact.labels,
        window=artefact.sound.window,
        hop=artefact.sound.hop,
        listening=decider.listening,
    )
