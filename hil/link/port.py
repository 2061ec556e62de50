"""Opening a serial port, and saying why it cannot be opened."""

from __future__ import annotations

import errno
from pathlib import Path

import serial

from hil.errors import PortBusy, PortLost, RigError, RigNotFound
from hil.link.holder import holders


def open_port(path: str, baud: int, rig: str) -> serial.SerialBase:
    """
    Open a port for this program alone.

    Args:
        path: A device, or a URL of pyserial's: ``rfc2217://``, ``socket://``, ``hwgrep://``.
        baud: Line speed.
        rig: Name for errors.

    Raises:
        PortBusy: Another program holds it.
        RigNotFound: There is no such port.
        RigError: This user may not open it.
        PortLost: It is there and cannot be opened.
    """
    try:
        return serial.serial_for_url(path, baud, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        number = number if number is not None else getattr(error.__context__, "errno", None)
        if number == errno.EBUSY or (number in (errno.EAGAIN, errno.EACCES) and "lock" in str(error)):
            raise PortBusy(rig, path, ", ".join(map(str, holders(path)))) from error
        if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or isinstance(error, ValueError):
            raise RigNotFound(
                rig, f"there is no port {path}: is it plugged in, and is the name right? ({error})"
            ) from error
        if number in (errno.EACCES, errno.EPERM):
            raise RigError(rig, f"{path} cannot be opened: {_denied(path)}") from error
        raise PortLost(rig, f"being opened ({error})") from error


def _denied(path: str) -> str:
    """A port belongs to a group; being in it takes effect at the next login."""
    try:
        group = Path(path).group()
    except (OSError, KeyError, NotImplementedError):
        group = "dialout"
    return f"permission denied: `sudo usermod -aG {group} $USER`, then log in again"
