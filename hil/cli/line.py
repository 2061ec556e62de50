"""A rig's line that carries sound as it is heard."""

from __future__ import annotations

from hil.errors import RigError
from hil.link.device import Device, Hello
from hil.rig import Rig

EMULATED_BAUD = 500_000
"""Of an emulated line, whose speed costs nothing."""


def raise_speed(rig: Rig, hello: Hello, device: Device, rate_hz: int, *, paced: bool) -> None:
    """
    Let the line carry sound in the rig's own time.

    Args:
        rig: Flashed and opened.
        hello, device: Of it.
        rate_hz: Of the sound.
        paced: The rig's time shall keep the pace of the clock on the wall.

    Raises:
        RigError: A board's line is too slow for it.
    """
    needed = 2 * rate_hz * 10 * 11 // 10  # ten bits a byte, a tenth for frames
    if hello.baud < needed and not rig.bauds:
        device.set_baud(EMULATED_BAUD)
    elif hello.baud < needed and paced:
        raise RigError(
            rig.name,
            f"its line at {hello.baud:,} baud carries {hello.baud // 10:,} bytes a second, sound at {rate_hz} Hz needs "
            f"{needed // 10:,}. Add a higher speed to `bauds` in the rig's file, or use a model with a lower rate.",
        )
    rig.stream()
    if paced:
        rig.real_time()
