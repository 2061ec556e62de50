"""What is told when a run fails: the last frames, and what the core was doing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.errors import DeviceError, RigError
from hil.experiment.progress import Progress
from hil.firmware import Firmware
from hil.link.device import Device
from hil.rig import Rig
from hil.rig.evidence import collect_evidence, explain, is_about_firmware

TOLD_FRAMES = 8
"""Told when a run fails."""


@contextmanager
def examined(
    rig: Rig, device: Device, firmware: Firmware, progress: Progress, folder: Path | None = None
) -> Iterator[None]:
    """
    Tell what is known before an error of bench or firmware goes on: the last frames, and after a fault or silence
    what the core was doing, which also may make it another error.

    Args:
        rig, device, firmware: What runs.
        progress: Where to tell it.
        folder: For ``crash.txt`` and ``crash-ram.bin``; None: nothing is written.
    """
    try:
        yield
    except (RigError, DeviceError) as error:
        if not is_about_firmware(error):
            for direction, frame in list(device.frames)[-TOLD_FRAMES:]:
                progress.say(f"{direction} {frame}")
            raise
        evidence, text = collect_evidence(rig, device, firmware, error, folder)
        progress.say(text)
        better = explain(error, evidence, rig.name)
        if better is error:
            raise
        raise better from error
