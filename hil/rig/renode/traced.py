"""A device whose cycle counts are replaced by the price of what Renode saw it execute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hil.errors import ToolError
from hil.link.device import Benched, Device
from hil.link.schema import Detail
from hil.rig.renode.monitor import Monitor
from hil.rig.renode.pricing import Functions, price_windows, read_trace
from hil.trace import Trace

T = TypeVar("T")


class TracedDevice(Device):
    """As `Device`; each sequence and each bench is traced on its own, and its trace removed again."""

    def __init__(self, *arguments: Any, monitor: Monitor, folder: Path, functions: Functions, **named: Any) -> None:
        """
        Args:
            arguments, named: As for `Device`.
            monitor: Renode's.
            folder: For traces.
            functions: Where windows begin and end.
        """
        super().__init__(*arguments, **named)
        self._monitor, self._folder, self._functions = monitor, folder, functions
        self._traces = 0

    def run_sequence(self, features: npt.NDArray[np.int16], detail: Detail = Detail.STATES) -> Trace:
        """As `Device.run_sequence`.  Raises `ToolError` if the trace has not one window for each step and the end."""
        trace, windows = self._priced(lambda: super(TracedDevice, self).run_sequence(features, detail))
        if len(windows) != len(features) + 1:
            raise ToolError(f"{self.rig}: {len(windows)} windows in Renode's trace, expected {len(features) + 1}")
        output = windows[-1] if trace.output_cycles is not None else None
        return replace(trace, cycles=np.array(windows[:-1], np.int64), output_cycles=output)

    def bench(self, kernel: int, repeats: int = 8) -> Benched:
        """As `Device.bench`.  Raises `ToolError` if the trace has not one window for each call."""
        done, windows = self._priced(lambda: super(TracedDevice, self).bench(kernel, repeats))
        if len(windows) != repeats:
            raise ToolError(f"{self.rig}: {len(windows)} windows in Renode's trace, expected {repeats}")
        return replace(done, cycles=tuple(windows))

    def _priced(self, work: Callable[[], T]) -> tuple[T, list[int]]:
        self._traces += 1
        path = self._folder / f"trace-{self._traces}.txt"
        self._monitor.ask(f'cpu CreateExecutionTracing "tracer{self._traces}" @{path} PCAndOpcode')
        try:
            result = work()
        finally:
            self._monitor.ask("cpu DisableExecutionTracing")
        try:
            with path.open(encoding="ascii", errors="replace") as lines:
                return result, price_windows(read_trace(lines), self._functions)
        except OSError as error:
            raise ToolError(f"{self.rig}: Renode left no trace ({error})") from error
        finally:
            path.unlink(missing_ok=True)
