"""Opening a serial port, and saying why it cannot be opened."""

from __future__ import annotations

import errno

import serial

from hil.errors import PortBusy, PortLost, RigNotFound


def open_port(path: str, baud: int, rig: str) -> serial.Serial:
    """
    Open a port for this program alone.

    Raises:
        PortBusy: Another program holds it.
        RigNotFound: There is no such port.
        PortLost: It is there and cannot be opened.
    """
    try:
        return serial.Serial(path, baud, exclusive=True)
    except (serial.SerialException, OSError) as error:
        number = error.errno if error.errno is not None else getattr(error.__context__, "errno", None)
        if number in (errno.EAGAIN, errno.EBUSY, errno.EACCES) and "lock" in str(error):
            raise PortBusy(rig, path) from error
        if number == errno.EBUSY:
            raise PortBusy(rig, path) from error
        if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise RigNotFound(rig, f"there is no port {path}: is it plugged in, and is the name right?") from error
        raise PortLost(rig, f"being opened ({error})") from error
