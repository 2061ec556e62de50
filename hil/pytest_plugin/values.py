"""What a test measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hil.trace import Tier


@dataclass(frozen=True)
class Measurement:
    """
    One number and what it is worth.

    Attributes:
        name: Of the metric, such as ``cycles``.
        value: The number.
        unit: Such as ``cycles`` or ``bytes``.
        tier: What it is worth.
        clock: What it was counted with, or ``"none"``.
        method: In words.
        overhead: Already subtracted, in the same unit.
        n: Samples behind it.
        prediction: The model's value for the same program and input, on silicon.
    """

    name: str
    value: float
    unit: str
    tier: Tier
    clock: str
    method: str
    overhead: float = 0
    n: int = 1
    prediction: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "tier": self.tier.value}

    def __str__(self) -> str:
        text = f"{self.name} {shown(self.value)} {self.unit} ({self.tier.value}, n={self.n})"
        if self.prediction:
            error = 100 * (self.prediction - self.value) / self.value if self.value else 0.0
            text += f", the model says {shown(self.prediction)} ({error:+.2f} %)"
        return text


def shown(value: float) -> str:
    """Whole numbers without a fraction."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}"
