"""The process in which pyOCD looks for probes: ``python -m hil.probe.plugin.survey FILE``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from pyocd.core import exceptions
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.probe.aggregator import PROBE_CLASSES, DebugProbeAggregator
from pyocd.probe.debug_probe import DebugProbe

from hil.probe.dsu import DSU, EXTERNAL
from hil.probe.folder import find
from hil.probe.plugin import targets
from hil.probe.plugin.child import say
from hil.probe.plugin.probe import EmulatedProbe
from hil.probe.survey import EMULATED_VENDOR, Looking, Probe
from hil.probe.wire import REMOTE_PREFIX, read_order

_DID = DSU + EXTERNAL + 0x18
_ANY_CHIP = "atsamd21j18a"
_OPTIONS: dict[str, Any] = {"no_config": True, "connect_mode": "attach", "resume_on_disconnect": False}


def look(wanted: list[Looking]) -> None:
    """Say each probe, then each wanted one again with its chip."""
    PROBE_CLASSES.setdefault("hil", EmulatedProbe)  # in a checkout that is not installed
    targets.register()
    found = list(ConnectHelper.get_all_connected_probes(blocking=False, print_wait_message=False))
    for looking in wanted:
        if looking.uid.startswith(REMOTE_PREFIX) and all(probe.unique_id != looking.uid for probe in found):
            found.append(DebugProbeAggregator.get_probe_with_id(looking.uid))
    for probe in found:
        known = describe(probe)
        say(probe=asdict(known))
        if not known.trouble and any(looking.fits(known.uid, known.usb, known.emulated) for looking in wanted):
            say(probe=asdict(identify(probe, known)))


def describe(probe: DebugProbe) -> Probe:
    """What a probe says of itself; a remote one is asked over the network."""
    uid = str(probe.unique_id)
    remote = uid.startswith(REMOTE_PREFIX)
    try:
        if remote:
            probe.open()
        try:
            vendor, product = str(probe.vendor_name), str(probe.product_name)
        finally:
            if remote:
                probe.close()
    except (exceptions.Error, OSError, ValueError) as error:
        return Probe(uid, trouble=str(error) or type(error).__name__)
    emulated = vendor == EMULATED_VENDOR
    here = find(uid) if emulated and not remote else None
    return Probe(uid, vendor, product, usb_id(probe), emulated, here.port if here else "")


def usb_id(probe: DebugProbe) -> str:
    """Vendor and product id; "" where pyOCD does not tell them."""
    with suppress(AttributeError, TypeError, ValueError):
        vendor, product = probe._link.vidpid
        return f"{int(vendor):04x}:{int(product):04x}"
    return ""


def identify(probe: DebugProbe, known: Probe) -> Probe:
    """Read DSU.DID where also a protected chip shows it; the core runs on."""
    session = Session(probe, options={**_OPTIONS, "target_override": _ANY_CHIP})
    try:
        session.open()
        return replace(known, device_id=int(session.target.read32(_DID)))
    except exceptions.ProbeError as error:
        return replace(known, trouble=f"the probe cannot be opened ({error})")
    except exceptions.Error as error:
        return replace(known, device_id=_last_look(session), trouble=str(error))
    finally:
        with suppress(Exception):
            session.close()


def _last_look(session: Session) -> int:
    """A chip that refuses a debugger still says who it is."""
    with suppress(exceptions.Error, StopIteration, AttributeError):
        return int(next(iter(session.target.dp.aps.values())).read_memory(_DID, 32))
    return 0


def main() -> None:
    """Says ``{"done": true}`` last."""
    look([Looking(entry["uid"], tuple(entry["usb"])) for entry in read_order()["wanted"]])
    say(done=True)


if __name__ == "__main__":
    main()
