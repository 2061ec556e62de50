"""Which attached board a rig's file means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hil.errors import HilError, RigError, SeveralMatch
from hil.probe.survey import Looking, Probe, survey
from hil.rig.file import AUTO, RigFile, Variant
from hil.rig.ports import Port, attached_ports, find_port

NO_PROBE = "no probe"
NO_PORT = "probe found, no port"


class NotHere(HilError):
    """A rig is not there to be used, in a few words; the next in its order may be."""


@dataclass(frozen=True)
class FoundBoard:
    """
    A board that is attached.

    Attributes:
        variant: Which of the file's.
        probe: Its probe.
        port: Its serial port, as pyserial opens it.
    """

    variant: Variant
    probe: Probe
    port: str


def find_board(file: RigFile) -> FoundBoard:
    """
    Look for the board of a file of kind ``board``.

    Raises:
        NotHere: Its probe or its port is not attached.
        SeveralMatch: Several boards fit, or several ports of one.
        RigError: The board is attached, and is another one than the file says.
        ToolError: pyOCD failed.
    """
    probes = survey([_looking(variant) for variant in file.candidates()], file.stages.find_s)
    return choose_board(file, probes, attached_ports())


def _looking(variant: Variant) -> Looking:
    return Looking("" if variant.probe == AUTO else variant.probe, variant.probe_usb)


def choose_board(file: RigFile, probes: Sequence[Probe], ports: Sequence[Port]) -> FoundBoard:
    """As `find_board`, among these."""
    boards: list[tuple[Variant, Probe]] = []
    others: list[str] = []
    for probe in probes:
        variants = [v for v in file.candidates() if _looking(v).fits(probe.uid, probe.usb, probe.emulated)]
        if not variants:
            continue
        variant = next((v for v in variants if not probe.device_id or probe.chip == v.chip), None)
        if variant is not None:
            boards.append((variant, probe))
        else:
            others.append(f"{probe}, expected {' or '.join(dict.fromkeys(v.chip for v in variants))}")
    if len(boards) > 1:
        raise SeveralMatch(
            file.name,
            "boards fit",
            (f"{probe}: {variant.name}" for variant, probe in boards),
            'Copy the rig\'s file to rigs/NAME.toml, name one there: probe = "ID", and use --rig NAME.',
        )
    if not boards:
        if others and any(v.probe != AUTO for v in file.candidates()):
            raise RigError(file.name, f"another chip than the file says: {'; '.join(others)}. Correct `chip` there.")
        raise NotHere(NO_PROBE + (f" with such a chip ({'; '.join(others)})" if others else ""))
    variant, probe = boards[0]
    port = find_port(file.name, variant.port, probe, ports)
    if port is None:
        raise NotHere(f"{NO_PORT} ({variant.port} of {probe.uid})" if variant.port != "probe" else NO_PORT)
    return FoundBoard(variant, probe, port)
