"""From a flashed rig to a device that has said who it is, at the highest line speed that carries frames."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hil.errors import DeviceRefusal, LinkTimeout, ProtocolError, RigError
from hil.firmware import Firmware
from hil.link.device import Device, Hello
from hil.link.schema import MAX_BODY
from hil.rig.base import Rig
from hil.rig.file import RESET_BAUD

TRIAL_FRAMES = 4
"""Largest frames that have to come back whole before a speed is used."""
TRIAL_TIMEOUT_S = 1.0
"""For each of them: at 230,400 baud they take a tenth of it."""


@dataclass(frozen=True)
class Connection:
    """
    A device that answers.

    Attributes:
        device: To talk to.
        hello: What it is, with the line speed that is in use.
        notes: Speeds that did not work.
    """

    device: Device
    hello: Hello
    notes: tuple[str, ...] = ()


def connect(rig: Rig, firmware: Firmware) -> Connection:
    """
    Open a flashed rig, see that the firmware is the one expected, and raise the line speed step by step.

    A speed at which frames are lost or damaged is given up for the one before it; the chip is reset for that, since
    it does not understand what is said at such a speed.

    Raises:
        WrongFirmware: Another build or artefact answers.
        LinkTimeout: Nobody answers.
        RigError: As `Rig.open` and `Rig.restart`.
    """
    device = _greet(rig, firmware)
    good = RESET_BAUD
    for baud in rig.bauds:
        trouble = _try_speed(device, baud)
        if trouble:
            rig.restart()
            device = _greet(rig, firmware)
            if good != RESET_BAUD:
                device.set_baud(good)
            note = f"the line works at {good:,} baud and not at {baud:,} ({trouble})"
            return Connection(device, device.hello(), (note,))
        good = baud
    return Connection(device, device.hello())


def _greet(rig: Rig, firmware: Firmware) -> Device:
    """A program may be starting up: a crystal takes seconds."""
    device, deadline = rig.open(), time.monotonic() + rig.stages.boot_s
    while True:
        try:
            _check_board(rig, device.hello(firmware.build_id, firmware.artefact_hash))
            return device
        except LinkTimeout:
            if time.monotonic() >= deadline:
                raise


def _check_board(rig: Rig, hello: Hello) -> None:
    """Two boards with one program: the probe of one, the port of the other."""
    behind_probe = getattr(rig, "chip_serial", "")
    if behind_probe and behind_probe != hello.serial:
        raise RigError(
            rig.name,
            f"the port belongs to another board than the probe: chip {hello.serial} answers, behind the probe is "
            f"{behind_probe}. Correct `port` or `probe` in the rig's file.",
        )


def _try_speed(device: Device, baud: int) -> str:
    """Go to a speed and send large frames there and back; returns what is wrong with it, "" if nothing is."""
    talk = device.conversation
    patience_s, repetitions, bad = talk.timeout_s, device.repetitions, device.bad_frames
    talk.timeout_s = min(patience_s, TRIAL_TIMEOUT_S)
    try:
        device.set_baud(baud)
        for i in range(TRIAL_FRAMES):
            data = bytes((i + j) % 256 for j in range(MAX_BODY))
            if device.echo(data) != data:
                return "other bytes came back than were sent"
    except DeviceRefusal:
        return "the chip's clock cannot make it"
    except (LinkTimeout, ProtocolError) as error:
        return "no frame comes through" if isinstance(error, LinkTimeout) else "frames are damaged"
    finally:
        talk.timeout_s = patience_s
    lost, damaged = device.repetitions - repetitions, device.bad_frames - bad
    return f"{lost} requests had to be sent again, {damaged} frames were damaged" if lost or damaged else ""
