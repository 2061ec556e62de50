"""The device's clock against the host's: a chip's oscillator is off by up to percents, and cycles become time by it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hil.link.device import Device
from hil.rig.base import Rig

_STEP_S = 0.001
"""Of the device's count of milliseconds."""
_WORTH_TELLING = 3.0
"""A drift is told as a number if it can be told to this many percent."""


@dataclass(frozen=True)
class Reading:
    """
    Both clocks at one moment.

    Attributes:
        host_s: Middle of the exchange, on the monotonic clock.
        width_s: How long it took: the device was asked somewhere within.
        device_s: Since its reset.
    """

    host_s: float
    width_s: float
    device_s: float


@dataclass(frozen=True)
class Drift:
    """
    How far the device's clock is from the host's.

    Attributes:
        percent: Positive: the device counts more than has passed.
        uncertainty: Plus or minus, percent: by the time that two exchanges took.
        over_s: Between them.
    """

    percent: float
    uncertainty: float
    over_s: float

    def __str__(self) -> str:
        if self.uncertainty > _WORTH_TELLING:
            return f"the run of {self.over_s:.1f} s is too short to compare the device's clock with the host's"
        return (
            f"the device's clock against the host's: {self.percent:+.3f} % +- {self.uncertainty:.3f} % "
            f"over {self.over_s:.1f} s"
        )


def read_clocks(device: Device) -> Reading:
    """Raises as `Device.status`."""
    began = time.monotonic()
    uptime_ms = device.status().uptime_ms
    ended = time.monotonic()
    return Reading((began + ended) / 2, ended - began, uptime_ms / 1000)


def drift(first: Reading, last: Reading) -> Drift:
    """Between two readings without a reset in between."""
    over_s = max(last.host_s - first.host_s, 1e-9)
    counted_s = last.device_s - first.device_s
    unsure_s = (first.width_s + last.width_s) / 2 + _STEP_S
    return Drift(100 * (counted_s / over_s - 1), 100 * unsure_s / over_s, over_s)


def has_clock(rig: Rig) -> bool:
    """The rig's clock is a real one: an emulated chip's time passes as fast as it is computed."""
    return "clock" in rig.features
