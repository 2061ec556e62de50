"""What is attached to this machine, and whether this user may use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hil.errors import HilError, SeveralMatch
from hil.probe.survey import Looking, Probe, survey
from hil.rig import RigFile
from hil.rig.file import AUTO
from hil.rig.find import NotHere, choose_board
from hil.rig.ports import Port, attached_ports
from hil.rig.renode import find_renode

PROBE_VENDORS = {"03eb": "Microchip (EDBG, Atmel-ICE)", "0d28": "Arm (DAPLink)", "1366": "SEGGER", "0483": "ST"}
"""USB vendors of debug probes, whose devices a user needs rights to."""
RULE_FILE = "/etc/udev/rules.d/50-hil-probes.rules"
_USB = Path("/sys/bus/usb/devices")


class Attached:
    """
    One look at everything.

    Attributes:
        probes: Debug probes; empty if pyOCD could not look.
        ports: Serial ports.
        trouble: Why pyOCD could not look, "".
    """

    def __init__(self, files: list[RigFile]) -> None:
        """Args: files: Rigs whose boards' chips are asked who they are."""
        self.ports: list[Port] = attached_ports()
        self.probes: list[Probe] = []
        self.trouble = ""
        variants = [v for file in files if file.kind == "board" for v in file.candidates()]
        looking = {Looking("" if v.probe == AUTO else v.probe, v.probe_usb) for v in variants}
        try:
            self.probes = survey(sorted(looking, key=lambda x: (x.uid, x.usb)))
        except HilError as error:
            self.trouble = str(error)

    def says(self, file: RigFile) -> str:
        """Whether a rig is there now, in words."""
        if file.kind == "emulator":
            return "always"
        if file.kind == "renode":
            return find_renode() or "renode not found"
        if self.trouble:
            return self.trouble
        try:
            found = choose_board(file, self.probes, self.ports)
        except (NotHere, SeveralMatch, HilError) as why:
            return str(why).removeprefix(f"{file.name}: ")
        tier = "emulated, cycle-model" if found.probe.emulated else "silicon"
        return f"{found.variant.name}, probe {found.probe.uid}, port {found.port} ({tier})"


def forbidden_probes() -> list[tuple[str, str]]:
    """Attached probes that this user may not open: USB ids and device file."""
    return [(usb, node) for usb, node in _usb_nodes() if not os.access(node, os.R_OK | os.W_OK)]


def udev_rule(usb_ids: list[str]) -> str:
    """The rule that gives the user at the screen the right to these."""
    lines = []
    for usb in dict.fromkeys(usb_ids):
        vendor, product = usb.split(":")
        match = f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}"'
        lines.append(f'SUBSYSTEM=="usb", {match}, MODE="0660", TAG+="uaccess"')
        lines.append(f'KERNEL=="hidraw*", {match}, MODE="0660", TAG+="uaccess"')
    return "\n".join(lines)


def forbidden_ports(ports: list[Port]) -> list[str]:
    """Serial ports that this user may not open."""
    return [p.device for p in ports if Path(p.device).exists() and not os.access(p.device, os.R_OK | os.W_OK)]


def _usb_nodes() -> Iterator[tuple[str, str]]:
    """USB devices of the vendors of probes."""
    for device in sorted(_USB.glob("*")) if _USB.is_dir() else []:
        try:
            vendor, product = ((device / name).read_text().strip() for name in ("idVendor", "idProduct"))
            bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
        except (OSError, ValueError):
            continue
        if vendor in PROBE_VENDORS:
            yield f"{vendor}:{product}", f"/dev/bus/usb/{bus:03d}/{number:03d}"
