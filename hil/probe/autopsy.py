"""What a chip is doing when its firmware does not answer: the core's state, its memory, its last jumps."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from hil.chips import Chip
from hil.errors import RigError, RigNotFound, ToolError
from hil.probe.flash import find_pyocd
from hil.probe.process import Child

RUNNING, SLEEPING, LOCKED_UP, HALTED = "running", "sleeping", "locked up", "halted"


@dataclass(frozen=True)
class CoreState:
    """
    A core at one moment.

    Attributes:
        doing: ``running``, ``sleeping``, ``locked up`` or ``halted``.
        registers: ``r0`` to ``r12``, ``sp``, ``lr``, ``pc``, ``xpsr``, ``primask``.
        seen: PC at several moments before, oldest first; empty where nobody looked.
        ram: All of it, from 0x20000000; empty if it could not be read.
        trace_position, trace_master: MTB.POSITION and MTB.MASTER; 0: there is no trace buffer.
    """

    doing: str
    registers: dict[str, int]
    seen: tuple[int, ...] = ()
    ram: bytes = field(default=b"", repr=False)
    trace_position: int = 0
    trace_master: int = 0


def examine_through_pyocd(uid: str, chip: Chip, rig: str, deadline_s: float) -> CoreState:
    """
    Look at a chip without resetting it; it is halted afterwards, and needs a reset to go on.

    Args:
        uid: The probe's whole id.
        chip: What is behind it.
        rig: Name for errors.
        deadline_s: For everything; pyOCD is ended then.

    Raises:
        RigNotFound: No such probe.
        RigError: The chip does not answer the debugger, or pyOCD did not come back.
        ToolError: pyOCD is not installed or failed.
    """
    find_pyocd()
    order = {"uid": uid, "target": chip.name, "ram_bytes": chip.ram_bytes}
    with tempfile.TemporaryDirectory(prefix="hil-autopsy-") as folder:
        child = Child("hil.probe.plugin.autopsy", order, cwd=Path(folder))
        try:
            said = next(child.said(monotonic() + deadline_s), {})
        except TimeoutError:
            raise RigError(rig, f"the probe {uid} did not come back within {deadline_s:g} s") from None
        finally:
            child.kill()
    if "state" in said:
        state = said["state"]
        return CoreState(**{**state, "seen": tuple(state["seen"]), "ram": bytes.fromhex(state["ram"])})
    if said.get("failed") == "no_probe":
        raise RigNotFound(rig, f"no debug probe has the id {uid!r}")
    if said.get("failed"):
        raise RigError(rig, f"the chip does not answer its debugger ({said.get('text', '')})")
    raise ToolError(f"{rig}: pyOCD ended without a word while it looked at the core:\n{child.log}")
