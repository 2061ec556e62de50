"""``hil capture --rig NAME``: what a device hears with its own microphone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.capture.info import ARTEFACT, CaptureInfo
from hil.capture.record import RESUMED, missed_since
from hil.capture.recorder import Recorder
from hil.errors import DeviceRefusal, UsageError

if TYPE_CHECKING:
    from hil.capture.decide import Decider
    from hil.capture.device import DeviceCapture, Heard
    from hil.chips import Microphone
    from hil.cli.capture_record import Asked
    from hil.experiment.progress import Progress, Update
    from hil.link.device import Device, Hello
    from hil.rig import Rig


def record_device(asked: Asked, folder: Path, progress: Progress) -> None:
    """
    Carry out ``hil capture --rig NAME``.

    Raises:
        UsageError: No model, or no microphone.
        RigError, DeviceError: The bench or the firmware failed; what was heard before is kept.
    """
    from hil.cli.capture_record import check_folder, find_decider
    from hil.cli.common import opened
    from hil.cli.line import raise_speed
    from hil.cli.replay import compile_for
    from hil.experiment.device_stages import opened_rig
    from hil.rig import RigRequest, connect

    if asked.rate or asked.model is None:
        raise UsageError(f"--rig {asked.rig} needs a --model, which has a rate of its own")
    check_folder(folder, asked.resume)
    decider = find_decider(asked.model)
    rate_hz = decider.artefact.sound.rate_hz
    with (
        opened(Path("build") / f"capture-{decider.artefact.name}", force=False) as ws,
        opened_rig(ws, RigRequest(asked.rig), fast_load=asked.fast_load) as rig,
    ):
        firmware = compile_for(decider.artefact, ws, asked.compiler, rig, _microphone(asked, rig, rate_hz))
        rig.flash(firmware)
        _feed(asked, rig, rate_hz)
        made = connect(rig, firmware)
        raise_speed(rig, made.hello, made.device, rate_hz, paced=not asked.fast)
        _record(asked, folder, decider, rig, made.device, made.hello, progress)


def _microphone(asked: Asked, rig: Rig, rate_hz: int) -> Microphone:
    """How it is wired: as the rig's file says; an emulated chip without that hears at its first analog pin."""
    from hil.chips import Microphone
    from hil.rig import load_rig_file
    from hil.rig.emulator import EmulatorRig

    wired = load_rig_file(asked.rig).microphone
    if wired is None and isinstance(rig, EmulatorRig):
        return Microphone("adc", rate_hz)
    if wired is None:
        raise UsageError(f"{rig.name}: its file describes no [microphone]; see rigs/template.toml")
    if wired.rate_hz != rate_hz:
        raise UsageError(f"{rig.name}: its microphone is sampled at {wired.rate_hz} Hz, the model takes {rate_hz} Hz")
    return wired


def _feed(asked: Asked, rig: Rig, rate_hz: int) -> None:
    """Let an emulated microphone hear the file; raises `UsageError` where there is a real one, or no file."""
    from hil.capture.source import FileSource
    from hil.emulator.sound import Input, feed_microphone
    from hil.rig import load_rig_file
    from hil.rig.emulator import EmulatorRig

    if not isinstance(rig, EmulatorRig):
        if asked.given:
            raise UsageError(f"--input {asked.given}: {rig.name} hears with its own microphone")
        return
    if not asked.given and load_rig_file(asked.rig).hears:
        return  # the rig's own file says it
    if not asked.given:
        raise UsageError(f"{rig.name}: name what its emulated microphone hears: --input FILE.wav")
    wired = _microphone(asked, rig, rate_hz)
    sound = FileSource(Path(asked.given), rate_hz, fast=True).sound
    where = Input.I2S if wired.kind == "i2s" else Input.ADC
    assert rig.board is not None
    rig.board.ask(lambda emulator: feed_microphone(emulator, where, sound, rate_hz))


def _record(
    asked: Asked, folder: Path, decider: Decider, rig: Rig, device: Device, hello: Hello, progress: Progress
) -> None:
    from hil.capture.device import DeviceCapture
    from hil.capture.reader import load_capture
    from hil.cli.capture_record import consent_of, streams_before, tell_failed, with_model

    info = CaptureInfo(
        id=secrets.token_hex(4),
        wall=round(time.time(), 4),
        rate_hz=decider.artefact.sound.rate_hz,
        rig=rig.name,
        input=asked.given or "the device's microphone",
        consent=consent_of(asked.consent, asked.resume),
        trigger=asked.trigger,
        segment_s=asked.segment,
    )
    if not asked.resume:
        decider.artefact.save(folder / ARTEFACT)
    with Recorder(folder, with_model(info, decider, rig.tier.value, hello.build_id), resume=asked.resume) as recorder:
        streams = 0
        if asked.resume:
            before = load_capture(folder)
            streams = streams_before(before)
            recorder.gap(missed_since(before, time.time()), RESUMED)
        run = DeviceCapture(
            device,
            decider.artefact,
            decider.listening,
            recorder,
            asked.kept,
            features=asked.features,
            stream=streams,
        )
        try:
            with progress.task(f"recording what {rig.name} hears (Ctrl-C ends it)") as update:
                run.run(asked.seconds, _teller(update, decider, progress, asked.seconds))
        except KeyboardInterrupt:
            progress.say("stopped")
        except DeviceRefusal as refusal:
            raise UsageError(f"{rig.name}: its firmware cannot capture ({refusal})") from refusal
        tell_failed(recorder.close(), progress)
    for line in summary(run, recorder, folder):
        click.echo(line)


def _teller(update: Update, decider: Decider, progress: Progress, seconds: float | None) -> Callable[[Heard], None]:
    """Detections as they come, and once a second how far it is."""
    next_s = 0.0

    def show(told: Heard) -> None:
        nonlocal next_s
        for decision in told.last:
            if decision.triggered:
                fe = decider.artefact.sound
                at = (decision.frame * fe.hop + fe.window) / fe.rate_hz
                progress.say(f"{at:10.3f} s  {decider.artefact.labels[decision.label]}")
        if told.seconds >= next_s:
            next_s = told.seconds + 1
            supply = f", {told.supply_mv / 1000:.2f} V" if told.supply_mv else ""
            update(int(told.seconds), int(seconds or 0), f"{told.seconds:.0f} s, {told.detections} detections{supply}")

    return show


def summary(run: DeviceCapture, recorder: Recorder, folder: Path) -> list[str]:
    """What a capture has come to, in lines."""
    told, rate = run.told, recorder.info.rate_hz
    lines = [
        f"{folder}: {recorder.kept / rate:.1f} s of sound kept of {told.seconds:.1f} s heard, {recorder.segments} "
        f"segments, {recorder.lost} samples lost, {told.decisions} decisions, {told.detections} detections",
        f"line: {told.frames:,} frames came, {told.frames_lost} were lost, {told.again} samples were sent again; "
        f"the device was late for {told.late}, its line had no room for {told.unsent}",
    ]
    if stopped := told.stopped:
        lines.append(
            f"the core slept {stopped['asleep_permille'] / 10:.1f} % of the time; features took "
            f"{stopped['features_permille'] / 10:.1f} %, the network {stopped['network_permille'] / 10:.1f} %, "
            f"sampling {stopped['sampling_permille'] / 10:.1f} % ({recorder.info.tier})"
        )
    return lines
