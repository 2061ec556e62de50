"""The process in which pyOCD resets a chip: ``python -m hil.probe.plugin.restart FILE``."""

from __future__ import annotations

from contextlib import suppress

from pyocd.core import exceptions
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.probe.debug_probe import DebugProbe

from hil.probe.plugin.child import Failed, make_session, say
from hil.probe.wire import read_order

WHOLE, PULSE = "reset through the debug port", "reset line pulled (no chip answers the debug port)"


def restart(uid: str, target: str) -> str:
    """Reset with the chip attached, else the bare line.  Raises `Failed`."""
    session = make_session(
        {
            "uid": uid,
            "target": target,
            "under_reset": False,
            "chip_erase": False,
            "pack": None,
            "frequency_hz": 1_000_000,
        }
    )
    session.options.set("connect_mode", "attach")
    try:
        session.open()
        session.target.reset(Target.ResetType.HARDWARE)
        return WHOLE
    except exceptions.ProbeError as error:
        raise Failed("busy", text=str(error)) from error
    except exceptions.Error:
        return pull(session)
    finally:
        with suppress(Exception):
            session.close()


def pull(session: Session) -> str:
    """Only the line."""
    probe = session.probe
    try:
        if not probe.is_open:
            probe.open()
        probe.connect(DebugProbe.Protocol.SWD)
        probe.reset()
    except exceptions.Error as error:
        raise Failed("other", text=str(error)) from error
    return PULSE


def main() -> None:
    """Says ``{"done": WORDS}`` or ``{"failed": KIND, …}``."""
    order = read_order()
    try:
        say(done=restart(order["uid"], order["target"]))
    except Failed as failed:
        say(**failed.said)


if __name__ == "__main__":
    main()
