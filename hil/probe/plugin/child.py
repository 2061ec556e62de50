"""The process in which pyOCD flashes: ``python -m hil.probe.plugin.child FILE``, told and answering in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyocd.core import exceptions
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.coresight.dap import DP_CTRL_STAT
from pyocd.flash.loader import MemoryLoader
from pyocd.probe.aggregator import PROBE_CLASSES, DebugProbeAggregator
from pyocd.probe.debug_probe import DebugProbe
from pyocd.target import TARGET

from hil.probe.plugin import targets
from hil.probe.plugin.probe import EmulatedProbe
from hil.probe.wire import REMOTE_PREFIX, read_order

_POWERED = 0xF0000000
"""CTRL/STAT: both power-up requests and both acknowledges."""

_OPTIONS: dict[str, Any] = {
    "no_config": True,
    "hide_programming_progress": True,
    "flash.timeout.init": 5.0,
    "flash.timeout.erase_sector": 5.0,
    "flash.timeout.program": 10.0,
    "flash.timeout.erase_all": 60.0,
    "reset.post_delay": 0.01,  # the chip is there after 1 ms; pyOCD looks whether it is
    "reset.halt_timeout": 2.0,
    "cpu.step.instruction.timeout": 2.0,
    "warning.cortex_m_default": False,
}
_READ_BYTES = 4096
_SERIAL_WORDS = (0x0080A00C, 0x0080A040, 0x0080A044, 0x0080A048)


class Failed(Exception):
    """Ends the process with a reason; ``said`` is what the parent is told."""

    def __init__(self, kind: str, **values: Any) -> None:
        self.said = {"failed": kind, **values}
        super().__init__(kind)


def say(**what: Any) -> None:
    """One line of JSON."""
    print(json.dumps(what), flush=True)


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order of `hil.probe.flash`.  Raises `Failed`."""
    if order["chip_erase"]:
        with opened({**order, "pack": None}) as session:
            say(doing="erasing the chip", fraction=0.0)
            guarded(session, session.target.mass_erase)
    with opened(order) as session:
        image = [(int(address), bytes.fromhex(data)) for address, data in order["segments"]]
        guarded(session, session.target.reset_and_halt)
        differs = guarded(session, lambda: compare(session, image, "comparing"))
        if differs:
            guarded(session, lambda: program(session, image))
            left = guarded(session, lambda: compare(session, image, "verifying"))
            if left:
                raise Failed("differs", **left)
        serial = guarded(session, lambda: [int(session.target.read32(address)) for address in _SERIAL_WORDS])
        guarded(session, session.target.reset)
        return {"written": bool(differs), "serial": "".join(f"{word:08x}" for word in serial)}


@contextmanager
def opened(order: dict[str, Any]) -> Iterator[Session]:
    """A session that is connected.  Raises `Failed`."""
    session = make_session(order)
    try:
        connect(session)
        yield session
    finally:
        with suppress(Exception):
            session.close()


def make_session(order: dict[str, Any]) -> Session:
    """A session with exactly the probe that was asked for, not opened."""
    PROBE_CLASSES.setdefault("hil", EmulatedProbe)  # in a checkout that is not installed
    targets.register()
    options = {**_OPTIONS, "frequency": order["frequency_hz"], "target_override": order["target"]}
    options["connect_mode"] = "under-reset" if order["under_reset"] else "halt"
    options["auto_unlock"] = order["chip_erase"]
    if order["pack"]:
        TARGET.pop(order["target"], None)
        options["pack"] = [order["pack"]]
    return Session(find_probe(order["uid"]), options=options)


def find_probe(uid: str) -> DebugProbe:
    """The probe whose id is this, not only a part of it."""
    probes = ConnectHelper.get_all_connected_probes(blocking=False, print_wait_message=False)
    for probe in probes:
        if probe.unique_id.lower() == uid.lower():
            return probe
    if uid.startswith(REMOTE_PREFIX):
        return DebugProbeAggregator.get_probe_with_id(uid)
    raise Failed("no_probe", uid=uid, attached=[probe.unique_id for probe in probes])


def connect(session: Session) -> None:
    """Open the session; what is wrong with probe or chip is told apart."""
    say(doing="connecting", fraction=0.0)
    try:
        session.open()
    except exceptions.ProbeError as error:
        raise Failed("busy", text=str(error)) from error
    except exceptions.Error as error:
        raise Failed("protected" if is_protected(session) else "no_target", text=str(error)) from error


def is_protected(session: Session) -> bool:
    """The DSU answers, and says so; also where a pack's target has not asked it."""
    try:
        return bool(session.target.dp.aps) and targets.is_protected(session.target.dp)
    except exceptions.Error:
        return False


def guarded(session: Session, work: Callable[[], Any]) -> Any:
    """Do a piece of work; a target that has lost its power meanwhile is the reason for whatever went wrong."""
    try:
        return work()
    except exceptions.ProbeError as error:
        raise Failed("probe_lost", text=str(error)) from error
    except exceptions.Error as error:
        if not has_power(session):
            raise Failed("power", text=str(error)) from error
        if isinstance(error, exceptions.FlashFailure) and error.result_code is not None:
            raise Failed("algorithm", code=error.result_code, address=error.address, text=str(error)) from error
        raise Failed("other", text=f"{type(error).__name__}: {error}") from error


def has_power(session: Session) -> bool:
    """The debug port still knows that it was powered up; after an interruption of the supply it does not."""
    try:
        return int(session.target.dp.read_dp(DP_CTRL_STAT)) & _POWERED == _POWERED
    except exceptions.Error:
        return False


def compare(session: Session, image: list[tuple[int, bytes]], doing: str) -> dict[str, int] | None:
    """Read the flash; the first difference and their number, or None."""
    total, done, count = sum(len(data) for _, data in image), 0, 0
    first: dict[str, int] | None = None
    for address, data in image:
        for at in range(0, len(data), _READ_BYTES):
            say(doing=doing, fraction=done / total)
            expected = data[at : at + _READ_BYTES]
            got = bytes(session.target.read_memory_block8(address + at, len(expected)))
            wrong = [i for i in range(len(expected)) if expected[i] != got[i]]
            count, done = count + len(wrong), done + len(expected)
            if wrong and first is None:
                i = wrong[0]
                first = {"address": address + at + i, "expected": expected[i], "got": got[i]}
    return None if first is None else {**first, "count": count, "total": total}


def program(session: Session, image: list[tuple[int, bytes]]) -> None:
    """Erase and write whole rows.  pyOCD does not verify."""
    phases = iter(("erasing", "programming"))
    doing = ""

    def progress(fraction: float) -> None:
        nonlocal doing
        if fraction == 0.0:
            doing = next(phases, "programming")
        say(doing=doing, fraction=fraction)

    loader = MemoryLoader(session, progress=progress, chip_erase="sector", smart_flash=False, keep_unwritten=False)
    for address, data in image:
        loader.add_data(address, list(data))
    loader.commit()


def main() -> None:
    """Says ``{"done": …}`` or ``{"failed": KIND, …}`` last."""
    try:
        say(done=run(read_order()))
    except Failed as failed:
        say(**failed.said)


if __name__ == "__main__":
    main()
