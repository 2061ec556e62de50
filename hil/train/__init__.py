"""Training: float first, then with the integers of the device in the forward pass."""

from hil.train.evaluate import evaluate, predict
from hil.train.loop import Progress
from hil.train.stages import Session, fit, fit_quantized

__all__ = ["Progress", "Session", "evaluate", "fit", "fit_quantized", "predict"]
