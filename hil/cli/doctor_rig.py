"""`hil doctor RIG`: what its flash held, frames lost, bytes a second at each speed, clock; each with what to do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hil.cli.finding import Finding
from hil.errors import HilError

if TYPE_CHECKING:
    from hil.experiment.progress import Progress
    from hil.experiment.rig_check import RigCheck

_MOST_DRIFT_PERCENT = 2.0
"""Beyond it an asynchronous line fails."""
_GOOD_SHARE = 0.5
"""Of what a line can carry, as the host sees it."""
_LINE_BITS = 10


def check(rig: str, frames: int, progress: Progress) -> list[Finding]:
    """Findings about a rig; what cannot be looked at is one of them."""

    findings: list[Finding] = []
    try:
        for finding in _look(rig, frames, progress):
            findings.append(finding)
    except HilError as error:
        findings.append(Finding(f"rig {rig}", False, str(error), "run"))
    return findings


def _look(rig: str, frames: int, progress: Progress) -> Iterator[Finding]:
    from hil.chips import chip
    from hil.experiment.bench import bench_sources
    from hil.experiment.rig_check import check_rig, flash_contents
    from hil.firmware import compile_firmware, find_compiler
    from hil.rig import load_rig

    with tempfile.TemporaryDirectory() as folder, load_rig(rig, fallback=False) as opened:
        yield Finding("rig", True, f"{opened.name} ({opened.tier.value}), {opened.chip}", "run")
        held = flash_contents(opened)
        if held:
            yield Finding("flash held", True, f"{held}; it holds the doctor's program now", "run")
        with progress.task("compiling"):
            firmware = compile_firmware(
                bench_sources(1, 1, ["softsign_q15"]),
                chip=chip(opened.chip),
                board=opened.wiring,
                compiler=find_compiler(),
                optimize="2",
                out=Path(folder),
            )
        yield from _findings(check_rig(opened, firmware, frames, progress))


def _findings(found: RigCheck) -> Iterator[Finding]:

    hello = found.hello
    answers = f"answers: {hello.clock_hz / 1e6:g} MHz, DID {hello.device_id:#010x}, serial number {hello.serial}"
    yield Finding("firmware", True, f"{found.how}; {answers}", "run")
    for note in found.notes:
        yield Finding("note", True, note, "run")
    lost = f"{found.lost:,} of {found.frames:,} frames lost or damaged at {found.baud:,} baud"
    todo = "" if not found.lost else ". Shorten the cable, check ground, or take the highest speed out of `bauds`"
    yield Finding("link", not found.lost, lost + todo, "run")
    for speed in found.speeds:
        share = speed.bytes_per_s * _LINE_BITS / speed.baud
        text = f"{speed.bytes_per_s:,.0f} payload bytes a second each way, {share:.0%} of the line"
        if speed.trouble:
            text = f"{speed.trouble}. Take it out of `bauds` in the rig's file, or mend the line"
        elif share < _GOOD_SHARE:
            text += "; the host or its USB adapter is the limit, not the line"
        yield Finding(f"{speed.baud:,} baud", not speed.trouble, text, "run")
    if found.clock is None:
        yield Finding("clock", True, "virtual: not compared with the host's", "run")
    else:
        far = abs(found.clock.percent) > _MOST_DRIFT_PERCENT + found.clock.uncertainty
        todo = '. Give the board a crystal and set clock = "xosc32k"' if far else ""
        yield Finding("clock", not far, f"{found.clock}{todo}", "run")
