"""The process in which pyOCD looks at a silent chip: ``python -m hil.probe.plugin.autopsy FILE``."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from pyocd.core import exceptions
from pyocd.core.session import Session
from pyocd.core.target import Target

from hil.chips import RAM_BASE
from hil.probe.autopsy import HALTED, LOCKED_UP, RUNNING, SLEEPING
from hil.probe.plugin.child import Failed, make_session, say
from hil.probe.wire import read_order

_MTB_POSITION, _MTB_MASTER = 0x41006000, 0x41006004
_NAMES = (*(f"r{i}" for i in range(13)), "sp", "lr", "pc", "xpsr", "primask")
_LOOKS, _PAUSE_S = 6, 0.005
_STATES = {Target.State.SLEEPING: SLEEPING, Target.State.LOCKUP: LOCKED_UP, Target.State.HALTED: HALTED}


def examine(order: dict[str, Any]) -> dict[str, Any]:
    """Halt the core and read; it stays halted.  Raises `Failed`."""
    session = make_session(
        {**order, "under_reset": False, "chip_erase": False, "pack": None, "frequency_hz": 1_000_000}
    )
    session.options.set("connect_mode", "attach")
    session.options.set("resume_on_disconnect", False)
    try:
        session.open()
        return _look(session, int(order["ram_bytes"]))
    except exceptions.ProbeError as error:
        raise Failed("busy", text=str(error)) from error
    except exceptions.Error as error:
        raise Failed("no_target", text=str(error)) from error
    finally:
        with suppress(Exception):
            session.close()


def _look(session: Session, ram_bytes: int) -> dict[str, Any]:
    target = session.target
    doing = _STATES.get(target.get_state(), RUNNING)
    seen = _watch(target) if doing == RUNNING else []
    target.halt()
    registers = dict(zip(_NAMES, (int(v) for v in target.read_core_registers_raw(list(_NAMES))), strict=True))
    state: dict[str, Any] = {"doing": doing, "registers": registers, "seen": seen, "ram": ""}
    with suppress(exceptions.Error):
        state["ram"] = bytes(target.read_memory_block8(RAM_BASE, ram_bytes)).hex()
        state["trace_position"] = int(target.read32(_MTB_POSITION))
        state["trace_master"] = int(target.read32(_MTB_MASTER))
    return state


def _watch(target: Target) -> list[int]:
    """Where a running core is, several times."""
    seen = []
    for _ in range(_LOOKS):
        target.halt()
        seen.append(int(target.read_core_register_raw("pc")))
        target.resume()
        time.sleep(_PAUSE_S)
    return seen


def main() -> None:
    """Says ``{"state": …}`` or ``{"failed": KIND, …}``."""
    try:
        say(state=examine(read_order()))
    except Failed as failed:
        say(**failed.said)


if __name__ == "__main__":
    main()
