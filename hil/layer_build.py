"""
How layers become code: choices of speed, flash and RAM, which never change a number.

They lie beside the model in its file and are not part of its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hil.errors import UsageError


@dataclass(frozen=True)
class LayerBuild:
    """
    The code of one layer.

    Attributes:
        kernel: A name of `hil.codegen`'s kernels for the layer; ``""``: the first that it has.
        ram_bytes: At most this much of the generated code is copied to RAM at start-up, where it has no wait states;
            if it is not 0, so are the loops that are longer than the flash cache (firmware/kernels/placement.h).
        rows: Rows that a generated kernel takes at a time; 0: as many as the core has registers for.
    """

    kernel: str = ""
    ram_bytes: int = 0
    rows: int = 0

    def __post_init__(self) -> None:
        for name in ("ram_bytes", "rows"):
            if not 0 <= getattr(self, name) < 1 << 20:
                raise UsageError(f"{name} = {getattr(self, name)}: must be within 0 and {(1 << 20) - 1}")


Build = Mapping[str, LayerBuild]
"""By layer: ``"recurrent.0"``, ``"dense.1"``."""
