"""
Runs in the official runner's process before its own code: its list of serial ports is the rig's port.

A pseudo-terminal has no USB numbers, by which the runner looks for devices, and another board of the same kind
must not be taken.  Nothing is attached by USB directly, so libusb is not needed.
"""

import os
import sys
import types

from serial.tools import list_ports, list_ports_common


def _port() -> list_ports_common.ListPortInfo:
    info = list_ports_common.ListPortInfo(os.environ["HIL_MLPERF_PORT"])
    info.vid, info.pid = int(os.environ["HIL_MLPERF_VID"]), int(os.environ["HIL_MLPERF_PID"])
    return info


def _nothing(*arguments: object, **options: object) -> list[object]:
    return []


if "HIL_MLPERF_PORT" in os.environ:
    list_ports.comports = lambda include_links=False: [_port()]
    usb, core = types.ModuleType("usb"), types.ModuleType("usb.core")
    core.find = _nothing  # type: ignore[attr-defined]
    usb.core = core  # type: ignore[attr-defined]
    sys.modules.update({"usb": usb, "usb.core": core})
