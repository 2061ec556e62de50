"""Which debug probes are attached, and what chip is behind each: pyOCD looks, in a process that ends at a deadline."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hil.chips import CHIPS
from hil.errors import ToolError
from hil.probe.flash import find_pyocd
from hil.probe.process import Child

DEADLINE_S = 20.0
EMULATED_VENDOR = "hil"
"""What an emulated probe says of itself, also through ``pyocd server``."""
_REVISION = 0xF00
"""Bits of DSU.DID that differ between silicon revisions of one chip."""


@dataclass(frozen=True)
class Probe:
    """
    A debug probe.

    Attributes:
        uid: Its whole id.
        vendor, product: As it says.
        usb: Vendor and product id such as ``"03eb:2111"``; "" where it is not USB.
        emulated: It is the emulator's.
        port: The pty of an emulated board; "" otherwise.
        device_id: DSU.DID of the chip behind it; 0: nobody looked, or nobody answered.
        trouble: Why nobody answered, or the probe cannot be used.
    """

    uid: str
    vendor: str = ""
    product: str = ""
    usb: str = ""
    emulated: bool = False
    port: str = ""
    device_id: int = 0
    trouble: str = ""

    @property
    def chip(self) -> str:
        """Name of the chip behind it, "" if it is unknown."""
        return chip_of(self.device_id)

    def __str__(self) -> str:
        what = f"{self.vendor} {self.product}".strip() or "probe"
        behind = f", {self.chip or f'DID {self.device_id:#010x}'}" if self.device_id else ""
        return f"{self.uid} ({what}{behind})"


def chip_of(device_id: int) -> str:
    """The chip whose DSU.DID this is, of any revision; "" if it is none of `hil.chips`."""
    same = (name for name, chip in CHIPS.items() if chip.device_id & ~_REVISION == device_id & ~_REVISION)
    return next(same, "")


@dataclass(frozen=True)
class Looking:
    """
    Probes whose chip is wanted.

    Attributes:
        uid: Exactly this one, or "" for any real probe.
        usb: Of these USB ids; none: of any.
    """

    uid: str = ""
    usb: tuple[str, ...] = ()

    def fits(self, uid: str, usb: str, emulated: bool) -> bool:
        """Whether a probe is meant; an emulated one has to be called by its id."""
        if self.uid:
            return uid.lower() == self.uid.lower()
        return not emulated and (not self.usb or usb in self.usb)


def survey(wanted: Sequence[Looking] = (), deadline_s: float = DEADLINE_S) -> list[Probe]:
    """
    List the attached probes, and ask the chips behind the wanted ones who they are, without halting them.

    Args:
        wanted: Whose chip to look at; a remote probe is found only if it is wanted by its id.
        deadline_s: For everything.

    Raises:
        ToolError: pyOCD is not installed, failed, or did not come back.
    """
    find_pyocd()
    order = {"wanted": [{"uid": looking.uid, "usb": list(looking.usb)} for looking in wanted]}
    found: dict[str, Probe] = {}
    with tempfile.TemporaryDirectory(prefix="hil-survey-") as folder:
        child = Child("hil.probe.plugin.survey", order, cwd=Path(folder))
        try:
            done = False
            for said in child.said(monotonic() + deadline_s):
                if "probe" in said:
                    probe = Probe(**said["probe"])
                    found[probe.uid] = probe
                done |= "done" in said
        except TimeoutError:
            raise ToolError(
                f"pyOCD did not come back within {deadline_s:g} s while it looked for debug probes "
                f"(found so far: {', '.join(found) or 'none'}). Unplug the probe that hangs and plug it in again."
            ) from None
        finally:
            child.kill()
    if not done:
        raise ToolError(f"pyOCD ended while it looked for debug probes:\n{child.log}")
    return list(found.values())
