"""Learning curves as TensorBoard event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hil.errors import UsageError
from hil.train.loop import State


class Board:
    """
    Writes one run's curves; close it at the end.

    Args:
        folder: Of the run.  Event files are added to what is there.

    Raises:
        UsageError: TensorBoard is not installed, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("--tensorboard needs tensorboard: pip install 'hil[tensorboard]'") from None
        try:
            self._writer: Any = SummaryWriter(str(folder))
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written to ({error.strerror})") from None

    def __call__(self, state: State, validation_loss: float) -> None:
        """Loss and accuracy, of training and validation, after an epoch."""
        last = state.curve[-1]
        values = {
            "loss/training": last.loss,
            "loss/validation": validation_loss,
            "accuracy/training": last.train_accuracy,
            "accuracy/validation": last.validation_accuracy,
        }
        for name, value in values.items():
            self._writer.add_scalar(name, value, last.epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
