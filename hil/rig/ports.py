"""Serial ports: which are attached, and which one a rig's file means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools.list_ports import comports

from hil.errors import SeveralMatch
from hil.probe.survey import Probe
from hil.rig.file import USB_PREFIX, WITH_PROBE


@dataclass(frozen=True)
class Port:
    """
    A serial port of this machine.

    Attributes:
        device: Path.
        description: As the system says.
        usb: Vendor and product id such as ``"03eb:2111"``; "" where it is not USB.
        serial_number: Of the USB device.
    """

    device: str
    description: str = ""
    usb: str = ""
    serial_number: str = ""

    def __str__(self) -> str:
        more = ", ".join(filter(None, [self.description, self.usb, self.serial_number]))
        return f"{self.device} ({more})" if more else self.device


def attached_ports() -> list[Port]:
    """What the system lists."""
    return [
        Port(
            p.device,
            p.description or "",
            f"{p.vid:04x}:{p.pid:04x}" if p.vid is not None and p.pid is not None else "",
            p.serial_number or "",
        )
        for p in comports()
    ]


def find_port(rig: str, spec: str, probe: Probe, ports: Sequence[Port]) -> str | None:
    """
    The port that a rig's file means, as pyserial opens it; None if it is not attached.

    Args:
        rig: Name for errors.
        spec: ``port`` of the file.
        probe: The board's.
        ports: Attached ones.

    Raises:
        SeveralMatch: The file's words fit several.
    """
    if spec == WITH_PROBE and probe.port:
        return probe.port
    if spec == WITH_PROBE:
        found = [p for p in ports if p.serial_number and p.serial_number.lower() == probe.uid.lower()]
        return _one(rig, "ports of the probe's USB device", found)
    if spec.startswith(USB_PREFIX):
        return _one(rig, f"ports are {spec}", [p for p in ports if _is_usb(p, spec[len(USB_PREFIX) :])])
    if "://" in spec:
        return spec
    return spec if Path(spec).exists() else None


def _is_usb(port: Port, words: str) -> bool:
    """``VENDOR:PRODUCT`` or ``VENDOR:PRODUCT:SERIAL``."""
    usb, serial_number = words[:9], words[10:]
    return port.usb == usb and (not serial_number or port.serial_number.lower() == serial_number.lower())


def _one(rig: str, what: str, found: Sequence[Port]) -> str | None:
    if len(found) > 1:
        raise SeveralMatch(rig, what, map(str, found), 'Name one in the rig\'s file: port = "DEVICE".')
    return found[0].device if found else None
