"""What a capture holds, on the terminal."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from hil.capture.reader import Capture, Segment

SHOWN = 20
"""Gaps that are listed."""


def show_capture(capture: Capture, decisions: bool) -> None:
    """``hil capture show``."""
    console = Console()
    info, rate = capture.info, capture.info.rate_hz
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.wall))
    lines = [
        f"{capture.folder}: capture {info.id}, begun {began}, {rate} Hz, rig {info.rig}, trigger {info.trigger}",
        f"{capture.samples / rate:.1f} s of sound in {len(capture.segments)} segments; "
        f"{len(capture.gaps)} gaps, {capture.lost} samples lost",
        f"consent: {info.consent or 'nothing is noted'}",
    ]
    if info.model:
        lines.append(f"decided by {info.model} ({info.tier}), artefact {info.artefact_sha256[:12]}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_table(capture))
    _show_gaps(capture, console)
    _show_clock(capture, console)
    _show_decisions(capture, console, decisions)


def _table(capture: Capture) -> Table:
    table = Table()
    for title in ("segment", "file", "from s", "s", "lost", "detections"):
        table.add_column(title, justify="left" if title == "file" else "right", overflow="fold")
    for segment in capture.segments:
        file = segment.file or segment.features
        detected = sum(_is_in(d["sample"], segment) and d["triggered"] for d in capture.decisions)
        rate = capture.info.rate_hz
        table.add_row(
            str(segment.number),
            f"{file.name if file else ''}{' (not closed)' if segment.open else ''}",
            f"{segment.first / rate:.3f}",
            f"{segment.samples / rate:.3f}",
            str(segment.lost),
            str(detected),
        )
    return table


def _is_in(sample: int, segment: Segment) -> bool:
    return segment.first < sample <= segment.end


def _show_gaps(capture: Capture, console: Console) -> None:
    for gap in capture.gaps[:SHOWN]:
        about = "about " if gap.estimated else ""
        at = gap.first / capture.info.rate_hz
        console.print(f"gap at {at:.3f} s: {about}{gap.count} samples, {gap.why}", highlight=False, markup=False)
    if len(capture.gaps) > SHOWN:
        console.print(f"and {len(capture.gaps) - SHOWN} more", highlight=False)


def _show_clock(capture: Capture, console: Console) -> None:
    drifts = [e["drift_ppm"] for e in capture.events if e["kind"] == "clock" and e["drift_ppm"] is not None]
    if drifts:
        console.print(f"clock of the samples against the host's: {drifts[-1]:+.1f} ppm", highlight=False)


def _show_decisions(capture: Capture, console: Console, every: bool) -> None:
    found = capture.decisions
    if every:
        for d in found:
            mark = "  DETECTED" if d["triggered"] else ""
            at, lead = d["sample"] / capture.info.rate_hz, d["margin_q15"] / (1 << 15)
            console.print(f"{at:10.3f} s  {d['label']:<12} lead {lead:7.3f}{mark}", highlight=False, markup=False)
    detected = Counter(d["label"] for d in found if d["triggered"])
    if found:
        shown = ", ".join(f"{label} {count}" for label, count in detected.most_common()) or "none"
        console.print(f"{len(found)} decisions; detections: {shown}", highlight=False, markup=False)
