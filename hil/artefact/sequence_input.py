"""How a model takes its inputs that has no front end for sound: vectors of measurements, scaled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hil.artefact.byte_layers import Array, Take

FLOAT32_MOST = 1e30
"""Centers and scales stay far from what float32 cannot hold."""


@dataclass(frozen=True)
class SequenceInput:
    """
    Vectors to features: ``x = saturate(rint((v - center) * scale))``, int16 Q15, ties to even.

    Computed in float64 from the numbers below, by whoever gives the device its inputs; the device takes ``x``.

    Attributes:
        frames: Steps of the longest training sequence; the device takes any number.
        center: [D] float32, what becomes 0.
        scale: [D] float32, positive; steps of Q15 for one unit of ``v``.
    """

    frames: int
    center: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    kind: ClassVar[str] = "sequence"

    @property
    def features(self) -> int:
        """D, values of one vector."""
        return int(self.center.size)

    def manifest(self) -> dict[str, Any]:
        """What the file says about it besides its arrays."""
        return {"kind": self.kind, "frames": self.frames}

    def arrays(self) -> dict[str, Array]:
        """By name in the file."""
        return {"frontend.center": self.center, "frontend.scale": self.scale}

    @classmethod
    def take(cls, manifest: Mapping[str, Any], take: Take) -> SequenceInput:
        """From a file's manifest and arrays."""
        values = {name: value for name, value in manifest.items() if name != "kind"}
        return cls(**values, center=take("frontend.center", np.float32), scale=take("frontend.scale", np.float32))

    def problems(self) -> Iterator[str]:
        """Each broken rule as a sentence."""
        for name in ("center", "scale"):
            array = getattr(self, name)
            if array.dtype != np.float32 or array.ndim != 1 or not array.size:
                yield f"frontend.{name} is not a vector of float32"
                return
            if not (np.abs(array) < FLOAT32_MOST).all():  # not a number is not below it either
                yield f"frontend.{name} has values that are not finite"
        if self.center.size != self.scale.size:
            yield f"frontend has {self.center.size} centers for {self.scale.size} scales"
        elif not (self.scale > 0).all():
            yield "frontend.scale has values that are not positive"
        if type(self.frames) is not int or not 1 <= self.frames < 1 << 20:
            yield f"frontend.frames is {self.frames!r}"
