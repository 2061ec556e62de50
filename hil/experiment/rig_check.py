"""How well a rig works: what its flash held, frames lost of many, bytes a second at each speed, clock drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.errors import DeviceRefusal, HilError, LinkTimeout, ProtocolError, RigError, WrongFirmware
from hil.experiment.progress import Progress
from hil.firmware import Firmware
from hil.link.audio import echo_stream
from hil.link.device import Device, Hello
from hil.rig import Rig, connect
from hil.rig.clock import Drift, drift, read_clocks
from hil.rig.connect import TRIAL_TIMEOUT_S
from hil.rig.file import RESET_BAUD

FRAME_BYTES = 64
"""Payload of each frame that is counted."""
SPEED_BYTES, SPEED_FRAMES = 480, 60
"""Payload and number of frames by which a speed is measured."""
_PER_UPDATE = 100


@dataclass(frozen=True)
class Speed:
    """
    One line speed.

    Attributes:
        baud: Bits a second.
        bytes_per_s: Payload each way, by the device's clock; 0 if it does not work.
        trouble: Why not, or what was lost.
    """

    baud: int
    bytes_per_s: float
    trouble: str = ""


@dataclass(frozen=True)
class RigCheck:
    """
    What was found.

    Attributes:
        hello: Who answers.
        how: How it was flashed.
        baud: Speed of the run.
        frames, lost: Sent there and back, and how many had to be sent again or came damaged.
        speeds: Each that the rig's file names, from 115,200 on.
        clock: None where the clock is not a real one.
        notes: From flashing and connecting.
    """

    hello: Hello
    how: str
    baud: int
    frames: int
    lost: int
    speeds: tuple[Speed, ...]
    clock: Drift | None
    notes: tuple[str, ...]


def check_rig(rig: Rig, firmware: Firmware, frames: int, progress: Progress) -> RigCheck:
    """
    Flash a firmware and measure line and clock.

    Args:
        rig: Not yet flashed; left open.
        firmware: Any of this project's.
        frames: To count losses among.
        progress: Where to show it.

    Raises:
        RigError, DeviceError: It cannot be flashed, or does not answer at 115,200 baud.
    """
    flashed = rig.flash(firmware)
    made = connect(rig, firmware)
    device = made.device
    rig.stream()
    before = device.repetitions, device.bad_frames, read_clocks(device)
    _send_frames(device, frames, progress, rig.name)
    after = read_clocks(device)
    lost = device.repetitions - before[0] + device.bad_frames - before[1]
    clock = drift(before[2], after) if "clock" in rig.features else None
    speeds = tuple(_speed(rig, firmware, baud, progress) for baud in (RESET_BAUD, *rig.bauds))
    notes = (*flashed.notes, *made.notes)
    return RigCheck(made.hello, flashed.how, made.hello.baud, frames, lost, speeds, clock, notes)


def _send_frames(device: Device, frames: int, progress: Progress, name: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, (_PER_UPDATE, FRAME_BYTES), np.uint8)
    pieces = [row.tobytes() for row in data]
    with progress.task(f"{frames:,} frames through {name}") as update:
        for done in range(0, frames, _PER_UPDATE):
            echo_stream(device, pieces[: min(_PER_UPDATE, frames - done)])
            update(min(done + _PER_UPDATE, frames), frames)


def _speed(rig: Rig, firmware: Firmware, baud: int, progress: Progress) -> Speed:
    """From a reset, so that a speed that does not work harms none behind it."""
    pieces = [bytes((i + j) % 256 for j in range(SPEED_BYTES)) for i in range(SPEED_FRAMES)]
    try:
        rig.restart()
        device = rig.open()
        device.hello(firmware.build_id, firmware.artefact_hash)
        device.conversation.timeout_s = min(device.conversation.timeout_s, TRIAL_TIMEOUT_S)
        if baud != RESET_BAUD:
            device.set_baud(baud)
        rig.stream()
        with progress.task(f"{baud:,} baud"):
            began_ms = device.status().uptime_ms
            total = echo_stream(device, pieces)
            took_s = max(1, device.status().uptime_ms - began_ms) / 1000
    except DeviceRefusal:
        return Speed(baud, 0.0, "the chip's clock cannot make it")
    except (LinkTimeout, ProtocolError, WrongFirmware) as error:
        return Speed(baud, 0.0, str(error))
    lost = device.repetitions + device.bad_frames
    return Speed(baud, total / took_s, f"{lost} frames lost or damaged" if lost else "")


def flash_contents(rig: Rig) -> str:
    """What is on a board before it is flashed, as far as it says so; "" where there is nothing to ask."""
    peek = getattr(rig, "peek", None)
    if peek is None:
        return ""
    try:
        device: Device = peek()
        hello = device.hello()
    except (LinkTimeout, ProtocolError):
        return "nothing that answers HELLO: erased, or a program that is not hil's"
    except RigError as error:
        return f"unknown ({error})"
    except HilError as error:
        return f"a program that says: {error}"
    finally:
        rig.close()
    model = f"{hello.inputs} inputs, {hello.states} units, {hello.outputs} outputs" if hello.inputs else "no model"
    return f"hil's firmware, build {hello.build_id}, artefact {hello.artefact_hash[:16]}, {model}"
