"""What `hil emulate` says and writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from hil.chips import chip
from hil.cli.emulate import TABLE_ONLY
from hil.datasets.audio import sound_rate
from hil.emulator import Emulator
from hil.emulator.profile import Profile
from hil.emulator.program import Outcome, run_program
from hil.emulator.sound import Input, feed_microphone
from hil.probe import Announcement, BoardPlan, on_signals, serial_words, serve
from hil.rig import load_rig_file
from hil.rig.sound import read_for_microphone

EXIT_DEVICE = 5
"""As `hil.cli.EXIT_DEVICE`."""
_ROWS = 20


@dataclass(frozen=True)
class Sound:
    """
    What the microphones hear.

    Attributes:
        adc, i2s: Files, or None.
        rate: To bring them to; None: the rig's, else their own.
        then_stop: No more samples at the end, rather than silence.
    """

    adc: Path | None = None
    i2s: Path | None = None
    rate: int | None = None
    then_stop: bool = False


def _feeder(sound: Sound, rig_rate: int | None, console: Console) -> Callable[[Emulator], None]:
    """What gives the chip its sound.  Raises `UsageError` if a file cannot be used."""
    given = []
    for where, path in ((Input.ADC, sound.adc), (Input.I2S, sound.i2s)):
        if path is not None:
            rate = sound.rate or rig_rate or sound_rate(path)
            samples, note = read_for_microphone(path, rate)
            console.print(f"{where.name}: {note}", markup=False)
            given.append((where, samples, rate))

    def feed(emulator: Emulator) -> None:
        for where, samples, rate in given:
            feed_microphone(emulator, where, samples, rate, then_stop=sound.then_stop)

    return feed


def run_and_tell(
    program: Path,
    rig: str,
    *,
    serial: str | None,
    link: Path | None,
    realtime: bool,
    sound: Sound = Sound(),
    trace: Path | None,
    profile: Path | None,
) -> int:
    """
    Run a program until it ends, crashes or SIGINT or SIGTERM comes; returns the exit code.

    Raises:
        RigNotFound, UsageError: As `hil.rig.load_rig_file` and `hil.emulator.program.run_program`.
    """
    file, console, ended = load_rig_file(rig), Console(stderr=True, soft_wrap=True, highlight=False), threading.Event()
    target = chip(file.chip)
    feed = _feeder(sound, file.microphone.rate_hz if file.microphone else None, console)
    with on_signals(ended.set), console.status(f"{target.name} starts") as status:
        outcome = run_program(
            program,
            target,
            serial=serial_words(serial or file.serial),
            sercom=file.board.sercom,
            link=link,
            realtime=realtime,
            prepare=feed,
            profile=profile is not None,
            trace=trace,
            printed=lambda text: click.echo(text, nl=False),
            started=lambda port: _show_port(console, target.name, port),
            go_on=_watcher(status, ended),
        )
    _show_outcome(console, outcome)
    if outcome.profile is not None and profile is not None:
        console.print(outcome.profile.table(_ROWS), markup=False)
        _write_paths(console, outcome.profile, profile, program.name)
    if trace is not None:
        console.print(f"trace: {trace}", markup=False)
    if outcome.locked_up or outcome.stuck:
        return EXIT_DEVICE
    return (outcome.exit.status or 0) if outcome.exit else 0


def _show_port(console: Console, name: str, port: str) -> None:
    console.print(f"emulated {name}, serial port {port}; Ctrl-C ends it", markup=False)


def _watcher(status: Status, ended: threading.Event) -> Callable[[int], bool]:
    def go_on(cycles: int) -> bool:
        status.update(f"{cycles / 1e6:,.0f} million cycles")
        return not ended.is_set()

    return go_on


def _show_outcome(console: Console, outcome: Outcome) -> None:
    if outcome.crash:
        console.print(outcome.crash, markup=False)
    if outcome.locked_up or outcome.stuck:
        how = "crashed"
    elif outcome.exit is None:
        how = "interrupted"
    else:
        how = "ended on a BKPT" if outcome.exit.status is None else f"exit status {outcome.exit.status}"
    resets = f" since the last of {outcome.resets} resets" if outcome.resets else ""
    console.print(
        f"{how} after {outcome.cycles:,} cycles and {outcome.instructions:,} instructions{resets}, "
        f"{outcome.seconds:.6f} s of the chip's time (cycle-model)"
    )
    for access in outcome.unmodelled:
        console.print(str(access), markup=False)


def _write_paths(console: Console, profile: Profile, path: Path, name: str) -> None:
    if path == TABLE_ONLY:
        return
    text = profile.speedscope(name) if path.suffix == ".json" else profile.folded()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    console.print(f"call paths: {path}", markup=False)


def emulate_board(rig: str, *, probe: bool, serial: str | None, link: Path | None, elf: Path | None) -> None:
    """
    Serve the board of a rig file until SIGINT or SIGTERM.

    Raises:
        RigNotFound, UsageError: As `hil.rig.load_rig_file` and `hil.probe.serve`.
        RigError: A probe of that id is running.
    """
    file = load_rig_file(rig)
    file = file.as_variant(file.candidates()[0])
    plan = BoardPlan(
        chip=file.chip,
        serial=serial or file.serial,
        sercom=file.board.sercom,
        link=str(link) if link else None,
        elf=str(elf) if elf else None,
        probe=probe,
    )
    serve(plan, lambda made: _show(plan, made))


def _show(plan: BoardPlan, made: Announcement) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"emulated {plan.chip}, serial number {plan.serial}")
    console.print(f"serial port  {made.port}")
    if plan.probe:
        console.print(f"debug probe  {made.uid}  (pyocd list; pyocd gdbserver --uid {made.uid})")
    console.print("Ctrl-C ends it.")
